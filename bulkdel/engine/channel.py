"""One provider's wire, pacing, slots and health, shared by every call of a client: each request leaves through ``ask``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time as unix_time
from typing import TypeVar

import anyio

from bulkdel import events
from bulkdel.backoff import full_jitter
from bulkdel.engine.stop import Stop, StopReason
from bulkdel.limits import (
    Breaker,
    Concurrency,
    GiveUp,
    Kind,
    Limiter,
    LimiterUnavailable,
    MakeLimiter,
    MemoryStore,
    Open,
    RateControl,
    Sample,
    Slots,
)
from bulkdel.limits.learned import Learned, Memory
from bulkdel.model import Policy, Rate
from bulkdel.providers.protocol import Answer, Lost, Pause, Provider, Reply, Request, Requeue, StopProvider, Wire

T = TypeVar("T")

PAUSE_CAP = 60.0  # seconds; the longest pause of our own making, for a rate refusal that does not say how long


@dataclass(slots=True)
class Exchange:
    """A reply, when its request left and when it came (loop time).

    ``in_flight`` is how many requests were under way when it left, itself included; ``overtook`` how many that left before it
    were still under way when its reply came; ``deletes`` whether it was a DELETE.
    """

    reply: Reply
    sent_at: float
    ended_at: float
    in_flight: int
    overtook: int
    deletes: bool


class Channel:
    """What all calls of one client share of a provider. Not thread-safe; belongs to one event loop."""

    def __init__(
        self,
        provider: Provider,
        wire: Wire,
        *,
        rng: random.Random | None = None,
        learned: Rate | None = None,
        found: bool = True,
        state: Path | None = None,
        limiter: MakeLimiter | None = None,
    ) -> None:
        """
        :param state: the folder to share the limit in with other processes, and to remember what was learned of it
        :param limiter: makes what keeps the limit instead; then ``state`` only remembers
        """
        concurrency = provider.limits.concurrency
        assert concurrency is not None  # Provider.limits promises it
        self.provider = provider
        self.wire = wire
        guess = provider.rate_is_guess
        self.learned: Learned | None = None  # what an earlier run learned, where the pace begins with it
        self._memory: Memory | None = None
        # A limit that was given is neither overruled nor remembered, and one that is said not to exist neither.
        if state is not None and (guess or (provider.pace is None and provider.rate_is_default)):
            self._memory = Memory(state, provider.fingerprint)
            if (known := self._memory.recall(unix_time())) is not None:
                self.learned, learned, found = known, known.rate, known.found
        self.rates = RateControl(provider.pace, guess=guess, learned=learned, found=found)
        self.pacing = _limiter(provider, self.rates.rate, state, limiter)
        self.slots = Slots(concurrency)
        self.workers = provider.max_concurrency
        self.search = Concurrency(concurrency, self.workers) if self.workers > concurrency else None
        self.breaker = Breaker()
        self.requests = 0  # requests that left, of every kind
        self.elsewhere = 0  # requests in flight that other processes sent for us, as they said last
        self._under_way: dict[int, None] = {}  # requests by their number, in the order in which they left
        self._peak = 0  # the most in flight since somebody took it last
        self.stopped: StopReason | None = None
        self.pause_reason = ""
        self.random = rng or random.Random()
        self.unwell = False  # the breaker is open: a harmless question goes before the next document
        self.well = anyio.Event()  # set when that question was answered; a new one for each opening
        self._probing = False
        self._trial = False  # documents go one at a time until one of them is answered well
        self.concurrency = concurrency
        self._calm = False  # the last word was a good one: another one takes nothing back
        self._blocks = 0  # pauses in a row that ask to stop after a few
        self._refusals = 0  # of the rate, in a row; of others where they do not say how long
        self._stops: list[tuple[Stop, Callable[[events.Event], None]]] = []

    @property
    def in_flight(self) -> int:
        """Requests that left and have not come back."""
        return len(self._under_way) + self.elsewhere

    def take_peak(self) -> int:
        """The most requests that were in flight at once since this was asked last."""
        peak, self._peak = max(self._peak, self.in_flight), self.in_flight
        return peak

    # ------------------------------------------------------------------ calls come and go

    def attach(self, stop: Stop, emit: Callable[[events.Event], None]) -> None:
        """A call begins: what stops the provider stops it too, and its listeners hear of pauses."""
        self._stops.append((stop, emit))
        if self.stopped is not None:
            stop.set(self.stopped)
        if self.learned is not None:
            emit(events.RateLearned(self.provider.name, self.learned.rate, self.learned.ago_s))

    def detach(self, stop: Stop) -> None:
        self._stops = [pair for pair in self._stops if pair[0] is not stop]
        if not self._stops:
            # A later call of the same client may find a mended service: it asks again before it gives up.
            self.stopped = None
            self._blocks = self._refusals = 0
            self._calm = False
            self.breaker = Breaker()
            self._close_breaker()

    # ------------------------------------------------------------------ asking

    async def ask(self, request: Request, stop: Stop, policy: Policy) -> Exchange | None:
        """Send one request as soon as a slot and a permit are there; None where a stop came first and nothing was sent."""
        slots, pacing = self.slots, self.pacing
        if not slots.try_take() and not await self._take_slot(stop):
            return None
        try:
            at_once = pacing.try_acquire()
            try:
                if not at_once and not await stop.unless(pacing.acquire):
                    return None
            except LimiterUnavailable as lost:
                self.stop(StopProvider(lost.reason, lost.hint))
                return None
            if stop.reason is not None:
                return None
            time = asyncio.get_running_loop().time
            under_way = self._under_way
            self.requests = number = self.requests + 1
            under_way[number] = None
            flying = len(under_way) + self.elsewhere
            if flying > self._peak:
                self._peak = flying
            # A slot that is handed on is never seen free; but where slots wait for a permit, the wire is what counts.
            in_flight = slots.in_flight if at_once else flying
            sent_at = time()
            try:
                reply = await self.wire.send(request, timeout=policy.timeout, connect_timeout=policy.connect_timeout)
            finally:
                overtook = 0 if self.search is None else _place(under_way, number)
                del under_way[number]
            return Exchange(reply, sent_at, time(), in_flight, overtook, request.method == "DELETE")
        finally:
            slots.release()

    async def _take_slot(self, stop: Stop) -> bool:
        """Wait for a slot; one that comes in the very moment of a stop or of a cancellation is given back."""
        taken = had = False

        async def take() -> None:
            nonlocal taken
            await self.slots.take()
            taken = True

        try:
            had = await stop.unless(take)
        finally:
            if taken and not had:
                self.slots.release()
        return had

    # ------------------------------------------------------------------ what answers mean for the provider

    async def heal(self, dataset: str, stop: Stop, policy: Policy) -> bool:
        """While the breaker is open: one harmless question at a time, charged to no document, until one is answered.

        False where a stop came first.
        """
        while self.unwell:
            if self._probing:
                if not await stop.unless(self.well.wait):
                    return False
                continue
            self._probing = True
            try:
                exchange = await self.ask(self.provider.preflight(dataset, None), stop, policy)
                if exchange is None:
                    return False
                found = self.provider.read_preflight(dataset, None, exchange.reply)
                match found:
                    case Requeue(cause="trouble"):
                        self.trouble(found.reason, exchange)
                    case Pause():
                        self.pause(found, exchange, policy)
                    case StopProvider():
                        self.stop(found)
                    case _:
                        self.recovered()
            finally:
                self._probing = False
                if self.unwell:  # those who waited for this answer ask themselves
                    self.well.set()
                    self.well = anyio.Event()
        return stop.reason is None

    def alive(self, exchange: Exchange) -> None:
        """The service answered as a service that works does."""
        if self.search is not None:
            done = exchange.deletes and isinstance(exchange.reply, Answer) and 200 <= exchange.reply.status < 300
            self._sample(exchange, "ok" if done else "neutral")
        # What the others let through counts, too; their shares are about ours.
        rate = self.rates.passed(exchange.sent_at, exchange.ended_at, self.pacing.processes)
        if rate is not self.pacing.rate:  # hardly ever
            self._keep(rate)
        if not self._calm:
            self._calm = True
            self._blocks = self._refusals = 0
            self.breaker.success(exchange.ended_at)
            if self._trial:
                self._close_breaker()

    def recovered(self) -> None:
        """The harmless question was answered: documents may try again, one at a time until one is answered well.

        The breaker's clock goes on: with its Redis down a Dify lists well and fails every DELETE (contracts, dify.md).
        """
        self.unwell = False
        self.well.set()

    def _sample(self, exchange: Exchange, kind: Kind) -> None:
        """One request ended: the search for the best concurrency hears of it, and is obeyed unless the breaker is open."""
        if self.search is None:
            return
        self.concurrency = self.search.add(
            Sample(exchange.sent_at, exchange.ended_at, exchange.in_flight, kind, exchange.overtook)
        )
        if not self._trial and self.slots.limit != self.concurrency:
            self.slots.limit = self.concurrency

    def _keep(self, rate: Rate | None) -> None:
        self.pacing.set_rate(rate)
        if self._memory is not None and rate is not None and self.rates.learned is not None:
            self._memory.note(rate, self.rates.found, unix_time())

    async def aclose(self) -> None:
        """No call comes any more: what was learned is kept, and the limit is left to other processes."""
        if self._memory is not None and (rate := self.rates.learned) is not None:
            known = self.learned
            if known is None or (known.rate, known.found) != (rate, self.rates.found):
                self._memory.remember(rate, self.rates.found, unix_time())
        await self.pacing.aclose()

    def _close_breaker(self) -> None:
        self._trial = False
        self.recovered()
        self.slots.limit = self.concurrency

    def trouble(self, reason: str, exchange: Exchange) -> None:
        """The service or the network is unwell: pause after a few in a row, one request at a time, and give up in the end."""
        self._sample(exchange, "overload")
        self._calm = False
        if self.pacing.paused_since(exchange.sent_at):
            return  # it was sent before a pause began: the pause has answered that complaint
        unreachable = isinstance(exchange.reply, Lost) and exchange.reply.kind == "unreachable"
        match self.breaker.trouble(
            exchange.ended_at,
            self.random.random(),
            sent_at=exchange.sent_at,
            kind="unreachable" if unreachable else "service",
            why=reason,
        ):
            case Open(seconds):
                self.slots.limit = 1
                self._trial = True
                if not self.unwell:
                    self.unwell, self.well = True, anyio.Event()
                self._begin_pause(seconds, f"bulkdel holds back, for the service is failing: {reason}", exchange)
            case GiveUp(why):
                self.stop(StopProvider(why, "is the service up, and is the base URL right?"))
            case None:
                pass

    def pause(self, verdict: Pause, exchange: Exchange, policy: Policy) -> None:
        """The provider wants nothing for a while: a floor for all, one strike for all that complained of the same."""
        self._sample(exchange, "neutral")
        self._calm = False
        same_complaint = self.pacing.paused_since(exchange.sent_at)
        u = self.random.random()
        if not same_complaint:
            self._refusals += verdict.slower or verdict.after is None
        seconds = full_jitter(self._refusals + 1, policy.backoff, PAUSE_CAP, 0.5 + u / 2)
        if verdict.after is not None:
            # Up to a tenth more, so that all who were told the same second do not come back in it.
            told = min(verdict.after, policy.max_pause) + min(5.0, 0.1 * verdict.after) * u
            # Some services say one second always, and refuse again and again: then ours is the longer one.
            seconds = max(told, seconds) if self._refusals > 1 else told
        if verdict.slower:
            # A service that counts requests is a service that lives.
            self.breaker.success(exchange.ended_at)
        if not same_complaint:
            if verdict.stop_after is not None:
                self._blocks += 1
                if self._blocks >= verdict.stop_after:
                    self.stop(StopProvider(f"{verdict.reason}, {self._blocks} times in a row"))
                    return
            if verdict.slower:
                self._keep(self.rates.refused(exchange.sent_at, verdict.after))
        self._begin_pause(seconds, verdict.reason, exchange)

    def stop(self, verdict: StopProvider) -> None:
        """Nothing more leaves to this provider, for any call."""
        if self.stopped is not None:
            return
        self.stopped = StopReason("stopped", verdict.reason, verdict.hint)
        for stop, emit in list(self._stops):
            stop.set(self.stopped)
            emit(events.Stopped(self.provider.name, "", verdict.reason, verdict.hint))

    def stop_for_bug(self, error: Exception) -> None:
        """The provider's own code raised, or ours did with its answers: nothing more leaves to it."""
        words = f"a bug in bulkdel or in the provider {self.provider.name} raised: {type(error).__name__}"
        self.stop(StopProvider(words))

    def tell_of_pause(self, seconds: float, reason: str) -> None:
        """A pause that another process began on our behalf: pacing knows of it, the calls hear of it here."""
        self.pause_reason = reason
        for _, emit in self._stops:
            emit(events.Paused(self.provider.name, reason, seconds))

    def _begin_pause(self, seconds: float, reason: str, exchange: Exchange) -> None:
        self.pause_reason = reason
        if self.pacing.pause(seconds, exchange.sent_at):
            for _, emit in self._stops:
                emit(events.Paused(self.provider.name, reason, seconds))


def _limiter(provider: Provider, rate: Rate | None, state: Path | None, make: MakeLimiter | None) -> Limiter:
    if make is not None:
        return make(provider, rate)
    if state is None:
        return Limiter(MemoryStore(), rate)
    from bulkdel.limits.file_store import FileStore  # brings SQLite along, which few programs need

    return Limiter(FileStore(state, provider.fingerprint), rate)


def _place(under_way: dict[int, None], number: int) -> int:
    """How many come before ``number``."""
    place = 0
    for earlier in under_way:
        if earlier == number:
            break
        place += 1
    return place
