"""Where targets come from: a sequence, or any iterable, read in pages and added to the sessions they belong to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
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

Ahead = asyncio.Queue[Job | None]
"""Jobs read ahead for one session; None is the last."""

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
        # Read ahead of a slow provider, so that it does not slow another one: about 20 MB. With one provider a few pages do.
        most = 100_000 if len(call.sessions) > 1 else 4 * PAGE
        ahead = {name: Ahead(most) for name in call.sessions}
        raised: Exception | None = None
        async with anyio.create_task_group() as group:
            for name, queue in ahead.items():
                group.start_soon(_add_queued, call.sessions[name], queue, prepare)
            try:
                await _read(call, targets, ahead)
            except Exception as error:
                raised = error
                call.account.input_truncated = True
                call.stop(StopReason("incomplete", f"the targets could not be read to the end: {type(error).__name__}"))
            for queue in ahead.values():
                await queue.put(None)
        if raised is not None:
            raise raised

    return feed


async def _add_queued(session: ProviderSession, queue: Ahead, prepare: Prepare | None) -> None:
    more = True
    while more:
        page = [await queue.get()]
        while len(page) < PAGE and not queue.empty():
            page.append(queue.get_nowait())
        more = page[-1] is not None
        jobs = [job for job in page if job is not None]
        count_in(session.sink.account, jobs)
        await _add(session, jobs, prepare)


async def _read(call: Call, targets: Iterable[Target] | AsyncIterable[Target], ahead: Mapping[str, Ahead]) -> None:
    """Put each target into the queue of its provider."""
    key = 0

    async def take(target: object) -> None:
        nonlocal key
        if key % PAGE == 0:
            await call.sink.pages.room()
            await asyncio.sleep(0)
        if not isinstance(target, Target):
            raise TypeError(f"target number {key + 1} is no Target: {type(target).__name__}")
        if target.provider in ahead:
            job = Job.of(key, target, call.sessions[target.provider].gate.provider)
            await ahead[target.provider].put(
                job
            )  # the last await: a stop before it leaves the target to be taken again
        else:
            count_in(call.account, [Job(key, target)])
            why = f"no provider of this call is named {target.provider!r}"
            call.sink.settle(Job(key, target), "invalid_id", why)
        key += 1

    if not isinstance(targets, AsyncIterable):
        for target in targets:
            await take(target)
        return
    iterator = aiter(targets)
    in_hand: list[Target] = []

    async def pull() -> None:
        async for target in iterator:
            in_hand.append(target)
            await take(target)
            in_hand.clear()

    if not await call.run_until_stopped(pull):
        for target in in_hand:
            await take(target)
        call.account.input_truncated = True
        close: Any = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
