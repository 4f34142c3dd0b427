"""Where targets come from: a sequence, or any iterable, read in pages and added to the sessions they belong to."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
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


def count_in(account: Account, jobs: Iterable[Job]) -> None:
    """Count targets that come in, every occurrence; the engine counts how they end."""
    for (provider, dataset), n in Counter([job.target[:2] for job in jobs]).items():
        account.dataset(provider, dataset).counts.select(n, n)


async def _add(session: ProviderSession, jobs: Iterable[Job], prepare: Prepare | None = None) -> None:
    """Add jobs page by page."""
    iterator = iter(jobs)
    while page := list(islice(iterator, PAGE)):
        if prepare is not None:
            await prepare(session, page)
        await session.add(page)
        await asyncio.sleep(0)


def from_jobs(jobs: Sequence[Job], name: str) -> Feed:
    """A feed of jobs that were made elsewhere, all of one provider."""

    async def feed(call: Call) -> None:
        count_in(call.account, jobs)
        await _add(call.sessions[name], jobs)

    return feed


def from_sequence(targets: Sequence[Target], prepare: Prepare | None = None) -> list[Feed]:
    """A feed per provider over the same sequence: each reads on at its own pace, and none waits for another.

    All occurrences of a target go in with its first one, however far apart they are (S4).
    """

    def feed_for(name: str) -> Feed:
        async def feed(call: Call) -> None:
            session = call.sessions[name]
            await _add(session, _jobs_of(call.account, targets, session.gate.provider), prepare)

        return feed

    return [feed_for(name) for name in dict.fromkeys(target.provider for target in targets)]


def _jobs_of(account: Account, targets: Sequence[Target], provider: Provider) -> Iterator[Job]:
    """The provider's targets as jobs, each with all of its occurrences in whichever spelling; all are counted in at first."""
    seen: set[Target] = set()
    further: dict[Target, list[int]] = {}
    datasets: Counter[str] = Counter()
    for key, target in enumerate(targets):
        if target.provider == provider.name:
            spelled = spelled_by_service(target, provider)
            datasets[spelled.dataset] += 1
            if spelled in seen:
                further.setdefault(spelled, []).append(key)
            seen.add(spelled)
    del seen
    for dataset, n in datasets.items():
        account.dataset(provider.name, dataset).counts.select(n, n)
    joined: set[int] = set()
    for key, target in enumerate(targets):
        if target.provider != provider.name or key in joined:
            continue
        job = Job.of(key, target, provider)
        for other in further.pop(job.target, ()):
            job.join(Job.of(other, targets[other], provider))
            joined.add(other)
        yield job


def from_iterable(targets: Iterable[Target] | AsyncIterable[Target], prepare: Prepare | None = None) -> Feed:
    """A feed over any iterable, read once. Occurrences of a target coalesce while the first of them has not settled.

    After a stop a synchronous iterable is read to its end, so that every target settles (as not attempted); an
    asynchronous one is left where it is, since it may never come to an end. If the iterable raises, nothing more is
    sent, what was read settles, and the error goes to the caller.
    """

    async def feed(call: Call) -> None:
        raised: Exception | None = None
        async with anyio.create_task_group() as group:
            reader = _Reader(call)
            for ahead in reader.ahead.values():
                group.start_soon(ahead.run, prepare)
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
                    ahead.closed = True
                    ahead.changed.set()
        if raised is not None:
            raise raised

    return feed


class _Reader:
    """Reads targets and gives each to its session."""

    def __init__(self, call: Call) -> None:
        # Read ahead of a slow provider, so that it does not slow another one: about 20 MB. With one provider a few pages do.
        self._most = 100_000 if len(call.sessions) > 1 else 4 * PAGE
        self.ahead = {name: _Ahead(session) for name, session in call.sessions.items()}
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
                    ahead.jobs.append(Job.of(self._key, target, ahead.session.gate.provider))
                self._key += 1
        finally:
            for ahead in self.ahead.values():
                ahead.changed.set()
        return self._key - first

    def _settle_unknown(self, job: Job) -> None:
        count_in(self._call.account, [job])
        self._call.sink.settle(job, "invalid_id", f"no provider of this call is named {job.target.provider!r}")

    async def _room(self) -> None:
        for ahead in self.ahead.values():
            while len(ahead.jobs) >= self._most:
                await ahead.change()
        await self._call.sink.pages.room()
        await asyncio.sleep(0)


class _Ahead:
    """Jobs read ahead for one session."""

    def __init__(self, session: ProviderSession) -> None:
        self.session = session
        self.jobs: deque[Job] = deque()
        self.changed = anyio.Event()
        self.closed = False

    async def run(self, prepare: Prepare | None) -> None:
        """Add what was read until there will be no more."""
        while self.jobs or not self.closed:
            if not self.jobs:
                await self.change()
                continue
            page = [self.jobs.popleft() for _ in range(min(PAGE, len(self.jobs)))]
            count_in(self.session.sink.account, page)
            await _add(self.session, page, prepare)
            self.changed.set()

    async def change(self) -> None:
        self.changed = anyio.Event()
        await self.changed.wait()
