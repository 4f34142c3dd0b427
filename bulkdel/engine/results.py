"""Where targets settle: each exactly once, counted, written to the record first, then handed on in pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from bulkdel import events
from bulkdel.engine.job import Job
from bulkdel.errors import BrokenPromise, RunFileError
from bulkdel.model import Outcome, Settled
from bulkdel.report import Account, Counts

BUFFER = 2_000
"""Settled targets that may wait to be handed on before workers wait too; twice what a run file is given at a time."""

PAGE = 256
"""Settled targets that are handed on at once, without waiting for more."""

LINGER_S = 0.01
"""Seconds that a settled target waits for others, to be handed on with them: a hand-over costs 20 µs, and at 10,000 answers a
second only two or three come in one turn of the loop."""

LINGER_TO_DISK_S = 0.1
PAGE_TO_DISK = 1_000
"""The same with a journal: around each commit the two threads wait for each other some thirty times, which costs more than it does.
A crash leaves as many endings unsaid, and they are asked again; no screen is drawn as often."""

Batch = list[tuple[int, Settled]]
"""Settled targets with their occurrence's key."""


class Journal(Protocol):
    """Where settled targets are kept; returns only when they are safe."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None: ...


Consumer = Callable[[Batch], Awaitable[None]]


class Results:
    """Takes each target's one ending.

    The engine counts every occurrence that it takes in and calls ``settle`` for every job that ends; ``deliver`` runs beside
    it and hands pages to the journal, then to the listener, then to the consumer, in that order, so that nothing is shown
    that is not on record (S10).
    """

    def __init__(
        self,
        *,
        journal: Journal | None = None,
        consumer: Consumer | None = None,
        on_event: events.OnEvent | None = None,
        account: Account | None = None,
    ) -> None:
        self.account = Account() if account is None else account
        self.bugs: list[Exception] = []
        self.journal_lost = False
        self.unread = False  # targets were left where they are: how many is not known
        self.adrift = False  # another process may have requests in flight for targets that settled as not attempted
        self.on_journal_lost: Callable[[str], None] | None = None
        self._journal = journal
        self._linger_s, self._page = (LINGER_S, PAGE) if journal is None else (LINGER_TO_DISK_S, PAGE_TO_DISK)
        self._consumer = consumer
        self._on_event = on_event
        self.full = False  # whoever settles is to wait for ``room``
        self._buffer: Batch = []
        self._ripens: asyncio.TimerHandle | None = None  # runs from the first target in the buffer on
        self._ripe = False
        self._awaits: asyncio.Future[None] | None = None
        self._room: anyio.Event | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._wall_ahead = time.time() - time.monotonic()

    # ------------------------------------------------------------------ taking in

    def counts(self, provider: str, dataset: str) -> Counts:
        """The counts of one dataset in the account."""
        return self.account.dataset(provider, dataset).counts

    def settle(self, job: Job, outcome: Outcome, reason: str = "") -> None:
        """The one ending of ``job`` and of all occurrences that were coalesced into it."""
        # Wall time advanced by the monotonic clock: a stepped clock cannot put an ending before its run began (S19).
        settled = Settled(
            job.target, outcome, reason, job.attempts, job.name, self._wall_ahead + time.monotonic()
        )  # fmt: skip
        buffer = self._buffer
        buffer.append((job.key, settled))
        n = 1
        if job.also is not None:
            buffer += [(key, settled) for key in job.also]
            n += len(job.also)
        self.account.settle(job.counts, outcome, n)
        if len(buffer) >= self._page:
            self.full = len(buffer) >= BUFFER
            if not self._ripe:
                self._ripen()
        elif self._ripens is None:
            self._ripens = self._loop.call_later(self._linger_s, self._ripen)

    async def room(self) -> None:
        """Wait until settled targets were handed on: a slow consumer holds the workers back, not the memory."""
        while self.full:
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()

    def emit(self, event: events.Event) -> None:
        """Tell the listener; one that throws harms nothing but its own call, and is reported (S13)."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            import structlog  # with rich behind it, a quarter of what aiohttp takes to import

            structlog.get_logger("bulkdel").warning(
                "on_event raised; the run goes on", event_type=type(event).__name__, error=type(error).__name__
            )

    def bug(self, error: Exception) -> None:
        """Something raised that never should: the run ends in order, and its report says so (exit status 70)."""
        self.bugs.append(error)
        import structlog  # with rich behind it, a quarter of what aiohttp takes to import

        structlog.get_logger("bulkdel").error("a bug in bulkdel or a provider", error=type(error).__name__)

    # ------------------------------------------------------------------ handing on

    async def deliver(self) -> None:
        """Hand settled targets on until ``close``; what was settled is on record even where this is cancelled."""
        try:
            while True:
                if self._buffer and (self._ripe or self._closed):
                    await self._hand_on(self._take())
                elif self._closed:
                    return
                else:
                    self._awaits = asyncio.get_running_loop().create_future()
                    await self._awaits
                    self._awaits = None
        finally:
            if self._buffer and self._journal is not None:
                with anyio.CancelScope(shield=True):
                    await self._record(self._take())

    def close(self) -> None:
        """Nothing more settles."""
        self._closed = True
        self._ripen()

    def _ripen(self) -> None:
        self._ripe = True
        if self._awaits is not None and not self._awaits.done():
            self._awaits.set_result(None)

    def _take(self) -> Batch:
        batch, self._buffer = self._buffer, []
        self._ripe = self.full = False
        if self._ripens is not None:
            self._ripens.cancel()
            self._ripens = None
        if self._room is not None:
            self._room.set()
            self._room = None
        return batch

    async def _hand_on(self, batch: Batch) -> None:
        await self._record(batch)
        if self._on_event is not None:
            for _, settled in batch:
                self.emit(events.Settled(settled))
        if self._consumer is not None:
            await self._consumer(batch)

    async def _record(self, batch: Batch) -> None:
        """Write to the journal; where it is lost, sends stop and what is in flight is settled in memory only."""
        if self._journal is None:
            return
        try:
            # A cancellation between two commits of one batch would leave the second part off the record.
            with anyio.CancelScope(shield=True):
                await self._journal.settled(batch)
        except RunFileError as error:
            self.lose_journal(error)

    def lose_journal(self, error: RunFileError) -> None:
        """The run file is gone: sends stop, and what is in flight is settled in memory only."""
        if not self.journal_lost:
            self._journal, self.journal_lost = None, True
            if self.on_journal_lost is not None:
                self.on_journal_lost(str(error))

    # ------------------------------------------------------------------ the account

    def check(self) -> None:
        """:raises BrokenPromise: where something was taken in and did not settle, or settled twice (S1, S21)"""
        for (provider, dataset), report in self.account.datasets.items():
            c = report.counts
            if c.selected != c.settled:
                raise BrokenPromise(
                    f"{provider}/{dataset}: {c.selected} targets came in, but {c.deleted} deleted + {c.already_gone}"
                    f" already gone + {c.rejected} rejected + {c.not_attempted} not attempted came out"
                )
