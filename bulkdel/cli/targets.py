"""Files of targets: checked whole before anything is sent, then read row by row in flat memory."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from bulkdel.cli.target_formats import Lines, rows, short
from bulkdel.errors import ConfigurationError
from bulkdel.model import Target
from bulkdel.text import has_invisible, sanitize, show_invisible

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider


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


class TargetFile:
    """A file of targets that was checked to its last line, and can be read again and again.

    ``counts`` are its targets by provider and dataset. ``source`` can be sought in; it is not closed here.
    """

    def __init__(self, source: BinaryIO, name: str, provider: str, providers: Mapping[str, Provider]) -> None:
        """
        :param provider: the name of the provider that all targets are for; empty if each row names one of ``providers``
        :raises TargetFileError: naming the file and the line, at the first line that is wrong
        """
        self._source, self._name, self._provider, self._providers = source, name, provider, providers
        self.counts = Counter((target.provider, target.dataset) for target in self)

    def __iter__(self) -> Iterator[Target]:
        """Every target from the beginning.

        :raises TargetFileError: if the file has changed for the worse since it was checked
        """
        self._source.seek(0)
        for target in read(self._source, self._name, self._provider, self._providers):
            # A dataset has one spelling, so that it is one in listings and in the account; a document settles as it was named.
            yield target._replace(dataset=self._providers[target.provider].canonical(target.dataset))


def read(source: BinaryIO, name: str, provider: str, among: Container[str] = ()) -> Iterator[Target]:
    """Every target in ``source``, in order, duplicates included; ``name`` is what messages call the file.

    If a row names a ``provider``, it must be this one; if ``provider`` is empty, each row must name one that is ``among`` those.

    :raises TargetFileError: naming the file and the line, at the first line that is wrong
    """
    lines = Lines(source, name)
    for number, row in rows(lines):
        dataset, document = _id(lines, number, row, "dataset"), _id(lines, number, row, "document")
        of = _provider(lines, number, row.get("provider"), provider, among)
        # Datasets are few and in every row: interned, a million targets hold one string for each, not a million.
        yield Target(sys.intern(of), sys.intern(dataset), document)


def _id(lines: Lines, number: int, row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise lines.wrong(f"no {column!r}", number)
    found = row[column]
    if not isinstance(found, str):
        raise lines.wrong(f"{column!r} is not a string: {short(found)}", number)
    if not found:
        raise lines.wrong(f"the {column} is empty", number)
    # Two ids that differ in it look the same, and the service says "no such document", which reads like a success.
    if has_invisible(found):
        raise lines.wrong(
            f"the {column} holds a character that cannot be seen: {show_invisible(found, 100)}",
            number,
            "remove it; the service's own ids have none",
        )
    return found


def _provider(lines: Lines, number: int, named: object, provider: str, among: Container[str]) -> str:
    """The provider that a row is for."""
    if named is not None and not isinstance(named, str):
        raise lines.wrong(f"'provider' is not a string: {short(named)}", number)
    if provider:
        if named and named != provider:
            hint = f"leave the provider out of the file, or write {sanitize(provider)} there, if the targets are its"
            raise lines.wrong(f"for another provider than {provider!r}: {short(named)}", number, hint)
        return provider
    each = "write the name of one of the job's providers into each line, or give the [[delete]] a provider"
    if not named:
        raise lines.wrong("the provider is missing", number, each)
    if named not in among:
        raise lines.wrong(f"for a provider that the job does not have: {short(named)}", number, each)
    return named
