"""A run file open for work: every acknowledged row is on disk, and one process at a time writes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio

from bulkdel.engine.timeline import Sample
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Document, RunStatus, Selection, Settled, Target
from bulkdel.store import planning, schema, settling
from bulkdel.store.header import read_header, write_header
from bulkdel.store.opening import journal_of, take_hold
from bulkdel.store.samples import add_samples
from bulkdel.store.schema import Connect
from bulkdel.store.settling import Handed
from bulkdel.store.store import Store
from bulkdel.store.values import Added, Count, Known, Row, RunHeader, to_json
from bulkdel.store.writer import GROUP, Writer

T = TypeVar("T")

PAGE = 256
"""Documents handed over at a time: enough for the fastest service while the next page is fetched, and 100 KB. A crash leaves a page
in doubt."""

QUICK_S = 0.5
"""Where a page is worked off sooner than that, the next one is twice as large: each costs a commit."""

MOST = 2048
"""Documents in the largest page: 0.2 s of the fastest service, and 1 MB."""


class RunFile:
    """One run's plan, journal and evidence, held by this process until it is closed.

    Begin with ``await RunFile.create(...)`` or ``await RunFile.open(...)``, use it as an async context manager, and end with
    ``close``; leaving the block without having closed it is a session that crashed. All of it belongs to one
    event loop; every method may be called while others wait, and those that wait together share a commit.

    Every method raises RunFileError where the file cannot be written, now or earlier in this session: after such an error
    nothing more is written, so that what was acknowledged stays true.
    """

    def __init__(
        self, path: Path, header: RunHeader, session: int, journal: str, writer: Writer, now: Callable[[], float]
    ) -> None:
        """Not for callers: ``create`` and ``open`` make it."""
        self._path = path
        self._header = header
        self._session = session
        self._journal = journal
        self._writer = writer
        self._now = now
        self._began = time.monotonic()

    # ------------------------------------------------------------------ opening and closing

    @classmethod
    async def create(
        cls,
        path: str | os.PathLike[str],
        header: RunHeader,
        *,
        wal: bool = True,
        connect: Connect = schema.connect,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """A new run file at ``path``, which must not exist; readable for its owner alone.

        :param wal: keep a write-ahead log; without it, and where the file system cannot, a rollback journal
        :param connect: opens a SQLite URI
        :param now: the wall clock, in Unix seconds; it is only ever shown
        :raises RunFileError: where there is a file already, or none can be written
        """
        where = _resolved(path)

        def first(store: Store) -> tuple[RunHeader, int, str]:
            schema.create(store.connection)
            write_header(store.connection, header, now())
            session = store.begin(header.act, header.version, now())
            return read_header(store.connection, where), session, journal_of(store.connection)

        return await cls._start(where, lambda: take_hold(where, wal=wal, connect=connect, new=True), first, now)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        act: str = "resume",
        version: str = "",
        wal: bool = True,
        connect: Connect = schema.connect,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Go on with the run at ``path``: a new session of it begins. ``version`` is bulkdel's, empty for the file's own.

        :raises RunFileError: where it does not exist, is foreign, newer or damaged, cannot be written, or is held by another
            process, which is named
        """
        where = _resolved(path)

        def first(store: Store) -> tuple[RunHeader, int, str]:
            header = read_header(store.connection, where)
            session = store.begin(act, version or header.version, now())
            return header, session, journal_of(store.connection)

        return await cls._start(where, lambda: take_hold(where, wal=wal, connect=connect, new=False), first, now)

    @classmethod
    async def _start(
        cls,
        where: str,
        make: Callable[[], Store],
        first: Callable[[Store], tuple[RunHeader, int, str]],
        now: Callable[[], float],
    ) -> Self:
        writer = Writer(where, make)
        header, session, journal = await writer.start(first)
        return cls(Path(where), header, session, journal, writer, now)

    async def close(
        self, status: RunStatus | None, exit_status: int | None, *, reason: str = "", clean: bool = True
    ) -> None:
        """End the session and let go of the file, which is one plain file then. The second time, nothing.

        ``clean`` is whether everything that was handed over has settled or was not in flight any more.

        :raises RunFileError: where the end could not be written; the file is let go all the same
        """
        elapsed = time.monotonic() - self._began
        with anyio.CancelScope(shield=True):
            await self._writer.stop(lambda store: store.end(self._now(), elapsed, status, exit_status, reason, clean))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close(None, None, clean=False)
            return
        with contextlib.suppress(RunFileError):  # what is on its way already says more
            await self.close(None, None, reason=type(error).__name__, clean=False)

    @property
    def path(self) -> Path:
        """Where the file is, links resolved."""
        return self._path

    @property
    def header(self) -> RunHeader:
        """What was asked."""
        return self._header

    @property
    def session(self) -> int:
        """The number of this session, from 1."""
        return self._session

    @property
    def journal(self) -> str:
        """``wal``, or ``delete`` for a rollback journal."""
        return self._journal

    @property
    def failed(self) -> bool:
        """Whether the file could not be written: every call says so."""
        return self._writer.failed

    # ------------------------------------------------------------------ the plan

    async def add_dataset(
        self,
        provider: str,
        dataset: str,
        name: str = "",
        *,
        listing: bool = True,
        selection: Selection | None = None,
    ) -> int:
        """The key of a dataset; ``listing`` is whether its documents will be listed, ``selection`` its own where it is not the run's.

        Added again (a listing that did not end is read again), it keeps its key and its documents.

        :raises ConfigurationError: where the run's header has no such provider
        """
        said = None if selection is None else to_json(selection)
        return await self._do(lambda store: planning.add_dataset(store, provider, dataset, name, listing, said))

    async def add_documents(self, key: int, rows: Iterable[tuple[Document, str]]) -> Added:
        """Rows of a listing, in its order, each with why it is skipped (empty: it is selected).

        A document that the listing showed before is not counted again. Durable when it returns, 2,000 rows to a commit.
        """
        total = Added()
        for chunk in _chunks(rows):
            total += await self._do(partial(planning.add_documents, key=key, rows=chunk), len(chunk))
        return total

    async def add_targets(self, targets: Iterable[Target]) -> None:
        """Explicit targets in their order; a repeated one settles with its first occurrence.

        :raises ConfigurationError: where one names a provider that the run's header has not; those before it are kept
        """
        for chunk in _chunks(targets):
            await self.begin_targets(chunk)

    def begin_targets(self, targets: Sequence[Target]) -> asyncio.Future[None]:
        """``add_targets`` of one page without waiting for the disk; awaited by the caller, who may read the next
        page meanwhile."""
        writing = self._writer.begin(partial(planning.add_targets, targets=targets), len(targets))
        # Whoever gives up meanwhile does not await it; the next word to the file says the same.
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return writing

    async def mark_invalid(self, size: int, found: Sequence[tuple[int, str]]) -> None:
        """Of the ``size`` explicit targets that came last these are never sent, each by its place among them, from 0, and with why;
        for who looks at the plan later."""
        await self._do(partial(planning.mark_invalid, size=size, found=found), len(found))

    async def finish_targets(self) -> None:
        """All explicit targets were added; without this a run that resumes cannot know whether there were more."""
        await self._do(planning.finish_targets)

    async def describe(self, key: int, rows: Iterable[tuple[Document, str]]) -> int:
        """What a listing says now of documents that are in the run; those that are not are ignored. How many were.

        A reason with a row skips it, if it has not settled.

        :raises ConfigurationError: where documents of its provider were handed over in this session already
        """
        found = 0
        for chunk in _chunks(rows):
            found += await self._do(partial(planning.describe, key=key, rows=chunk), len(chunk))
        return found

    async def finish_listing(self, key: int, *, complete: bool, reason: str = "") -> Added:
        """The listing ended, ``complete`` or not; returns the dataset's counts over all sessions."""
        return await self._do(lambda store: planning.finish_listing(store, key, complete, reason))

    async def drop_documents(self, key: int) -> None:
        """Forget the documents of a dataset whose listing did not come to its end: none of them may be deleted (S15).

        :raises BrokenPromise: where one of them was asked for already
        """
        await self._do(lambda store: planning.drop_documents(store, key))

    async def known(self, key: int, documents: Sequence[str]) -> dict[str, Known]:
        """What the run knows of these documents of a dataset; one that is missing came newly."""
        return await self._do(lambda store: planning.known(store, key, documents))

    # ------------------------------------------------------------------ the journal

    def pages(self, provider: str, size: int | None = None) -> Pages:
        """Pages of selected documents that have not settled: ready ones first, then those that are being indexed.

        ``size`` is how many documents a page has; None for what suits: 256, and up to 2,048 where they are asked for in quick
        succession.

        Each document is handed over once a session. A page is marked on disk as handed over before it is given out. Where
        more documents are added after the last page, ask for pages again.
        """
        if size is not None and size < 1:
            raise ConfigurationError(f"a page must have at least one row: {size!r}")
        return Pages(self._do, provider, size)

    async def settled(self, batch: Iterable[tuple[int, Settled]]) -> None:
        """Write down how documents ended, each with the row it was handed over with; returns when it is on disk.

        ``not_attempted`` is no ending on disk: the document stays open, and where attempts were spent on it that is kept.
        ``attempts`` is kept as given. The same ending again is ignored.

        :raises BrokenPromise: where a document has ended otherwise before (S9), was skipped, or is not at that row
        """
        for chunk in _chunks(batch):
            await self._do(partial(settling.settle, batch=chunk, values=settling.flat(chunk)), len(chunk))

    async def retry_rejected(self) -> int:
        """Open again everything that was rejected, because the user asks for it; how many documents.

        A terminal status never changes by itself (S9): the ending that each had stays in the file's history, with the session
        that was told to try again, and what comes now is a second ending of a second ask. Fulfilled ones are never opened.

        :raises ConfigurationError: where documents were handed over in this session already
        """
        return await self._do(settling.retry_rejected)

    async def count(self, counts: Iterable[Count]) -> None:
        """Add to the run's counters."""
        given = list(counts)
        await self._do(lambda store: settling.count(store, given))

    async def add_samples(self, provider: str, samples: Sequence[Sample]) -> None:
        """How one provider's part of this session went, stretch by stretch; once, when it ends.

        :raises ConfigurationError: where the run's header has no such provider
        """
        given = list(samples)
        await self._do(partial(add_samples, provider=provider, samples=given), len(given))

    async def end_dataset(self, key: int, status: RunStatus, reason: str = "") -> None:
        """How the dataset came out, in one of the run's words."""
        await self._do(lambda store: planning.end_dataset(store, key, status, reason))

    async def verified(
        self,
        key: int,
        *,
        remaining: int | None,
        new: Sequence[str] = (),
        new_count: int | None = None,
        still_there: Sequence[str] = (),
        still_there_count: int | None = None,
    ) -> None:
        """What a listing after the deletes showed: how many remain, those that came newly, those that should be gone.

        Up to 20 of each are kept by name; the counts default to how many were given.
        """
        came = (new, len(new) if new_count is None else new_count)
        left = (still_there, len(still_there) if still_there_count is None else still_there_count)
        await self._do(lambda store: planning.verified(store, key, self._now(), remaining, came, left))

    async def _do(self, act: Callable[[Store], T], rows: int = 1) -> T:
        return await self._writer.do(act, rows)


class Pages:
    """Pages of rows that are to be deleted, as an async iterator; it may be left at any time."""

    def __init__(
        self, do: Callable[[Callable[[Store], Handed]], Awaitable[Handed]], provider: str, size: int | None
    ) -> None:
        self._do = do
        self._provider = provider
        self._size = size or PAGE
        self._most = size or MOST
        self._asked_at = -math.inf
        self._waiting = False
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Row]:
        now = time.monotonic()
        if now - self._asked_at < QUICK_S:
            self._size = min(2 * self._size, self._most)
        self._asked_at = now
        while not self._over:
            waiting = self._waiting
            page = await self._do(
                partial(settling.hand_over, provider=self._provider, waiting=waiting, size=self._size)
            )
            if page.over:
                self._waiting, self._over = True, waiting
            if rows := page.rows(self._provider):
                return rows
        raise StopAsyncIteration


def _resolved(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path)


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    left = iter(rows)
    while chunk := list(islice(left, GROUP)):
        yield chunk
