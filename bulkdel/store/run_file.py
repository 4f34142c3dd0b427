"""A run file open for work: every acknowledged row is on disk, and one process at a time writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from bulkdel.engine.timeline import Sample
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Document, Rate, RunStatus, Settled, Target
from bulkdel.report import DatasetReport, ProviderAccount
from bulkdel.store import database, journal, planning
from bulkdel.store.database import Connect, Database, MemoryDatabase
from bulkdel.store.reading import read_header
from bulkdel.store.records import ClaimedPage, ClaimedRow, DocumentState, ListedRow, RunHeader
from bulkdel.store.writer import Act, MemoryWriter, T, Writer


class RunFile:
    """One run's plan, journal and evidence, held by this process until it is closed; in memory if it has no path.

    Begin with ``await RunFile.create(...)`` or ``await RunFile.open(...)``, use it as an async context manager, and end with
    ``close``; leaving the block without having closed it is a session that crashed. All of it belongs to one
    event loop; every method may be called while others wait, and those that wait together share a commit.

    Every method raises RunFileError if the file cannot be written, now or earlier in this session: after such an error
    nothing more is written, so that what was acknowledged stays true.
    """

    def __init__(
        self, path: Path | None, header: RunHeader, session: int, writer: Writer, now: Callable[[], float]
    ) -> None:
        """Not for callers: ``create`` and ``open`` make it."""
        self.path = path
        self.header = header
        self.session = session
        self._writer = writer
        self._now = now
        self._began = time.monotonic()
        self._adding: asyncio.Future[None] | None = None  # the page of targets that is being written

    # ------------------------------------------------------------------ opening and closing

    @classmethod
    async def create(
        cls,
        path: str | os.PathLike[str] | None,
        header: RunHeader,
        *,
        wal: bool = True,
        connect: Connect = database.connect,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """A new run at ``path``, which must not exist; readable for its owner alone. None keeps it in memory.

        :param wal: keep a write-ahead log; without it, and if the file system cannot, a rollback journal
        :param connect: opens a SQLite URI
        :param now: the wall clock, in Unix seconds; it is only ever shown
        :raises RunFileError: if there is a file already, or none can be written
        """

        def lay_out(db: sqlite3.Connection) -> tuple[RunHeader, int]:
            database.lay_out(db)
            kept = planning.write_header(db, header, now())
            return kept, planning.begin_session(db, header.act, header.version, now())

        if path is None:
            return await cls._start(None, MemoryDatabase, lay_out, now)
        where = _resolved(path)
        return await cls._start(
            where, lambda: Database.open_exclusive(where, new=True, wal=wal, connect=connect), lay_out, now
        )

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        act: str = "resume",
        version: str = "",
        wal: bool = True,
        connect: Connect = database.connect,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Go on with the run at ``path``: a new session of it begins. ``version`` is bulkdel's, empty for the file's own.

        :raises RunFileError: if it does not exist, is foreign, newer or damaged, cannot be written, or is held by another
            process, which is named
        """
        where = _resolved(path)

        def begin(db: sqlite3.Connection) -> tuple[RunHeader, int]:
            header = read_header(db, where)
            return header, planning.begin_session(db, act, version or header.version, now())

        return await cls._start(
            where, lambda: Database.open_exclusive(where, new=False, wal=wal, connect=connect), begin, now
        )

    @classmethod
    async def _start(
        cls,
        path: str | None,
        open_database: Callable[[], Database],
        first: Act[tuple[RunHeader, int]],
        now: Callable[[], float],
    ) -> Self:
        writer = MemoryWriter("memory", open_database) if path is None else Writer(path, open_database)
        header, session = await writer.start(first)
        return cls(None if path is None else Path(path), header, session, writer, now)

    async def close(
        self,
        status: RunStatus | None,
        exit_status: int | None,
        *,
        reason: str = "",
        clean: bool = True,
        elapsed_s: float | None = None,
    ) -> None:
        """End the session and let go of the file, which is one plain file then. The second time, nothing.

        ``clean`` is whether everything that was claimed has settled or was not in flight any more. ``elapsed_s`` is what the
        session took in the caller's account; None for the time since the file was opened.

        :raises RunFileError: if the end could not be written; the file is let go all the same
        """
        took = time.monotonic() - self._began if elapsed_s is None else elapsed_s
        ended = (self._now(), took, status, exit_status, reason, clean)
        with anyio.CancelScope(shield=True):  # the file must be let go, whatever is cancelled meanwhile
            await self._writer.stop(lambda db: planning.end_session(db, self.session, *ended))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer.closed:
            return
        if error is None:
            await self.close(None, None, clean=False)
            return
        with contextlib.suppress(RunFileError):  # what is on its way already says more
            await self.close(None, None, reason=type(error).__name__, clean=False)

    # ------------------------------------------------------------------ the plan

    async def begin_listing(self, provider: str, dataset: str, name: str = "") -> None:
        """A dataset's listing begins; ``name`` is safe to show, empty if it is not known.

        What an earlier session listed of it without coming to the end is dropped.
        """
        await self._do(lambda db: planning.begin_listing(db, provider, dataset, name))

    async def add_listed(self, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
        """Keep rows that are not known yet, and return those; the same id again is the same document."""
        return await self._do(lambda db: planning.add_listed(db, provider, dataset, rows))

    async def end_listing(
        self, provider: str, dataset: str, *, complete: bool, reason: str = "", counted: int | None = None
    ) -> None:
        """The listing ended. If it is not complete its rows are dropped: nothing of it may be deleted (S15).

        ``counted`` is the service's own count, if the listing never shows as many.
        """
        await self._do(lambda db: planning.end_listing(db, provider, dataset, complete, reason, counted))

    async def add_targets(
        self,
        targets: Sequence[Target],
        invalid: Sequence[tuple[int, str]] = (),
        given: Mapping[int, Target] | None = None,
    ) -> None:
        """Keep explicit targets, every occurrence, before the first of them is claimed.

        One page is written while the caller reads the next; what was wrong with it is raised by the next call, and with the
        last one by ``end_targets``. ``invalid`` are those of this page that are never sent, each by its place in it, from
        0, and with why; ``given`` those that the caller spelled otherwise than their service, by their place, as they were.

        :raises ConfigurationError: if one names a provider that the run's header has not; nothing of its page is kept
        """
        await self._targets_added()
        self._adding = self._writer.begin(lambda db: planning.add_targets(db, targets, invalid, given or {}))
        # A caller that gives up meanwhile does not await it; the next call to the file says the same.
        self._adding.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def end_targets(self, *, complete: bool) -> dict[tuple[str, str], int]:
        """Explicit targets were given as far as they were read; ``complete``: there are no more.

        Returns how many of each dataset's repeat a document, by provider and dataset.
        """
        await self._targets_added()
        return await self._do(lambda db: planning.end_targets(db, complete))

    async def _targets_added(self) -> None:
        adding, self._adding = self._adding, None
        if adding is not None:
            await adding

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        """Keep what a listing shows of explicit targets; other documents are ignored. Returns how many were the run's."""
        return await self._do(lambda db: planning.describe(db, provider, dataset, documents))

    async def record_consent(self, selected: int) -> None:
        """The guards and the user agreed to all ``selected`` documents of the run."""
        await self._do(lambda db: planning.record_consent(db, selected))

    async def record_estimate(self, seconds: float | None, learned: Mapping[str, tuple[Rate, float]]) -> None:
        """How long the deletes of a plan will take, in seconds, and the rates that an earlier run learned, with how many
        seconds ago, by provider."""
        await self._do(lambda db: planning.record_estimate(db, seconds, learned))

    async def states(self, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
        """What became of each document; None for one that is not in the run."""
        return await self._do(lambda db: planning.states(db, provider, dataset, ids))

    # ------------------------------------------------------------------ the journal

    async def pages(self, provider: str, size: int | None = None) -> AsyncIterator[list[ClaimedRow]]:
        """The selected documents that have not settled, in pages: ready ones first, those being indexed last.

        Each is claimed once a session, and is marked so on disk before it is given out. If documents are added after the
        last page, ask for pages again. ``size`` is how many documents a page has; None for what suits: 256, and up to 2,048
        if they are asked for in quick succession, for each page costs a commit.

        :raises ConfigurationError: if the run has no such provider
        """
        if size is not None and size < 1:
            raise ConfigurationError(f"a page must have at least one row: {size!r}")
        most = size or 256
        for indexing in (False, True):
            after, over = 0, False
            while not over:
                asked_at = time.monotonic()
                page = await self._claim(provider, indexing, after, most)
                after, over = page.last, page.over
                if page.rows:
                    yield page.rows
                if size is None and time.monotonic() - asked_at < 0.5:
                    most = min(2 * most, 2048)

    async def _claim(self, provider: str, indexing: bool, after: int, size: int) -> ClaimedPage:
        return await self._do(lambda db: journal.claim(db, self.session, provider, indexing, after, size))

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Write down how documents ended, each at the row it was claimed with; returns when it is on disk.

        ``not_attempted`` is no ending on disk: the document stays open, and if attempts were spent on it that is kept.
        The same ending again is ignored.

        :raises BrokenPromise: if a document has ended otherwise before (S9), was skipped, or is not at that row
        """
        await self._do(lambda db: journal.settle(db, batch))

    async def retry_rejected(self) -> int:
        """Open again everything that was rejected, because the user asks for it; how many documents.

        A terminal status never changes by itself (S9): the ending that each had stays in the file's history, with the session
        that was asked to try again, and what comes now is a second ending of a second ask. Fulfilled ones are never opened.
        """
        return await self._do(lambda db: journal.retry_rejected(db, self.session))

    async def count_in_doubt(self, *, clean: bool) -> dict[tuple[str, str], int]:
        """How many documents of each dataset have not settled and may be gone all the same, by provider and dataset;
        ``clean`` as for ``close``."""
        return await self._do(lambda db: journal.count_in_doubt(db, self.session if clean else None))

    async def end_dataset(self, report: DatasetReport) -> None:
        """How a dataset came out, its verification included."""
        await self._do(lambda db: journal.end_dataset(db, report, self._now()))

    # ------------------------------------------------------------------ what it cost

    async def record_costs(self, providers: Mapping[str, ProviderAccount]) -> None:
        """What each provider cost, over all sessions, in the place of what was written down before."""
        await self._do(lambda db: journal.record_costs(db, providers))

    async def add_samples(self, provider: str, samples: Sequence[Sample]) -> None:
        """How one provider's part of this session went, stretch by stretch; once, when it ends.

        :raises ConfigurationError: if the run's header has no such provider
        """
        await self._do(lambda db: journal.add_samples(db, self.session, provider, samples))

    async def _do(self, act: Act[T]) -> T:
        return await self._writer.do(act)


def _resolved(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path)
