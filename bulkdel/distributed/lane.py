"""A session's jobs carried out on other machines: packed into shards, and settled here when their endings come home."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import anyio

from bulkdel.distributed.board import Ending, Row, Words
from bulkdel.distributed.shard import MOST, OUT, Item, size, spread, worth
from bulkdel.engine.job import Job
from bulkdel.engine.session import ProviderSession
from bulkdel.model import Outcome, Target
from bulkdel.providers.protocol import StopProvider

if TYPE_CHECKING:
    from bulkdel.distributed.submit import Submitter
    from bulkdel.engine.progress import Wait


@dataclass(slots=True)
class Out:
    """A shard that is out: its documents without an ending, by their keys.

    ``word`` is what the board said of it when it was queued again for a lost worker. ``found``: an earlier submitter queued it.
    """

    id: str
    lane: RemoteLane
    jobs: dict[int, Job]
    in_flight: int = 0
    waits: tuple[Wait, str, float | None] | None = None
    word: str | None = None
    found: bool = False


class WorkerBug(Exception):
    """Raised nowhere: stands for what a worker's engine raised, which is a bug."""


class RemoteLane:
    """Nothing of a document's delete leaves from here."""

    def __init__(self, session: ProviderSession, submitter: Submitter) -> None:
        self.session = session
        self.out: dict[str, Out] = {}
        self._submitter = submitter
        self._stirred = anyio.Event()
        self._most_out, _ = spread(session.gate.provider)
        session.schedule.window = (OUT + 2) * MOST  # targets that are out or wait to be; about 14 MB
        submitter.join(self)
        session.stop.listen(self.stir)

    def stir(self) -> None:
        """Something changed: something came home, or a stop was set."""
        self._stirred.set()

    # ------------------------------------------------------------------ packing

    async def run(self) -> None:
        """Pack and send until everything has come home, or until a stop."""
        session = self.session
        try:
            await self._pack()
            if session.stop.reason is not None:
                await self._submitter.recall(self)
            while self.out and not self._submitter.down:  # what is in flight ends, and last words are told
                self._stirred = anyio.Event()
                await self._stirred.wait()
        finally:
            self._submitter.part(self)

    async def _pack(self) -> None:
        session, resent = self.session, False
        while not session.schedule.over and not self._submitter.down:
            if len(self.out) >= self._worth:
                self._stirred = anyio.Event()
                await self._stirred.wait()
                continue
            jobs: list[Job] | None = None
            with anyio.move_on_after(0.5):  # to look whether the submitter is down
                jobs = await session.next_page(self._size(), self._size())
            if jobs is None:
                if session.schedule.closed and not resent:
                    resent = True
                    await self._submitter.send_found(self)
            elif jobs := [job for job in jobs if not self._submitter.knows(self, job)]:
                await self._submitter.send(self, jobs)

    @property
    def _worth(self) -> int:
        return worth(self._per_second, self._most_out)

    @property
    def _per_second(self) -> float | None:
        """What all together may send; pacing's own word is this process' share."""
        rate = self.session.gate.limiter.rate
        return None if rate is None else rate.per_second

    def _size(self) -> int:
        return size(sum(self.session.sizes.values()) or None, self._per_second, self._worth)

    def item(self, job: Job) -> Item:
        """A job as a message tells it."""
        held = job.awaiting_indexing
        return Item(job.key, job.target, step=job.step, held=held, doubt=job.doubt, listed=job.listed)

    # ------------------------------------------------------------------ coming home

    def heard(self, out: Out, words: Words) -> None:
        """A worker told what happened."""
        self.session.account.requests += words.requests
        self._flying(out, words.in_flight)
        out.waits = cast("tuple[Wait, str, float | None] | None", words.waits)
        self._ask_around()
        for row in words.rows:
            job = out.jobs.pop(row.key, None)
            if job is not None:  # else it was told twice
                self.came_home(job, row)
        for event in words.events:
            self._event(event)
        self.stir()

    def came_home(self, job: Job, row: Row) -> None:
        """A document's one ending."""
        if job in self.session:  # else its dataset was stopped meanwhile
            job.attempts = row.attempts
            self.session.settle(job, cast("Outcome", row.outcome), row.reason)

    def ended(self, out: Out, ending: Ending) -> None:
        """A shard is over: what has no ending goes into another, unless a stop was set."""
        self._drop(out)
        for key, n in ending.tried:
            if key in out.jobs:
                out.jobs[key].doubt, out.jobs[key].attempts = True, n
        if ending.bug:
            self.session.bug(WorkerBug(ending.bug))
        if ending.stopped:
            self.session.gate.stop(StopProvider(ending.stopped, ending.hint))
        self._again(out)

    def lost(self, out: Out) -> None:
        """Nobody will tell anything of this shard any more; requests of it may be in flight."""
        self._drop(out)
        self.session.sink.remote_outcome_unknown = True
        for job in out.jobs.values():
            job.doubt = True
        self._again(out)

    def called_back(self, out: Out) -> None:
        """Nobody had begun it."""
        self._drop(out)
        self._again(out)

    def _again(self, out: Out) -> None:
        for job in out.jobs.values():
            if job in self.session:
                self.session.put_back(job)
        self.stir()

    def _drop(self, out: Out) -> None:
        self._flying(out, 0)
        self.out.pop(out.id, None)
        self._ask_around()

    def _flying(self, out: Out, n: int) -> None:
        self.session.remote.in_flight += n - out.in_flight
        out.in_flight = n

    def _ask_around(self) -> None:
        """What most of those wait for who said anything."""
        said = [out.waits for out in self.out.values() if out.waits is not None]
        most = Counter(cause for cause, _, _ in said).most_common(1)
        self.session.remote.waits_for = next(one for one in said if one[0] == most[0][0]) if most else None

    def _event(self, event: list[object]) -> None:
        match event:
            case ["requeued", str(dataset), str(document), str(cause), str(reason), int() | float() as wait]:
                target = Target(self.session.name, dataset, document)
                self.session.requeued(target, cause, reason, wait)
            case ["paused", str(reason), int() | float() as wait]:
                self.session.paused(wait, reason)
            case ["stopped", str(dataset), str(reason)]:
                self.session.stop_dataset(dataset, reason)
            case _:
                pass
