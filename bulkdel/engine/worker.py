"""The workers of this process: each takes one job after another, asks, and lets the verdict decide."""

from __future__ import annotations

from typing import assert_never

import anyio

from bulkdel.engine.decide import Continue, LastCheck, Retry, Settle, Wait, decide
from bulkdel.engine.gate import Exchange
from bulkdel.engine.job import Job
from bulkdel.engine.polling import ask_whether_gone, poll, wait_for_evidence, wait_for_service, wait_until_ready
from bulkdel.engine.questions import probe
from bulkdel.engine.session import ProviderSession
from bulkdel.providers.protocol import Asked, Deleted, Gone, StopDataset, StopProvider, Verdict


class LocalWorkers:
    """Carries out a session's jobs in this process; it has no state."""

    async def run(self, session: ProviderSession) -> None:
        """As many workers as requests may ever be in flight, and one task that looks at what waits for the service."""
        async with anyio.create_task_group() as group:
            group.start_soon(poll, session)
            for _ in range(session.gate.provider.max_concurrency):
                group.start_soon(_work, session)


async def _work(session: ProviderSession) -> None:
    pages = session.sink.pages
    async for job in session.schedule:
        if not session.admit(job):
            continue
        if job.awaiting_indexing:
            wait_until_ready(session, job)
            continue
        try:
            await _carry_out(session, job)
        except Exception as error:
            # The target still settles (S1).
            if job in session:
                session.settle(job, "gave_up", f"a bug raised {type(error).__name__}; whether it is gone is unknown")
            session.bug(error)
        if pages.full:
            await pages.room()


async def _carry_out(session: ProviderSession, job: Job) -> None:
    """Ask, and apply what is decided; more than once only if the decision is to ask something else at once."""
    gate, provider, policy = session.gate, session.gate.provider, session.policy
    for _ in range(20):  # the longest real walk (un-archive) has four steps
        exchange = None
        while exchange is None:
            if gate.health.open and not await _wait_until_healthy(session, job):
                return  # a stop came: what is left settles when the workers have ended
            exchange = await gate.send(provider.request(job.target, job.step), session)
            if session.stop.reason is not None and exchange is None:
                return
        session.latencies.append(exchange.took_s)
        found = job.target.dataset in session.found_datasets
        asked = Asked(job.target, job.step, job.doubt, policy.unarchive, job.listed, found)
        verdict = provider.read(asked, exchange.reply)
        gate.observe(exchange, verdict, policy)
        if not _apply(session, job, verdict, exchange):
            return
    session.settle(job, "gave_up", f"no clear ending in 20 requests: {job.reason}")


def _apply(session: ProviderSession, job: Job, verdict: Verdict, exchange: Exchange) -> bool:
    """Let the verdict decide what becomes of the job; True if something else is asked at once."""
    job.note(verdict, sent=exchange.sent, deletes=exchange.deletes)
    random = session.gate.random.random()
    match decide(job, verdict, exchange.reply, session.policy, now=exchange.ended_at, u=random):
        case Settle(outcome, reason):
            if isinstance(verdict, Gone) and verdict.listed:
                session.found_datasets.add(job.target.dataset)
            if isinstance(verdict, Deleted) and job.waiting_since is not None:
                session.schedule.good_news()
            session.settle(job, outcome, reason)
        case Continue(step, reason):
            job.step, job.reason = step, reason
            return not _stopped(session, job)
        case LastCheck(reason):
            job.step, job.reason, job.checking = "check", reason, True
            return not _stopped(session, job)
        case Retry(seconds, step, cause, reason):
            job.step, job.reason = step, reason
            session.requeued(job.target, cause, reason, seconds)
            if job.doubt and session.gate.health.doubtful:
                # Answers are being lost: whether it is gone is asked of the service before another DELETE.
                wait_for_evidence(session, job, min(0.25, session.policy.backoff))
            else:
                session.schedule.later(job, seconds)
        case Wait() as wait:
            wait_for_service(session, job, wait, exchange)
        case StopDataset() as stop:
            session.stop_dataset(job.target.dataset, stop.meanwhile)
            session.settle(job, "dataset_stopped", session.stopped_datasets[job.target.dataset])
        case StopProvider():
            session.settle_not_attempted(job)
        case decision:
            assert_never(decision)
    return False


def _stopped(session: ProviderSession, job: Job) -> bool:
    """Whether the job's dataset was stopped meanwhile; then it settles."""
    why = session.stopped_datasets.get(job.target.dataset)
    if why is not None:
        session.settle(job, "dataset_stopped", why)
    return why is not None


async def _wait_until_healthy(session: ProviderSession, job: Job) -> bool:
    async def ask() -> bool:
        """The harmless question is whether documents in doubt are still there, if there are any."""
        schedule = session.schedule
        for doubtful in schedule.take_doubtful():
            wait_for_evidence(session, doubtful, 0.0)
        look = schedule.pop_look("gone")
        if look is None:
            return await probe(session, job.target.dataset)
        await ask_whether_gone(session, look)
        return session.stop.reason is None

    return await session.gate.health.probe_until_healthy(ask, session.stop)
