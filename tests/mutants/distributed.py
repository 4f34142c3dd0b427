"""Planted bugs in the limit that is kept in Redis: its script, its pacer and its connection."""

from __future__ import annotations

from tests.mutants.planted import Mutant

LUA = "bulkdel/distributed/limit.lua"
LIMIT = "bulkdel/distributed/limit.py"
LINK = "bulkdel/distributed/link.py"

SCRIPT = ("tests/distributed/test_limit_script.py",)
PACER = ("tests/distributed/test_limit.py",)
REAL = ("tests/distributed/test_limit_real.py",)

MUTANTS = (
    Mutant(
        "redis-begins-full",
        "S6",
        LUA,
        "    local had = 0\n",
        "    local had = math.huge\n",
        "a flushed Redis grants a burst on top of what left before",
        SCRIPT,
    ),
    Mutant(
        "redis-change-grants-burst",
        "S6",
        LUA,
        "(new.size - math.min(had, new.size)) * new.interval",
        "0 * new.interval",
        "each change of the limit fills the bucket",
        SCRIPT,
    ),
    Mutant(
        "redis-clock-back-stalls",
        "S19",
        LUA,
        "if news then ends = now + length end",
        "",
        "Redis' host sets its clock back by a year, and the pause lasts as long",
        SCRIPT,
    ),
    Mutant(
        "redis-clock-back-empties-for-ever",
        "S19",
        LUA,
        "  full = math.min(full, now + l.size * l.interval)\n",
        "",
        "after a clock was set back nothing is granted until it is as late again",
        SCRIPT,
    ),
    Mutant(
        "redis-shorter-pause-wins",
        "S7",
        LUA,
        "if now + told > ends then ends, length = now + told, told end",
        "ends, length = now + told, told",
        "who is told a shorter pause ends everybody's",
        SCRIPT,
    ),
    Mutant(
        "redis-strike-for-each",
        "S8",
        LUA,
        "if own and not (ends > now or (heard and pauses > heard)) then",
        "if own then",
        "what was refused together counts once for each process",
        SCRIPT,
    ),
    Mutant(
        "redis-fastest-in-force",
        "S6",
        LUA,
        "if not slowest or of.n / of.per < slowest then",
        "if not slowest or of.n / of.per > slowest then",
        "the fastest limit that anyone wants is in force",
        SCRIPT,
    ),
    Mutant(
        "redis-members-for-ever",
        "S6",
        LUA,
        "if now - at > ABSENT then",
        "if false then",
        "a process that was killed keeps everybody slow for ever",
        SCRIPT,
    ),
    Mutant(
        "redis-lease-lies-for-ever",
        "S6",
        LIMIT,
        "self._hand, self._hand_until = look.granted, sent_at + b.hold",
        "self._hand, self._hand_until = look.granted, sent_at + 3600.0",
        "what many processes have lying of their leases leaves in one window",
        PACER,
    ),
    Mutant(
        "redis-lease-from-its-arrival",
        "S6",
        LIMIT,
        "self._hand, self._hand_until = look.granted, sent_at + b.hold",
        "self._hand, self._hand_until = look.granted, now + b.hold",
        "a lease that was long on its way is used all the same",
        PACER,
    ),
    Mutant(
        "redis-away-is-no-limit",
        "S6",
        LIMIT,
        "                if now < self._free_until:\n",
        "                if now < self._free_until or self._trouble:\n",
        "without a known limit requests leave while Redis is away, and others' pauses are not heard of",
        PACER,
    ),
    Mutant(
        "redis-away-for-ever",
        "S1",
        LIMIT,
        "elif self._give_up_at is not None and now >= self._give_up_at:",
        "elif False:",
        "a run whose Redis is gone never ends",
        PACER,
    ),
    Mutant(
        "redis-flush-ends-a-pause",
        "S7",
        LIMIT,
        "elif look.fresh and self._until > now:",
        "elif False:",
        "a pause is over for all who come later, because Redis forgot it",
        PACER,
    ),
    Mutant(
        "redis-password-shown",
        "S20",
        LINK,
        "return f\"{host}:{port}{parts.path if parts.path != '/' else ''}\"",
        "return url",
        "the URL with its password stands in a message",
        REAL,
    ),
)
