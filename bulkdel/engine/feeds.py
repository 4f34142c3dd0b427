"""Where targets come from: a sequence, or any iterable, read in pages and handed to the lanes they belong to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Sequence
from itertools import islice, repeat
from typing import Any

import anyio

from bulkdel.engine.engine import Engine, Feed
from bulkdel.engine.job import Job
from bulkdel.engine.lane import Lane
from bulkdel.engine.stop import StopReason
from bulkdel.model import Target
from bulkdel.report import Account

PAGE = 64
"""Targets handed over at a time: below 1 µs each, where a target at a time through a stream costs 4 to 16 µs. Three objects a
target, and 700 new ones start the garbage collector: with pages of 256 it ran 28 times for 10,000 targets, so 18 times."""

AHEAD = 100_000
"""Targets read ahead of a slow provider, so that it does not slow another that shares its iterable; about 20 MB."""


def from_sequence(targets: Sequence[Target]) -> list[Feed]:
    """A feed per provider over the same sequence: each reads on at its own pace and nobody waits for another.

    All occurrences of a target go in with its first one, however far apart they are (S4).
    """
    further = _further(targets)

    def feed_for(name: str) -> Feed:
        async def feed(engine: Engine) -> None:
            lane, page = engine.lanes[name], list[Job]()
            for key, target in enumerate(targets):
                if target.provider == name:
                    job = Job(key, target)
                    if further:
                        keys = further.get(target)
                        if keys is not None:
                            if key != keys[0]:
                                continue
                            job.also = keys[1:]
                    page.append(job)
                    if len(page) == PAGE:
                        count_in(engine.results.account, page)
                        await lane.offer(page)
                        page = []
                        await asyncio.sleep(0)
            if page:
                count_in(engine.results.account, page)
                await lane.offer(page)

        return feed

    return [feed_for(name) for name in dict.fromkeys(target.provider for target in targets)]


def from_jobs(jobs: Sequence[Job], name: str) -> Feed:
    """A feed of jobs that were made elsewhere, all of one provider."""

    async def feed(engine: Engine) -> None:
        for start in range(0, len(jobs), PAGE):
            page = jobs[start : start + PAGE]
            count_in(engine.results.account, page)
            await engine.lanes[name].offer(page)

    return feed


def count_in(account: Account, jobs: Iterable[Job]) -> None:
    """Count targets that come in, every occurrence: the engine itself counts only how they end."""
    for job in jobs:
        n = 1 if job.also is None else 1 + len(job.also)
        counts = account.dataset(job.target.provider, job.target.dataset).counts
        counts.listed += n
        counts.selected += n


def _further(targets: Sequence[Target]) -> dict[Target, list[int]]:
    """The places of each target that stands more than once."""
    if len(set(targets)) == len(targets):
        return {}
    places: dict[Target, list[int]] = {}
    for key, target in enumerate(targets):
        places.setdefault(target, []).append(key)
    return {target: keys for target, keys in places.items() if len(keys) > 1}


def from_iterable(targets: Iterable[Target] | AsyncIterable[Target]) -> Feed:
    """A feed over any iterable, read once. Occurrences of a target coalesce while the first of them has not settled.

    After a stop a synchronous iterable is read to its end, so that every target settles (as not attempted); an
    asynchronous one is left where it is, since it may never come to an end. Where the iterable raises, nothing more is
    sent, what was read settles, and the error goes to the caller.
    """

    async def feed(engine: Engine) -> None:
        raised: Exception | None = None
        async with anyio.create_task_group() as group:
            reader = _Reader(engine)
            for queue in reader.queues.values():
                group.start_soon(queue.run)
            try:
                if isinstance(targets, AsyncIterable):
                    await reader.read_async(targets)
                else:
                    await reader.read(targets)
            except Exception as error:
                raised = error
                engine.results.unread = True
                engine.stop(
                    StopReason("incomplete", f"the targets could not be read to the end: {type(error).__name__}")
                )
            finally:
                for queue in reader.queues.values():
                    queue.close()
        if raised is not None:
            raise raised

    return feed


class _Reader:
    """Reads targets and puts each in its lane's queue."""

    def __init__(self, engine: Engine) -> None:
        # With one provider there is nobody to slow down: a few pages keep its lane fed.
        ahead = AHEAD if len(engine.lanes) > 1 else 4 * PAGE
        self.queues = {name: _Ahead(lane, engine.results.account, ahead) for name, lane in engine.lanes.items()}
        self._engine = engine
        self._key = 0

    async def read(self, targets: Iterable[Target]) -> None:
        iterator = iter(targets)
        while self._take(islice(iterator, PAGE)) == PAGE:
            await self._room()

    async def read_async(self, targets: AsyncIterable[Target]) -> None:
        iterator = aiter(targets)

        async def pull() -> None:
            async for target in iterator:
                self._take((target,))
                if self._key % PAGE == 0:
                    await self._room()

        if not await self._engine.halt.unless(pull):
            self._engine.results.unread = True
            close: Any = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def _take(self, targets: Iterable[object]) -> int:
        """Put targets where they belong; how many there were. What came before the iterable raised settles, too."""
        queues, first = self.queues, self._key
        key = first
        try:
            for target in targets:
                if not isinstance(target, Target):
                    raise TypeError(f"target number {key + 1} is no Target: {type(target).__name__}")
                job = Job(key, target)
                key += 1
                queue = queues.get(target.provider)
                if queue is None:
                    self._settle_unknown(job)
                else:
                    queue.jobs.append(job)
        finally:
            self._key = key
            for queue in queues.values():
                queue.wake()
        return key - first

    def _settle_unknown(self, job: Job) -> None:
        results, target = self._engine.results, job.target
        job.counts = results.counts(target.provider, target.dataset)
        count_in(results.account, (job,))
        results.settle(job, "invalid_id", f"no provider of this call is named {target.provider!r}")

    async def _room(self) -> None:
        for queue in self.queues.values():
            await queue.room()
        await self._engine.results.room()
        await asyncio.sleep(0)


class _Ahead:
    """Jobs read ahead for one lane."""

    def __init__(self, lane: Lane, account: Account, most: int) -> None:
        self._lane = lane
        self._account = account
        self._most = most
        self.jobs: deque[Job] = deque()
        self._changed = anyio.Event()
        self._closed = False

    def wake(self) -> None:
        """Jobs were appended."""
        self._changed.set()

    async def room(self) -> None:
        while len(self.jobs) >= self._most:
            self._changed = anyio.Event()
            await self._changed.wait()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def run(self) -> None:
        while True:
            while self.jobs:
                page = list(map(deque.popleft, repeat(self.jobs, min(PAGE, len(self.jobs)))))
                count_in(self._account, page)
                await self._lane.offer(page)
                self._changed.set()
                await asyncio.sleep(0)
            if self._closed:
                return
            self._changed = anyio.Event()
            await self._changed.wait()
