"""What the words of the command line stand for: durations, rates, numbers of workers and moments; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from bulkdel.model import Rate

_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PER = {"s": 1.0, "min": 60.0, "h": 3600.0}

LONGEST = 36_500 * 86_400.0
"""A hundred years in seconds: whatever is longer is a slip of the finger, and no clock can be set to it."""
FASTEST = 100_000.0
"""Requests a second that no service allows and no wire carries (one core sends about 13,000)."""


def duration(words: str) -> float:
    """Seconds that ``words`` (``500ms``, ``0.5s``, ``90s``, ``15m``, ``2h``, ``3d``) stand for; always positive.

    :raises ValueError: for anything else; the message says what is allowed
    """
    match = re.fullmatch(f"{_NUMBER}(ms|s|m|h|d)", words)
    if match is None:
        raise ValueError(f"must be a duration such as 500ms, 0.5s, 90s, 15m, 2h or 3d: {words!r}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError(f"must be longer than zero: {words!r}")
    if seconds > LONGEST:
        raise ValueError(f"must be at most 36500d: {words!r}")
    return seconds


def rate(words: str) -> Rate | Literal["none"]:
    """The rate that ``words`` (``45/min``, ``100/s``, ``600/h``) stand for, or ``none`` itself.

    :raises ValueError: for anything else; the message says what is allowed
    """
    if words == "none":
        return "none"
    match = re.fullmatch(f"{_NUMBER}/(s|min|h)", words)
    if match is None:
        raise ValueError(f"must be a rate such as 45/min, 100/s, 600/h or none: {words!r}")
    n, per = float(match[1]), _PER[match[2]]
    if n <= 0:
        raise ValueError(f"must be more than zero: {words!r}")
    if n / per > FASTEST:
        raise ValueError(f"must be at most {FASTEST:.0f}/s, or none: {words!r}")
    return Rate(n, per=per)


@dataclass(frozen=True, slots=True)
class Auto:
    """The user's ``auto``: as many as the service bears, within what leaves it to others, or ``up_to`` so many."""

    up_to: int | None = None


def concurrency(words: str) -> int | Auto:
    """How many attempts may be in flight: a number, ``auto``, or ``auto:16`` for a search up to 16.

    :raises ValueError: for anything else, and for a number that is not from 1 to 1000
    """
    if words == "auto":
        return Auto()
    number = words.removeprefix("auto:")
    if not re.fullmatch(r"[0-9]{1,6}", number) or not 1 <= int(number) <= 1000:
        raise ValueError(f"must be a whole number from 1 to 1000, auto, or auto:N: {words!r}")
    return int(words) if words == number else Auto(int(number))


def share(words: str) -> float:
    """A share as a number from 0 to 1: ``5%`` or ``0.05``.

    :raises ValueError: for anything else
    """
    match = re.fullmatch(f"{_NUMBER}(%?)", words)
    part = -1.0 if match is None else float(match[1]) / (100 if match[2] else 1)
    if not 0 <= part <= 1:
        raise ValueError(f"must be a share such as 5% or 0.05: {words!r}")
    return part


def when(words: str, now: float) -> float:
    """The moment that ``words`` name, in Unix seconds; an age counts back from ``now`` (Unix seconds).

    A date without a zone is UTC, as every time that bulkdel shows.

    :raises ValueError: for what is neither a date nor an age; the message says what is allowed
    """
    if re.fullmatch(f"{_NUMBER}(ms|s|m|h|d)", words):
        return now - duration(words)
    try:
        # Checked first because fromisoformat also reads week dates and digits in a row, which a user does not mean.
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?", words):
            moment = datetime.fromisoformat(words)
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        "must be a date (2026-01-31), a date with a time (2026-01-31T18:00, UTC unless it says otherwise) or an age (90d):"
        f" {words!r}"
    )
