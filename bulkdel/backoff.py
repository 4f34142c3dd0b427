"""How long to wait before asking again: pure arithmetic, no clock, randomness passed in."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile("[0-9]+(?:[.][0-9]+)?")
_DURATION = re.compile("".join(f"(?:({_NUMBER.pattern}){unit})?" for unit in ("d", "h", "m", "s", "ms")))
# A reset of 1e9 seconds is 31 years; as a moment it is the year 2001, and as milliseconds (from 1e11) 1973.
_MOMENT = 1e9


def ceiling(tries: int, base: float, cap: float) -> float:
    """The longest wait after ``tries`` failures in a row (1 is the first): ``min(cap, base * 2**(tries - 1))`` seconds."""
    if tries <= 0:
        return 0.0
    # 2**1023 is the largest power of two a float holds; any real cap is reached long before.
    return min(cap, base * 2.0 ** min(tries - 1, 1023))


def full_jitter(tries: int, base: float, cap: float, u: float) -> float:
    """Seconds to wait after ``tries`` failures in a row: ``u * min(cap, base * 2**(tries - 1))``, ``u`` uniform in [0, 1).

    Full jitter spreads clients that failed together over the whole interval, which is what makes a crowd finish soonest
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    return u * ceiling(tries, base, cap)


def next_look(waited: float, base: float, cap: float, cost: float, u: float) -> float:
    """Seconds until the next look at something that does not say when it is ready; ``u`` uniform in [0, 1).

    First after ``base``, then as often as a fifth of it while the wait is short, later each time that the wait has grown by a
    30th (so it is noticed no later than that), ``cap`` at the longest. Never sooner than ``cost``, whatever the cap. A quarter
    of it is jitter, off the end.
    """
    return max(min(max(base - waited, base / 5, waited / 30), cap), cost) * (1 - u / 4)


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, or None if there is none that can be read.

    ``value`` is delay seconds or an HTTP date (RFC 9110, 10.2.3); a date is read against the answer's own ``Date`` header
    (``date``), so that a wrong clock on either side does no harm. Without one a date cannot be read and None is returned.
    A date in the past, or a negative number, is 0.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        # "nan" and "inf" are floats to Python and noise to us.
        return max(0.0, seconds) if math.isfinite(seconds) else None
    then, now = _http_date(text), _http_date(date)
    if then is None or now is None:
        return None
    return max(0.0, (then - now).total_seconds())


def reset_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds that an ``x-ratelimit-reset`` header asks for, or None if it cannot be read.

    No standard says what the value is, so what services send is read: seconds (``12``, ``0.5``), a duration (``1m30s``,
    ``250ms``), or a moment in Unix seconds or milliseconds, which is read against the answer's own ``Date`` header. A
    moment that has passed is 0.
    """
    if value is None:
        return None
    text = value.strip().lower()
    duration = _DURATION.fullmatch(text)
    if duration is not None and text:
        parts = zip(duration.groups(), (86_400.0, 3_600.0, 60.0, 1.0, 0.001), strict=True)
        seconds = sum(float(number) * unit for number, unit in parts if number)
        return seconds if math.isfinite(seconds) else None
    if _NUMBER.fullmatch(text) is None:
        return None
    seconds = float(text)
    if seconds < _MOMENT:
        return seconds
    now = _http_date(date)
    if now is None or not math.isfinite(seconds):
        return None
    moment = seconds / 1000.0 if seconds >= _MOMENT * 100.0 else seconds
    return max(0.0, moment - now.timestamp())


def seconds_to_next_minute(date: str | None) -> float:
    """Seconds from an answer's own ``Date`` to the next full minute; 60 if the date is missing or cannot be read."""
    now = _http_date(date)
    return 60.0 if now is None else 60.0 - now.second


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        parsed = parsedate_to_datetime(text.strip())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
