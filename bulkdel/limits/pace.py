"""When the next request of one provider may leave: below its rate in any window, and never during a pause."""

from __future__ import annotations

import asyncio
import math

from aiolimiter import AsyncLimiter

from bulkdel.limits.bucket import Bucket, bucket
from bulkdel.model import Rate


class Pacing:
    """Permits to send one request each, given out in the order they were asked for.

    A permit is used in the instant it is got. It is made for one event loop and not for threads.

    Inside is one ``AsyncLimiter`` as the bucket, and the rest of the last lease in ``_hand``. At most one waiter at a time
    stands in the limiter's own queue (it favours small requests and re-arms a timer for each waiter); the others stand
    behind it in ``_turn``. The waiter charges the limiter in its own step and leaves in that step, so a cancelled waiter
    has charged nothing, and no permit ages between the limiter and the caller.
    """

    processes = 1  # that want permits of this limit: this one alone
    rate_is_anothers = False

    def __init__(self, rate: Rate | None) -> None:
        self.rate = rate  # the limit that is kept, as it was asked for; None for none; ``set_rate`` changes it
        self._bucket: Bucket | None = None
        self._limiter: AsyncLimiter | None = None
        if rate is not None:
            self._bucket, self._limiter = _start(rate)
        self._hand = 0  # permits left of the last lease: at most lease - 1
        self._until = 0.0  # when the pause ends, in the loop's time; 0 is none
        # That have begun so far; note it when a request is sent, and give it to ``pause`` with its complaint.
        self.pauses = 0
        self._waiting = 0
        self._turn = asyncio.Lock()  # fair: first come, first served
        self._inside: asyncio.Timeout | None = None  # around the one that stands in the limiter's queue

    # ------------------------------------------------------------------ permits

    def try_acquire(self) -> bool:
        """A permit if there is one now and nobody waits for it; never waits."""
        if self._waiting or (self._until and self.paused_s):
            return False
        if self._hand:
            self._hand -= 1
            return True
        if self._bucket is None or self._limiter is None:
            return True
        if not _take(self._limiter, self._bucket.lease):
            return False
        self._hand = self._bucket.lease - 1
        return True

    async def acquire(self) -> None:
        """Wait for a permit: for those who asked before, for the pause, and for the rate as it is by then.

        Cancelling loses no permit and holds up nobody.
        """
        if self.try_acquire():
            return
        self._waiting += 1
        try:
            async with self._turn:
                while not await self._first_in_line():
                    pass
        finally:
            self._waiting -= 1

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return self._waiting

    async def _first_in_line(self) -> bool:
        """Wait for what stands in the way now; True with a permit, False where to look again."""
        if paused := self.paused_s:
            await asyncio.sleep(paused)
            return False
        if self._hand:
            self._hand -= 1
            return True
        if self._bucket is None or self._limiter is None:
            return True
        limiter, lease = self._limiter, self._bucket.lease
        try:
            async with asyncio.timeout(None) as self._inside:
                await limiter.acquire(lease)
        except TimeoutError:
            return False  # called out by a pause or a new rate; nothing was charged
        finally:
            self._inside = None
        # A pause or a new rate may come in the turn between the limiter's wake-up and this step. That lease is given up:
        # kept, it would be a permit more than the bucket's proof counts, and the bucket fills again during the pause.
        if limiter is not self._limiter or self.paused_s:
            return False
        self._hand = lease - 1
        return True

    def _call_out(self) -> None:
        """Bring the one that stands in the limiter's queue back to look again."""
        if self._inside is not None:
            self._inside.reschedule(asyncio.get_running_loop().time())
            self._inside = None

    # ------------------------------------------------------------------ the pause

    def pause(self, seconds: float, since: int | None = None) -> bool:
        """Nothing leaves for ``seconds`` from now; a pause that ends later stays as it is.

        ``since`` is ``pauses`` as it was when the request was sent that is complained about. True where this is a new
        complaint; False where a pause is on already, or one has begun since then (one strike per pause).

        :raises ValueError: where ``seconds`` is not a finite number
        """
        if not math.isfinite(seconds):
            raise ValueError(f"a pause must be a finite number of seconds: {seconds!r}")
        known = self.paused_s > 0 or (since is not None and since < self.pauses)
        self._until = max(self._until, asyncio.get_running_loop().time() + max(0.0, seconds))
        self._call_out()
        if known:
            return False
        self.pauses += 1
        return True

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left; 0.0 where there is none."""
        if not self._until:
            return 0.0
        left = self._until - asyncio.get_running_loop().time()
        if left > 0:
            return left
        self._until = 0.0
        return 0.0

    # ------------------------------------------------------------------ the rate

    @property
    def allowed_per_second(self) -> float | None:
        """Permits a second that leave under demand (a little below ``rate``); None without a rate."""
        return None if self._bucket is None else self._bucket.per_second

    def set_rate(self, rate: Rate | None) -> None:
        """Keep this limit from now on; who waits obeys it at once.

        What the old bucket held moves to the new one as far as it fits, so a change neither grants a burst nor costs what
        was waited for. Where there was no limit before, the new bucket starts empty.
        """
        if rate == self.rate:
            return
        held = 0.0 if self._bucket is None or self._limiter is None else _held(self._limiter, self._bucket.size)
        self.rate = rate
        if rate is None:
            self._bucket, self._limiter, self._hand = None, None, 0
        else:
            self._bucket, self._limiter = _start(rate)
            self._hand = min(self._hand, self._bucket.lease - 1)
            _take(self._limiter, max(0.0, self._bucket.size - held))
        self._call_out()

    # ------------------------------------------------------------------ as others see it

    @property
    def trouble(self) -> str:
        """Why there are no permits although there should be; a bucket of our own is never away."""
        return ""

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _start(rate: Rate) -> tuple[Bucket, AsyncLimiter]:
    """A full bucket: everything in it can be taken at once."""
    b = bucket(rate)
    return b, AsyncLimiter(b.size, b.size / b.per_second)


def _take(limiter: AsyncLimiter, amount: float) -> bool:
    """Take ``amount`` permits if they are there now."""
    if not limiter.has_capacity(amount):
        return False
    # An acquire that finds what it needs never suspends, so one step is all of it.
    step = limiter.acquire(amount)
    try:
        step.send(None)
    except StopIteration:
        return True
    raise AssertionError("the limiter had room and waited all the same")


def _held(limiter: AsyncLimiter, size: float) -> float:
    """How many permits are in the bucket, to 1/4096 of its size and never too many."""
    low, high = 0.0, size
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if limiter.has_capacity(middle) else (low, middle)
    return low
