"""Where targets come from: a sequence, or any iterable, read in pages and added to the sessions they belong to."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import anyio

from bulkdel.engine.call import Call, Feed
from bulkdel.engine.job import Job, spelled_by_service
from bulkdel.engine.session import ProviderSession
from bulkdel.engine.stop import StopReason
from bulkdel.model import Target
from bulkdel.providers.protocol import Provider
from bulkdel.report import Account

PAGE = 64
"""Targets added at a time: below 1 µs each, where one at a time through a stream costs 4 to 16 µs. Larger pages keep more objects
young at once: with 256 the garbage collector ran 28 times for 10,000 targets, so 18 times."""


Prepare = Callable[[ProviderSession, list[Job]], Awaitable[None]]
"""Completes what is known of jobs before they are added to their session."""


async def _as_they_are(session: ProviderSession, jobs: list[Job]) -> None:
    """Nothing more is known of them."""


def count_in(account: Account, targets: Iterable[Target]) -> None:
    """Count targets that come in, every occurrence, in their service's spelling; the engine counts how they end."""
    for (provider, dataset), n in Counter((target.provider, target.dataset) for target in targets).items():
        account.dataset(provider, dataset).counts.select(n, n)


def from_sequence(targets: Sequence[Target], prepare: Prepare = _as_they_are) -> list[Feed]:
    """A feed per provider over the same sequence: each reads on at its own pace, and none waits for another.

    All occurrences of a target go in with its first one, however far apart they are (S4).
    """

    def feed_for(name: str) -> Feed:
        async def feed(call: Call) -> None:
            session, page = call.sessions[name], list[Job]()
            provider = session.gate.provider
            further = _count_in_own(call.account, targets, provider)
            for key, target in enumerate(targets):
                if target.provider != name:
                    continue
                job = Job.of(key, target, provider)
                if further and job.target in further:
                    if key in further[job.target]:
                        continue  # it went in with the first one
                    for other in further[job.target]:
                        job.join(Job.of(other, targets[other], provider))
                page.append(job)
                if len(page) == PAGE:
                    await prepare(session, page)
                    await session.add(page)
                    page = []
                    await asyncio.sleep(0)
            await prepare(session, page)
            await session.add(page)

        return feed

    return [feed_for(name) for name in dict.fromkeys(target.provider for target in targets)]


def _count_in_own(account: Account, targets: Sequence[Target], provider: Provider) -> dict[Target, dict[int, None]]:
    """Count the provider's targets in; returns the further places of those that stand more than once, in whichever spelling."""
    seen: set[Target] = set()
    further: dict[Target, dict[int, None]] = {}
    datasets: Counter[str] = Counter()
    for key, target in enumerate(targets):
        if target.provider == provider.name:
            spelled = spelled_by_service(target, provider)
            datasets[spelled.dataset] += 1
            if spelled in seen:
                further.setdefault(spelled, {})[key] = None
            seen.add(spelled)
    for dataset, n in datasets.items():
        account.dataset(provider.name, dataset).counts.select(n, n)
    return further


def from_jobs(jobs: Sequence[Job], name: str) -> Feed:
    """A feed of jobs that were made elsewhere, all of one provider."""

    async def feed(call: Call) -> None:
        count_in(call.account, (job.target for job in jobs))
        for start in range(0, len(jobs), PAGE):
            await call.sessions[name].add(jobs[start : start + PAGE])

    return feed


def from_iterable(targets: Iterable[Target] | AsyncIterable[Target], prepare: Prepare = _as_they_are) -> Feed:
    """A feed over any iterable, read once. Occurrences of a target coalesce while the first of them has not settled.

    After a stop a synchronous iterable is read to its end, so that every target settles (as not attempted); an
    asynchronous one is left where it is, since it may never come to an end. If the iterable raises, nothing more is
    sent, what was read settles, and the error goes to the caller.
    """

    async def feed(call: Call) -> None:
        raised: Exception | None = None
        async with anyio.create_task_group() as group:
            reader = _Reader(call, prepare)
            for ahead in reader.ahead.values():
                group.start_soon(ahead.run)
            try:
                if isinstance(targets, AsyncIterable):
                    await reader.read_async(targets)
                else:
                    await reader.read(targets)
            except Exception as error:
                raised = error
                call.account.input_truncated = True
                call.stop(StopReason("incomplete", f"the targets could not be read to the end: {type(error).__name__}"))
            finally:
                for ahead in reader.ahead.values():
                    ahead.close()
        if raised is not None:
            raise raised

    return feed


class _Reader:
    """Reads targets and gives each to its session."""

    def __init__(self, call: Call, prepare: Prepare) -> None:
        # Read ahead of a slow provider, so that it does not slow another one: about 20 MB. With one provider a few pages do.
        most = 100_000 if len(call.sessions) > 1 else 4 * PAGE
        self.ahead = {name: _Ahead(session, most, prepare) for name, session in call.sessions.items()}
        self._call = call
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

        if not await self._call.run_until_stopped(pull):
            self._call.account.input_truncated = True
            close: Any = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def _take(self, targets: Iterable[object]) -> int:
        """Put targets where they belong; returns how many there were. What came before the iterable raised settles, too."""
        first = self._key
        try:
            for target in targets:
                if not isinstance(target, Target):
                    raise TypeError(f"target number {self._key + 1} is no Target: {type(target).__name__}")
                ahead = self.ahead.get(target.provider)
                if ahead is None:
                    self._settle_unknown(Job(self._key, target))
                else:
                    ahead.jobs.append(Job.of(self._key, target, ahead.provider))
                self._key += 1
        finally:
            for ahead in self.ahead.values():
                ahead.changed.set()
        return self._key - first

    def _settle_unknown(self, job: Job) -> None:
        count_in(self._call.account, (job.target,))
        self._call.sink.settle(job, "invalid_id", f"no provider of this call is named {job.target.provider!r}")

    async def _room(self) -> None:
        for ahead in self.ahead.values():
            await ahead.room()
        await self._call.sink.pages.room()
        await asyncio.sleep(0)


class _Ahead:
    """Jobs read ahead for one session."""

    def __init__(self, session: ProviderSession, most: int, prepare: Prepare) -> None:
        self.provider = session.gate.provider
        self._session = session
        self._most = most
        self._prepare = prepare
        self.jobs: deque[Job] = deque()
        self.changed = anyio.Event()
        self._closed = False

    async def room(self) -> None:
        while len(self.jobs) >= self._most:
            await self._change()

    def close(self) -> None:
        self._closed = True
        self.changed.set()

    async def run(self) -> None:
        while self.jobs or not self._closed:
            if not self.jobs:
                await self._change()
                continue
            page = [self.jobs.popleft() for _ in range(min(PAGE, len(self.jobs)))]
            count_in(self._session.sink.account, (job.target for job in page))
            await self._prepare(self._session, page)
            await self._session.add(page)
            self.changed.set()
            await asyncio.sleep(0)

    async def _change(self) -> None:
        self.changed = anyio.Event()
        await self.changed.wait()
