"""What a service said, read out of an answer that may hold anything: JSON where it is JSON, words made safe."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from bulkdel.providers.protocol import Answer, Deleted, Lost, Requeue, StopDataset, StopProvider
from bulkdel.text import safe

DELETED: Final = Deleted()
"""The one success value: nearly every answer ends in it, and it holds nothing of its own."""

MAX_PAGES: Final = 1_000
"""Pages of a listing by cursor that are read before it is called endless: 100,000 folders, a hundred times any real one."""

_TITLE = re.compile("<title[^<>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_YEAR_9999: Final = 253_402_300_799  # the last second that a date can hold: what is later is no date
_MARKUP = re.compile(r"\s*(?:\ufeff\s*)?<")

_LOST: Final = {
    "unreachable": "cannot connect",
    "tls": "the TLS certificate is not trusted",
    "timeout": "no whole answer in time",
    "disconnected": "the connection was lost before the whole answer came",
    "garbled": "what came back is not HTTP",
}


class NotJSON:
    """What ``parse`` returns for a body that is no JSON: no JSON value is an instance of it."""


NOT_JSON: Final = NotJSON()


def parse(answer: Answer) -> object:
    """The answer's JSON value, whatever its content type says; ``NOT_JSON`` where it is none or was cut."""
    if answer.cut or not answer.body:
        return NOT_JSON
    try:
        value: object = json.loads(answer.body)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number of 5,000 digits; nested a million deep
        return NOT_JSON
    return value


def broken_off(answer: Answer) -> bool:
    """Whether a body that is no JSON began as if it were: an answer that ended early, not one of another service."""
    return answer.body.lstrip()[:1] in (b"{", b"[")


def is_markup(answer: Answer) -> bool:
    """Whether the body is a page for people (HTML, XML): no service of ours answers so, what stands before it does."""
    return _MARKUP.match(_head(answer)) is not None


def plain(answer: Answer) -> str:
    """The body as text, where it is text and no page; not made safe."""
    return "" if is_markup(answer) else _head(answer).strip()


def page(answer: Answer) -> str:
    """What a body that is not the service's says: a page's title, else its text; not made safe."""
    title = _TITLE.search(_head(answer))
    return html.unescape(title[1]) if title else plain(answer)


def http(status: int, shown: str) -> str:
    """``HTTP 502: words that were made safe``, for an answer whose words are not the service's own."""
    return f"HTTP {status}: {safe(shown, 200)}" if shown else f"HTTP {status}"


def lost(reply: Lost, *, doubt: bool) -> Requeue | StopProvider:
    """What a lost answer means at any provider; ``doubt``: it was a delete, which may have been carried out if it was sent."""
    detail = safe(reply.detail, 300)
    reason = f"{_LOST[reply.kind]}: {detail}" if detail else _LOST[reply.kind]
    if reply.kind == "tls":
        return StopProvider(reason, "name the authority that signed it with --ca-file; checking cannot be switched off")
    return Requeue("trouble", reason, doubt=doubt and reply.sent)


def dicts(rows: list[object]) -> Iterator[dict[str, object]]:
    """:raises Unreadable: at the first row that is no JSON object with an ``id``"""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise Unreadable(f"row {number} is no object")
        if not text(row, "id"):
            raise Unreadable(f"row {number} has no id")
        yield row


class Unreadable(ValueError):
    """Raised, and caught, inside a reader whose answer has another shape than the service's."""


def unreadable(what: str, why: object) -> StopDataset:
    """An answer of the right service in a shape that nobody knows: never an empty listing (S15)."""
    return StopDataset(f"{what} could not be read: {why}")


# ------------------------------------------------------------------ fields of a JSON object, any of which may be missing


def text(row: dict[str, object], *keys: str) -> str:
    """The first of ``keys`` that holds a string that is not empty; lone surrogates, which no file can hold, become ``?``."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, str) and value:
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return ""


def whole(row: dict[str, object], *keys: str) -> int | None:
    """The first of ``keys`` that holds a whole number of at least 0."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def moment(row: dict[str, object], key: str) -> float | None:
    """A time in Unix seconds, given as Unix seconds, Unix milliseconds or ISO 8601; None where it is none of them."""
    value = row.get(key)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _YEAR_9999 * 1000:
        return None
    # 1e11 seconds is the year 5138, 1e11 milliseconds 1973: no document is from either's other reading.
    return value / 1000 if value >= 1e11 else float(value)


# ------------------------------------------------------------------ a cursor that counts its pages


def counted(cursor: str | None) -> tuple[int, str | None]:
    """Which page (1 is the first) a cursor made by ``count_on`` asks for, and the service's own cursor in it."""
    if cursor is None:
        return 1, None
    number, _, own = cursor.partition(":")
    return int(number), own


def count_on(cursor: str | None, following: str) -> str | None:
    """The cursor after ``cursor``; None where the service would go round in a circle."""
    number, own = counted(cursor)
    return None if following in ("", own) or number >= MAX_PAGES else f"{number + 1}:{following}"


def _head(answer: Answer) -> str:
    """The beginning of the body as text: enough for a message or a title, little enough to search at leisure."""
    return answer.body[:4096].decode("utf-8", "replace")
