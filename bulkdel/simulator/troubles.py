"""The faults at work: what they have done so far decides what they do next."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from bulkdel.simulator.answers import Reply
from bulkdel.simulator.faults import Faults, Mishap, mishap_of
from bulkdel.simulator.window import FixedWindow, LeakyBucket, RateLimit, SlidingWindow


class Troubles:
    """The faults of one simulator and their state; times are seconds of ``clock``, every draw comes from ``seed``."""

    def __init__(self, faults: Faults, *, seed: int, clock: Callable[[], float]) -> None:
        self.luck = random.Random(f"{seed}/luck")
        self._clock = clock
        self._answered = 0
        self._deletes = 0
        self._attempts: Counter[str] = Counter()
        self._waiting = 0  # requests in the queue for a slot
        self._dead_connection = False
        self.faults = Faults()
        self.change(faults)

    def change(self, faults: Faults) -> None:
        """Go on with other faults: a running outage ends and the rate's window starts empty."""
        # SQLAlchemy's pool does not ping: the connection that died with Postgres costs one more 500 after it is back.
        self._dead_connection = self._dead_connection or (self.faults.postgres_down and not faults.postgres_down)
        self._outage_began: float | None = None
        self._paused_once = False
        self._slots = None if faults.slots is None else asyncio.Semaphore(faults.slots)
        self._rate = _rate_limit(faults)
        self.faults = faults

    def is_away(self, deleted: int) -> bool:
        """Whether the service is being restarted, ``deleted`` documents after its start."""
        if self.faults.outage_after is None or deleted < self.faults.outage_after:
            return False
        if self._outage_began is None:
            self._outage_began = self._clock()
        return self._clock() < self._outage_began + self.faults.outage_for

    def database_fails(self) -> bool:
        """Whether this request finds no database, or a connection that died with it."""
        dead, self._dead_connection = self._dead_connection, False
        return self.faults.postgres_down or dead

    def over_limit(self) -> float | None:
        """Count a request against the rate limit; the seconds after which one would pass if it is over the limit."""
        return None if self._rate is None else self._rate.refuse(self._clock())

    def pauses(self) -> bool:
        """Whether this delete is the one that is refused without any limit."""
        first = self.faults.pause_once is not None and not self._paused_once
        self._paused_once = True
        return first

    def mishap(self, document: str) -> Mishap | None:
        """Count a document DELETE and say what becomes of it."""
        self._deletes += 1
        self._attempts[document] += 1
        number, attempt, chance = self._deletes, self._attempts[document], self.luck.random()
        return mishap_of(self.faults, number=number, document=document, attempt=attempt, chance=chance)

    async def work(self, *, listing: bool) -> bool:
        """Take the time that real work takes; False if it waited too long for its turn."""
        faults, slots = self.faults, self._slots
        took = faults.latency + (self.luck.random() * faults.jitter if faults.jitter else 0.0)
        took += faults.page_latency if listing else 0.0
        if slots is None:
            if took:
                await asyncio.sleep(took)
            return True
        self._waiting += 1
        try:
            async with asyncio.timeout(faults.slot_timeout):
                await slots.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        try:
            await asyncio.sleep(took * (1 + faults.contention * self._waiting))
        finally:
            slots.release()
        return True

    def on_its_way(self, reply: Reply) -> Reply:
        """Change an answer as proxies and broken servers do."""
        faults = self.faults
        self._answered += 1
        if faults.strip_version is not None and self._answered >= faults.strip_version:
            kept = {name: text for name, text in reply.headers.items() if name not in ("X-Version", "X-Env")}
            reply = replace(reply, headers=kept)
        if faults.long_headers:
            reply = reply.plus({"X-Long": "x" * 20 * 1024})
        if faults.behind_204 == "chunk" and reply.status == 204:
            # What some servers write behind a 204: the end of a chunked body that it must not have.
            reply = replace(reply.plus({"Transfer-Encoding": "chunked"}), behind=b"0\r\n\r\n")
        elif faults.behind_204 == "garbage" and reply.status == 204:
            reply = replace(reply, behind=b"\x00garbage\r\n\r\n")
        return reply


def _rate_limit(faults: Faults) -> RateLimit | None:
    limit, per = faults.rate_limit, faults.rate_window
    if limit is None:
        return None
    match faults.rate_shape:
        case "sliding":
            return SlidingWindow(limit, per, count_refused=faults.count_refused)
        case "fixed":
            return FixedWindow(limit, per)
        case "bucket":
            return LeakyBucket(limit / per, faults.rate_burst)
