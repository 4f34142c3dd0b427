"""Services with a known capacity, in memory behind the wire's border: what is too much for each of them, and what it does then."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise

from benchmarks.models import DELETED, JSON, Model, failed, now, targets
from bulkdel.providers.protocol import Answer, Request


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
    out the connection that was used last, and closes those that are idle for 1.5 s, as ours does.

    ``knee`` is how many requests it works on at a time; more wait.
    """

    KEPT_S = 1.5

    def __init__(self, slots: int = 10, knee: int = 10, *, mean: float = 0.1, cv: float = 0.5, seed: int = 1) -> None:
        super().__init__(seed)
        self.slots, self.mean, self.cv = slots, mean, cv
        self._at_work = asyncio.Semaphore(knee)
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
            async with self._at_work:
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
        return self._idle.pop()[1] if self._idle else object()

    def _expire(self) -> None:
        while self._idle and self._idle[0][0] <= now() - self.KEPT_S:
            self._close(self._idle.popleft()[1])

    def _close(self, connection: object) -> None:
        self._accepted.discard(connection)
        self._accept()

    def _accept(self) -> None:
        while self._backlog and len(self._accepted) < self.slots:
            connection, turn = self._backlog.popleft()
            if not turn.done():
                self._accepted.add(connection)
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
