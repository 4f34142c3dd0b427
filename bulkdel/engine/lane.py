"""One provider's targets in one call: a bounded pool of workers, due retries before fresh targets, one ending each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import assert_never

import anyio
import anyio.abc

from bulkdel import events
from bulkdel.backoff import full_jitter, next_look
from bulkdel.engine.channel import Channel, Exchange
from bulkdel.engine.job import Job
from bulkdel.engine.progress import Wait
from bulkdel.engine.queue import Queue
from bulkdel.engine.refused import Refused
from bulkdel.engine.results import Results
from bulkdel.engine.stop import Stop
from bulkdel.model import ANSWER_LOST, Outcome, Policy, Target
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Asked,
    Deleted,
    Gone,
    Lost,
    Pause,
    Reject,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)  # fmt: skip
from bulkdel.text import many

WINDOW = 8_192
"""Targets that a lane holds at most: what waits for a due time included. About 400 bytes each, 3 MB in all."""

FRESH = 1_024
"""Targets that wait for a first attempt at most: 0.1 s of the fastest service. What lives that shortly is not yet old to the
garbage collector, which walks through all that the program holds once as much again has grown old."""

LOOK_S = 0.025
"""What asking again for a document that is being indexed counts for at least where no rate is known: 10 a second in a quarter of
the time, also of a service that refuses in no time. Without it 334 documents were asked for 300 times a second."""

MAX_ASKS = 20
"""Steps that one delete may go through at once; the longest real walk (un-archive) has four."""


class Lane:
    """Takes jobs in through ``offer`` and settles every one of them in ``results``, whatever happens."""

    window = WINDOW
    told: tuple[Wait, str, float | None] | None = None  # what others wait for, where they work the targets off

    def __init__(self, channel: Channel, stop: Stop, policy: Policy, results: Results) -> None:
        self.channel = channel
        self.provider = channel.provider
        self.policy = policy
        self.results = results
        self.stop = stop
        self.held: dict[Target, Job] = {}  # still being indexed; the watch moves them on
        self.held_changed = anyio.Event()
        # Refused, for they are still being indexed; the watch brings them back when they are due.
        self.refused = Refused()
        self.took: deque[float] = deque(maxlen=1024)  # seconds that answers took, until the timeline takes them
        self._listed: set[str] = set()  # datasets that a listing in this call showed to be there
        self._repeats = 0  # occurrences that wait for the ending of their first one: they count for the window, too
        self.sizes: dict[str, int] = {}  # documents listed in each dataset, where a listing was made
        self.stopped_datasets: dict[str, str] = {}
        self._queue = Queue()
        self._here: dict[Target, Job] = {}  # every job that has not settled: a second occurrence joins the first (S4)
        self._room: anyio.Event | None = None
        self._fed = False
        self._unarchive = policy.unarchive
        self._loop = asyncio.get_running_loop()
        stop.listen(self._wake_all)

    # ------------------------------------------------------------------ taking in

    @property
    def left(self) -> int:
        """Targets that were taken in and have not settled."""
        return len(self._here)

    @property
    def waiting(self) -> int:
        """Targets that wait for a due time."""
        return self._queue.waiting + self.indexing

    @property
    def indexing(self) -> int:
        """Targets of those that wait until the service has indexed them."""
        return len(self.held) + len(self.refused)

    @property
    def look_share(self) -> int:
        """Looks at what is being indexed may take one part in so many of the provider's time: fewer while there is other work."""
        return 10 if self._queue.fresh or not self._fed else 4

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do here."""
        return self.stop.reason is not None or (self._fed and not self._here)

    def next_due(self) -> float | None:
        """Loop time at which the next waiting target is due."""
        dues = [due for due in (self._queue.next_due, self.refused.due) if due is not None]
        return min(dues, default=None)

    async def offer(self, jobs: Sequence[Job]) -> None:
        """Take a page in; waits while the window is full. After a stop its targets settle at once."""
        while (len(self._queue.fresh) >= FRESH or len(self._here) + self._repeats >= self.window) and (
            self.stop.reason is None
        ):
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()
        here, results, queue, invalid = self._here, self.results, self._queue, self.provider.invalid
        dataset, counts = "", None
        for job in jobs:
            target = job.target
            if counts is None or target.dataset != dataset:
                dataset = target.dataset
                counts = results.counts(target.provider, dataset)
            if job.also is not None:
                self._repeats += len(job.also)
            known = here.setdefault(target, job)
            if known is not job:
                if known.also is None:
                    known.also = []
                known.also += (job.key, *(job.also or ()))
                self._repeats += 1
                continue
            job.counts = counts
            if self.stop.reason is not None:
                self._settle_not_attempted(job)
                continue
            if self.stopped_datasets and target.dataset in self.stopped_datasets:
                self._settle(job, "dataset_stopped", self.stopped_datasets[target.dataset])
                continue
            try:
                why = invalid(dataset, target.document)
            except Exception as error:
                self.bug(error)
                self._settle_not_attempted(job)
                continue
            if why:
                self._settle(job, "invalid_id", why)
            elif job.ending is not None:
                self._settle(job, job.ending, job.reason)
            elif job.held:
                job.indexing_since = self._loop.time()
                self.held[target] = job
                self.held_changed.set()
                self._requeued(job, "document_indexing", "still being indexed", self.policy.indexing_backoff)
            else:
                queue.fresh.append(job)
        queue.wake(len(queue.fresh))
        if results.full:
            await results.room()

    def bug(self, error: Exception) -> None:
        """A bug, ours or a plug-in's: nothing more leaves to this provider, and the report says what happened."""
        self.results.bug(error)
        self.channel.stop_for_bug(error)

    def fed(self) -> None:
        """No more jobs will come."""
        self._fed = True
        if not self._here:
            self._wake_all()

    # ------------------------------------------------------------------ the pool

    async def run(self) -> None:
        """Work until everything that was taken in has settled, or until a stop; then settle what is left."""
        async with anyio.create_task_group() as pool:
            for _ in range(self.channel.workers):
                pool.start_soon(self._work)
        self._queue.close()
        # Workers have ended: nothing is in flight. What is left waits for a due time or was never begun.
        for job in list(self._here.values()):
            self._settle_not_attempted(job)

    async def _work(self) -> None:
        """Take one job after another, until there will be no more."""
        queue, results = self._queue, self.results
        while self.stop.reason is None:
            job = queue.pop()
            if job is None:
                if self._fed and not self._here:
                    return
                await queue.idle()
                continue
            if self._room is not None and len(queue.fresh) < FRESH // 2:
                self._make_room()
            await self._attempt(job)
            if results.full:
                await results.room()

    def _wake_all(self) -> None:
        self._queue.wake()
        self.held_changed.set()
        if self._room is not None:
            self._room.set()
            self._room = None

    def _make_room(self) -> None:
        if self._room is not None and len(self._here) < self.window:
            self._room.set()
            self._room = None

    def push(self, job: Job, seconds: float = 0.0) -> None:
        """Put a job where it waits for its due time; before all fresh targets then."""
        self._queue.push(job, seconds)

    # ------------------------------------------------------------------ one attempt, and what becomes of it

    async def _attempt(self, job: Job) -> None:
        """Ask, and let the verdict decide; more than once only where the verdict is to ask something else at once."""
        channel, provider = self.channel, self.provider
        job.asks = 0
        try:
            while True:
                target = job.target
                if self.stopped_datasets and target.dataset in self.stopped_datasets:
                    self._settle(job, "dataset_stopped", self.stopped_datasets[target.dataset])
                    return
                if channel.unwell and not await channel.heal(target.dataset, self.stop, self.policy):
                    return  # a stop came: what is left settles when the pool has ended
                request = provider.request(target, job.step)
                exchange = await channel.ask(request, self.stop, self.policy)
                if exchange is None:
                    return
                reply = exchange.reply
                self.took.append(exchange.ended_at - exchange.sent_at)
                sent = isinstance(reply, Answer) or reply.sent
                if sent and exchange.deletes:  # whatever its step is called: a delete may take two
                    job.attempts += 1
                listed = job.listed or target.dataset in self._listed
                verdict = provider.read(Asked(target, job.step, job.doubt, self._unarchive, listed), reply)
                if self._apply(job, verdict, exchange, sent):
                    return
        except Exception as error:
            # The target still settles (S1).
            if job.target in self._here:
                self._settle(job, "gave_up", f"a bug raised {type(error).__name__}; whether it is gone is unknown")
            self.bug(error)

    def _apply(self, job: Job, verdict: Verdict, exchange: Exchange, sent: bool) -> bool:
        """Let the verdict decide what becomes of the job; False where it asks something else at once."""
        channel = self.channel
        match verdict:
            case Deleted():
                channel.alive(exchange)
                if job.looks:
                    for other in self.refused.good_news():
                        self.push(other)
                self._settle(job, "deleted", verdict.reason)
            case Gone():
                channel.alive(exchange)
                if verdict.listed:
                    self._listed.add(job.target.dataset)
                self.settle_gone(job, verdict.reason)
            case Reject():
                channel.alive(exchange)
                self._settle(job, verdict.outcome, verdict.reason)
            case Ask():
                channel.alive(exchange)
                job.step = verdict.step
                job.asks += 1
                if job.asks <= MAX_ASKS:
                    return False
                self._settle(job, "gave_up", f"no clear ending in {MAX_ASKS} requests: {verdict.reason}")
            case Requeue() if verdict.cause == "indexing":
                channel.alive(exchange)
                self._wait_for_indexing(job, verdict, exchange)
            case Requeue():
                if verdict.cause == "trouble":
                    channel.trouble(verdict.reason, exchange)
                else:
                    channel.alive(exchange)
                job.doubt = job.doubt or (verdict.doubt and exchange.deletes)
                return self._try_again(job, verdict, exchange, sent)
            case Pause():
                channel.pause(verdict, exchange, self.policy)
                self._requeued(job, "rate_limit" if verdict.slower else "blocked", verdict.reason, 0.0)
                self.push(job)
            case StopDataset():
                channel.alive(exchange)
                self.stop_dataset(job.target.dataset, verdict.reason)
                self._settle(job, "dataset_stopped", self.stopped_datasets[job.target.dataset])
            case StopProvider():
                channel.stop(verdict)
                self._settle_not_attempted(job)
            case _:
                assert_never(verdict)
        return True

    def _try_again(self, job: Job, verdict: Requeue, exchange: Exchange, sent: bool) -> bool:
        """Requeue with backoff while attempts are left; then one look whether it is gone all the same."""
        if job.checking:
            self._settle(job, "gave_up", job.reason)
            return True
        # What never left the machine is no attempt; the breaker ends it where nothing leaves for long.
        job.spent += sent
        job.reason = verdict.reason
        if job.spent >= self.policy.attempts:
            job.checking, job.step = True, "check"
            job.reason = f"gave up after {many(job.attempts, 'attempt')}: {verdict.reason}"
            return False
        if verdict.step is not None:
            job.step = verdict.step
        policy = self.policy
        wait = full_jitter(max(job.spent, 1), policy.backoff, policy.backoff_cap, self.channel.random.random())
        wait = max(min(verdict.after or 0.0, policy.max_pause), wait)
        self._requeued(job, _cause(verdict, exchange), verdict.reason, wait)
        self.push(job, wait)
        return True

    def _wait_for_indexing(self, job: Job, verdict: Requeue, exchange: Exchange) -> None:
        """Requeue on the indexing budget, which spends no attempt (S2)."""
        policy, now = self.policy, self._loop.time()
        if policy.indexing == "skip":
            self._settle(job, "stuck_indexing", f"left alone, because indexing is 'skip': {verdict.reason}")
            return
        if job.indexing_since is None:
            job.indexing_since = now
        left = job.indexing_since + policy.indexing_timeout - now
        if left <= 0:
            self._settle(
                job, "stuck_indexing", f"still being indexed after {policy.indexing_timeout:g} s: {verdict.reason}"
            )
            return
        job.looks += 1
        allowed = self.channel.pacing.allowed_per_second
        took = (exchange.ended_at - exchange.sent_at) / self.channel.slots.limit
        each = max(took, LOOK_S) if allowed is None else 1 / allowed
        cost = self.look_share * (len(self.refused) + 1) * each
        u = self.channel.random.random()
        wait = next_look(now - job.indexing_since, policy.indexing_backoff, policy.indexing_backoff_cap, cost, u)
        # The last look falls on the end of the budget, not short of it.
        wait = min(max(verdict.after or 0.0, wait), left)
        if verdict.step is not None:
            job.step = verdict.step
        self._requeued(job, "document_indexing", verdict.reason, wait)
        if verdict.after is not None:
            self.push(job, wait)
        elif self.refused.push(job, now + wait):
            self.held_changed.set()

    def _requeued(self, job: Job, cause: str, reason: str, seconds: float) -> None:
        self.results.account.provider(job.target.provider).requeued[cause] += 1
        self.results.emit(events.Requeued(job.target, cause, reason, seconds))

    # ------------------------------------------------------------------ endings

    def stop_dataset(self, dataset: str, reason: str) -> None:
        """Nothing in this dataset can be deleted: its targets settle, the ones in flight as their answers come."""
        if dataset in self.stopped_datasets:
            return
        self.stopped_datasets[dataset] = reason
        self.results.emit(events.Stopped(self.provider.name, dataset, reason))
        waiting = self._queue.drop(dataset)
        waiting += [job for target, job in self.held.items() if target.dataset == dataset]
        waiting += self.refused.drop(dataset)
        for job in waiting:
            self._settle(job, "dataset_stopped", reason)

    def settle_held(self, job: Job, outcome: Outcome, reason: str) -> None:
        """The watch found an ending for a document that was being indexed."""
        if job.target in self.held:
            self._settle(job, outcome, reason)

    def settle_gone(self, job: Job, reason: str) -> None:
        """The service has no such document: deleted, where an earlier attempt may have done it."""
        if job.target not in self._here:
            return  # its dataset was stopped while the watch asked
        if job.doubt:
            self._settle(job, "deleted", f"{ANSWER_LOST}: {reason}")
        else:
            self._settle(job, "already_gone", reason)

    def release(self, job: Job, step: str) -> None:
        """The watch found a held document ready: it is due now."""
        if self.held.pop(job.target, None) is not None:
            job.step = step
            self.push(job)

    def _settle_not_attempted(self, job: Job) -> None:
        stop = self.stop.reason
        reason = stop.reason if stop is not None else "the run ended"
        if job.doubt:
            reason = f"{reason}; it may be gone: the answer of an earlier attempt was lost"
        self._settle(job, "not_attempted", reason)

    def _settle(self, job: Job, outcome: Outcome, reason: str) -> None:
        if job.also is not None:
            self._repeats -= len(job.also)
        del self._here[job.target]  # a KeyError here is a second ending of one target (S1)
        if self.held:
            self.held.pop(job.target, None)
        self.results.settle(job, outcome, reason)
        if self._room is not None and len(self._queue.fresh) < FRESH // 2:
            self._make_room()
        if not self._here and self._fed:
            self._wake_all()


def _cause(verdict: Requeue, exchange: Exchange) -> str:
    """The report's word for why a target was requeued."""
    if isinstance(exchange.reply, Lost):
        return "lost_answer" if exchange.reply.sent else "unreachable"
    return "server_error" if verdict.cause == "trouble" else "unclear"
