"""A submitter's part: shards out to the workers, their endings home, and what became of those who work on them."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import anyio.to_thread
from kombu.exceptions import OperationalError

from bulkdel.distributed.app import create_app, redis_url, submit
from bulkdel.distributed.board import Board, Gone, Heard, Row
from bulkdel.distributed.lane import Out, RemoteLane
from bulkdel.distributed.shard import KeyPlace, Service, Shard
from bulkdel.engine.job import Job
from bulkdel.engine.session import ProviderSession
from bulkdel.engine.stop import StopReason
from bulkdel.errors import ConfigurationError
from bulkdel.model import FULFILLED

T = TypeVar("T")

LOOK_S = 2.0
"""Seconds between looks at shards whose worker may be lost, at most; never longer than half a lease."""

PATIENCE_S = 60.0
"""Seconds that the submitter waits for a Redis that is away before it stops, to be resumed."""

CANCEL_S = 1.0
"""Seconds until what does not end is told to end once more."""

AGAIN_S = 0.5
"""Seconds between tries to reach it."""

KEPT_S = 30.0
"""Seconds that what came home is kept after it was taken: by then it is in the run file. What is lost all the same is asked
again, in doubt."""


ALONE_S = 10.0
"""Seconds without a word from any worker after which that is said."""

_log = logging.getLogger("bulkdel")


class Submitter:
    """One job's submitter. An async context manager around the client that it makes the lanes for.

    :param broker: the broker's address, with its password where it has one
    :param job: the job's name on the board, the same when it is resumed
    :param keys: where each provider's key is, on every worker
    :param lease_s: seconds for which a word holds that somebody works on something
    :param patience_s: seconds that a Redis is waited for that is away
    :param retries: what was rejected is asked again, so that what is still told of a rejection is old
    :raises ConfigurationError: from ``async with``, where the broker cannot be reached, or another process submits the job
    """

    def __init__(
        self,
        broker: str,
        job: str,
        keys: Mapping[str, KeyPlace],
        *,
        lease_s: float,
        patience_s: float = PATIENCE_S,
        retries: bool = False,
    ) -> None:
        self.job = job
        self.down = False  # Redis was away for longer than the patience: nothing can be told or heard any more
        self._keys = keys
        self._patience_s = patience_s
        self._retries = retries
        self._url = redis_url(broker)
        self._board = Board(self._url, job, lease_s=lease_s)
        self._app = create_app(broker)
        self._who = f"process {os.getpid()} on {socket.gethostname()} ({secrets.token_hex(4)})"
        self._session = secrets.token_hex(4)
        self._made = 0
        self._lanes: dict[str, RemoteLane] = {}
        self._out: dict[str, Out] = {}
        self._found: set[str] = set()  # shards that an earlier submitter left behind
        self._places: dict[int, str] = {}  # and where each of their documents is
        self._early: dict[int, Row] = {}  # endings of documents that were not handed over yet
        self._last = "0-0"
        self._task: asyncio.Task[None] | None = None
        self._leaving = False
        self._alone_since: float | None = (
            None  # shards are out, and no worker ever told anything; inf once that was said
        )

    async def __aenter__(self) -> Self:
        try:
            await self._attach()
        except Gone as error:
            await self._board.__aexit__(None, None, None)
            raise ConfigurationError(
                f"the broker cannot be reached: {_words(error)}", hint="is Redis up, and is --broker its address?"
            ) from None
        except BaseException:
            await self._board.__aexit__(None, None, None)
            raise
        self._task = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        while self._task is not None and not self._task.done():
            # Redis' client may take a cancellation that comes as an answer does for a lost connection.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CANCEL_S)
        with suppress(Gone):
            if error is None and not self.down:
                await self._board.forget(self._last, itself=True)  # all of it is in the run file by now
            await self._board.leave(self._who)
        await self._board.__aexit__(kind, error, trace)
        await anyio.to_thread.run_sync(self._app.close)

    async def _attach(self) -> None:
        """Be the job's one submitter, and learn what an earlier one left behind."""
        other = await self._board.claim(self._who)
        if other and _no_more(other):
            other = await self._board.claim(self._who, after=other)
        if other:
            raise ConfigurationError(
                f"another process submits this job: {other}",
                hint=f"wait for it, or stop it; one that was killed is forgotten after {self._board.lease_s:g} s",
            )
        await self._board.go_on()
        for live in await self._board.live():
            self._found.add(live.id)
            self._places.update((key, live.id) for key in live.keys)
        # The endings after the list of shards: one of a shard that ends in between is not missed so.
        while heard := await self._board.hear(self._last, wait_s=0):
            for one in heard:
                self._last = one.at
                self._early.update((row.key, row) for row in one.words.rows)
                if one.ending is not None:
                    self._found.discard(one.shard)
        if self._retries:
            self._early = {key: row for key, row in self._early.items() if row.outcome in FULFILLED}

    # ------------------------------------------------------------------ what the lanes ask for

    async def run(self, session: ProviderSession) -> None:
        """Carry out the jobs of one provider: for ``Client(workers=…)``."""
        await RemoteLane(session, self).run()

    def join(self, lane: RemoteLane) -> None:
        self._lanes[lane.session.name] = lane

    def part(self, lane: RemoteLane) -> None:
        """The lane has come to its end; what it still has out is nobody's here."""
        for id in list(lane.out):
            self._out.pop(id, None)
            lane.session.sink.remote_outcome_unknown = True
        lane.out.clear()
        lane.session.remote.in_flight = 0

    def knows(self, lane: RemoteLane, job: Job) -> bool:
        """Whether a document has its ending already, or is in a shard that an earlier submitter queued."""
        row = self._early.pop(job.key, None)
        id = self._places.pop(job.key, None)
        if row is not None:
            lane.came_home(job, row)
            return True
        if id is None or id not in self._found:
            return False
        out = self._out.get(id)
        if out is None:
            out = self._out[id] = lane.out[id] = Out(id, lane, {}, found=True)
        out.jobs[job.key] = job
        return True

    async def send(self, lane: RemoteLane, jobs: Sequence[Job]) -> None:
        """Make a shard of these documents and queue it."""
        self._made += 1
        await self._queue(Out(f"{self._session}-{self._made}", lane, {job.key: job for job in jobs}), new=True)

    async def send_found(self, lane: RemoteLane) -> None:
        """Everything was handed over: queue again what an earlier submitter may not have come to queue.

        A worker that gets it twice finds that it has ended, or that another works on it.
        """
        for out in [out for out in lane.out.values() if out.found]:
            await self._queue(out, new=False)

    async def recall(self, lane: RemoteLane) -> None:
        """Have nothing more leave; what nobody has begun is over now."""
        back = await self._patiently(lambda: self._board.recall(lane.session.name))
        for id in back or ():
            out = lane.out.get(id)
            if out is not None:
                self._out.pop(id, None)
                lane.called_back(out)

    async def _queue(self, out: Out, *, new: bool, begun: int = 0) -> None:
        lane = out.lane
        provider = lane.session.gate.provider
        items = tuple(lane.item(job) for job in out.jobs.values())
        service = Service.of(provider, self._keys[provider.name])
        shard = Shard(self.job, out.id, service, lane.session.policy, items)

        if new:
            # On the board first: a worker takes only what is there, and a submitter that comes later finds it.
            await self._patiently(lambda: self._board.put(out.id, provider.name, out.jobs, begun))
        if not self.down:
            self._out[out.id] = lane.out[out.id] = out
            await self._patiently(lambda: anyio.to_thread.run_sync(submit, self._app, shard))

    # ------------------------------------------------------------------ what comes home

    async def _listen(self) -> None:
        try:
            await self._listen_on()
        except Exception as error:  # a bug: whoever waits for endings would wait for ever
            self.down = True
            for lane in self._lanes.values():
                lane.session.bug(error)
                lane.stir()

    async def _listen_on(self) -> None:
        loop = asyncio.get_running_loop()
        every = min(LOOK_S, self._board.lease_s / 2)
        next_look = loop.time() + every
        kept: list[tuple[float, str]] = []
        while not self._leaving:
            wait = max(0.0, next_look - loop.time())
            heard = await self._patiently(lambda wait=wait: self._board.hear(self._last, wait_s=wait))  # type: ignore[misc]
            if self.down:
                return
            for one in heard or ():
                self._take(one)
            if heard:
                kept.append((loop.time(), heard[-1].at))
            if loop.time() >= next_look:
                await self._look()
                while len(kept) > 1 and kept[0][0] < loop.time() - KEPT_S:
                    _, before = kept.pop(0)
                    await self._patiently(lambda before=before: self._board.forget(before))  # type: ignore[misc]
                next_look = loop.time() + every

    def _take(self, one: Heard) -> None:
        self._last = one.at
        self._alone_since = math.inf
        out = self._out.get(one.shard)
        if one.shard in self._found:  # its documents are not all handed over yet, perhaps
            jobs = out.jobs if out is not None else {}
            self._early.update((row.key, row) for row in one.words.rows if row.key not in jobs)
        if out is not None:
            out.lane.heard(out, one.words)
        if one.ending is not None:
            self._found.discard(one.shard)
            if out is not None:
                del self._out[one.shard]
                out.lane.ended(out, one.ending)

    async def _look(self) -> None:
        """Say that one is there, and queue again what a lost worker had, or what nobody knows of any more."""
        other = await self._patiently(lambda: self._board.claim(self._who))
        if other:
            self._stop_all(StopReason("stopped", f"another process submits this job: {other}"))
        self._wonder()
        ids = list(self._out)
        orphans = await self._patiently(lambda: self._board.orphans(ids)) if ids else None
        if not orphans:
            return
        while heard := await self._patiently(lambda: self._board.hear(self._last, wait_s=0)):
            for one in heard:  # its last words may have come since
                self._take(one)
        for id, word in orphans.items():
            out = self._out.get(id)
            if out is None or out.word == word:
                continue
            if out.lane.session.stop.reason is not None or not out.jobs:
                del self._out[id]
                out.lane.lost(out)
                continue
            out.word = word if word else None
            # Nobody knows of it: Redis lost what it held, and its documents may have been asked for.
            await self._queue(out, new=not word, begun=0 if word else 1)

    def _wonder(self) -> None:
        """Say so once where nobody takes the shards: most often, no worker was started."""
        now = asyncio.get_running_loop().time()
        if self._out and self._alone_since is None:
            self._alone_since = now
        if self._alone_since is not None and now >= self._alone_since + ALONE_S:
            self._alone_since = math.inf
            _log.warning("no worker has begun yet: is one running, with this broker? bulkdel worker starts one")

    # ------------------------------------------------------------------ a Redis that is away

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask until Redis answers; None where it was away for too long, and then everything is stopped."""
        time = asyncio.get_running_loop().time
        until = time() + self._patience_s
        while not (self.down or (self._leaving and asyncio.current_task() is self._task)):
            try:
                return await ask()
            except (Gone, OperationalError, OSError) as error:
                if time() >= until:
                    self.down = True
                    self._stop_all(
                        StopReason(
                            "stopped", f"the broker is away: {_words(error)}", "is Redis up? bulkdel resume goes on"
                        )
                    )
                    return None
            await asyncio.sleep(AGAIN_S)
        return None

    def _stop_all(self, reason: StopReason) -> None:
        for lane in self._lanes.values():
            lane.session.stop.set(reason)
            lane.stir()


def _no_more(who: str) -> bool:
    """Whether a submitter was on this host and has ended; the run file's lock has let us in."""
    found = re.fullmatch(r"process (\d+) on (.*) \(\w+\)", who)
    if found is None or found[2] != socket.gethostname():
        return False
    pid = int(found[1])
    if pid == os.getpid():
        return True  # in a container that was started again, each is the first process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _words(error: BaseException) -> str:
    """What a driver says, in one line; its errors name the host and never the password."""
    return " ".join(str(error).split()) or type(error).__name__
