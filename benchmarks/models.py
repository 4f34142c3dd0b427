"""Services with a known capacity or a known limit, in memory behind the wire's border, for a virtual clock."""

from __future__ import annotations

import asyncio
import json
import math
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import pairwise
from typing import Any

from bulkdel import Client, Policy, Target
from bulkdel.exchange import Answer, Lost, Reply, Request
from bulkdel.providers.base import Provider

DATASET = "11111111-1111-4111-8111-111111111111"
JSON = {"content-type": "application/json", "x-version": "1.14.2"}
KEY = "dataset-0123456789abcdef"

DELETED = Answer(204, JSON)


def now() -> float:
    return asyncio.get_running_loop().time()


def failed(status: int) -> Answer:
    return Answer(status, JSON, json.dumps({"code": "unknown", "message": "failed", "status": status}).encode())


def targets(n: int, name: str = "dify") -> list[Target]:
    return [Target(name, DATASET, str(uuid.UUID(int=k << 96, version=4))) for k in range(n)]


# ---------------------------------------------------------------------- what was seen


@dataclass
class Seen:
    """One request as the service saw it; ``answer`` is its status, 0 where none came."""

    sent_at: float
    ended_at: float
    answer: int
    in_flight: int


@dataclass
class Trace:
    """Every request, and what the client said of itself now and then."""

    seen: list[Seen] = field(default_factory=list)
    looks: list[tuple[float, int, float]] = field(default_factory=list)  # time, concurrency, rate a second (0 is none)
    started: float = 0.0
    ended: float = 0.0

    @property
    def lasted(self) -> float:
        return self.ended - self.started

    def count(self, *answers: int) -> int:
        return sum(one.answer in answers for one in self.seen)

    def done_per_second(self) -> float:
        return self.count(200, 204) / self.lasted


class Model:
    """A wire whose service is this object: subclasses say how a DELETE is served."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.trace = Trace()
        self.in_flight = 0

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        self.in_flight += 1
        sent_at, in_flight = now(), self.in_flight
        status = 0
        try:
            async with asyncio.timeout(timeout):
                reply = await (self.serve(request) if request.method == "DELETE" else self.read(request))
                status = reply.status
                return reply
        except TimeoutError:
            return Lost("timeout", sent=True, detail=f"no answer in {timeout:g} s")
        finally:
            self.in_flight -= 1
            self.trace.seen.append(Seen(sent_at, now(), status, in_flight))

    async def serve(self, request: Request) -> Answer:
        """Answer a DELETE."""
        raise NotImplementedError

    async def read(self, request: Request) -> Answer:
        """Answer a question; they cost this service nothing."""
        await asyncio.sleep(0.01)
        dataset = {"id": DATASET, "name": "model", "document_count": 1, "provider": "vendor", "enable_api": True}
        return Answer(200, JSON, json.dumps(dataset).encode())

    def noisy(self, mean: float, cv: float) -> float:
        """A positive time with this mean and this coefficient of variation (log-normal)."""
        if cv <= 0:
            return mean
        sigma2 = math.log(1 + cv * cv)
        return mean * self.random.lognormvariate(-sigma2 / 2, math.sqrt(sigma2))


# ---------------------------------------------------------------------- capacity


class Shared(Model):
    """A processor that all requests in flight share; ``capacity(n, t)`` is how many a second it does with n of them.

    ``away`` is the way there and back in seconds, which costs the service nothing.
    """

    def __init__(
        self, capacity: Callable[[int, float], float], *, cv: float = 0.5, away: float = 0.002, seed: int = 1
    ) -> None:
        super().__init__(seed)
        self.capacity, self.cv, self.away = capacity, cv, away
        self._jobs: dict[asyncio.Future[None], float] = {}
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._from = 0.0

    async def serve(self, request: Request) -> Answer:
        if self.away:
            await asyncio.sleep(self.away)
        job: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._advance()
        self._jobs[job] = self.noisy(1.0, self.cv)
        self._arm()
        try:
            await job
        finally:
            self._advance()
            self._jobs.pop(job, None)
            self._arm()
        return DELETED

    def _advance(self) -> None:
        """Do the work of the time since the last change."""
        time = now()
        if self._jobs:
            each = (time - self._at) * self._speed()
            for job in self._jobs:
                self._jobs[job] -= each
        self._at = time

    def _speed(self) -> float:
        n = len(self._jobs)
        return self.capacity(n, self._at - self.trace.started) / n

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._jobs:
            left = max(0.0, min(self._jobs.values()))
            self._timer = asyncio.get_running_loop().call_later(left / self._speed(), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._advance()
        for job in [job for job, left in self._jobs.items() if left <= 1e-9]:
            self._jobs.pop(job)
            if not job.done():
                job.set_result(None)
        self._arm()


def curve(points: dict[int, float]) -> Callable[[float], float]:
    """Throughput by concurrency: straight lines between measured points, on logarithmic axes; flat beyond them."""
    known = sorted((math.log(n), math.log(x)) for n, x in points.items())

    def at(n: float) -> float:
        x = math.log(max(n, 0.25))
        if x <= known[0][0]:
            return math.exp(known[0][1] + (x - known[0][0]))
        for (x1, y1), (x2, y2) in pairwise(known):
            if x <= x2:
                return math.exp(y1 + (y2 - y1) * (x - x1) / (x2 - x1))
        return math.exp(known[-1][1])

    return at


DIFY = curve({1: 62, 2: 92, 4: 104, 8: 100, 16: 68, 64: 33, 256: 9})
"""Deletes a second of a real Dify 1.14.2 with 2 workers on 2 cores (4, 8, 16 and 64 measured; 1, 2 and 256 in their line)."""


class Dataset(Shared):
    """A dataset of ``n`` documents, every k-th of them still being indexed until so many seconds after the start."""

    PAGE_S = 0.05  # seconds that a page of a listing takes

    def __init__(
        self, n: int, capacity: Callable[[int, float], float], *, every: int, until: float, refuses: bool = False
    ) -> None:
        super().__init__(capacity)
        self.until, self.refuses = until, refuses
        self.held = {target.document: k for k, target in enumerate(targets(n))}
        self.late = {document for document, k in self.held.items() if k % every == 0}

    def indexing(self, document: str) -> bool:
        return document in self.late and now() - self.trace.started < self.until

    def row(self, document: str) -> dict[str, object]:
        status = "indexing" if self.indexing(document) and not self.refuses else "completed"
        return {
            "id": document, "name": document, "created_at": 1_700_000_000 + self.held[document],
            "indexing_status": status, "display_status": {"completed": "available"}.get(status, status),
            "archived": False, "enabled": True,
        }  # fmt: skip

    async def serve(self, request: Request) -> Answer:
        document = request.path.rpartition("/")[2]
        if self.refuses and self.indexing(document):
            await asyncio.sleep(self.away)
            message = "Cannot delete document during indexing."
            return Answer(400, JSON, json.dumps({"code": "document_indexing", "message": message}).encode())
        answer = await super().serve(request)
        self.held.pop(document, None)
        return answer

    async def read(self, request: Request) -> Answer:
        path, _, query = request.path.partition("?")
        document = path.rpartition("/documents/")[2]
        if document in self.held:
            await asyncio.sleep(0.01)
            return Answer(200, JSON, json.dumps(self.row(document)).encode())
        if not path.endswith("/documents"):
            return await super().read(request)
        await asyncio.sleep(self.PAGE_S)
        page = int(dict(pair.split("=") for pair in query.split("&"))["page"])
        rows = [self.row(document) for document in list(self.held)[(page - 1) * 100 : page * 100]]
        body = {"data": rows, "has_more": len(rows) == 100, "limit": 100, "total": len(self.held), "page": page}
        return Answer(200, JSON, json.dumps(body).encode())


class Slots(Model):
    """A server that holds so many connections and serves each of them alone; further ones wait until one closes.

    gunicorn's gevent worker with ``worker_connections = 10``, as Dify's image starts it: a kept-alive connection keeps its
    slot, so while the client is busy on ten, the eleventh waits until its client gives it up. The client's own pool gives
    out the connection that is idle longest, and closes those that are idle for 1.5 s, as ours does.
    """

    KEPT_S = 1.5

    def __init__(self, slots: Callable[[float], int], *, mean: float = 0.1, cv: float = 0.5, seed: int = 1) -> None:
        super().__init__(seed)
        self.slots, self.mean, self.cv = slots, mean, cv
        self._idle: deque[tuple[float, object]] = deque()
        self._accepted: set[object] = set()
        self._backlog: deque[tuple[object, asyncio.Future[None]]] = deque()

    async def serve(self, request: Request) -> Answer:
        connection = self._pooled()
        whole = False
        try:
            if connection not in self._accepted:
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._backlog.append((connection, turn))
                self._accept()
                try:
                    await turn
                finally:
                    self._backlog = deque(pair for pair in self._backlog if pair[1] is not turn)
                await asyncio.sleep(0.005)  # a connection is set up
            await asyncio.sleep(self.noisy(self.mean, self.cv))
            whole = True
            return DELETED
        finally:
            if whole:
                self._idle.append((now(), connection))
                asyncio.get_running_loop().call_later(self.KEPT_S + 0.001, self._expire)
            else:
                self._close(connection)

    def _pooled(self) -> object:
        self._expire()
        return self._idle.popleft()[1] if self._idle else object()

    def _expire(self) -> None:
        while self._idle and self._idle[0][0] <= now() - self.KEPT_S:
            self._close(self._idle.popleft()[1])

    def _close(self, connection: object) -> None:
        self._accepted.discard(connection)
        self._accept()

    def _accept(self) -> None:
        while self._backlog and len(self._accepted) < self.slots(now() - self.trace.started):
            connection, turn = self._backlog.popleft()
            if not turn.done():
                self._accepted.add(connection)
                turn.set_result(None)


class Pool(Model):
    """A server of any concurrency before a pool of database connections; who gets none in 30 s answers 500.

    The pool is not fair: a request that comes when a connection is put back takes it before one that waits has woken (10 ms),
    so while clients come back at once the waiting ones starve. That is what a Dify does at 64 and more at once.
    """

    def __init__(
        self, size: Callable[[float], int], *, mean: float = 0.2, cv: float = 0.5, patience: float = 30.0, seed: int = 1
    ) -> None:
        super().__init__(seed)
        self.size, self.mean, self.cv, self.patience = size, mean, cv, patience
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def serve(self, request: Request) -> Answer:
        if self._used < self.size(now() - self.trace.started):
            self._used += 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout(self.patience):
                    await turn
            except TimeoutError:
                return failed(500)
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        try:
            await asyncio.sleep(self.noisy(self.mean, self.cv))
            return DELETED
        finally:
            self._used -= 1
            asyncio.get_running_loop().call_later(0.01, self._wake)

    def _wake(self) -> None:
        while self._waiting and self._used < self.size(now() - self.trace.started):
            turn = self._waiting.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)


class Shedding(Shared):
    """A shared processor behind a queue of so many: what comes beyond is answered 503 at once."""

    def __init__(self, room: int, capacity: Callable[[int, float], float], **options: float) -> None:
        super().__init__(capacity, **options)  # type: ignore[arg-type]
        self.room = room

    async def serve(self, request: Request) -> Answer:
        if len(self._jobs) >= self.room:
            await asyncio.sleep(self.away)
            return failed(503)
        return await super().serve(request)


# ---------------------------------------------------------------------- running a client against a model


@asynccontextmanager
async def client(
    provider: Provider, model: Model, policy: Policy | None = None, beside: Coroutine[Any, Any, None] | None = None
) -> AsyncIterator[Client]:
    """A client whose wire is the model, while ``beside`` runs; the trace has a look at the client four times a second."""

    @asynccontextmanager
    async def connect(_: Provider) -> AsyncIterator[Model]:
        yield model

    async def look(c: Client) -> None:
        while True:
            for progress in c.progress():
                rate = 0.0 if progress.rate is None else progress.rate.per_second
                model.trace.looks.append((now(), progress.concurrency, rate))
            await asyncio.sleep(0.25)

    async with Client(provider, connect=connect, policy=policy) as c:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one) for one in (look(c), beside) if one is not None]
        model.trace.started = now()
        try:
            yield c
        finally:
            model.trace.ended = now()
            for task in tasks:
                task.cancel()


def binned(trace: Trace, width: float) -> Iterator[tuple[float, list[Seen]]]:
    """What ended in each ``width`` seconds, by the middle of them."""
    bins: dict[int, list[Seen]] = {}
    for one in trace.seen:
        bins.setdefault(int((one.ended_at - trace.started) // width), []).append(one)
    for place in sorted(bins):
        yield (place + 0.5) * width, bins[place]


# ---------------------------------------------------------------------- rate


WALL = 1_750_000_030.0  # Unix seconds at virtual second 0: 30 s into a minute


def http_date(at: float) -> str:
    return formatdate(WALL + at, usegmt=True)


class Limited(Model):
    """A service that lets ``n`` requests through in any ``per`` seconds, refused ones counted, and takes 40 ms for each.

    ``refuse(seconds)`` words a refusal, given how long it is until a request would be let through. ``fixed``: the count begins
    anew every ``per`` seconds of the clock instead.
    """

    def __init__(
        self,
        n: int,
        per: float,
        refuse: Callable[[float], Answer],
        *,
        deleted: Answer = DELETED,
        fixed: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__(seed)
        self.n, self.per, self.refuse, self.deleted, self.fixed = n, per, refuse, deleted, fixed
        self._counted: deque[float] = deque()
        self.live: list[tuple[float, bool]] = []  # the customer's own app: when it asked, and whether it was refused

    async def app(self, every: float) -> None:
        """The customer's own app, which asks the same service every so often under the same limit."""
        while True:
            await asyncio.sleep(every)
            self.live.append((now(), self.admit() > 0))

    def locked_out_s(self) -> float:
        """The longest time during which every request of the app was refused."""
        longest, since = 0.0, None
        for at, refused in self.live:
            since = None if not refused else at if since is None else since
            longest = max(longest, 0.0 if since is None else at - since)
        return longest

    def admit(self) -> float:
        """Count a request; 0 where it is let through, else seconds until one would be."""
        time = now()
        begin = (WALL + time) // self.per * self.per - WALL if self.fixed else time - self.per
        while self._counted and self._counted[0] <= begin:
            self._counted.popleft()
        self._counted.append(time)
        excess = len(self._counted) - self.n
        if excess <= 0:
            return 0.0
        return begin + self.per - time if self.fixed else self._counted[excess] + self.per - time

    async def serve(self, request: Request) -> Answer:
        wait = self.admit()
        await asyncio.sleep(self.noisy(0.04, 0.3))
        return self.refuse(wait) if wait else self.deleted

    async def read(self, request: Request) -> Answer:
        wait = self.admit()
        answer = await super().read(request)
        return self.refuse(wait) if wait else answer
