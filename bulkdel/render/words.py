"""Numbers, lengths of time and moments as every account shows them; pure."""

from __future__ import annotations

from datetime import UTC, datetime

from bulkdel.model import Rate


def spoken(seconds: float) -> str:
    """A length of time for people: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``; never finer than two units."""
    if seconds < 0.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def rough(seconds: float) -> str:
    """A length of time in its greatest unit alone: ``42 s``, ``3 min``, ``2 h``, ``12 d``."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{int(seconds)} s"


def rounded(n: float) -> str:
    """Three digits of a number that was measured: ``262.7`` is ``263``, ``50.22`` is ``50.2``; nothing of a whole one is lost."""
    return f"{n:.0f}" if n >= 100 else f"{n:.3g}"


def limit(rate: Rate) -> str:
    """A rate as people read it: ``80/min``, ``50.2/s``."""
    return str(Rate(float(rounded(rate.n)), per=rate.per))


def learned(rate: str, ago: float) -> str:
    """``pacing at 80/min, learned 2 h ago; --rate overrides``; ``rate`` is as ``limit`` words it, ``ago`` in seconds."""
    return f"pacing at {rate}, learned {spoken(ago)} ago; --rate overrides"


def day(moment: float) -> str:
    """The UTC day of a moment in Unix seconds (``2026-01-31``); what no calendar holds is shown as the number it is."""
    return _formatted(moment, "%Y-%m-%d")


def clock(moment: float) -> str:
    """A moment in Unix seconds to the second (``2026-01-31 18:00:05 UTC``); what no calendar holds is shown as its number."""
    return _formatted(moment, "%Y-%m-%d %H:%M:%S UTC")


def _formatted(moment: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"
