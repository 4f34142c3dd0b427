"""Where targets settle: each exactly once, counted, written to the record first, then handed on in pages."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio

from bulkdel import events
from bulkdel.engine.job import Job
from bulkdel.errors import RunFileError
from bulkdel.model import Outcome, Settled
from bulkdel.report import Account

Batch = list[tuple[int, Settled]]
"""Settled targets with their occurrence's key."""


class Journal(Protocol):
    """Where settled targets are kept; returns only when they are safe."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None: ...


Consumer = Callable[[Batch], Awaitable[None]]


class Pages:
    """Collects settled targets until a page is full or the first of them has waited for a moment.

    A hand-over costs 20 µs, and at 10,000 answers a second only two or three come in one turn of the loop.

    :param size: targets that make a page
    :param interval_s: seconds that a target waits for others
    """

    def __init__(self, size: int, interval_s: float) -> None:
        self.full = False  # too many wait to be taken: workers wait for ``room``
        self._size, self._interval_s = size, interval_s
        self._waiting: Batch = []
        self._changed = asyncio.Event()
        self._closed = False

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()

    def add(self, key: int, settled: Settled) -> None:
        self._waiting.append((key, settled))
        n = len(self._waiting)
        self.full = n >= 2_000  # twice what a run file is given at a time
        if n == 1 or n == self._size:
            self._wake()

    async def room(self) -> None:
        """Wait until settled targets were taken: a slow consumer holds the workers back, not the memory (S18)."""
        while self.full:
            await self._changed.wait()

    def close(self) -> None:
        """Nothing more settles."""
        self._closed = True
        self._wake()

    async def take(self) -> Batch:
        """Wait for a page; empty when there will be none."""
        while not self._waiting and not self._closed:
            await self._changed.wait()
        with anyio.move_on_after(self._interval_s):
            while len(self._waiting) < self._size and not self._closed:
                await self._changed.wait()
        return self.take_now()

    def take_now(self) -> Batch:
        """Everything that waits."""
        batch, self._waiting = self._waiting, []
        self.full = False
        self._wake()
        return batch


class OutcomeSink:
    """Takes each target's one ending.

    ``settle`` counts it into the account; ``deliver`` runs beside the engine and hands pages to the journal, then to the
    listener, then to the consumer, in that order, so that nothing is shown that is not on record (S10).
    """

    def __init__(
        self,
        account: Account,
        *,
        journal: Journal | None = None,
        consumer: Consumer | None = None,
        on_event: events.OnEvent | None = None,
        on_journal_lost: Callable[[RunFileError], None] | None = None,
    ) -> None:
        self.account = account
        # Around each commit two threads wait for each other: larger pages then, which no screen is too slow for.
        self.pages = Pages(256, 0.01) if journal is None else Pages(1_000, 0.1)
        self.bugs: list[Exception] = []  # what raised that never should
        self.journal_lost = False
        # Requests may be in flight elsewhere for targets that are not attempted here.
        self.remote_outcome_unknown = False
        self._journal = journal
        self._streamed = journal is None  # what is kept was counted as it was read
        self._consumer = consumer
        self._on_event = on_event
        self._on_journal_lost = on_journal_lost
        self._wall_ahead = time.time() - time.monotonic()

    def settle(self, job: Job, outcome: Outcome, reason: str) -> None:
        """The one ending of ``job`` and of all occurrences that joined it."""
        target, others = job.target, job.others
        # Wall time advanced by the monotonic clock: a stepped clock cannot put an ending before its run began (S19).
        at = self._wall_ahead + time.monotonic()
        settled = Settled(target, outcome, reason, job.attempts, job.name, at)
        dataset = self.account.dataset(target.provider, target.dataset)
        if others is None:
            self.account.settle(dataset.counts, outcome)
            self.pages.add(job.key, settled)
            return
        occurrences = {job.key: target} | others
        self.account.settle(dataset.counts, outcome, len(occurrences))
        if self._streamed:
            dataset.repeated += len(occurrences) - 1
        for key, spelled in occurrences.items():
            self.pages.add(key, settled._replace(target=spelled))

    def emit(self, event: events.Event) -> None:
        """Call the listener; if it raises, that harms nothing but its own call, and is reported (S13)."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            warn("on_event raised; the run goes on", event_type=type(event).__name__, error=type(error).__name__)

    def bug(self, error: Exception) -> None:
        """Something raised that never should: the run ends in order, and its report says so (exit status 70)."""
        self.bugs.append(error)
        warn("a bug in bulkdel or a provider", error=type(error).__name__)

    # ------------------------------------------------------------------ handing on

    async def deliver(self) -> None:
        """Hand settled targets on until ``close``; what was settled is on record even if this is cancelled."""
        try:
            while batch := await self.pages.take():
                await self._record(batch)
                if self._on_event is not None:
                    for _, settled in batch:
                        self.emit(events.Settled(settled))
                if self._consumer is not None:
                    await self._consumer(batch)
        finally:
            if self._journal is not None and (batch := self.pages.take_now()):
                with anyio.CancelScope(shield=True):
                    await self._record(batch)

    async def _record(self, batch: Batch) -> None:
        """Write to the journal. If it is lost, sends stop, and what is in flight settles in memory only."""
        if self._journal is None:
            return
        try:
            # A cancellation between two commits of one batch would leave the second part off the record.
            with anyio.CancelScope(shield=True):
                await self._journal.settled(batch)
        except RunFileError as error:
            self.lose_journal(error)

    def lose_journal(self, error: RunFileError) -> None:
        """The run file is gone: sends stop."""
        if not self.journal_lost:
            self._journal, self.journal_lost = None, True
            if self._on_journal_lost is not None:
                self._on_journal_lost(error)


def warn(message: str, **values: Any) -> None:
    """Log a warning, through structlog if the program has configured it, through ``logging`` otherwise.

    The library never prints and configures nothing. structlog that was not configured prints to the program's stdout.
    """
    structlog = sys.modules.get("structlog")  # a program that has configured it has imported it
    if structlog is not None and structlog.is_configured():
        structlog.get_logger("bulkdel").warning(message, **values)
    else:
        logging.getLogger("bulkdel").warning("%s (%s)", message, ", ".join(f"{k}: {v}" for k, v in values.items()))
