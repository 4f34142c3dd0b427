"""A JSON answer taken apart: its value, the words of an error, and fields any of which may be missing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from bulkdel.providers.protocol import Answer
from bulkdel.text import sanitize

Row = dict[str, object]
Rows: TypeAlias = tuple[list[object], str | None, int | None]
"""A page's rows, the cursor of the next page (None if it is the last), and the service's own count of all rows (None: unsaid)."""

NOT_JSON: Final = object()
"""The value of a body that is no JSON."""


class NoPage(ValueError):
    """Raised when what came has nothing of a page: another service answered."""


class Unreadable(ValueError):
    """Raised, and caught, inside a reader if an answer has another shape than the service's."""


class ParsedAnswer(NamedTuple):
    """An answer taken apart.

    ``value`` is its JSON value, ``NOT_JSON`` if it has none. ``code`` and ``message`` are the service's own words for an
    error, as they came. ``shown`` is what people see of it: those words or a page's title, made safe and without the key.
    """

    answer: Answer
    value: object
    code: str
    message: str
    shown: str

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.answer.headers

    @property
    def fields(self) -> Row:
        """The JSON object that came; empty if none did."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def reason(self) -> str:
        """The service's own words, or the status with whatever was said instead."""
        return self.shown if self.message else self.http

    @property
    def http(self) -> str:
        """``HTTP 502: Bad Gateway``, for an answer whose words are not the service's own."""
        return f"HTTP {self.status}: {sanitize(self.shown, 200)}" if self.shown else f"HTTP {self.status}"

    @property
    def broke_off(self) -> bool:
        """Whether the body did not come whole, or began as JSON and is none: the service's own answer, cut short on its way."""
        begun = self.value is NOT_JSON and self.answer.body.lstrip()[:1] in (b"{", b"[")
        return self.answer.broken or (begun and not self.answer.cut)


def parse_json(answer: Answer) -> object:
    """The answer's JSON value, whatever its content type says; ``NOT_JSON`` if it is none or did not come whole."""
    if answer.cut or answer.broken or not answer.body:
        return NOT_JSON
    try:
        value: object = json.loads(answer.body)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number of 5,000 digits; nested a million deep
        return NOT_JSON
    return value


def is_markup(answer: Answer) -> bool:
    """Whether the body is a page for people (HTML, XML): no JSON API answers so, what stands in front of it does."""
    return re.match(r"\s*(?:\ufeff\s*)?<", _beginning(answer)) is not None


def plain_text(answer: Answer) -> str:
    """The body as text if it is text and no page; not made safe."""
    return "" if is_markup(answer) else _beginning(answer).strip()


def page_text(answer: Answer) -> str:
    """What a body that is not the service's says: a page's title, else its text; not made safe."""
    title = re.search("<title[^<>]{0,200}>([^<]{1,300})", _beginning(answer), re.IGNORECASE)
    return html.unescape(title[1]) if title else plain_text(answer)


def _beginning(answer: Answer) -> str:
    """Enough of the body for a message or a title, little enough to search at leisure."""
    return answer.body[:4096].decode("utf-8", "replace")


def text(row: object, *keys: str) -> str:
    """The first of ``keys`` that holds a string that is not empty; lone surrogates, which no file can hold, become ``?``."""
    for key in keys:
        value = row.get(key) if isinstance(row, dict) else None
        if isinstance(value, str) and value:
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return ""


def integer(row: object, *keys: str) -> int | None:
    """The first of ``keys`` that holds a whole number of at least 0."""
    for key in keys:
        value = row.get(key) if isinstance(row, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def timestamp(row: Row, key: str) -> float | None:
    """A time in Unix seconds, given as Unix seconds, Unix milliseconds or ISO 8601; None if it is none of them."""
    value = row.get(key)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    # The upper end is the last millisecond of the year 9999: what is later is no date.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 253_402_300_799_000:
        return None
    # 1e11 seconds is the year 5138, 1e11 milliseconds 1973: no document is from either's other reading.
    return value / 1000 if value >= 1e11 else float(value)
