"""Looks at documents that are still being indexed, in as few requests as possible, and lets them go when they are ready."""

from __future__ import annotations

import asyncio

import anyio

from bulkdel.backoff import next_look
from bulkdel.engine.job import Job
from bulkdel.engine.lane import Lane
from bulkdel.engine.questions import GaveUp, ask_document, ask_page
from bulkdel.model import Document
from bulkdel.providers.protocol import Gone, Page, StopDataset, StopProvider


async def watch(lane: Lane) -> None:
    """Look at the lane's held documents until there are none and will be none; holds no worker.

    All held documents of a dataset are looked at together, at the times of ``next_look``, so that looks take at most
    a tenth of the time while there is other work. One that is still being indexed after ``Policy.indexing_timeout`` is settled
    as ``stuck_indexing``, after a last look. Documents that were refused go back to the lane when they are due.
    """
    since: dict[str, float] = {}
    next_at: dict[str, float] = {}
    policy, time = lane.policy, asyncio.get_running_loop().time
    while not lane.over:
        now = time()
        for job in lane.refused.take(now):
            lane.push(job)
        waiting = {target.dataset for target in lane.held}
        for dataset in waiting - next_at.keys():
            since[dataset], next_at[dataset] = now, now + policy.indexing_backoff
        for dataset in next_at.keys() - waiting:
            del next_at[dataset], since[dataset]
        due = {dataset for dataset in waiting if next_at[dataset] <= now}
        due |= {job.target.dataset for job in lane.held.values() if _expired(lane, job, now)}
        if due:
            for dataset in sorted(due):
                began = time()
                await _look(lane, dataset)
                now = time()
                u, cost = lane.channel.random.random(), lane.look_share * (now - began)
                waited = now - since[dataset]
                next_at[dataset] = now + next_look(
                    waited, policy.indexing_backoff, policy.indexing_backoff_cap, cost, u
                )
            for job in [job for job in lane.held.values() if _expired(lane, job, time())]:
                lane.settle_held(job, "stuck_indexing", f"still being indexed after {policy.indexing_timeout:g} s")
            continue
        ends = [_since(job) + policy.indexing_timeout for job in lane.held.values()]
        refused = () if lane.refused.due is None else (lane.refused.due,)
        wake_at = min([*next_at.values(), *ends, *refused], default=None)
        lane.held_changed = anyio.Event()  # no await since lane.over was asked: nothing can have changed unseen
        with anyio.move_on_after(None if wake_at is None else max(0.0, wake_at - now)):
            await lane.stop.unless(lane.held_changed.wait)


def _since(job: Job) -> float:
    assert job.indexing_since is not None  # set by Lane.offer before a job is held
    return job.indexing_since


def _expired(lane: Lane, job: Job, now: float) -> bool:
    return now >= _since(job) + lane.policy.indexing_timeout


async def _look(lane: Lane, dataset: str) -> None:
    """One look at every held document of a dataset: one by one, or a pass over the listing, whichever is fewer requests."""
    jobs = [job for target, job in lane.held.items() if target.dataset == dataset]
    size = lane.sizes.get(dataset)
    if size is not None:
        rows = max(size - lane.results.counts(lane.provider.name, dataset).deleted, len(jobs))
        if -(-rows // lane.provider.page_size) < len(jobs):
            jobs = await _look_at_listing(lane, dataset, {job.target.document: job for job in jobs})
    for job in jobs:
        found = await ask_document(lane.channel, job.target, lane.stop, lane.policy)
        match found:
            case Document():
                _seen(lane, job, found)
            case Gone():
                lane.settle_gone(job, found.reason)
            case StopDataset():
                lane.stop_dataset(dataset, found.reason)
                return
            case GaveUp():
                continue  # the next look asks again
            case StopProvider() | None:
                return


async def _look_at_listing(lane: Lane, dataset: str, jobs: dict[str, Job]) -> list[Job]:
    """A pass over the listing; returns the jobs that it did not show, to be asked for one by one.

    Rows shift while documents are deleted, so that a row that was not seen is not gone (contracts, dify.md).
    """
    cursor: str | None = None
    seen: set[str] = set()
    while jobs:
        page = await ask_page(lane.channel, dataset, cursor, lane.stop, lane.policy)
        match page:
            case Page():
                for document in page.items:
                    if (job := jobs.pop(document.id, None)) is not None:
                        _seen(lane, job, document)
                cursor = page.next
                if cursor is None or cursor in seen:  # a cursor that comes again leads to no new rows
                    break
                seen.add(cursor)
            case StopDataset():
                lane.stop_dataset(dataset, page.reason)
                return []
            case GaveUp() | StopProvider() | None:
                return []
    return list(jobs.values())


def _seen(lane: Lane, job: Job, document: Document) -> None:
    if document.indexing:
        return
    if document.archived and not lane.policy.unarchive:
        lane.settle_held(job, "archived", "archived since it was listed")
    else:
        lane.release(job, lane.provider.start(document, unarchive=lane.policy.unarchive))
