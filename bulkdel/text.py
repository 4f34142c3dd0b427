"""Text for people: words from outside made safe to show; numbers, durations and moments in one form."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# C0 and C1 controls (ESC, BEL, CSI …), line and paragraph separators, and the invisible characters that reorder or hide
# text (bidi controls, zero-width, soft hyphen, byte-order mark, tags): https://www.unicode.org/reports/tr36/
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]+"
)
# Letters and signs that leave no mark, though Python calls them printable: fillers, joiners, variation selectors, blanks.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
_PLAIN = re.compile(r"[ -~]*")
_ANSI = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[@-_]?")
# Spreadsheets read a cell that begins with one of these as a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")

MAX_WORDS = 500
"""Characters of a service's message or a name that are kept; real ones stay below 300."""

NAME = 60
"""Characters of a name in a line of an account."""


def sanitize(words: str, limit: int = MAX_WORDS) -> str:
    """``words`` on one line with nothing in it that a terminal, a log or a page would obey, at most ``limit`` characters."""
    if len(words) <= limit and _PLAIN.fullmatch(words) is not None:
        return words  # almost every name: one C-level match, no copies
    head = words[: 4 * limit]
    flat = " ".join(_UNSAFE.sub(" ", _ANSI.sub("", head)).split())
    if len(flat) > limit or len(words) > len(head):
        return flat[: limit - 1] + "…"
    return flat


def sanitize_cell(words: str, limit: int = MAX_WORDS) -> str:
    """Sanitized words for a spreadsheet cell: what would be read as a formula gets an apostrophe in front."""
    flat = sanitize(words, limit)
    return "'" + flat if flat.lstrip().startswith(_FORMULA) else flat


def pluralize(n: int, what: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def title(provider: str, dataset: str, name: str) -> str:
    """``dify / Manuals (0b7c…)``, or the id alone if there is no name."""
    called = sanitize(name, NAME)
    identity = sanitize(dataset)
    return f"{provider} / {called} ({identity})" if called else f"{provider} / {identity}"


def has_invisible(text: str) -> bool:
    """Whether ``text`` holds a character that cannot be seen or looks like a plain space: two such texts look the same."""
    return not text.isprintable() or (not text.isascii() and _BLANK.search(text) is not None)


def show_invisible(text: str, limit: int = MAX_WORDS) -> str:
    """``text`` with each character that cannot be seen as its escape: ``att_x\\u200b``."""
    shown = (ascii(character)[1:-1] if has_invisible(character) else character for character in text[:limit])
    return sanitize("".join(shown), limit)


def format_duration(seconds: float) -> str:
    """A duration in at most two units: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
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


def format_age(seconds: float) -> str:
    """A duration in its largest unit alone, for a narrow column: ``42 s``, ``3 min``, ``2 h``, ``12 d``."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{int(seconds)} s"


def format_measured(n: float) -> str:
    """A measured number to three digits: ``262.7`` is ``263``, ``50.22`` is ``50.2``; a larger whole number keeps all of its digits."""
    return f"{n:.0f}" if n >= 100 else f"{n:.3g}"


def format_day(moment: float) -> str:
    """The UTC day of a moment in Unix seconds (``2026-01-31``); what no calendar holds is shown as the number it is."""
    return _formatted(moment, "%Y-%m-%d")


def format_time(moment: float) -> str:
    """A moment in Unix seconds, to the second (``2026-01-31 18:00:05 UTC``); what no calendar holds is shown as its number."""
    return _formatted(moment, "%Y-%m-%d %H:%M:%S UTC")


def _formatted(moment: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"


# The names before the move, until every package uses the new ones.
safe, safe_cell, many = sanitize, sanitize_cell, pluralize
