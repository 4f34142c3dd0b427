"""A lane whose targets are worked off elsewhere: packed into shards, and settled here when their endings come home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import anyio

from bulkdel import events
from bulkdel.distributed.board import Ending, Row, Words
from bulkdel.distributed.shard import MOST, OUT, Item, size, spread, worth
from bulkdel.engine.channel import Channel
from bulkdel.engine.job import Job
from bulkdel.engine.lane import FRESH, Lane
from bulkdel.engine.results import Results
from bulkdel.engine.stop import Stop
from bulkdel.model import Outcome, Policy, Target
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


class RemoteLane(Lane):
    """As ``Lane``, but nothing of a document's delete leaves from here."""

    window = (OUT + 2) * MOST  # targets that are out or wait to be; about 14 MB

    def __init__(self, channel: Channel, stop: Stop, policy: Policy, results: Results, *, submitter: Submitter) -> None:
        super().__init__(channel, stop, policy, results)
        self.out: dict[str, Out] = {}
        self._submitter = submitter
        self._stirred = anyio.Event()
        self._indexing: set[Target] = set()  # a worker is to wait for them before it asks
        self._most_out, _ = spread(channel.provider)
        submitter.join(self)
        stop.listen(self.stir)

    # ------------------------------------------------------------------ taking in

    async def offer(self, jobs: Sequence[Job]) -> None:
        """As ``Lane.offer``; documents that are being indexed are waited for where they are worked off."""
        for job in jobs:
            if job.held:
                self._indexing.add(job.target)
                job.held = False
        await super().offer(jobs)
        self.stir()

    def fed(self) -> None:
        super().fed()
        self.stir()

    @property
    def indexing(self) -> int:
        return len(self._indexing)

    def stir(self) -> None:
        """Something changed: there is more to pack, something came home, or a stop was set."""
        self._stirred.set()

    # ------------------------------------------------------------------ packing

    async def run(self) -> None:
        """Pack and send until everything has come home, or until a stop; then settle what is left."""
        resent = False
        try:
            while not self.over and not self._submitter.down:
                self._stirred = anyio.Event()
                if self._ready():
                    if jobs := self._pack():
                        await self._submitter.send(self, jobs)
                    continue
                if self._fed and not resent:
                    resent = True
                    await self._submitter.send_found(self)
                    continue
                await self._stirred.wait()
            if self.stop.reason is not None:
                await self._submitter.recall(self)
            while self.out and not self._submitter.down:  # what is in flight ends, and last words are told
                self._stirred = anyio.Event()
                await self._stirred.wait()
        finally:
            self._submitter.part(self)
        for job in list(self._here.values()):
            self._settle_not_attempted(job)

    @property
    def _worth(self) -> int:
        return worth(self._per_second, self._most_out)

    @property
    def _per_second(self) -> float | None:
        """What all together may send; pacing's own word is this process' share."""
        rate = self.channel.pacing.rate
        return None if rate is None else rate.per_second

    def _size(self) -> int:
        return size(sum(self.sizes.values()) or None, self._per_second, self._worth)

    def _ready(self) -> bool:
        """Whether it is time for another shard."""
        enough = len(self._queue.fresh) >= self._size() or self._fed or len(self._here) >= self.window
        return bool(self._queue.fresh) and enough and len(self.out) < self._worth

    def _pack(self) -> list[Job]:
        """Documents for a new shard, without those that an earlier submitter queued."""
        fresh, most = self._queue.fresh, self._size()
        jobs: list[Job] = []
        while fresh and len(jobs) < most:
            job = fresh.popleft()
            if job.target in self._here and not self._submitter.knows(self, job):
                jobs.append(job)
        if self._room is not None and len(fresh) < FRESH // 2:
            self._make_room()
        return jobs

    def item(self, job: Job) -> Item:
        """A job as a message tells it."""
        held = job.target in self._indexing
        return Item(job.key, job.target, step=job.step, held=held, doubt=job.doubt, listed=job.listed)

    # ------------------------------------------------------------------ coming home

    def heard(self, out: Out, words: Words) -> None:
        """A worker told what happened."""
        self.channel.requests += words.requests
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
        if job.target in self._here:  # else its dataset was stopped meanwhile
            job.attempts = row.attempts
            self._indexing.discard(job.target)
            self._settle(job, cast("Outcome", row.outcome), row.reason)

    def ended(self, out: Out, ending: Ending) -> None:
        """A shard is over: what has no ending goes into another, unless a stop was set."""
        self._drop(out)
        for key, n in ending.tried:
            if key in out.jobs:
                out.jobs[key].doubt, out.jobs[key].attempts = True, n
        if ending.bug:
            self.bug(WorkerBug(ending.bug))
        if ending.stopped:
            self.channel.stop(StopProvider(ending.stopped, ending.hint))
        self._again(out)

    def lost(self, out: Out) -> None:
        """Nobody will tell anything of this shard any more; requests of it may be in flight."""
        self._drop(out)
        self.results.adrift = True
        for job in out.jobs.values():
            job.doubt = True
        self._again(out)

    def called_back(self, out: Out) -> None:
        """Nobody had begun it."""
        self._drop(out)
        self._again(out)

    def _again(self, out: Out) -> None:
        self._queue.fresh.extend(job for job in out.jobs.values() if job.target in self._here)
        self.stir()

    def _drop(self, out: Out) -> None:
        self._flying(out, 0)
        self.out.pop(out.id, None)
        self._ask_around()

    def _flying(self, out: Out, n: int) -> None:
        self.channel.elsewhere += n - out.in_flight
        out.in_flight = n

    def _ask_around(self) -> None:
        """What most of those wait for who said anything."""
        said = [out.waits for out in self.out.values() if out.waits is not None]
        most = Counter(cause for cause, _, _ in said).most_common(1)
        self.told = next(one for one in said if one[0] == most[0][0]) if most else None

    def _event(self, event: list[object]) -> None:
        match event:
            case ["requeued", str(dataset), str(document), str(cause), str(reason), int() | float() as wait]:
                target = Target(self.provider.name, dataset, document)
                self.results.account.provider(target.provider).requeued[cause] += 1
                self.results.emit(events.Requeued(target, cause, reason, wait))
            case ["paused", str(reason), int() | float() as wait]:
                self.channel.tell_of_pause(wait, reason)
            case ["stopped", str(dataset), str(reason)]:
                self.stop_dataset(dataset, reason)
            case _:
                pass
