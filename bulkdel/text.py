"""Words that came from outside, made safe to show: no escapes, no control characters, no direction tricks, no flood."""

from __future__ import annotations

import re

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

MAX_WORDS = 500  # characters of a service's message or a name that are kept; real ones stay below 300

NAME = 60
"""Characters of a name in a line of an account."""


def safe(words: str, limit: int = MAX_WORDS) -> str:
    """``words`` on one line with nothing in it that a terminal, a log or a page would obey, at most ``limit`` characters."""
    if len(words) <= limit and _PLAIN.fullmatch(words) is not None:
        return words  # almost every name: one C-level match, no copies
    head = words[: 4 * limit]
    flat = " ".join(_UNSAFE.sub(" ", _ANSI.sub("", head)).split())
    if len(flat) > limit or len(words) > len(head):
        return flat[: limit - 1] + "…"
    return flat


def safe_cell(words: str, limit: int = MAX_WORDS) -> str:
    """``safe`` words for a spreadsheet cell: what would be read as a formula gets an apostrophe in front."""
    flat = safe(words, limit)
    return "'" + flat if flat.lstrip().startswith(_FORMULA) else flat


def many(n: int, what: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def title(provider: str, dataset: str, name: str) -> str:
    """``dify / Manuals (0b7c…)``, or the id alone where there is no name."""
    called = safe(name, NAME)
    identity = safe(dataset)
    return f"{provider} / {called} ({identity})" if called else f"{provider} / {identity}"


def has_invisible(text: str) -> bool:
    """Whether ``text`` holds a character that cannot be seen or looks like a plain space: two such texts look the same."""
    return not text.isprintable() or (not text.isascii() and _BLANK.search(text) is not None)


def show_invisible(text: str, limit: int = MAX_WORDS) -> str:
    """``text`` with each character that cannot be seen as its escape: ``att_x\\u200b``."""
    shown = (ascii(character)[1:-1] if has_invisible(character) else character for character in text[:limit])
    return safe("".join(shown), limit)
