"""One provider in one call: its gate, its schedule, its stop, and where its jobs end.

Who takes its jobs and settles them is a ``Workers``: README.md beside this module says what that may use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bulkdel import events
from bulkdel.engine.decide import not_attempted
from bulkdel.engine.gate import Gate
from bulkdel.engine.job import Job
from bulkdel.engine.progress import Wait
from bulkdel.engine.schedule import Schedule
from bulkdel.engine.sink import OutcomeSink
from bulkdel.engine.stop import Stop
from bulkdel.model import Outcome, Policy, Target
from bulkdel.providers.protocol import StopProvider
from bulkdel.report import Counts, DatasetReport, ProviderAccount


class Workers(Protocol):
    """Who carries out the jobs of a session: in this process ``LocalWorkers``, on other machines one given as ``Client(workers=…)``."""

    async def run(self, session: ProviderSession) -> None:
        """Take jobs until there will be none, or until a stop; return when nothing is in hand any more."""


@dataclass(slots=True)
class Remote:
    """What workers on other machines last reported: their requests in flight, and what most of them wait for."""

    in_flight: int = 0
    waits_for: tuple[Wait, str, float | None] | None = None


class ProviderSession:
    """Takes one provider's jobs in and settles every one of them, whatever happens."""

    def __init__(self, gate: Gate, policy: Policy, sink: OutcomeSink) -> None:
        self.gate = gate
        self.policy = policy
        self.sink = sink
        self.schedule = Schedule(Stop(), policy.indexing_backoff_cap)
        self.remote = Remote()
        self.latencies: deque[float] = deque(maxlen=1024)  # seconds that answers took, until the timeline takes them
        self.sizes: dict[str, int] = {}  # documents listed in each dataset, if a listing was made
        self.indexing_ahead = False  # documents that are being indexed will come in
        self.found_datasets: set[str] = set()  # datasets that a listing in this call showed to be there
        self.stopped_datasets: dict[str, str] = {}  # and why
        self.question_s = 0.0  # seconds that the answers to the questions of a look took
        self._resumes: asyncio.TimerHandle | None = None  # at the end of the pause

    @property
    def name(self) -> str:
        return self.gate.provider.name

    @property
    def stop(self) -> Stop:
        return self.schedule.stop

    @property
    def account(self) -> ProviderAccount:
        return self.sink.account.provider(self.name)

    @property
    def in_flight(self) -> int:
        """Requests that left and have not come back, here and on other machines; those of other calls among them."""
        return self.gate.in_flight + self.remote.in_flight

    @property
    def datasets(self) -> list[DatasetReport]:
        """The account of each of its datasets."""
        return [dataset for dataset in self.sink.account.datasets.values() if dataset.provider == self.name]

    @property
    def counts(self) -> Counts:
        """The sum of its datasets' counts."""
        return Counts.of(self.datasets)

    def __contains__(self, job: Job) -> bool:
        """Whether the job has not settled."""
        return self.schedule.pending.get(job.target) is job

    # ------------------------------------------------------------------ jobs in

    async def add(self, jobs: Sequence[Job]) -> None:
        """Take a page in; waits while the schedule or the sink is full. After a stop its jobs settle at once."""
        await self.schedule.add(jobs)
        if self.stop.reason is not None:
            for job in self.schedule.take(lambda job: True):
                self.settle_not_attempted(job)
        await self.sink.pages.room()

    async def run(self, workers: Workers) -> None:
        """Have the jobs carried out until all have settled, or until a stop; then settle what is left."""
        await workers.run(self)
        # Nothing is in hand any more: what is left waits, or was given up at a stop before its request left.
        for job in list(self.schedule.pending.values()):
            self.settle_not_attempted(job)

    def admit(self, job: Job) -> bool:
        """Whether the job has to be asked for; one whose ending is known without a request settles here."""
        target = job.target
        try:
            why = self.gate.provider.invalid(target.dataset, target.document)
        except Exception as error:
            self.bug(error)
            self.settle_not_attempted(job)
            return False
        if target.dataset in self.stopped_datasets:
            self.settle(job, "dataset_stopped", self.stopped_datasets[target.dataset])
        elif why:
            self.settle(job, "invalid_id", why)
        elif job.ending is not None:
            self.settle(job, job.ending, job.reason)
        else:
            return True
        return False

    async def next_page(self, most: int, least: int = 1) -> list[Job]:
        """Wait for ``least`` jobs that have to be asked for, and take up to ``most`` of them; empty when there will be none."""
        while page := await self.schedule.next_page(most, least):
            if page := [job for job in page if self.admit(job)]:
                break
        return page

    def put_back(self, job: Job, *, doubt: bool = False) -> None:
        """Have a job carried out anew; ``doubt``: a request for it may have been carried out."""
        job.doubt = job.doubt or doubt
        self.schedule.later(job)

    # ------------------------------------------------------------------ endings

    def settle(self, job: Job, outcome: Outcome, reason: str) -> None:
        """The one ending of a job.

        :raises KeyError: if it has settled before (S1)
        """
        self.schedule.remove(job)
        self.sink.settle(job, outcome, reason)

    def stop_dataset(self, dataset: str, reason: str) -> None:
        """Nothing in this dataset can be deleted: its jobs settle, those in flight as their answers come."""
        if dataset in self.stopped_datasets:
            return
        self.stopped_datasets[dataset] = reason
        self.sink.emit(events.Stopped(self.name, dataset, reason))
        for job in self.schedule.take(lambda job: job.target.dataset == dataset):
            self.settle(job, "dataset_stopped", reason)

    def settle_not_attempted(self, job: Job) -> None:
        """The job is left because of the stop."""
        stop = self.stop.reason
        ending = not_attempted(job, stop.reason if stop is not None else "the run ended")
        self.settle(job, ending.outcome, ending.reason)

    # ------------------------------------------------------------------ what happens on the way

    def requeued(self, target: Target, cause: str, reason: str, seconds: float) -> None:
        """Count and report that a target is asked again in so many seconds."""
        self.account.requeued[cause] += 1
        self.sink.emit(events.Requeued(target, cause, reason, seconds))

    def hear(self, event: events.Event) -> None:
        """Something happened at the gate, which other calls share."""
        if isinstance(event, events.Paused):
            self.account.pauses += 1
            self._resume_in(event.seconds)
        self.sink.emit(event)

    def _resume_in(self, seconds: float) -> None:
        self.close()
        self._resumes = asyncio.get_running_loop().call_later(seconds, self._resumed)

    def _resumed(self) -> None:
        left = self.gate.limiter.paused_s
        if left > 0:  # it was made longer
            self._resume_in(left)
        else:
            self.sink.emit(events.Resumed(self.name))

    def close(self) -> None:
        """The call is over."""
        if self._resumes is not None:
            self._resumes.cancel()

    def paused(self, seconds: float, reason: str) -> None:
        """A pause began on another machine: the gate knows of it, the call is informed here."""
        self.gate.pause_reason = reason
        self.hear(events.Paused(self.name, reason, seconds))

    def bug(self, error: Exception) -> None:
        """A bug, ours or a provider's: nothing more leaves to this provider, and the report says what happened."""
        self.sink.bug(error)
        words = f"a bug in bulkdel or in the provider {self.name} raised: {type(error).__name__}"
        self.gate.stop(StopProvider(words))
