"""How long to wait before asking again: pure arithmetic, no clock, randomness passed in."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 2**1023 is the largest power of two a float holds; any real cap is reached long before.
_MAX_DOUBLINGS = 1023


def ceiling(tries: int, base: float, cap: float) -> float:
    """The longest wait after ``tries`` failures in a row (1 is the first): ``min(cap, base * 2**(tries - 1))`` seconds."""
    if tries <= 0:
        return 0.0
    return min(cap, base * 2.0 ** min(tries - 1, _MAX_DOUBLINGS))


def full_jitter(tries: int, base: float, cap: float, u: float) -> float:
    """Seconds to wait after ``tries`` failures in a row: ``u * min(cap, base * 2**(tries - 1))``, ``u`` uniform in [0, 1).

    Full jitter spreads clients that failed together over the whole interval, which is what makes a crowd finish soonest
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    return u * ceiling(tries, base, cap)


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, or None where there is none that can be read.

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


def seconds_to_next_minute(date: str | None) -> float:
    """Seconds from an answer's own ``Date`` to the next full minute; 60 where the date is missing or cannot be read."""
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
