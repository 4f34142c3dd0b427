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
# Spreadsheets read a cell that begins with one of these as a formula (https://owasp.org/www-community/attacks/CSV_Injection),
# with # as an error; the apostrophe is ours.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20", "#", "'")
# Words that a spreadsheet reads as part of a number, a time or a date, in the languages of most spreadsheets.
_DATE_WORDS = (
    " e a am p pm h january february march april may june july august september october november december januar februar märz mai"
    " juni juli oktober dezember janvier février mars avril juin juillet août septembre octobre novembre décembre enero febrero marzo"
    " abril mayo junio julio agosto septiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio settembre"
    " ottobre dicembre "
)
_LOGICAL = {"true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "vero"}

QUOTES = "\"'`“”„‘’«»"

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


def write_cell(text: str) -> str:
    """``text`` for a cell of a CSV file: an apostrophe in front keeps a spreadsheet from reading it as a formula, number or date."""
    return "'" + text if _is_data(text) else text


def read_cell(cell: str) -> str:
    """The text that ``write_cell`` made this cell of, or that others keep from being read as a number: ``="007"``."""
    if (formula := re.fullmatch('="([^"]*)"', cell)) is not None:
        return formula[1].strip()
    return cell[1:] if cell.startswith("'") and _is_data(cell[1:]) else cell


def _is_data(text: str) -> bool:
    """Whether a spreadsheet may read ``text`` as something else than text: ``=1``, ``1e5``, ``007``, ``3-4``, ``5 Mai``, ``TRUE``."""
    if text.lstrip().startswith(_FORMULA):
        return True
    plain = text.casefold().strip()
    if not any(map(str.isdigit, plain)):
        return plain in _LOGICAL
    if plain.count("-") > 3:  # a UUID, perhaps one of digits alone; no date has as many parts
        return False
    # A month may be cut to three letters or more, the other words may not.
    words = (found[0] for found in re.finditer(r"[^\W\d_]+", plain))
    return all(f" {word}{'' if len(word) > 2 else ' '}" in _DATE_WORDS for word in words)


def pluralize(n: int, what: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def nonzero(*counts: tuple[int, str]) -> list[str]:
    """``3 rejected`` for each count that is not zero."""
    return [f"{n} {what}" for n, what in counts if n]


def title(provider: str, dataset: str, name: str) -> str:
    """``dify / Manuals (0b7c…)``, or the id alone if there is no name."""
    called = sanitize(name, NAME)
    identity = show_invisible(dataset)
    return f"{provider} / {called} ({identity})" if called else f"{provider} / {identity}"


def document_title(document: str, name: str, limit: int = NAME) -> str:
    """``0aa51c9e-… (manual.pdf)``, or the id alone if there is no name."""
    return f"{show_invisible(document)} ({sanitize(name, limit)})" if name else show_invisible(document)


def has_invisible(text: str) -> bool:
    """Whether ``text`` holds a character that cannot be seen or looks like a plain space: two such texts look the same."""
    return not text.isprintable() or (not text.isascii() and _BLANK.search(text) is not None)


def has_outer_quote(text: str) -> bool:
    """Whether a quote begins or ends ``text``, which was copied along with it."""
    return text != "" and (text[0] in QUOTES or text[-1] in QUOTES)


def show_invisible(text: str, limit: int = MAX_WORDS) -> str:
    """``text`` with each character that cannot be seen as its escape: ``att_x\\u200b``."""
    if len(text) <= limit and _PLAIN.fullmatch(text) is not None:
        return text
    shown = "".join(
        ascii(character)[1:-1] if has_invisible(character) else character for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


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
    return format_time(moment, "%Y-%m-%d")


def format_time(moment: float, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """A moment in Unix seconds, to the second (``2026-01-31 18:00:05 UTC``); what no calendar holds is shown as its number."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"
