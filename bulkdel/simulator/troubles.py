"""The faults at work: what they have done so far decides what they do next."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from bulkdel.simulator.faults import Faults, Mishap
from bulkdel.simulator.rates import page, rate_limit
from bulkdel.simulator.server import WithBytesBehind


class Troubles:
    """The faults of one simulator and their state; times are seconds of ``clock``, every draw comes from ``seed``."""

    def __init__(self, faults: Faults, *, seed: int, clock: Callable[[], float]) -> None:
        self.luck = random.Random(f"{seed}/luck")
        self._clock = clock
        self._answered = 0
        self._deletes = 0
        self._attempts: Counter[str] = Counter()
        self._dead_connection = False
        self.faults = Faults()
        self.change(faults)

    def change(self, faults: Faults) -> None:
        """Go on with other faults: a running outage ends and the rate's window starts empty."""
        # SQLAlchemy's pool does not ping: the connection that died with Postgres costs one more 500 after it is back.
        self._dead_connection = self._dead_connection or (self.faults.postgres_down and not faults.postgres_down)
        self._outage_began: float | None = None
        self._paused_once = False
        self._rate = rate_limit(faults)
        self.faults = faults

    def in_front(self, deleted: int) -> web.Response | None:
        """The answer of what stands in front of the service, ``deleted`` documents after its start."""
        faults = self.faults
        if faults.outage_after is not None and deleted >= faults.outage_after:
            if self._outage_began is None:
                self._outage_began = self._clock()
            if self._clock() < self._outage_began + faults.outage_for:
                return outage(faults.outage_status)
        if deleted < faults.intercept_after:
            return None
        match faults.intercept:
            case None:
                return None
            case "login":
                fields = '<input name="user"><input name="password" type="password">'
                return page(200, "Sign in", f'<form method="post" action="/login">{fields}</form>')
            case "redirect":
                return web.Response(status=302, headers={"Location": "/login?next=%2F", "Content-Type": "text/html"})
            case "forbidden":
                return page(403, "403 Forbidden", "Request blocked by policy.")
            case "stand-in":
                return web.Response(body=b'{"data":[]}', headers={"Content-Type": "application/json"})

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
        """Count a document DELETE and say what becomes of it: what is said of the document comes first, then the number, then shares."""
        faults = self.faults
        self._deletes += 1
        self._attempts[document] += 1
        chance, script = self.luck.random(), faults.mishaps_of.get(document, ())
        if self._attempts[document] <= len(script):
            return script[self._attempts[document] - 1]
        if (scripted := faults.mishaps_at.get(self._deletes)) is not None:
            return scripted
        for mishap, share in faults.shares.items():
            if chance < share:
                return mishap
            chance -= share
        return None

    def on_its_way(self, reply: web.Response) -> web.Response:
        """Change an answer as proxies and broken servers do."""
        faults = self.faults
        self._answered += 1
        if faults.strip_version is not None and self._answered >= faults.strip_version:
            reply.headers.popall("X-Version", None)
            reply.headers.popall("X-Env", None)
        if faults.long_headers:
            reply.headers["X-Long"] = "x" * 20 * 1024
        if faults.behind_204 == "chunk" and reply.status == 204:
            # What some servers write behind a 204: the end of a chunked body that it must not have.
            reply.headers["Transfer-Encoding"] = "chunked"
            return WithBytesBehind(reply, b"0\r\n\r\n")
        if faults.behind_204 == "garbage" and reply.status == 204:
            return WithBytesBehind(reply, b"\x00garbage\r\n\r\n")
        return reply


def outage(status: int) -> web.Response:
    """A gateway's own page while the service behind it is away: no JSON, no X-Version."""
    return page(status, f"{status} {HTTPStatus(status).phrase}", "gateway", {"Server": "gateway"})
