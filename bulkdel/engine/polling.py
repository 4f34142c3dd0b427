"""What waits for the service: asked about in as few requests as possible.

Three conditions are waited for: a document is being indexed; the service holds a lock on it; the answer to its DELETE was lost,
and the service has to show whether it is still there. A further one needs a provider's answer and a word in ``Look.asks``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable

from bulkdel.backoff import next_look
from bulkdel.engine.decide import Wait, gone
from bulkdel.engine.gate import Exchange
from bulkdel.engine.job import Job
from bulkdel.engine.questions import GaveUp, ask_document, ask_page, ask_together, side_by_side
from bulkdel.engine.schedule import Look
from bulkdel.engine.session import ProviderSession
from bulkdel.model import ANSWER_LOST, Document, Outcome
from bulkdel.providers.protocol import Ask, Gone, Page, Requeue, StopDataset, StopProvider


def wait_until_ready(session: ProviderSession, job: Job) -> None:
    """Have a job wait whose document was shown as being indexed: no DELETE is sent before it is shown as ready."""
    policy, now = session.policy, _begin_wait(session, job)
    seconds = min(policy.indexing_backoff, policy.indexing_timeout)
    session.schedule.look_later(job, "state", now + seconds)
    session.requeued(job.target, "document_indexing", "still being indexed", seconds)


def wait_for_service(session: ProviderSession, job: Job, wait: Wait, exchange: Exchange) -> None:
    """Have a job wait because the service refused ``exchange``, on its own budget, which spends no attempt (S2)."""
    schedule, policy, now = session.schedule, session.policy, _begin_wait(session, job)
    job.step = wait.step
    if wait.cause == "document_locked":
        job.waits_for = "locked"
        if wait.at_most is not None:
            job.wait_ends_at = min(job.wait_ends_at, now + wait.at_most)
    if wait.after is not None:
        # The service says when: good news of another document does not bring it forward (S7).
        seconds = min(max(wait.after, policy.indexing_backoff), wait.left)
        schedule.later(job, seconds)
    else:
        together = session.gate.provider.request_together([job.target], job.step) is not None
        cost = (1 if together else schedule.refused_for_indexing + 1) * _cost_of_one(session, exchange)
        seconds = min(_until_next_look(session, now - (job.waiting_since or now), cost), wait.left)
        if together:
            schedule.look_later(job, job.step, now + seconds)
        else:
            schedule.later(job, seconds, indexing=True)
    session.requeued(job.target, wait.cause, wait.reason, seconds)


def wait_for_evidence(session: ProviderSession, job: Job, seconds: float) -> None:
    """Have a job whose answer was lost wait until the service shows whether its document is still there.

    :param seconds: to the look at the latest; all of a dataset are looked at together
    """
    # Looks take a tenth of the time here, too.
    due = asyncio.get_running_loop().time() + max(seconds, 10 * session.question_s)
    job.waits_for = "evidence"
    session.schedule.look_later(job, "gone", due)


def _begin_wait(session: ProviderSession, job: Job) -> float:
    """The job waits for the service from its first time on; the loop's time."""
    now = asyncio.get_running_loop().time()
    if job.waiting_since is None:
        job.waiting_since = now
    job.waits_for, job.wait_ends_at = "indexing", job.waiting_since + session.policy.indexing_timeout
    return now


def _cost_of_one(session: ProviderSession, exchange: Exchange) -> float:
    """Seconds of the provider's time that asking once takes."""
    allowed = session.gate.pace.allowed_per_second
    if allowed is not None:
        return 1 / allowed
    # At least 25 ms: a service that refuses in no time would be asked for 334 documents 300 times a second.
    took = exchange.took_s / session.gate.slots.total_tokens if session.schedule.busy else 0.0
    return max(took, 0.025)


def _until_next_look(session: ProviderSession, waited: float, cost: float) -> float:
    """Seconds to the next look, of which one costs ``cost`` seconds of the provider's time.

    Looks take a tenth of the time while there is other work, a quarter of it otherwise.
    """
    policy, share = session.policy, 10 if session.schedule.busy else 4
    u = session.gate.random.random()
    return next_look(waited, policy.indexing_backoff, policy.indexing_backoff_cap, share * cost, u)


async def poll(session: ProviderSession) -> None:
    """Look at what waits, as each look is due, until there will be nothing more to wait for; holds no worker."""
    try:
        while (look := await session.schedule.next_look()) is not None:
            await ask_about(session, look)
    except Exception as error:
        session.bug(error)  # the session settles what is left


async def ask_about(session: ProviderSession, look: Look) -> None:
    """Ask about all jobs of a look; its jobs are nowhere else meanwhile."""
    session.question_s = 0.0
    try:
        match look.asks:
            case "gone":
                await _ask_whether_gone(session, look)
            case "state":
                await _ask_whether_ready(session, look)
            case _:
                await _ask_together(session, look)
    finally:
        if look.asks != "gone":
            _put_back(session, look)
        else:  # what could not be found out is asked for again, too
            for job in look.jobs.values():
                session.schedule.later(job)


def _put_back(session: ProviderSession, look: Look) -> None:
    """Settle the jobs for which nothing more is asked; the others are looked at again."""
    schedule, policy, now = session.schedule, session.policy, asyncio.get_running_loop().time()
    stopped, timeout = session.stopped_datasets.get(look.dataset), policy.indexing_timeout
    for job in list(look.jobs.values()):
        if stopped is not None:
            _end(session, look, job, "dataset_stopped", stopped)
        elif now >= (job.waiting_since or 0.0) + timeout:
            still = "locked" if job.waits_for == "locked" else "being indexed"
            _end(session, look, job, "stuck_indexing", f"still {still} after {timeout:g} s")
    if look.jobs:
        seconds = _until_next_look(session, now - look.since, session.question_s)
        if not schedule.busy:  # whatever this one cost, there is nothing else to do
            seconds = min(seconds, policy.indexing_backoff_cap)
        ends = min(job.waiting_since or 0.0 for job in look.jobs.values()) + timeout
        look.due = min(now + seconds, ends)
        schedule.put_look(look)


def _end(session: ProviderSession, look: Look, job: Job, outcome: Outcome, reason: str) -> None:
    del look.jobs[job.target]
    session.settle(job, outcome, reason)


def _go_on(session: ProviderSession, look: Look, job: Job, step: str) -> None:
    del look.jobs[job.target]
    job.step = step
    session.schedule.later(job)


# ---------------------------------------------------------------------- looks at each document


async def _look_at(session: ProviderSession, look: Look) -> AsyncIterator[tuple[Job, Document | Gone | None]]:
    """What the service shows of each job's document, None if it does not say; ends early if there is no more to ask.

    Each is asked for itself, as many at a time as the provider takes, or by a pass over the listing, whichever is fewer requests;
    what that does not show is asked for one by one. Rows shift while documents are deleted, so that a row that was not seen is
    not gone (providers/README.md); as soon as nothing is deleted any more another pass shows the rest.
    """
    rest, by_listing, rows_shift = list(look.jobs.values()), False, True
    while rest:
        again = not by_listing or (rows_shift and not session.schedule.busy)
        if again and _listing_is_shorter(session, look, rest):
            by_listing, rows_shift = True, session.schedule.busy
            listed = await _read_listing(session, look, rest)
            if listed is None and look.asks == "state":
                return
            shown, whole = listed or ({}, False)
            for job in rest:
                if (document := shown.get(job.target.document)) is not None:
                    yield job, document
                elif whole and look.asks == "gone":
                    yield job, Gone("no longer listed")
            if whole and look.asks == "gone":
                return
            rest = [job for job in rest if job.target.document not in shown]
        # If a listing is shorter, it will show most of them the next time.
        together = 1 if by_listing else int(session.gate.slots.total_tokens)
        some, rest = rest[:together], rest[together:]
        answers = await side_by_side(lambda job: ask_document(session, job.target), some, together)
        for job, found in zip(some, answers, strict=True):
            if isinstance(found, StopDataset) and look.asks == "state":
                session.stop_dataset(look.dataset, found.meanwhile)
            if isinstance(found, StopDataset | StopProvider | None):
                return
            yield job, found if isinstance(found, Document | Gone) else None


async def _ask_whether_ready(session: ProviderSession, look: Look) -> None:
    """What the service shows as ready goes on."""
    policy = session.policy
    async for job, found in _look_at(session, look):
        match found:
            case Gone():
                _end(session, look, job, *gone(job, found.reason, policy))
            case Document(archived=True, indexing=False) if not policy.unarchive:
                _end(session, look, job, "archived", "archived since it was listed")
            case Document(indexing=False):
                job.awaiting_indexing = False
                _go_on(session, look, job, session.gate.provider.start(found, unarchive=policy.unarchive))
            case Document() | None:
                pass  # the next look asks again


async def _ask_whether_gone(session: ProviderSession, look: Look) -> None:
    """Settle doubt by evidence: what is not there any more was deleted, what is still there is asked for again.

    So is what a delete of several requests took out of the listing: it may have to go on. The gate learns whether deletes are
    carried out whose answers are lost.
    """
    gone = still_there = 0
    async for job, found in _look_at(session, look):
        if found is None:
            break
        if isinstance(found, Document):
            still_there += 1
        elif session.gate.provider.last_step == "delete":
            gone += 1
            _end(session, look, job, "deleted", f"{ANSWER_LOST}; no longer listed")
    session.gate.record_evidence(gone=gone, still_there=still_there)


def _listing_is_shorter(session: ProviderSession, look: Look, jobs: Collection[Job]) -> bool:
    """Whether a pass over the listing is fewer requests than one for each of these jobs of a look."""
    size = session.sizes.get(look.dataset)
    if size is None:
        return False
    rows = max(size - session.sink.account.dataset(session.name, look.dataset).counts.deleted, len(jobs))
    return -(-rows // session.gate.provider.page_size) < len(jobs)


async def _read_listing(
    session: ProviderSession, look: Look, jobs: Iterable[Job]
) -> tuple[dict[str, Document], bool] | None:
    """What a pass over the listing shows of the documents of these jobs, by id, and whether it is whole; None if it broke off.

    It is whole if it shows as many rows as the service counts on each page, and none of them twice.
    """
    wanted = {job.target.document for job in jobs}
    shown: dict[str, Document] = {}
    ids: set[str] = set()
    totals = set[int | None]()
    rows, cursor, cursors = 0, None, set[str]()
    while True:
        page = await ask_page(session, look.dataset, cursor)
        if isinstance(page, StopDataset):
            session.stop_dataset(look.dataset, page.meanwhile)
        if not isinstance(page, Page):
            return None
        rows += len(page.items)
        totals.add(page.total)
        ids.update(document.id for document in page.items)
        shown |= {document.id: document for document in page.items if document.id in wanted}
        cursor = page.next
        # A cursor that comes again leads to no new rows.
        if cursor is None or cursor in cursors or len(shown) == len(wanted):
            # A count that fell between two pages hides as many rows: they moved to a page that was read before.
            return shown, cursor is None and rows == len(ids) and totals == {rows}
        cursors.add(cursor)


# ---------------------------------------------------------------------- one request for all


async def _ask_together(session: ProviderSession, look: Look) -> None:
    """Ask the next step of the jobs of a look together: in one request, and in a second one if the first brought news.

    All or nothing: a job that a request is refused for is left out from then on, so that one lock does not hold them all, until
    each one is left out or the others have gone on.
    """
    look.refused = {target: out for target, out in look.refused.items() if target in look.jobs}
    for _ in range(2):
        if all(look.refused.get(target) for target in look.jobs):
            look.refused = dict.fromkeys(look.refused, False)
        together = [job for target, job in look.jobs.items() if not look.refused.get(target)]
        if not together or not await _asked_together(session, look, together):
            break


async def _asked_together(session: ProviderSession, look: Look, jobs: list[Job]) -> bool:
    """Ask for these jobs of a look in one request. True if they go on, or if it was refused for one that it never was before."""
    found = await ask_together(session, [job.target for job in jobs], look.asks)
    match found:
        case Ask(step):
            for job in jobs:
                _go_on(session, look, job, step)
            return True
        case Requeue():
            locked = [job.target for job in jobs if job.name == found.blocked_by]
            news = not look.refused.keys() >= set(locked)
            look.refused |= dict.fromkeys(locked, True)
            return news
        case StopDataset():
            session.stop_dataset(look.dataset, found.meanwhile)
        case StopProvider() | GaveUp() | None:
            pass
        case _:
            # Whatever else it says, it says of one of them: each is asked for itself.
            for job in jobs:
                _go_on(session, look, job, look.asks)
    return False
