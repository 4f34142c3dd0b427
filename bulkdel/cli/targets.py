"""Target files: CSV with a header, or JSONL; checked whole before anything is sent, read line by line."""

from __future__ import annotations

import codecs
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from bulkdel.errors import ConfigurationError, TargetFileError
from bulkdel.model import Target
from bulkdel.text import read_cell, sanitize

LONGEST_LINE = 1024 * 1024
"""Characters in one line; an id is below 100, and a line of a mebibyte is not a target but the wrong file."""

Build = Callable[[int, str, str, str | None], Target]

_SHOWN = 60  # characters of a wrong value that a message repeats


class TargetFile:
    """A file of targets that was checked to its last line, and can be read again and again in flat memory.

    ``counts`` are its targets by provider and dataset. ``source`` can be sought in; it is not closed here.
    """

    def __init__(self, source: BinaryIO, name: str, provider: str, among: Container[str] = ()) -> None:
        """:raises TargetFileError: naming the file and the line, at the first line that is wrong"""
        self._source, self._name, self._provider, self._among = source, name, provider, among
        self.counts: dict[tuple[str, str], int] = {}
        for target in self:
            of = target[:2]
            self.counts[of] = self.counts.get(of, 0) + 1

    def __iter__(self) -> Iterator[Target]:
        """Every target from the beginning.

        :raises TargetFileError: where the file has changed for the worse since it was checked
        """
        self._source.seek(0)
        return read(self._source, self._name, self._provider, self._among)


def read(source: BinaryIO, name: str, provider: str, among: Container[str] = ()) -> Iterator[Target]:
    """Every target in ``source``, in order, duplicates included; ``name`` is what messages call the file.

    A file whose first character (after blanks) is ``{`` is JSONL, any other is CSV. A CSV has a header line with
    ``document`` and ``dataset`` in any order and case, more columns are ignored; a JSONL line is an object with those
    keys. Blank lines are ignored. Where a line names a ``provider``, it must be this one; where ``provider`` is empty, each
    line must name one that is ``among`` those.

    :raises TargetFileError: naming the file and the line, at the first line that is wrong
    """
    lines = _Lines(source, name)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise TargetFileError(f"the target file is empty: {name}", hint=_HINT)
    lines.again(first)
    yield from (_jsonl if first.lstrip().startswith("{") else _csv)(lines, _builder(lines, provider, among))


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """A target file, to be read more than once; a pipe is copied.

    :raises ConfigurationError: if it cannot be read
    """
    try:
        source = open(file, "rb")  # noqa: SIM115 - the with below would also catch the body's errors
    except OSError as error:
        raise _unreadable(file, error) from None
    with source:
        if source.seekable():
            yield source
            return
        with copied(source, file) as copy:
            yield copy


@contextmanager
def copied(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """What can be read only once, in a file without a name.

    :raises ConfigurationError: if it cannot be read
    """
    with tempfile.TemporaryFile() as copy:
        try:
            shutil.copyfileobj(stream, copy)
        except OSError as error:
            raise _unreadable(name, error) from None
        yield copy


def _unreadable(name: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot read the target file: {name}: {error.strerror or error}")


_HINT = 'give a CSV whose header has dataset and document, or JSONL lines such as {"dataset": "…", "document": "…"}'


_WHOSE = "write the name of one of the job's providers into each line, or give the [[delete]] a provider"


class _Lines:
    """The lines of a file with their numbers: UTF-8 with or without a byte-order mark, any line ending, one line back."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.number = 0
        self._source = source
        self._name = name
        self._back: list[str] = []

    def again(self, line: str) -> None:
        """Let the next reading begin with ``line`` once more."""
        self.number -= 1
        self._back.append(line)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number += 1
        if self._back:
            return self._back.pop()
        raw = self._source.readline(LONGEST_LINE + 1)
        if not raw:
            raise StopIteration
        if len(raw) > LONGEST_LINE:
            raise self.wrong(f"longer than {LONGEST_LINE} bytes")
        if self.number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise self.wrong("UTF-16, not UTF-8; save the file as UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if b"\0" in raw:
            raise self.wrong("not text: it holds a null byte")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("not UTF-8 text") from None

    def wrong(self, what: str, line: int | None = None, hint: str = _HINT) -> TargetFileError:
        return TargetFileError(f"{self._name}, line {line or self.number}: {what}", hint=hint)


def _csv(lines: _Lines, build: Build) -> Iterator[Target]:
    rows = _rows(lines)
    number, header = next(rows, (1, [""]))
    columns = [cell.strip().casefold() for cell in header]
    for wanted in ("dataset", "document"):
        if columns.count(wanted) != 1:
            found = "no" if wanted not in columns else "more than one"
            raise lines.wrong(f"the header has {found} {wanted!r} column: {_short(','.join(header))}", number)
    dataset_at, document_at = columns.index("dataset"), columns.index("document")
    provider_at = columns.index("provider") if "provider" in columns else None
    for number, row in rows:
        if len(row) != len(columns):
            raise lines.wrong(
                f"{len(row)} columns where the header has {len(columns)}: {_short(','.join(row))}", number
            )
        yield build(number, read_cell(row[dataset_at].strip()), read_cell(row[document_at].strip()),
                    None if provider_at is None else read_cell(row[provider_at].strip()))  # fmt: skip


def _rows(lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV that are not blank, each with the number of its first line."""
    reader = csv.reader(lines, strict=True)
    while True:
        start = lines.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise lines.wrong(f"not CSV: {error}", start) from None
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield start, row


def _jsonl(lines: _Lines, build: Build) -> Iterator[Target]:
    for line in lines:
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            raise lines.wrong(f"not JSON: {_short(line.strip())}") from None
        if not isinstance(item, dict):
            raise lines.wrong(f"not a JSON object: {_short(line.strip())}")
        for wanted in ("dataset", "document"):
            if wanted not in item:
                raise lines.wrong(f"no {wanted!r}: {_short(line.strip())}")
            if not isinstance(item[wanted], str):
                raise lines.wrong(f"{wanted!r} is not a string: {_short(json.dumps(item[wanted]))}")
        named = item.get("provider")
        if named is not None and not isinstance(named, str):
            raise lines.wrong(f"'provider' is not a string: {_short(json.dumps(named))}")
        yield build(lines.number, item["dataset"].strip(), item["document"].strip(), named)


def _builder(lines: _Lines, provider: str, among: Container[str]) -> Build:
    """Checks one line's values and makes its target.

    Datasets are few and repeated on every line: interned, a million targets hold one string for each, not a million.
    """

    def build(number: int, dataset: str, document: str, named: str | None) -> Target:
        if not dataset:
            raise lines.wrong("the dataset is empty", number)
        if not document:
            raise lines.wrong("the document is empty", number)
        if not provider:
            if not named:
                raise lines.wrong("the provider is missing", number, _WHOSE)
            if named not in among:
                raise lines.wrong(f"for a provider that the job does not have: {_short(named)}", number, _WHOSE)
            return Target(sys.intern(named), sys.intern(dataset), document)
        if named and named != provider:
            hint = f"leave the provider out of the file, or write {sanitize(provider)} there, if the targets are its"
            raise lines.wrong(f"for another provider than {provider!r}: {_short(named)}", number, hint)
        return Target(provider, sys.intern(dataset), document)

    return build


def _short(words: str) -> str:
    return sanitize(words, _SHOWN)
