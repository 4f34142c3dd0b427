"""The words in which a process and ``limit.lua`` speak: what it says and asks in one look, and what it hears; no I/O.

The arithmetic of the limit is ``joint_bucket``'s, and so is its proof: with what every permit is used within ``hold`` of its
grant, N + 1 permits or more never leave in a window, whatever processes there are. What the proof needs of the script is that it
grants at most ``size`` and ``per_second * t`` in any t seconds of Redis' clock, and a GCRA does: its theoretical arrival time
``full`` goes on by ``lease`` intervals with each lease, never lags behind the clock, and never runs ahead of it by more than
``size`` intervals. What it needs of the process is in ``limit.py``.

Where there is no state (first use, a flushed or restarted Redis) the bucket begins empty: what came before had ``size`` and what
came in until then, and what comes after has what comes in from then on, so together they have what one bucket has.

What of a lease is not used in time is lost and not given back. Given back while others empty the bucket, it comes on top of what
the bucket may hold: tried, a hundred processes sent 2,275 in a second that allows 2,000.

Two things outside may break it once, by at most ``size``, which is one and 2 % of the limit: Redis' clock set forward, and a
replica taking over that had not heard of the last leases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from bulkdel.limits.joint import joint_bucket
from bulkdel.model import Rate

LUA = (files("bulkdel.distributed") / "limit.lua").read_text("utf-8")

Act = Literal["take", "tell", "leave"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process says and asks: its ``name``, the limit it wants, whether it wants a lease.

    ``pause_s`` is a pause that it was told, 0 for none; ``own`` whether that is a complaint of its own; ``heard`` how many pauses
    it had heard of when it found that.
    """

    name: str
    rate: Rate | None
    act: Act = "take"
    pause_s: float = 0.0
    own: bool = False
    heard: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a process hears: a lease (0 where there is none now), in how many seconds to come for the next one, and the state.

    ``before`` is how many pauses there were before what it said, ``pauses`` how many there are now, ``fresh`` whether nothing was
    known of this limit.
    """

    granted: int
    wait_s: float
    paused_s: float
    before: int
    pauses: int
    active: int
    fresh: bool
    rate: Rate | None


def keys(scope: str) -> tuple[str, str]:
    """The keys that hold a scope's state; their common tag keeps them on one node of a cluster."""
    return f"{{bulkdel:{scope}}}:limit", f"{{bulkdel:{scope}}}:members"


def arguments(ask: Ask, now_us: int | None = None) -> list[str]:
    """What the script is called with; ``now_us`` instead of Redis' own clock, for tests."""
    return [
        ask.name,
        limit_words(ask.rate),
        ask.act,
        repr(max(0.0, ask.pause_s) * 1e6),
        "1" if ask.own else "0",
        "" if ask.heard is None else str(ask.heard),
        "" if now_us is None else str(now_us),
    ]


def limit_words(rate: Rate | None) -> str:
    """The limit as the script keeps it: ``n per interval size lease``, the interval in microseconds; empty for none."""
    if rate is None:
        return ""
    b = joint_bucket(rate)
    return f"{float(rate.n)!r} {float(rate.per)!r} {1e6 / b.per_second!r} {b.size!r} {b.lease}"


def read(reply: Sequence[Any]) -> Look:
    """What the script returned.

    :raises ValueError: where it is not what the script returns
    """
    try:
        granted, wait, paused, before, pauses, active, fresh, limit = reply
        words = (limit.decode() if isinstance(limit, bytes) else str(limit)).split()
        rate = Rate(float(words[0]), float(words[1])) if words else None
        return Look(
            granted=int(granted),
            wait_s=int(wait) / 1e6,
            paused_s=int(paused) / 1e6,
            before=int(before),
            pauses=int(pauses),
            active=max(1, int(active)),
            fresh=bool(int(fresh)),
            rate=rate,
        )
    except (TypeError, IndexError) as error:
        raise ValueError(f"this is no state of a shared limit: {type(error).__name__}") from error
