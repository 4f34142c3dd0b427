"""The arithmetic of one limit that several processes keep together: a bucket, a pause and who takes part; no clock, no I/O.

Every process does the same to the state that they share: ``elapse`` the time, ``take_part`` with the limit it wants,
``grant`` itself a lease. What was granted is spent at once, used or not, so a process that dies owes nobody anything.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from bulkdel.limits.bucket import bucket
from bulkdel.model import Rate

HOLD = 0.01
"""Share of the window within which a lease must be used; what is left of it is lost then. It makes the proof below independent
of how many processes there are, and it is also the time that writing a lease down may take."""
LEAST_HOLD_S = 0.005
"""The same in seconds, at least: a busy machine takes some milliseconds to get from the file to the wire."""
ABSENT_S = 60.0
"""Seconds of silence after which a process no longer takes part, where it is not known sooner that it has ended. One that waits
looks every ``LOOK_S``."""
LOOK_S = 5.0
"""Seconds after which a process that waits looks again, however long the wait: the limit or the pause may have changed."""
ACTIVE_S = 15.0
"""Seconds after which a process that has not looked does not want permits: three looks."""


@dataclass(frozen=True, slots=True)
class JointBucket:
    """``per_second`` permits come in for all, up to ``size`` are kept, ``lease`` are taken at once and used within ``hold``."""

    per_second: float
    size: float
    lease: int
    hold: float


def joint_bucket(rate: Rate) -> JointBucket:
    """The bucket that lets the permits of all processes together keep ``rate`` in any half-open window of ``rate.per`` seconds.

    Proof. Every permit that leaves in a window of W seconds was granted in it or in the ``hold`` before it. In W + hold
    seconds the bucket grants at most ``size`` that it held and ``per_second * (W + hold)`` that came in. With ``size`` the
    burst of ``bucket`` (1 + spare) and ``per_second`` its rate times W / (W + hold), that sum is the one proven there:
    less than N + 1.
    """
    alone = bucket(rate)
    window = rate.per if rate.n >= 1 else rate.per / rate.n
    hold = max(LEAST_HOLD_S, HOLD * window)
    return JointBucket(alone.per_second * window / (window + hold), alone.burst, alone.lease, hold)


@dataclass(frozen=True, slots=True)
class Member:
    """A process: the limit it wants (None for none) and when it looked last, in joint time."""

    rate: Rate | None
    seen: float


@dataclass(frozen=True, slots=True)
class Joint:
    """What is shared of one key.

    ``time`` is joint time in seconds: it goes on only as far as both the monotonic clock (``ticks``) and the wall clock say
    that time passed since the last look, so that no step of either, no restart of the machine and no sleep is taken for time.
    ``rate`` is the limit in force, ``tokens`` what its bucket holds (None: a full one), ``until`` the pause's end.
    """

    ticks: float
    wall: float
    time: float = 0.0
    tokens: float | None = None
    rate: Rate | None = None
    until: float = 0.0
    pauses: int = 0
    members: tuple[tuple[str, Member], ...] = ()

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left."""
        return max(0.0, self.until - self.time)

    @property
    def active(self) -> int:
        """How many processes want permits, the one that looks included."""
        return max(1, sum(self.time - member.seen <= ACTIVE_S for _, member in self.members))

    def bucket(self) -> JointBucket | None:
        return None if self.rate is None else joint_bucket(self.rate)


def elapse(joint: Joint, ticks: float, wall: float) -> Joint:
    """The state at these clocks' times: permits came in at the rate that was in force."""
    passed = max(0.0, min(ticks - joint.ticks, wall - joint.wall))
    tokens = joint.tokens
    if tokens is not None and (b := joint.bucket()) is not None:
        tokens = min(b.size, tokens + b.per_second * passed)
    return replace(joint, ticks=ticks, wall=wall, time=joint.time + passed, tokens=tokens)


def take_part(joint: Joint, name: str, rate: Rate | None) -> Joint:
    """``name`` is there and wants ``rate``; the slowest limit of all that are there is in force.

    What the bucket held stays, as far as it fits: a change grants no burst. Where there was no limit, it begins empty.
    """
    members = {who: member for who, member in joint.members if who != name and joint.time - member.seen <= ABSENT_S} | {
        name: Member(rate, joint.time)
    }
    return _enforce(replace(joint, members=tuple(members.items())))


def leave(joint: Joint, name: str) -> Joint:
    """``name`` is done; the limit stays in force until somebody else looks."""
    return replace(joint, members=tuple((who, member) for who, member in joint.members if who != name))


def _enforce(joint: Joint) -> Joint:
    limits = [member.rate for _, member in joint.members if member.rate is not None]
    rate = min(limits, key=lambda limit: limit.per_second) if limits else None
    if rate is None:
        return replace(joint, rate=None, tokens=0.0)
    if rate == joint.rate:
        return joint
    tokens = joint.tokens
    if tokens is not None:
        tokens = min(tokens, joint_bucket(rate).size)
    return replace(joint, rate=rate, tokens=tokens)


def grant(joint: Joint) -> tuple[Joint, int, float]:
    """A lease of so many permits (0 where there is none now), and in how many seconds there will be the next.

    Without a limit in force there is nothing to lease; do not ask.
    """
    b = joint.bucket()
    assert b is not None
    if joint.paused_s > 0:
        return joint, 0, joint.paused_s
    tokens = b.size if joint.tokens is None else joint.tokens
    granted = 0
    # 1e-9: what came in is a sum of floats, and a lease's worth may be a rounding short of it.
    if tokens >= b.lease - 1e-9:
        granted, tokens = b.lease, tokens - b.lease
    wait = max(0.0, b.lease - tokens) / b.per_second
    return replace(joint, tokens=tokens), granted, wait


def courtesy(b: JointBucket, losses: int) -> float:
    """Seconds that a process adds to its wait, so that those who came away empty more often (``losses``) come first.

    At most a quarter of the time that a lease may lie in the bucket before permits overflow, so it costs no rate.
    """
    return (b.size - b.lease) / b.per_second / 4 / (1 + losses)


def pause(joint: Joint, seconds: float, *, new: bool) -> Joint:
    """Nobody leaves for ``seconds``; a pause that ends later stays. ``new``: it is a complaint of its own."""
    return replace(joint, until=max(joint.until, joint.time + seconds), pauses=joint.pauses + new)


# ---------------------------------------------------------------------- as text


def to_text(joint: Joint) -> str:
    """JSON; ``from_text`` reads it."""
    return json.dumps(
        {
            "ticks": joint.ticks, "wall": joint.wall, "time": joint.time, "tokens": joint.tokens, "rate": _pair(joint.rate),
            "until": joint.until, "pauses": joint.pauses,
            "members": [[who, _pair(member.rate), member.seen] for who, member in joint.members],
        },
        allow_nan=False,
    )  # fmt: skip


def from_text(text: str) -> Joint:
    """:raises ValueError: where it is not what ``to_text`` writes"""
    try:
        raw = json.loads(text)
        return Joint(
            ticks=_number(raw["ticks"]),
            wall=_number(raw["wall"]),
            time=_number(raw["time"]),
            tokens=None if raw["tokens"] is None else _number(raw["tokens"]),
            rate=_rate(raw["rate"]),
            until=_number(raw["until"]),
            pauses=int(raw["pauses"]),
            members=tuple((str(who), Member(_rate(rate), _number(seen))) for who, rate, seen in raw["members"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"this is no state of a shared limit: {type(error).__name__}") from error


def _pair(rate: Rate | None) -> list[float] | None:
    return None if rate is None else [rate.n, rate.per]


def _rate(value: Any) -> Rate | None:
    return None if value is None else Rate(_number(value[0]), _number(value[1]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"this is no number: {value!r}")
    return value
