"""Where targets settle: each exactly once, counted, written to the record first, then handed on in pages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from bulkdel import events
from bulkdel.engine.job import Job
from bulkdel.engine.log import warn
from bulkdel.engine.pages import Batch, Pages
from bulkdel.errors import RunFileError
from bulkdel.model import Outcome, Settled
from bulkdel.report import Account, Counts


class Journal(Protocol):
    """Where settled targets are kept; returns only when they are safe."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None: ...


Consumer = Callable[[Batch], Awaitable[None]]


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
        self.remote_outcome_unknown = (
            False  # requests may be in flight elsewhere for targets that are not attempted here
        )
        self._journal = journal
        self._streamed = journal is None  # what is kept was counted as it was read
        self._consumer = consumer
        self._on_event = on_event
        self._on_journal_lost = on_journal_lost
        self._wall_ahead = time.time() - time.monotonic()

    def counts(self, provider: str, dataset: str) -> Counts:
        """The counts of one dataset in the account."""
        return self.account.dataset(provider, dataset).counts

    def settle(self, job: Job, outcome: Outcome, reason: str) -> None:
        """The one ending of ``job`` and of all occurrences that joined it."""
        target = job.target
        # Wall time advanced by the monotonic clock: a stepped clock cannot put an ending before its run began (S19).
        at = self._wall_ahead + time.monotonic()
        keys, settled = job.keys, Settled(target, outcome, reason, job.attempts, job.name, at)
        self.account.settle(self.counts(target.provider, target.dataset), outcome, len(keys))
        if self._streamed and len(keys) > 1:
            self.account.dataset(target.provider, target.dataset).repeated += len(keys) - 1
        if job.given is None:
            self.pages.add(keys, settled)
            return
        for key in keys:
            self.pages.add([key], settled._replace(target=job.given.get(key, target)))

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
