"""The workers of this process: each takes one job after another, asks, and lets the verdict decide."""

from __future__ import annotations

from typing import assert_never

import anyio

from bulkdel.engine.decide import Continue, LastCheck, Retry, Settle, Wait, decide
from bulkdel.engine.job import Job
from bulkdel.engine.polling import ask_about, poll, wait_for_evidence, wait_for_service, wait_until_ready
from bulkdel.engine.session import ProviderSession
from bulkdel.providers.protocol import Asked, Deleted, Gone, Pause, Requeue, StopDataset, StopProvider


class LocalWorkers:
    """Carries out a session's jobs in this process; it has no state."""

    async def run(self, session: ProviderSession) -> None:
        """As many workers as requests may ever be in flight, and one task that looks at what waits for the service."""
        async with anyio.create_task_group() as group:
            group.start_soon(poll, session)
            for _ in range(session.gate.provider.max_concurrency):
                group.start_soon(_work, session)


async def _work(session: ProviderSession) -> None:
    async for job in session.schedule:
        if not session.admit(job):
            continue
        if job.awaiting_indexing:
            wait_until_ready(session, job)
            continue
        try:
            for _ in range(20):  # the longest real walk (un-archive) has four steps
                if not await _ask(session, job):
                    break
            else:
                session.settle(job, "gave_up", f"no clear ending in 20 requests: {job.reason}")
        except Exception as error:
            # The target still settles (S1).
            if job in session:
                session.settle(job, "gave_up", f"a bug raised {type(error).__name__}; whether it is gone is unknown")
            session.bug(error)
        await session.sink.pages.room()


async def _ask(session: ProviderSession, job: Job) -> bool:
    """Send the request for the job's step, and let the verdict decide; True if something else is asked at once."""
    gate, policy, target, schedule = session.gate, session.policy, job.target, session.schedule
    exchange = None
    while exchange is None:
        if gate.health.open and not await _wait_until_healthy(session, target.dataset):
            return False  # a stop came: what is left settles when the workers have ended
        exchange = await gate.send(gate.provider.request(target, job.step), session)
        if exchange is None and session.stop.reason is not None:
            return False
    session.latencies.append(exchange.took_s)
    found = target.dataset in session.found_datasets
    asked = Asked(target, job.step, job.doubt, policy.unarchive, job.listed, found)
    verdict = gate.provider.read(asked, exchange.reply)
    gate.observe(exchange, verdict, policy)
    job.note(verdict, sent=exchange.sent, deletes=exchange.deletes)
    match decide(job, verdict, exchange.reply, policy, now=exchange.ended_at, u=gate.random.random()):
        case Settle(outcome, reason):
            if isinstance(verdict, Gone) and verdict.listed:
                session.found_datasets.add(target.dataset)
            if isinstance(verdict, Gone) and job.doubt and job.attempts > 1:  # an attempt of this run was carried out
                gate.record_evidence(gone=1, still_there=0)
            if job.waiting_since is not None and isinstance(verdict, Deleted):
                schedule.good_news()
            session.settle(job, outcome, reason)
        case Continue(step, reason):
            job.step, job.reason = step, reason
            return session.admit(job)
        case LastCheck(reason):
            job.step, job.reason, job.checking = "check", reason, True
            return session.admit(job)
        case Retry(seconds, step, cause, reason):
            job.step, job.reason = step, reason
            session.requeued(target, cause, reason, seconds)
            if job.doubt and gate.health.doubtful:
                # Answers are being lost: whether it is gone is asked of the service before another DELETE.
                wait_for_evidence(session, job, min(0.25, policy.backoff))
            else:
                schedule.later(job, seconds)
        case Wait() as wait:
            wait_for_service(session, job, wait, exchange)
        case StopDataset() as stop:
            seen = job.listed or found or session.sink.account.dataset(*target[:2]).counts.deleted
            session.stop_dataset(target.dataset, stop.meanwhile if seen else stop.never)
            session.settle(job, "dataset_stopped", session.stopped_datasets[target.dataset])
        case StopProvider():
            session.settle_not_attempted(job)
        case decision:
            assert_never(decision)
    return False


async def _wait_until_healthy(session: ProviderSession, dataset: str) -> bool:
    """While the breaker is open: one harmless question at a time, charged to no document; False if a stop came first."""
    health, stop = session.gate.health, session.stop
    while health.open:
        if not await stop.acquire(health.probing.acquire, health.probing.release):
            return False
        try:
            if health.open:
                await _probe(session, dataset)
        finally:
            health.probing.release()
    return stop.reason is None


async def _probe(session: ProviderSession, dataset: str) -> None:
    """Ask whether documents in doubt are still there, if there are any, and else for the dataset."""
    gate, schedule = session.gate, session.schedule
    for doubtful in schedule.take_doubtful():
        wait_for_evidence(session, doubtful, 0.0)
    if (look := schedule.pop_look("gone")) is not None:
        await ask_about(session, look)
    elif (exchange := await gate.send(gate.provider.preflight(dataset, None), session)) is not None:
        found = gate.provider.read_preflight(dataset, None, exchange.reply)
        if isinstance(found, Pause | StopProvider) or (isinstance(found, Requeue) and found.cause == "trouble"):
            gate.observe(exchange, found, session.policy)
        else:
            # No success of the breaker's: only a document that is answered well closes it.
            gate.health.open = False
