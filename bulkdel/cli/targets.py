"""Files of targets as people have them: checked whole before anything is sent, then read row by row in flat memory.

They are CSV of any spreadsheet, JSON lines, or JSON. Of each row ``dataset``, ``document`` and ``provider`` are read, whatever
the case of these names; everything else in it is ignored.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, BinaryIO

from bulkdel.errors import ConfigurationError, TargetFileError
from bulkdel.model import Target
from bulkdel.providers.protocol import Provider
from bulkdel.text import QUOTES, has_invisible, read_cell, sanitize, show_invisible

HINT = 'give a CSV whose header has dataset and document, or JSON objects such as {"dataset": "…", "document": "…"}'

LONGEST_LINE = 1024 * 1024
"""Characters of one line of CSV, and of one JSON object: one of a mebibyte is not a target but the wrong file."""

_READ = ("dataset", "document", "provider")

Row = tuple[int, dict[str, Any]]
"""The number of the line in which a row begins, and its values by their columns' names in lower case."""


@contextmanager
def opened(name: str, pipe: BinaryIO | None = None) -> Iterator[BinaryIO]:
    """A target file, or what comes from ``pipe``, to be read more than once: what can be read only once is copied.

    :raises ConfigurationError: if it cannot be read
    """
    with ExitStack() as stack:
        try:
            source = pipe or stack.enter_context(open(name, "rb"))
            if pipe is not None or not source.seekable():
                copy = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(source, copy)
                source = copy
        except OSError as error:
            raise ConfigurationError(f"cannot read the target file: {name}: {error.strerror or error}") from None
        yield source


class TargetFile:
    """A file of targets that was checked to its last line, and can be read again and again.

    ``counts`` are its targets by provider and dataset. ``source`` can be sought in; it is not closed here.
    """

    def __init__(self, source: BinaryIO, name: str, provider: str, providers: Mapping[str, Provider]) -> None:
        """
        :param name: what messages call the file
        :param provider: the name of the provider that all targets are for; empty if each row names one of ``providers``
        :raises TargetFileError: naming the file and the line, at the first line that is wrong
        """
        self._source, self._name, self._provider, self._providers = source, name, provider, providers
        self.counts = Counter((target.provider, target.dataset) for target in self)

    def __iter__(self) -> Iterator[Target]:
        """Every target from the beginning, in order, duplicates included.

        :raises TargetFileError: if the file has changed for the worse since it was checked
        """
        text = _Text(self._source, self._name)
        try:
            for number, row in _rows(text):
                dataset, document = _id(text, number, row, "dataset"), _id(text, number, row, "document")
                provider = self._provider_of(text, number, row.get("provider"))
                # A dataset has one spelling, so that it is one in listings and in the account; a document settles as it was named.
                spelled = self._providers[provider].canonical(dataset)
                # Datasets are few and in every row: interned, a million targets hold one string for each, not a million.
                yield Target(sys.intern(provider), sys.intern(spelled), document)
        except UnicodeError:
            raise text.wrong("not UTF-16 text") from None
        finally:
            text.leave()

    def _provider_of(self, text: _Text, number: int, named: object) -> str:
        """The provider that a row is for, which names it or not."""
        if named is not None and not isinstance(named, str):
            raise text.wrong(f"'provider' is not a string: {_short(named)}", number)
        if only := self._provider:
            if named and named != only:
                hint = f"leave the provider out of the file, or write {sanitize(only)} there, if the targets are its"
                raise text.wrong(f"for another provider than {only!r}: {_short(named)}", number, hint)
            return only
        each = "write the name of one of the job's providers into each line, or give the [[delete]] a provider"
        if not named:
            raise text.wrong("the provider is missing", number, each)
        if named not in self._providers:
            raise text.wrong(f"for a provider that the job does not have: {_short(named)}", number, each)
        return named


def _id(text: _Text, number: int, row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise text.wrong(f"no {column!r}", number)
    found = row[column]
    if not isinstance(found, str):
        raise text.wrong(f"{column!r} is not a string: {_short(found)}", number)
    if not found:
        raise text.wrong(f"the {column} is empty", number)
    if has_invisible(found):
        # Two ids that differ in it look the same, and the service says "no such document", which reads like a success.
        what, hint = "holds a character that cannot be seen", "remove it; the service's own ids have none"
        if any("\udc80" <= character <= "\udcff" for character in found):
            what, hint = "is not UTF-8 text", "save the file as UTF-8; Excel calls it CSV UTF-8"
        raise text.wrong(f"the {column} {what}: {show_invisible(found, 100)}", number, hint)
    if found[0] in QUOTES and found[-1] in QUOTES:  # as above: no service has a document of that name
        raise text.wrong(f"the {column} stands in quotes: {_short(found)}", number, "give the id alone")
    return found


def _short(value: object) -> str:
    """A wrong value as a message repeats it."""
    return sanitize(value if isinstance(value, str) else json.dumps(value), 60)


# ------------------------------------------------------------------ text and rows


class _Text:
    """A place in the text of a file, from which it goes on by lines or by JSON values; and the one way to refuse the file.

    The text is UTF-8, or UTF-16 with a byte-order mark, which Excel calls Unicode text, with any line ends. A byte that is neither
    becomes a character of its own: in a name it does no harm, in an id it is refused. Of JSON a piece of the file is held, and the
    value that goes on behind it.
    """

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.name = name
        self.line = 0
        self.column = 1
        source.seek(0)
        begin = source.read(4)
        utf16 = begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if begin in (b"PK\3\4", b"\xd0\xcf\x11\xe0"):
            raise TargetFileError(
                f"{name}: a workbook (.xlsx, .xls, .ods) or an archive, and no text", hint="save it as CSV"
            )
        source.seek(0)
        self._file = io.TextIOWrapper(source, "utf-16" if utf16 else "utf-8-sig", "surrogateescape")
        self._held = ""
        self._at = 0

    def leave(self) -> None:
        """Let go of the file, which stays open."""
        self._file.detach()

    def wrong(
        self, what: str, line: int | None = None, hint: str = HINT, *, column: int | None = None
    ) -> TargetFileError:
        place = f"line {line or self.line}" + (f", column {column}" if column is not None else "")
        return TargetFileError(f"{self.name}, {place}: {what}", hint=hint)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line, which is held."""
        self.line += 1
        self._held, self._at = self._file.readline(LONGEST_LINE), 0
        if not self._held:
            raise StopIteration
        return self._held

    def peek(self) -> str:
        """The next character that is no blank, nor the mark before a file that was joined to this one; empty at the end."""
        while True:
            found = re.compile(r"[^ \t\r\n\ufeff]").search(self._held, self._at)
            self._move(len(self._held) if found is None else found.start())
            if found is not None or not self._more():
                return "" if found is None else found[0]

    def skip(self, character: str) -> bool:
        """Whether ``character`` comes next, which is passed over then."""
        found = self.peek() == character
        self._move(self._at + found)
        return found

    def value(self) -> Any:
        """The next value.

        :raises TargetFileError: if it is no JSON, or has a key twice
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except KeyError as error:
                self._move(_second_key(self._held, self._at))
                twice = f"a key is there twice: {_short(error.args[0])}"
                raise self.wrong(twice, hint="keep the one that is meant") from None
            except (ValueError, RecursionError) as error:
                good = error.pos - self._at if isinstance(error, json.JSONDecodeError) else 0
                # What breaks off may go on in the next lines.
                if len(self._held) - self._at < LONGEST_LINE and self._more():
                    continue
                place = self._at + good
                if good and self._held[place : place + 1] in ("{", ""):
                    # The object before was not closed: the fault is where it ends, not where the next one begins.
                    place = len(self._held[:place].rstrip())
                self._move(place)
                rest = self._held[place : place + 60].partition("\n")[0].strip()
                what = _short(rest) if rest else "it breaks off"
                raise self.wrong(f"not JSON: {what}", column=self.column) from None
            self._move(end)
            return value

    def _move(self, to: int) -> None:
        """Go on at this place of what is held, counting lines and columns."""
        passed = self._held[self._at : to]
        line_end = passed.rfind("\n")
        self.line += passed.count("\n")
        self.column = self.column + len(passed) if line_end < 0 else len(passed) - line_end
        self._at = to

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        more = self._file.read(LONGEST_LINE)
        self._held, self._at = self._held[self._at :] + more, 0
        return bool(more)


def _rows(text: _Text) -> Iterator[Row]:
    """The rows of a file; its first character says what it is: ``[`` or ``{`` JSON, any other CSV.

    :raises TargetFileError: naming the file, the line and the column if that is known, at the first fault
    """
    first = next((line for line in text if line.strip(" \t\r\n,;")), None)
    if first is None:
        raise TargetFileError(f"the target file is empty: {text.name}", hint=HINT)
    return _json_rows(text) if first.lstrip().startswith(("[", "{")) else _csv_rows(text, first)


# ------------------------------------------------------------------ CSV


def _csv_rows(text: _Text, first: str) -> Iterator[Row]:
    delimiter, first = _delimiter(text, first)
    records = _records(text, first, delimiter)
    number, header = next(records, (text.line, [""]))
    columns = _header(text, number, header, delimiter)
    for number, cells in records:
        if {"dataset", "document"} <= set(_names(cells)):  # the header of the second of two files that were joined
            columns = _header(text, number, cells, delimiter)
            continue
        if any(cell.strip() for cell in cells[len(columns) :]):
            shown = _short(delimiter.join(cells))
            raise text.wrong(f"{len(cells)} columns, and the header has {len(columns)}: {shown}", number)
        # Spreadsheets leave out the empty cells at the end of a row.
        named = zip(columns, cells, strict=False)
        yield number, {name: read_cell(cell.strip()) for name, cell in named if name in _READ}


def _names(cells: Iterable[str]) -> list[str]:
    """The names of columns; a file that was joined to others begins with a byte-order mark, which is none of the name."""
    return [cell.strip().strip('\ufeff="').strip().casefold() for cell in cells]


def _header(text: _Text, number: int, cells: list[str], delimiter: str) -> list[str]:
    columns = _names(cells)
    for wanted in _READ:
        if columns.count(wanted) > 1 or (wanted not in columns and wanted != "provider"):
            found = "no" if wanted not in columns else "more than one"
            raise text.wrong(f"the header has {found} {wanted!r} column: {_short(delimiter.join(cells))}", number)
    return columns


def _delimiter(text: _Text, first: str) -> tuple[str, str]:
    """What stands between the cells, and the header's line: Excel's own ``sep=`` line says it, or what makes a header of the line."""
    said = re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n "), re.IGNORECASE)
    if said is not None:
        return said[1], next(text, "")
    for delimiter in (",", ";", "\t"):
        if {"dataset", "document"} <= set(_names(first.split(delimiter))):
            return delimiter, first
    return ",", first


def _records(text: _Text, first: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV from its ``first`` line on that are not blank, each with the number of its first line."""
    record: list[str] = []

    def read() -> Iterator[str]:
        for line in chain([first], text):
            if len(line) >= LONGEST_LINE:
                raise text.wrong(f"longer than {LONGEST_LINE} characters")
            if "\0" in line:
                raise text.wrong("not text: it holds a null byte")
            record.append(line)
            yield line

    # A value may have its quotes behind a blank; a blank that belongs to it means nothing here.
    before, reader = text.line, csv.reader(read(), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        start = before + reader.line_num
        record.clear()
        try:
            cells = next(reader, None)
        except csv.Error:
            what, good = _csv_fault("".join(record), delimiter)
            *whole, last = good.splitlines()
            raise text.wrong(f"not CSV: {what}", start + len(whole), column=len(last)) from None
        if cells is None:
            return
        if len(cells) == 1 and delimiter in cells[0]:
            # Excel keeps a row in one cell if the list separator of its country is another one, and quotes it when it saves.
            cells = next(csv.reader(cells[0].splitlines(keepends=True), delimiter=delimiter))
        if any(cell.strip() for cell in cells):
            yield start, cells


def _csv_fault(record: str, delimiter: str) -> tuple[str, str]:
    """What is wrong with the record that the reader gave up on, and its text up to there: the reader's message has no place."""
    end = f"{re.escape(delimiter)}\r\n"
    good = re.match(f'(?:(?: *+"(?:[^"]|"")*+"| *+(?!")[^{end}]*)[{end}])* *', record)
    at = 0 if good is None else good.end()
    if (quoted := re.compile('"(?:[^"]|"")*+"').match(record, at)) is not None:
        what = "text behind a closing quote; a quote inside a value is written twice"
        return what, record[: quoted.end() + 1]
    if record.startswith('"', at):
        return "a quote is opened here and never closed", record[: at + 1]
    return f"a value is longer than {csv.field_size_limit()} characters", record[: at + 1]


# ------------------------------------------------------------------ JSON


def _columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object by its lower-case keys, its strings without blanks around them.

    :raises KeyError: if two keys are the same, so that it is not known which one is meant
    """
    row: dict[str, Any] = {}
    for key, value in pairs:
        name = key.strip().casefold()
        if name in row:
            raise KeyError(key)
        row[name] = value.strip() if isinstance(value, str) else value
    return row


def _second_key(text: str, at: int) -> int:
    """Where the first key stands that its object has already, in the JSON from ``at`` on: the decoder's hook has no place."""
    objects: list[set[str]] = []
    for found in re.compile(r'[{}]|"(?:[^"\\]|\\.)*+"(?=\s*(:)?)').finditer(text, at):
        if found[0] == "{":
            objects.append(set())
        elif found[0] == "}":
            objects.pop()
        elif found[1]:
            name = json.loads(found[0]).strip().casefold()
            if name in objects[-1]:
                return found.start()
            objects[-1].add(name)
    return at


_DECODER = json.JSONDecoder(object_pairs_hook=_columns)


def _json_rows(text: _Text) -> Iterator[Row]:
    """The objects of one array, or one behind the other; each may be in a line of its own or go over several."""
    in_array = text.skip("[")
    while text.peek() not in ("", "]" if in_array else ""):
        number, row = text.line, text.value()
        if not isinstance(row, dict):
            raise text.wrong(f"not a JSON object: {_short(row)}", number)
        yield number, row
        if not text.skip(",") and in_array and text.peek() != "]":
            raise text.wrong("not JSON: a comma or ] is missing", column=text.column)
    if in_array and not text.skip("]"):
        raise text.wrong("not JSON: the list is never closed", column=text.column)
    if text.peek():
        raise text.wrong("text behind the end of the list", column=text.column)
