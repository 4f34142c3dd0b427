"""The one limiter: it says when the next request may leave; where its tokens are is a store's business.

Three stores keep tokens: ``memory_store`` in this process, ``file_store`` between the processes of a machine, and
``redis_store`` between machines. Each answers one call, ``take``; waiting, the queue and the pause are here, once for all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from bulkdel.limits.bucket import fairness_delay, shared_bucket
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider


class LimiterUnavailable(Exception):
    """Raised by ``Limiter.acquire`` if there will be no permit any more: the store is gone and was waited for long enough.

    ``reason`` is one sentence for people, ``hint`` what to do; neither holds a password or a key.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


@dataclass(frozen=True, slots=True)
class Lease:
    """What a store grants.

    :param permits: requests that may leave; 0 for none now, infinite if no limit is in force
    :param use_within_s: seconds from the claim within which they must be used; what is left then is lost
    :param retry_s: seconds until the next claim can bring permits
    :param paused_s: seconds that are left of the pause of all processes; negative if it is over, minus infinity if none is known
    :param rate: the limit in force, None for none
    :param per_second: permits a second that all processes together can expect under demand; infinite without a limit
    :param slack_s: seconds that the next claim may be late without loss
    :param processes: how many processes want permits of this limit now, this one included
    :param trouble: why there are no permits although there should be, in words; empty if all is well
    """

    permits: float
    rate: Rate | None
    use_within_s: float = math.inf
    retry_s: float = 0.0
    paused_s: float = -math.inf
    per_second: float = math.inf
    slack_s: float = 0.0
    processes: int = 1
    trouble: str = ""


def shared_lease(permits: int, rate: Rate | None, retry_s: float, paused_s: float, processes: int) -> Lease:
    """The lease of a limit that several processes keep together."""
    if rate is None:
        # Nothing is counted. The pause of another process, or that the store is away, is heard of within half a second.
        free = paused_s <= 0
        return Lease(math.inf if free else 0, None, 0.5, 0.5 if free else paused_s, paused_s, processes=processes)
    b = shared_bucket(rate)
    return Lease(permits, rate, b.hold_s, retry_s, paused_s, b.per_second, b.slack_s, processes)


class TokenStore(Protocol):
    """Keeps the tokens of one limit, and the pause, for all that share them. Made for one event loop."""

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        """Say what this process wants and take a lease if there is one; it never waits for permits.

        What is granted is spent, used or not: a process that dies or is cancelled owes the others nothing.

        :param rate: the service's limit as this process knows it, None for none; the slowest of all processes is in force
        :param pause_s: seconds from now in which nothing may leave, for any process; 0 if the store knows of it already
        :raises LimiterUnavailable: if the store is gone and was waited for long enough
        """

    async def aclose(self) -> None:
        """Leave the limit to the others. May be called twice, and never raises for what is gone."""


class Limiter:
    """Permits to send one request each: below the limit in any window, and none during a pause.

    Permits go to waiters in the order they asked. A permit is used in the instant it is got. One waiter at a time, the first in
    the queue, claims leases from the store; the others are served from what is left of a lease.

    Made for one event loop and not for threads. Times are the loop's, in seconds.

    :param store: where the tokens are
    :param rate: the service's limit: at most ``rate.n`` requests leave in any ``rate.per`` seconds; None for no known limit
    """

    def __init__(self, store: TokenStore, rate: Rate | None) -> None:
        self._store = store
        self._wanted = rate
        self._turn = asyncio.Lock()  # first come, first served; cancelling a waiter does not block the others
        self._changed = asyncio.Event()  # the front waiter is to look again
        self.waiting = 0
        """How many wait for a permit."""
        self._lease = Lease(0, rate)  # the last one: what is in force
        self._leased = 0.0  # permits left of it
        self._lease_ends = -math.inf
        self._claim_at = -math.inf  # no claim before this
        self._misses = 0  # claims in a row that brought nothing
        self._paused_until = -math.inf
        self._shared_pause = -math.inf  # the pause's end as the store knows it

    # ------------------------------------------------------------------ permits

    def try_acquire(self) -> bool:
        """Take a permit that is left of the last lease, if no worker waits for one; never waits."""
        return not self.waiting and self._take_leased()

    async def acquire(self) -> None:
        """Wait for a permit: behind those who asked before, for the pause, and for the rate as it is by then.

        Cancelling does not block the others. It loses no permit, except what a remote store grants in that very moment.

        :raises LimiterUnavailable: if there will be no permit
        """
        if self.try_acquire():
            return
        self.waiting += 1
        try:
            async with self._turn:
                while not self._take_leased():
                    wait = self._claim_at - _now()
                    if wait <= 0:
                        await self._claim()
                        continue
                    self._changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._changed.wait()
        finally:
            self.waiting -= 1

    def _take_leased(self) -> bool:
        if self._leased < 1:
            return False
        now = _now()
        if now < self._paused_until or now > self._lease_ends:
            return False
        self._leased -= 1
        return True

    async def _claim(self) -> None:
        asked_at, wanted = _now(), self._wanted
        # A pause that is known here and not in the store is news: it began here, or the store has lost it. Differences below
        # 50 ms are the way to the store and back.
        news = self._paused_until if self._paused_until > self._shared_pause + 0.05 else asked_at
        lease = await self._store.take(wanted, max(0.0, news - asked_at))
        now = _now()
        self._shared_pause = now + lease.paused_s
        self._paused_until = max(self._paused_until, self._shared_pause)
        self._lease = lease
        # If another rate was set meanwhile, permits of the old one do not count.
        self._leased = lease.permits if wanted == self._wanted else 0
        self._lease_ends = asked_at + lease.use_within_s
        self._misses = 0 if lease.permits else self._misses + 1
        wait = lease.retry_s
        # Only who has to wait anyway waits a little more: while the bucket holds another lease, a delay would cost permits.
        if lease.processes > 1 and wait > 0:
            wait += fairness_delay(lease.slack_s, self._misses)
        # While it waits a process claims every 5 s: the limit or the pause of all may have changed, and it shows that it is there.
        # A microsecond at least: a rounding error must not become a busy loop.
        wait = min(wait, 5.0) if lease.permits else min(max(wait, 1e-6), 5.0)
        self._claim_at = now + wait if wanted == self._wanted else now

    # ------------------------------------------------------------------ the pause

    def pause(self, seconds: float, sent_at: float | None = None) -> bool:
        """Nothing leaves for ``seconds`` from now; a pause that ends later stays as it is.

        Other processes hear of it with this process' next claim.

        :param sent_at: when the request left that is complained about; None for now
        :returns: True for a new complaint; False for one of a request that left before the last pause was over, because
            concurrent refusals count as one
        :raises ValueError: if ``seconds`` is not a finite number
        """
        if not math.isfinite(seconds):
            raise ValueError(f"a pause must be a finite number of seconds: {seconds!r}")
        now = _now()
        new = not self.paused_since(now if sent_at is None else sent_at)
        until = now + max(0.0, seconds)
        if until > self._paused_until:
            self._paused_until = until
            self._claim_at = min(self._claim_at, now)
            self._changed.set()
        return new

    def paused_since(self, sent_at: float) -> bool:
        """Whether a pause is on or was on since a request left at ``sent_at``: its complaint has been answered."""
        return sent_at < self._paused_until

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left; 0.0 if there is none."""
        return max(0.0, self._paused_until - _now())

    # ------------------------------------------------------------------ the rate

    @property
    def rate(self) -> Rate | None:
        """The limit that is in force for all processes together; None for none."""
        return self._lease.rate

    @property
    def rate_is_anothers(self) -> bool:
        """Whether the limit in force is another one than this process wants, because another process wants a slower one."""
        return self._lease.rate is not None and self._lease.rate != self._wanted

    @property
    def allowed_per_second(self) -> float | None:
        """Permits a second that this process can expect under demand: its share of the limit; None without a limit."""
        if self._lease.rate is None:
            return None
        return min(self._lease.per_second, self._lease.rate.per_second) / self._lease.processes

    @property
    def processes(self) -> int:
        """How many processes want permits of this limit now, this one included."""
        return self._lease.processes

    @property
    def trouble(self) -> str:
        """Why there are no permits although there should be, in words; empty if all is well."""
        return self._lease.trouble

    def set_rate(self, rate: Rate | None) -> None:
        """Want this limit from now on; waiters see the change immediately. The slowest that any process wants is in force."""
        if rate == self._wanted:
            return
        if not self.rate_is_anothers:
            self._lease = replace(self._lease, rate=rate, per_second=math.inf)
        self._wanted = rate
        self._leased = 0
        self._claim_at = -math.inf
        self._changed.set()

    async def aclose(self) -> None:
        """Leave the limit to the others; nothing is asked any more. May be called twice."""
        await self._store.aclose()


MakeLimiter = Callable[[Provider, Rate | None], Limiter]
"""Makes the limiter of a provider that begins with a rate; called in the event loop that it will be used in."""


def _now() -> float:
    return asyncio.get_running_loop().time()
