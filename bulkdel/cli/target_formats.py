"""The formats of target files, read into rows as people have them: CSV of any spreadsheet, JSON lines, JSON.

A row is its line's number and its values by column, whose names are lower-case: ``dataset``, ``document`` and ``provider``
are asked for, others are ignored.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from bulkdel.errors import TargetFileError
from bulkdel.text import read_cell, sanitize

Row = tuple[int, dict[str, Any]]

HINT = 'give a CSV whose header has dataset and document, or JSON objects such as {"dataset": "…", "document": "…"}'

LONGEST_LINE = 1024 * 1024
"""Bytes of one line, and of one JSON object: an id is below 100, and a line of a mebibyte is not a target but the wrong file."""

_DELIMITERS = (",", ";", "\t")


def short(value: object) -> str:
    """A wrong value as a message repeats it."""
    return sanitize(value if isinstance(value, str) else json.dumps(value), 60)


class Lines:
    """The lines of a file with their numbers: UTF-8 with or without a byte-order mark, any line ending, some lines back.

    ``since`` has the lines of the record that is read: its reader clears it at the beginning of one.
    """

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.number = 0
        self.since: list[str] = []
        self._source = source
        self._name = name
        self._back: list[str] = []
        self._in_pieces = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def again(self, line: str) -> None:
        """Let the next reading begin with ``line`` once more."""
        self.number -= 1
        self._back.append(line)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number += 1
        line = self._back.pop() if self._back else self._read()
        self.since.append(line)
        return line

    def _read(self) -> str:
        raw = self._source.readline(LONGEST_LINE + 1)
        if not raw:
            raise StopIteration
        if self.number == 1:
            # An array may be one line, however long: it is read in pieces, and its reader counts the line ends itself.
            self._in_pieces = raw.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
        if len(raw) > LONGEST_LINE and not self._in_pieces:
            raise self.wrong(f"longer than {LONGEST_LINE} bytes")
        if self.number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise self.wrong("UTF-16, not UTF-8", hint="save the file as UTF-8; Excel calls it CSV UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if b"\0" in raw:
            raise self.wrong("not text: it holds a null byte")
        try:
            return self._decoder.decode(raw, final=not self._in_pieces)
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode("utf-8")) + 1
            raise self.wrong(
                "not UTF-8 text", column=column, hint="save the file as UTF-8; Excel calls it CSV UTF-8"
            ) from None

    def wrong(
        self, what: str, line: int | None = None, hint: str = HINT, *, column: int | None = None
    ) -> TargetFileError:
        place = f"line {line or self.number}" + (f", column {column}" if column is not None else "")
        return TargetFileError(f"{self._name}, {place}: {what}", hint=hint)

    @property
    def empty(self) -> TargetFileError:
        return TargetFileError(f"the target file is empty: {self._name}", hint=HINT)


def rows(lines: Lines) -> Iterator[Row]:
    """The rows of a file; its first character says what it is: ``[`` JSON, ``{`` JSON or JSON lines, any other CSV.

    :raises TargetFileError: naming the file, the line and the column if that is known, at the first fault
    """
    first = next((line for line in lines if line.strip(" \t\r\n,;")), None)
    if first is None:
        raise lines.empty
    lines.again(first)
    words = first.strip()
    # An object that its line does not end goes over several, as programs print it for people.
    if words.startswith("[") or (words.startswith("{") and words.endswith(("{", "[", ","))):
        return _json_rows(lines)
    return _jsonl_rows(lines) if words.startswith("{") else _csv_rows(lines)


# ------------------------------------------------------------------ CSV


def _csv_rows(lines: Lines) -> Iterator[Row]:
    delimiter = _delimiter(lines)
    number, header = next(_records(lines, delimiter), (lines.number, [""]))
    columns = [cell.strip().casefold() for cell in header]
    for wanted in ("dataset", "document", "provider"):
        if columns.count(wanted) > 1 or (wanted not in columns and wanted != "provider"):
            found = "no" if wanted not in columns else "more than one"
            raise lines.wrong(f"the header has {found} {wanted!r} column: {short(delimiter.join(header))}", number)
    places = {name: columns.index(name) for name in ("dataset", "document", "provider") if name in columns}
    for number, cells in _records(lines, delimiter):
        if cells == header:  # of the second of two files that were joined
            continue
        if any(cell.strip() for cell in cells[len(columns) :]):
            shown = short(delimiter.join(cells))
            raise lines.wrong(f"{len(cells)} columns, and the header has {len(columns)}: {shown}", number)
        # Spreadsheets leave out the empty cells at the end of a row.
        yield number, {name: read_cell(cells[at].strip()) for name, at in places.items() if at < len(cells)}


def _delimiter(lines: Lines) -> str:
    """What stands between the cells: what Excel's own ``sep=`` line says, or what makes a header of the first line."""
    first = next(lines)
    said = re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n "), re.IGNORECASE)
    if said is not None:
        return said[1]
    lines.again(first)
    for delimiter in _DELIMITERS:
        cells = {cell.strip().strip('"').casefold() for cell in first.split(delimiter)}
        if {"dataset", "document"} <= cells:
            return delimiter
    return ","


def _records(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV that are not blank, each with the number of its first line."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = lines.number + 1
        lines.since.clear()
        try:
            cells = next(reader, None)
        except csv.Error:
            raise _csv_fault(lines, start, delimiter) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield start, cells


def _csv_fault(lines: Lines, start: int, delimiter: str) -> TargetFileError:
    """What is wrong with the record that the reader gave up on, and its place: the reader's message says neither."""
    text = "".join(lines.since)
    quoted = re.compile('"(?:[^"]|"")*"')
    at = 0
    what = f"a value is longer than {csv.field_size_limit()} characters"
    while at < len(text):
        if text[at] == '"':
            closed = quoted.match(text, at)
            if closed is None:
                what = "a quote is opened here and never closed"
                break
            at = closed.end()
            if at < len(text) and text[at] not in f"{delimiter}\r\n":
                what = "text behind a closing quote; a quote inside a value is written twice"
                break
        else:
            end = re.compile(f"[{re.escape(delimiter)}\r\n]").search(text, at)
            at = len(text) if end is None else end.start()
        if text[at : at + 1] == "\r" and text[at : at + 2] != "\r\n":
            what = "a line that ends in a carriage return alone"
            break
        at += 2 if text[at : at + 2] == "\r\n" else 1
    before = text[:at] if at < len(text) else ""
    line, column = start + before.count("\n"), len(before) - before.rfind("\n")
    return lines.wrong(f"not CSV: {what}", line, column=column)


# ------------------------------------------------------------------ JSON


class _RepeatedKey(ValueError):
    """An object has a key twice, so that it is not known which one is meant."""


def _columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object by its lower-case keys, its strings without blanks around them.

    :raises _RepeatedKey: if two keys are the same
    """
    row: dict[str, Any] = {}
    for key, value in pairs:
        name = key.strip().casefold()
        if name in row:
            raise _RepeatedKey(key)
        row[name] = value.strip() if isinstance(value, str) else value
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_columns)


def _jsonl_rows(lines: Lines) -> Iterator[Row]:
    for line in lines:
        lines.since.clear()
        if not line.strip():
            continue
        try:
            row = _DECODER.decode(line)
        except _RepeatedKey as error:
            raise _repeated(lines, error, lines.number) from None
        except json.JSONDecodeError as error:
            column = min(error.pos, len(line.rstrip())) + 1
            raise lines.wrong(f"not JSON: {short(line.strip())}", column=column) from None
        except RecursionError:
            raise lines.wrong(f"not JSON: {short(line.strip())}") from None
        yield lines.number, _object(lines, row, lines.number)


def _object(lines: Lines, row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise lines.wrong(f"not a JSON object: {short(row)}", number)
    return row


def _repeated(lines: Lines, error: _RepeatedKey, number: int) -> TargetFileError:
    return lines.wrong(f"a key is there twice: {short(str(error))}", number, "keep the one that is meant")


def _json_rows(lines: Lines) -> Iterator[Row]:
    """The objects of one array, or of several lines each; no more of the file is held than one of them."""
    text = _JsonText(lines)
    in_array = text.skip("[")
    while not text.at_end():
        if in_array and text.skip("]"):
            if not text.at_end():
                raise text.wrong("text behind the end of the list")
            return
        number = text.number
        yield number, _object(lines, text.value(), number)
        if not text.skip(",") and in_array and text.peek() != "]":
            raise text.wrong("not JSON: a comma or ] is missing")
    if in_array:
        raise text.wrong("not JSON: the list is never closed")


class _JsonText:
    """A file as JSON values one behind the other; ``number`` is the line in which the next one begins."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._text = ""
        self._at = 0
        self._first = lines.number + 1  # the number of the first line in ``_text``
        self._column = 1  # of the first character in ``_text``

    @property
    def number(self) -> int:
        return self._first + self._text.count("\n", 0, self._at)

    def _more(self) -> bool:
        """Read some more behind the value that is read; False at the end of the file."""
        self._first, self._column = self.number, self._column_at(self._at)
        self._text, self._at = self._text[self._at :], 0
        self._lines.since.clear()
        before = len(self._text)
        for line in self._lines:
            self._text += line
            if len(self._text) > before + 65_536:
                break
        return len(self._text) > before

    def _column_at(self, place: int) -> int:
        line_start = self._text.rfind("\n", 0, place)
        return place - line_start if line_start >= 0 else self._column + place

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def at_end(self) -> bool:
        return not self.peek()

    def skip(self, character: str) -> bool:
        """Whether ``character`` comes next, which is passed over then."""
        found = self.peek() == character
        self._at += found
        return found

    def value(self) -> Any:
        """The next value.

        :raises TargetFileError: if it is no JSON, or has a key twice
        """
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except _RepeatedKey as error:
                raise _repeated(self._lines, error, self.number) from None
            except (json.JSONDecodeError, RecursionError) as error:
                fault = error.pos - self._at if isinstance(error, json.JSONDecodeError) else 0
                # What breaks off may go on in the next lines; nothing that long is a target.
                if len(self._text) - self._at < LONGEST_LINE and self._more():
                    continue
                self._at += fault
                rest = self._text[self._at : self._at + 60].strip()
                raise self.wrong(f"not JSON: {short(rest) if rest else 'it breaks off'}") from None
            else:
                return value

    def wrong(self, what: str) -> TargetFileError:
        return self._lines.wrong(what, self.number, column=self._column_at(self._at))
