"""A service in memory behind the wire's border, what it saw, one with a rate limit, and a client that asks it; virtual time."""

from __future__ import annotations

import asyncio
import json
import math
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

from bulkdel import Client, Policy, Rate, Target
from bulkdel.limits import Limiter, MemoryStore
from bulkdel.providers.protocol import Answer, Lost, Provider, Reply, Request

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
    """One request as the service saw it; ``answer`` is its status, 0 if none came."""

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
        document = request.path.partition("/documents/")[2]
        if document:
            return Answer(200, JSON, json.dumps({"id": document, "display_status": "available"}).encode())
        dataset = {"id": DATASET, "name": "model", "document_count": 1, "provider": "vendor", "enable_api": True}
        return Answer(200, JSON, json.dumps(dataset).encode())

    def noisy(self, mean: float, cv: float) -> float:
        """A positive time with this mean and this coefficient of variation (log-normal)."""
        if cv <= 0:
            return mean
        sigma2 = math.log(1 + cv * cv)
        return mean * self.random.lognormvariate(-sigma2 / 2, math.sqrt(sigma2))


# ---------------------------------------------------------------------- running a client against a model


def _alone(_: Provider, rate: Rate | None) -> Limiter:
    """In ``state`` the limit would be shared with other processes, whose clock is no virtual one."""
    return Limiter(MemoryStore(), rate)


@asynccontextmanager
async def client(
    provider: Provider,
    model: Model,
    policy: Policy | None = None,
    beside: Coroutine[Any, Any, None] | None = None,
    state: Path | None = None,
) -> AsyncIterator[Client]:
    """A client whose wire is the model, while ``beside`` runs; the trace has a look at the client four times a second.

    What it learns is remembered in ``state``. Its dice are the same each time, so that a virtual run is repeatable.
    """

    @asynccontextmanager
    async def connect(_: Provider) -> AsyncIterator[Model]:
        yield model

    async def look(c: Client) -> None:
        while True:
            for progress in c.progress():
                rate = 0.0 if progress.rate is None else progress.rate.per_second
                model.trace.looks.append((now(), progress.concurrency, rate))
            await asyncio.sleep(0.25)

    dice = random.Random(1)
    policy = policy or Policy()
    if policy.indexing is None:  # nothing is being indexed here, and most models have no listing
        policy = replace(policy, indexing="delete")
    async with Client(provider, connect=connect, policy=policy, state=state, limiter=_alone, rng=dice) as c:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one) for one in (look(c), beside) if one is not None]
        model.trace.started = now()
        try:
            yield c
        finally:
            model.trace.ended = now()
            for task in tasks:
                task.cancel()


# ---------------------------------------------------------------------- rate


WALL = 1_750_000_030.0  # Unix seconds at virtual second 0: 30 s into a minute


def http_date(at: float) -> str:
    return formatdate(WALL + at, usegmt=True)


class Limited(Model):
    """A service that lets ``n`` requests through in any ``per`` seconds, refused ones counted, and takes ``takes`` seconds for each.

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
        takes: float = 0.04,
        seed: int = 1,
    ) -> None:
        super().__init__(seed)
        self.n, self.per, self.refuse, self.deleted, self.fixed = n, per, refuse, deleted, fixed
        self.takes = takes
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
        """Count a request; 0 if it is let through, else seconds until one would be."""
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
        await asyncio.sleep(self.noisy(self.takes, 0.3))
        return self.refuse(wait) if wait else self.deleted

    async def read(self, request: Request) -> Answer:
        wait = self.admit()
        answer = await super().read(request)
        return self.refuse(wait) if wait else answer
