"""One provider's way out, shared by every call of a client: slot, permit, pause and breaker around each request."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bulkdel import events
from bulkdel.backoff import full_jitter
from bulkdel.engine.stop import StopReason
from bulkdel.limits import (
    Breaker,
    ConcurrencySearch,
    GiveUp,
    Kind,
    Limiter,
    LimiterUnavailable,
    MakeLimiter,
    Open,
    Pace,
    Sample,
)  # fmt: skip
from bulkdel.model import Policy
from bulkdel.providers.protocol import Answer, Lost, Pause, Provider, Reply, Request, Requeue, StopProvider, Wire

if TYPE_CHECKING:
    from bulkdel.engine.session import ProviderSession


@dataclass(slots=True)
class Exchange:
    """A request and its reply: when it left and when the reply came (loop time).

    ``in_flight`` is how many requests were under way when it left, itself included; ``deletes`` whether it was a DELETE.
    """

    reply: Reply
    sent_at: float
    ended_at: float
    in_flight: int
    deletes: bool

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the service."""
        return isinstance(self.reply, Answer) or self.reply.sent

    @property
    def took_s(self) -> float:
        return self.ended_at - self.sent_at


@dataclass(slots=True)
class Health:
    """One provider's health, shared by all calls.

    ``open``: the breaker is open, and a harmless question goes before the next document. ``half_open``: documents go one at a
    time until one of them is answered well. ``rate_refused``: requests go one at a time until one passes, because eight at once
    would be eight refusals. ``answers_lost``: deletes are carried out, as the service showed, and answers are lost, some or
    all: until it shows that they are not, or another trouble comes.
    ``giving_up``: nothing has succeeded for too long, and evidence is looked for, once.
    """

    breaker: Breaker = field(default_factory=Breaker)
    open: bool = False
    half_open: bool = False
    rate_refused: bool = False
    answers_lost: bool = False
    giving_up: StopProvider | None = None
    deletes_fail: bool = False  # the last ones failed, and the service showed that they were not carried out
    mark_stripped: bool = False  # a proxy takes away the header by which the service's own answers are known
    no_recent_failures: bool = False  # the last answer was a good one: another one changes nothing
    blocks: int = 0  # pauses in a row that stop the provider after a few
    refusals: int = 0  # pauses in a row that the service gave no time for, those for its rate aside
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while the harmless question is being asked

    @property
    def doubtful(self) -> bool:
        """Whether answers are being lost, so that a document in doubt is looked at before it is asked for again."""
        return self.half_open or self.answers_lost

    @property
    def one_by_one(self) -> bool:
        """Whether one request at a time leaves, whatever the best concurrency is."""
        return self.half_open or self.rate_refused

    def open_breaker(self) -> None:
        """No document is asked for until a harmless question was answered; then one at a time, until one is answered well.

        The breaker's clock goes on meanwhile: with its Redis down a Dify lists well and fails every DELETE (providers/README.md).
        """
        self.open = self.half_open = True

    def close(self) -> None:
        """All is well: documents leave side by side."""
        self.open = self.half_open = self.rate_refused = False


class Gate:
    """Sends one provider's requests, and learns from their answers when the next may leave.

    :param state: the folder to share the limit in with other processes, and to remember in what was learned of it
    :param limiter: makes what keeps the limit instead; then ``state`` only remembers
    """

    def __init__(
        self,
        provider: Provider,
        wire: Wire,
        rng: random.Random | None = None,
        state: Path | None = None,
        limiter: MakeLimiter | None = None,
    ) -> None:
        self.provider = provider
        self.wire = wire
        self.random = rng or random.Random()
        self.pace = Pace(provider, state, limiter)
        self.slots = anyio.CapacityLimiter(self._concurrency)
        self.search = self._begin_search()
        self.health = Health()
        self.stopped: StopReason | None = None
        self.pause_reason = ""  # empty: nothing is sent because what the service allows in a window is used up
        self.in_flight = 0  # requests that left and have not come back
        self.peak = 0  # the most in flight since the timeline looked last
        self._callers: list[ProviderSession] = []

    def _begin_search(self) -> ConcurrencySearch | None:
        start, most = self._concurrency, self.provider.max_concurrency
        return ConcurrencySearch(start, most) if most > start else None

    @property
    def _concurrency(self) -> int:
        return self.provider.limits.concurrency or 1  # it is never None, as Provider.limits promises

    @property
    def limiter(self) -> Limiter:
        return self.pace.limiter

    # ------------------------------------------------------------------ calls come and go

    def attach(self, caller: ProviderSession) -> None:
        """A call begins: what stops the provider stops it too, and it hears of pauses."""
        self._callers.append(caller)
        if self.stopped is not None:
            caller.stop.set(self.stopped)
        if (known := self.pace.learned) is not None:
            caller.hear(events.RateLearned(self.provider.name, known.rate, known.ago_s, known.refused))

    def detach(self, caller: ProviderSession) -> None:
        self._callers.remove(caller)
        if not self._callers:
            # A later call of the same client may find a mended service: it asks again before it gives up.
            self.stopped = None
            self.health.close()
            self.health = Health()
            self._adapt_slots()

    # ------------------------------------------------------------------ sending

    async def send(self, request: Request, caller: ProviderSession) -> Exchange | None:
        """Send one request as soon as a slot and a permit are there.

        :returns: None if nothing was sent, because a stop came first, or because the breaker opened and it is no question
        """
        slot, slots, limiter, stop = object(), self.slots, self.limiter, caller.stop
        take, give_back = partial(slots.acquire_on_behalf_of, slot), partial(slots.release_on_behalf_of, slot)
        while True:
            try:
                slots.acquire_on_behalf_of_nowait(slot)
            except anyio.WouldBlock:
                if not await stop.acquire(take, give_back):
                    return None
            try:
                at_once = limiter.try_acquire()
                if not at_once and not await stop.run_until_stopped(limiter.acquire):
                    return None
                if stop.reason is not None or (self.health.open and request.method != "GET"):
                    return None
                if self.in_flight and self.health.one_by_one:
                    continue  # it had its slot before the pause began, as others had: one of them goes
                caller.account.requests += 1
                return await self._exchange(request, caller.policy, at_once=at_once)
            except LimiterUnavailable as lost:
                self.stop(StopProvider(lost.reason, lost.hint))
                return None
            finally:
                give_back()

    async def _exchange(self, request: Request, policy: Policy, *, at_once: bool) -> Exchange:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        # A slot that is handed on is never seen free; but if slots wait for a permit, the wire is what counts.
        in_flight = self.slots.borrowed_tokens if at_once else self.in_flight
        time = asyncio.get_running_loop().time
        sent_at = time()
        try:
            reply = await self.wire.send(request, timeout=policy.timeout, connect_timeout=policy.connect_timeout)
        finally:
            self.in_flight -= 1
        ended_at = time()
        # A proxy takes away the header by which the service's own answers are known: that is said with each answer.
        if isinstance(reply, Answer) and (self.health.mark_stripped or self.provider.lacks_mark(reply)):
            self.health.mark_stripped, reply = True, reply._replace(mark_stripped=True)
        return Exchange(reply, sent_at, ended_at, in_flight, request.method == "DELETE")

    # ------------------------------------------------------------------ learning

    def observe(self, exchange: Exchange, verdict: object, policy: Policy) -> None:
        """Learn what a reply means for the provider: for its rate, its concurrency and its health.

        :param verdict: what the provider read out of it; a value that is no failure (a page, a dataset) is a good answer
        """
        match verdict:
            case Requeue(cause="trouble"):
                self._record_trouble(verdict, exchange)
            case Pause():
                self._record_pause(verdict, exchange, policy)
            case StopProvider():
                self.stop(verdict)
            case _:
                self._record_success(exchange)

    def _record_success(self, exchange: Exchange) -> None:
        """The service answered as a service that works does."""
        done = exchange.deletes and isinstance(exchange.reply, Answer) and 200 <= exchange.reply.status < 300
        self._sample(exchange, "ok" if done else "neutral")
        if rest_s := self.pace.passed(exchange.sent_at, exchange.ended_at, self.in_flight):
            self.pause_reason = ""  # it is no complaint: the rate is kept that way
            self.limiter.pause(rest_s, exchange.sent_at)
        health = self.health
        if health.deletes_fail and not exchange.deletes:
            return  # a service that lists well and carries out no DELETE is failing
        if health.rate_refused and self.limiter.paused_since(exchange.sent_at):
            return  # it left before the last refusal: whether the next one is refused, too, is not known yet
        if not health.no_recent_failures:
            health.deletes_fail = False
            health.no_recent_failures = True
            health.blocks = health.refusals = 0
            health.breaker.success(exchange.ended_at)
            if health.one_by_one:
                health.close()
            self._adapt_slots()

    def _sample(self, exchange: Exchange, kind: Kind) -> None:
        """The search for the best concurrency learns of a request that ended."""
        if self.search is not None:
            self.search.add(Sample(exchange.sent_at, exchange.ended_at, exchange.in_flight, kind))
            self._adapt_slots()

    def _adapt_slots(self) -> None:
        """As many requests at once as are best while the service is well; one otherwise."""
        best = self._concurrency if self.search is None else self.search.limit
        slots = 1 if self.health.one_by_one else best
        if self.slots.total_tokens != slots:
            self.slots.total_tokens = slots

    def _record_trouble(self, verdict: Requeue, exchange: Exchange) -> None:
        """The service or the network is unwell: pause after a few in a row, then one request at a time; give up in the end."""
        health = self.health
        doubt = verdict.doubt and exchange.deletes
        if health.answers_lost and doubt:
            self._sample(exchange, "neutral")
            return  # the service does what it is asked, and shows it
        health.answers_lost = False
        self._sample(exchange, "overload")
        health.no_recent_failures = False
        if self.limiter.paused_since(exchange.sent_at):
            return  # it was sent before a pause began: the pause has answered that complaint
        unreachable = isinstance(exchange.reply, Lost) and exchange.reply.kind == "unreachable"
        match health.breaker.trouble(
            exchange.ended_at,
            self.random.random(),
            sent_at=exchange.sent_at,
            kind="unreachable" if unreachable else "service",
            why=verdict.reason,
            what="delete" if health.deletes_fail else "request",
        ):
            case Open(seconds):
                health.open_breaker()
                self._begin_pause(seconds, f"the service is failing ({verdict.reason})", exchange)
            case GiveUp(why):
                given_up = StopProvider(why, outage_hint(why))
                if doubt and health.giving_up is None:
                    # The documents in doubt are looked at first: what is gone was deleted, and then the service does work.
                    health.giving_up = given_up
                    health.open_breaker()
                else:
                    self.stop(given_up)
            case None:
                pass
        self._adapt_slots()

    def _record_pause(self, verdict: Pause, exchange: Exchange, policy: Policy) -> None:
        """The provider wants nothing for a while: it is a floor for all, and concurrent refusals count as one."""
        self._sample(exchange, "neutral")
        health = self.health
        health.no_recent_failures = False
        counted = self.limiter.paused_since(exchange.sent_at)
        if not counted:
            health.refusals += verdict.after is None and not verdict.slower
        u = self.random.random()
        if verdict.slower:
            # A service that counts requests is a service that lives.
            health.breaker.success(exchange.ended_at)
            after = None if verdict.after is None else min(verdict.after, policy.max_pause)
            seconds = self.pace.refused(exchange.sent_at, exchange.ended_at, after, u)
            health.rate_refused = True
            self._adapt_slots()
        else:
            seconds = pause_seconds(verdict, health.refusals, policy, u)
        if not counted and verdict.stop_after is not None:
            health.blocks += 1
            if health.blocks >= verdict.stop_after:
                self.stop(StopProvider(f"{verdict.reason}, {health.blocks} times in a row"))
                return
        self._begin_pause(seconds, verdict.reason, exchange)

    def _begin_pause(self, seconds: float, reason: str, exchange: Exchange) -> None:
        self.pause_reason = reason
        if self.limiter.pause(seconds, exchange.sent_at):
            for caller in self._callers:
                caller.hear(events.Paused(self.provider.name, reason, seconds))

    # ------------------------------------------------------------------ side by side, or not at all

    def record_evidence(self, *, gone: int, still_there: int) -> None:
        """The service showed how many documents are gone whose answers were lost, and how many are still there."""
        health = self.health
        if gone:
            if self.search is not None and self.search.limit < self._concurrency:
                self.search = self._begin_search()  # what brought it down were no failures
            health.answers_lost, health.giving_up, health.deletes_fail = gone > still_there, None, False
            health.breaker.success(asyncio.get_running_loop().time())
            health.close()
        elif still_there:
            health.answers_lost = health.open = False
            health.deletes_fail = True
        self._adapt_slots()
        if not gone and health.giving_up is not None:
            self.stop(health.giving_up)

    def stop(self, verdict: StopProvider) -> None:
        """Nothing more leaves to this provider, for any call."""
        if self.stopped is not None:
            return
        self.stopped = StopReason("stopped", verdict.reason, verdict.hint)
        for caller in list(self._callers):
            caller.stop.set(self.stopped)
            caller.hear(events.Stopped(self.provider.name, "", verdict.reason, verdict.hint))


def outage_hint(reason: str) -> str:
    """What to look at if a service gave no answer of use, which ``reason`` describes."""
    if "the proxy " in reason:
        return "is the proxy right? HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name it, and NO_PROXY what goes past it"
    return "is the service up, and is the base URL right?"


def pause_seconds(verdict: Pause, refusals: int, policy: Policy, u: float) -> float:
    """How long a provider that wants nothing is left alone; ``refusals`` are those in a row, ``u`` is uniform in [0, 1)."""
    own = full_jitter(refusals + 1, policy.backoff, 60.0, 0.5 + u / 2)
    if verdict.after is None:
        return own
    # Up to a tenth more, so that all who were given the same second do not come back in it.
    return min(verdict.after, policy.max_pause) + min(5.0, 0.1 * verdict.after) * u
