"""A submitter's part: a session's jobs packed into shards for the workers behind a broker, and their endings taken home."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from bulkdel.credentials import KeyPlace
from bulkdel.distributed.app import BEGUN, DONE, SENT, box_s, create_app, recall, submit
from bulkdel.distributed.shard import (
    MAX_DOCUMENTS,
    MAX_OUT,
    Item,
    Service,
    Shard,
    ShardResult,
    shard_size,
    shards_out,
)
from bulkdel.engine.gate import outage_hint
from bulkdel.engine.job import Job
from bulkdel.engine.session import ProviderSession
from bulkdel.engine.stop import StopReason
from bulkdel.errors import ConfigurationError
from bulkdel.model import FULFILLED, Outcome, Target
from bulkdel.providers.protocol import StopProvider

T = TypeVar("T")

PATIENCE_S = 60.0
"""Seconds that the submitter waits for a Redis that is away before it stops, to be resumed."""

POLL_S = 0.25
"""Seconds between looks at what became of the shards: one small request to Redis for each."""

SILENCE_S = 10.0
"""Seconds without a sign of life, which comes twice a second, after which a worker or another submitter is taken for dead."""

_log = logging.getLogger("bulkdel")
_AWAY = (KombuError, RedisError, OSError, RuntimeError)  # the last is Celery's backend, when its retries are used up


class WorkerBug(Exception):
    """Raised nowhere: stands for what a worker's engine raised, which is a bug."""


@dataclass(slots=True)
class Out:
    """A shard that is out: its jobs, and what its worker last reported."""

    jobs: dict[int, Job]
    report: Mapping[str, Any] = field(default_factory=dict)


class RemoteWorkers:
    """Carries out the jobs of a client's sessions on other machines. An async context manager around that client.

    :param broker: the broker's address, with its password if it has one
    :param job: the job's name, the same when it is resumed
    :param keys: where each provider's key is, on every worker
    :param patience_s: seconds that a Redis is waited for that is away
    :param retries: what was rejected is asked again, so that a rejection which an earlier submitter did not take home is old
    :raises ConfigurationError: from ``async with``, if the broker cannot be reached, or another process submits the job
    """

    def __init__(
        self,
        broker: str,
        job: str,
        keys: Mapping[str, KeyPlace],
        *,
        patience_s: float = PATIENCE_S,
        retries: bool = False,
    ) -> None:
        self._app = create_app(broker)
        self._job = f"{job}-submitter"  # what the submitter is known by in the result backend
        self._keys = keys
        self._patience_s = patience_s
        self._retries = retries
        self._who = f"process {os.getpid()} on {socket.gethostname()}"
        self._out: dict[str, dict[str, Out]] = {}  # by provider, by the shard's id
        self._known: dict[int, tuple[str, str, int]] = {}  # endings that an earlier submitter did not take home
        self._away: StopReason | None = None
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._register()
        except BaseException as error:
            await asyncio.to_thread(self._app.close)
            if isinstance(error, _AWAY):
                words, hint = _words(error), "is Redis up, and is --broker its address?"
                raise ConfigurationError(f"the broker cannot be reached: {words}", hint=hint) from None
            raise
        self._beating = asyncio.create_task(self._beat_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        if error is None and self._away is None and not any(self._out.values()):
            with anyio.CancelScope(shield=True):
                await self._ask(lambda: self._app.backend.forget(self._job))
        await asyncio.to_thread(self._app.close)

    # ------------------------------------------------------------------ one submitter at a time

    async def _register(self) -> None:
        """Be the job's one submitter, and take home what an earlier one left behind."""
        before = await self._meta(self._job)
        if before["status"] == BEGUN:
            # A live one counts on twice a second, whatever any clock says.
            for _ in range(20):
                await asyncio.sleep(POLL_S)
                if (await self._meta(self._job))["result"]["beat"] != before["result"]["beat"]:
                    words = f"another process submits this job: {before['result']['who']}"
                    raise ConfigurationError(words, hint="wait for it, or stop it")
        await self._sign()
        for id in (before["result"] or {}).get("out", ()):
            result = await self._recall(id)
            for key, outcome, reason, attempts in result.endings if result is not None else ():
                if outcome in FULFILLED or not self._retries:
                    self._known[key] = (outcome, reason, attempts)
            await self._ask(lambda id=id: self._app.backend.forget(id))

    async def _sign(self) -> None:
        out = [id for shards in self._out.values() for id in shards]
        words = {"who": self._who, "beat": secrets.token_hex(8), "out": out}
        await self._ask(lambda: self._app.backend.store_result(self._job, words, BEGUN))

    async def _beat_on(self) -> None:
        while self._away is None:
            await asyncio.sleep(2 * POLL_S)
            await self._sign()

    async def _recall(self, id: str) -> ShardResult | None:
        """Have nothing more leave for a shard; its result, or None if its worker is not there or none had begun it."""
        await self._ask(recall, self._app, id)
        seen, silent = None, 0
        while silent < SILENCE_S / POLL_S and (meta := await self._meta(id)):
            if meta["status"] == DONE:
                return ShardResult(**meta["result"])
            silent += 1
            if meta["status"] == BEGUN and meta["result"] != seen:
                seen, silent = meta["result"], 0
            if seen is None and silent > 4:
                return None  # a worker that had begun it when the recall came would have said so by now
            await asyncio.sleep(POLL_S)
        return None

    # ------------------------------------------------------------------ carrying out a session's jobs

    async def run(self, session: ProviderSession) -> None:
        """Pack and send until everything has come home, or until a stop."""
        out = self._out[session.name] = {}
        session.schedule.window = (MAX_OUT + 2) * MAX_DOCUMENTS
        failing, heard = _Failing(), False
        clock = asyncio.get_running_loop().time
        began_at = clock()
        try:
            while session.stop.reason is None and (out or not session.schedule.over):
                for id in list(out):
                    heard = await self._look(session, id, failing) or heard
                if not heard and out and clock() > began_at + SILENCE_S:
                    heard = True
                    await self._warn_if_no_worker()
                if not await self._send_next(session):
                    await session.stop.run_until_stopped(lambda: asyncio.sleep(POLL_S))
                if self._away is not None:
                    session.stop.set(self._away)
            if out and self._away is None:
                async with anyio.create_task_group() as group:
                    for id in list(out):
                        group.start_soon(self._stop_shard, session, id)
        finally:
            # Requests for what is still out may be in flight; a submitter that comes later finds it under the job's entry.
            session.sink.remote_outcome_unknown |= bool(out)
            for shard in out.values():
                for job in shard.jobs.values():
                    job.doubt = True
            _summarize(session, {})

    async def _send_next(self, session: ProviderSession) -> bool:
        """Queue another shard if one is worth being out and there are documents for it; whether it was queued."""
        out, gate = self._out[session.name], session.gate
        per_second = None if gate.pace.rate is None else gate.pace.rate.per_second
        worth = shards_out(gate.provider, per_second)
        if len(out) >= worth:
            return False
        size = shard_size(sum(session.sizes.values()) or None, per_second, worth, box_s())
        page: list[Job] = []
        with anyio.move_on_after(POLL_S):
            page = await session.next_page(size, size)
        jobs = [job for job in page if not self._settle_known(session, job)]
        if jobs:
            id, shard = secrets.token_hex(12), self._shard(session, jobs)
            out[id] = Out({job.key: job for job in jobs})
            await self._sign()  # before it is queued: a submitter that comes later finds it
            await self._ask(submit, self._app, id, shard)
        return bool(page)

    def _shard(self, session: ProviderSession, jobs: list[Job]) -> Shard:
        provider, now = session.gate.provider, asyncio.get_running_loop().time()
        items: dict[str, list[Item]] = {}
        for job in jobs:
            if job.awaiting_indexing and job.waiting_since is None:
                job.waiting_since = now
            items.setdefault(job.target.dataset, []).append(Item.of(job, now))
        return Shard(Service.of(provider, self._keys[provider.name]), session.policy, box_s(), items)

    def _settle_known(self, session: ProviderSession, job: Job) -> bool:
        """Settle a job whose ending an earlier submitter did not take home."""
        known = self._known.pop(job.key, None)
        if known is not None:
            outcome, reason, job.attempts = known
            session.settle(job, cast("Outcome", outcome), reason)
        return known is not None

    # ------------------------------------------------------------------ what became of a shard

    async def _look(self, session: ProviderSession, id: str, failing: _Failing) -> bool:
        """Take a shard's result home if it is there; whether a worker was ever heard of."""
        out = self._out[session.name]
        meta = await self._meta(id)
        if not meta:
            return True
        shard = out[id]
        if meta["status"] == DONE:
            del out[id]
            result = ShardResult(**meta["result"])
            self._on_result(session, shard, result)
            if words := failing.after(result, asyncio.get_running_loop().time()):
                session.gate.stop(StopProvider(words, outage_hint(words)))
            await self._ask(lambda: self._app.backend.forget(id))
        elif meta["status"] == BEGUN:
            shard.report = meta["result"]
            _summarize(session, out)
        elif meta["status"] != SENT:
            # Redis has forgotten the shard, and with it the message: its documents may have been asked for.
            del out[id]
            self._put_back(session, shard, dict.fromkeys(shard.jobs, 1))
        return bool(meta["status"] != SENT)

    async def _stop_shard(self, session: ProviderSession, id: str) -> None:
        """Recall a shard and take home what it has; what is not known any more stays out, in doubt."""
        out = self._out[session.name]
        shard = out[id]
        result = await self._recall(id)
        if result is not None:
            del out[id]
            self._on_result(session, shard, result)
        elif not shard.report and self._away is None:
            del out[id]  # no worker had begun it
        _summarize(session, out)

    def _on_result(self, session: ProviderSession, shard: Out, result: ShardResult) -> None:
        """Settle what has an ending, count what it cost, and have the rest carried out anew."""
        session.account.requests += result.requests
        for event in result.events:
            match event:
                case ["requeued", dataset, document, cause, reason, wait]:
                    session.requeued(Target(session.name, dataset, document), cause, reason, wait)
                case ["paused", reason, wait]:
                    session.paused(wait, reason)
                case ["stopped", dataset, reason]:
                    session.stop_dataset(dataset, reason)
                case _:
                    pass  # of a worker that knows more
        for key, outcome, reason, attempts in result.endings:
            job = shard.jobs.pop(key, None)
            if job is not None and job in session:  # else its dataset was stopped meanwhile
                job.attempts = attempts
                session.settle(job, cast("Outcome", outcome), reason)
        if result.bug:
            session.bug(WorkerBug(result.bug))
        if result.stopped:
            session.gate.stop(StopProvider(result.stopped, result.hint))
        self._put_back(session, shard, dict(result.left))

    def _put_back(self, session: ProviderSession, shard: Out, attempts: Mapping[int, int]) -> None:
        for key, job in shard.jobs.items():
            if job in session:
                tried = attempts.get(key, job.attempts)
                doubt, job.attempts = tried > job.attempts, tried
                session.put_back(job, doubt=doubt)

    # ------------------------------------------------------------------ the broker

    async def _warn_if_no_worker(self) -> None:
        if not await self._ask(lambda: self._app.control.ping(timeout=1.0)):
            _log.warning("no worker answers: is one running, with this broker? bulkdel worker starts one")

    async def _meta(self, id: str) -> dict[str, Any]:
        """What the result backend says of a shard or a submitter; empty if it was away for too long."""
        return cast("dict[str, Any]", await self._ask(lambda: self._app.backend.get_task_meta(id)) or {})

    async def _ask(self, call: Callable[..., T], *args: object) -> T | None:
        """Call the broker in a thread, where Celery makes its backend; None if it was away for too long, and everything stops.

        Until the submitter is registered, the first failure is raised.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience_s
        while self._away is None:
            try:
                return await asyncio.to_thread(call, *args)
            except _AWAY as error:
                if self._beating is None:
                    raise
                if clock() >= until:
                    words = f"the broker is away: {_words(error)}"
                    self._away = StopReason("stopped", words, "is Redis up? bulkdel resume continues")
                    return None
            await asyncio.sleep(2 * POLL_S)
        return None


class _Failing:
    """How long shards have come home with nothing but trouble: a time box is too short for a worker to give a service up."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._patience_s = 60.0  # as long as nothing was ever deleted; then as long as an upgrade takes

    def after(self, result: ShardResult, now: float) -> str:
        """Why the service is given up, empty if it is not."""
        if result.endings:
            self._since, self._patience_s = None, 600.0
        elif result.trouble:
            self._since = now if self._since is None else self._since
            if now - self._since >= self._patience_s:
                return f"no request has succeeded for {now - self._since:.0f} s: {result.trouble}"
        return ""


def _summarize(session: ProviderSession, out: Mapping[str, Out]) -> None:
    """What the workers do: how many requests are in flight, and what most of them wait for."""
    session.remote.in_flight = sum(int(shard.report.get("in_flight", 0)) for shard in out.values())
    waits = [tuple(shard.report["waits_for"]) for shard in out.values() if shard.report.get("waits_for")]
    most = Counter(cause for cause, _, _ in waits).most_common(1)
    session.remote.waits_for = next(wait for wait in waits if wait[0] == most[0][0]) if most else None


def _words(error: BaseException) -> str:
    """What a driver says, in one line; its errors name the host and never the password."""
    return " ".join(str(error).split()) or type(error).__name__
