"""A pacing whose limit and pauses are kept in a Redis, together with all processes on all machines that use the same key."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from contextlib import suppress

import anyio

from bulkdel.distributed.link import Away, Link, RedisLink
from bulkdel.distributed.script import Ask, Look
from bulkdel.limits.boundary import MakePacer, PacerLost
from bulkdel.limits.joint import LOOK_S, JointBucket, courtesy, joint_bucket
from bulkdel.limits.line import Line
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider

PATIENCE_S = 60.0
"""Seconds for which a Redis that is away is waited for: longer than a restart or a failover, shorter than people wait."""
HEARS_S, FREE_S = 0.5, 1.0
"""Where no limit is in force: seconds between looks, how late others' pause is heard of; and seconds after which nothing leaves
without a newer look."""
AGAIN_S, AGAIN_MOST_S = 0.1, 2.0
"""Seconds to the next look at a Redis that is away: the first, doubling up to the last."""
TURN_S = 12.0
"""Seconds after which a process that waits looks again, however late its turn: less than those after which it counts as gone."""
SLOW_S = 0.5
"""Seconds between two leases above which ``limit.lua`` gives no turns: all come for the next one, the longest waiting first."""
LATE = 20
"""Leases in a row that came too late to be used, after which Redis counts as away: one may be a busy moment of ours."""
LEAVES_S = 1.0
"""Seconds that taking leave may take; who does not is forgotten by its silence."""

_log = logging.getLogger("bulkdel")


class RedisPacer:
    """Permits to send one request each, like ``Pacing``, from a limit that all with this scope share, on any machine.

    One task of its own looks at Redis, so no waiter that is cancelled breaks the conversation and no permit waits for a round
    trip that could have been made before. It brings a lease, which is used here without asking, and the state that all share:
    the slowest limit that anyone wants, and the pause.

    No host's clock matters: leases are granted by Redis' clock, and here only spans are measured. A lease was granted after it
    was asked for, so it is used until ``hold`` after that, and lost then; this is what the proof of ``joint_bucket`` needs. While
    Redis is away nothing leaves. Where it stays away for ``patience`` seconds, ``acquire`` raises ``PacerLost``.

    Made for one event loop and not for threads.
    """

    def __init__(self, rate: Rate | None, link: Link, *, patience: float = PATIENCE_S) -> None:
        self._asked = rate
        self._link = link
        self._patience = patience
        self._name = secrets.token_hex(8)
        self._rate = rate  # in force at the last look
        self._bucket: JointBucket | None = None if rate is None else joint_bucket(rate)
        self._active = 1
        self._hand = 0  # permits left of the last lease; all times here are the loop's
        self._hand_until = -math.inf
        self._free_until = -math.inf  # without a limit: nothing leaves after this
        self._look_at = -math.inf  # when there may be more
        self._losses = 0  # looks in a row that brought nothing
        self._late = 0  # leases in a row that came too late
        self._until = -math.inf  # when the pause ends
        self._pauses = 0
        self._theirs: int | None = None  # pauses by Redis' count
        self._untold: float | None = None  # when a pause ends that Redis does not know of yet
        self._untold_own = False
        self._line = Line()
        self._demand = False  # somebody wants a permit: look as soon as there may be one
        self._news = False  # something to tell: look now
        self._bell = asyncio.Event()  # demand or news
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self._trouble = ""
        self._failures = 0  # looks in a row
        self._again_at = -math.inf  # no look before this, while Redis is away
        self._give_up_at: float | None = None
        self._lost: PacerLost | None = None

    # ------------------------------------------------------------------ permits

    def try_acquire(self) -> bool:
        """A permit of the lease in hand if there is one and nobody waits for it; never waits."""
        return not self._line.waiting and self._step()

    async def acquire(self) -> None:
        """Wait for a permit: for those who asked before, for the pause, and for the rate as it is by then.

        Cancelling loses no permit and holds up nobody.

        :raises PacerLost: where Redis was away for too long, or refuses us
        """
        if self.try_acquire():
            return
        got = False
        try:
            async with self._line:
                while not (got := self._step()):
                    if self._lost is not None:
                        raise PacerLost(self._lost.reason, self._lost.hint)
                    await self._line.rest(self.paused_s or None)
        finally:
            if not self._line.waiting:
                self._lost = self._give_up_at = None  # who asks later waits anew
                self._demand = self._demand and got  # a lease that nobody waits for would be missed elsewhere

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return self._line.waiting

    def _step(self) -> bool:
        """A permit, where there is one in hand; the next lease is asked for with the last of a long one."""
        now = _now()
        if now >= self._until:
            if self._bucket is None:
                if now < self._free_until:
                    if now >= self._look_at:
                        self._want()
                    return True
            elif self._hand and now <= self._hand_until:
                self._hand -= 1
                # A lease of one is for a slow limit: asked for and not used, it would be missed elsewhere.
                if not self._hand and self._bucket.lease > 1:
                    self._want()
                return True
        self._want()
        return False

    # ------------------------------------------------------------------ the pause

    def pause(self, seconds: float, since: int | None = None) -> bool:
        """Nothing leaves for ``seconds`` from now, here at once and elsewhere with the next lease; a longer pause stays.

        ``since`` is ``pauses`` as it was when the request was sent that is complained about. True where this is a new
        complaint; False where a pause is on already, whoever began it, or one has begun since then.

        :raises ValueError: where ``seconds`` is not a finite number
        """
        if not math.isfinite(seconds):
            raise ValueError(f"a pause must be a finite number of seconds: {seconds!r}")
        known = self.paused_s > 0 or (since is not None and since < self._pauses)
        self._until = max(self._until, _now() + max(0.0, seconds))
        self._untold = self._until
        if not known:
            self._pauses += 1
            self._untold_own = True
        self._tell()
        self._line.wake()
        return not known

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left; 0.0 where there is none."""
        return max(0.0, self._until - _now())

    @property
    def pauses(self) -> int:
        """Pauses that have begun so far, others' that were heard of included."""
        return self._pauses

    # ------------------------------------------------------------------ the rate

    @property
    def rate(self) -> Rate | None:
        """The limit that is in force for all together, as the last look showed it; None for none."""
        return self._rate

    @property
    def rate_is_anothers(self) -> bool:
        """Whether the limit in force is slower than this process asked for, because another one wants that."""
        return self._rate is not None and self._rate != self._asked

    @property
    def allowed_per_second(self) -> float | None:
        """Permits a second that can be expected here under demand: a share of the limit; None without a rate."""
        return None if self._bucket is None else self._bucket.per_second / self._active

    @property
    def processes(self) -> int:
        """How many processes want permits of this limit now, this one included."""
        return self._active

    @property
    def trouble(self) -> str:
        """Why there are no permits, where Redis is away; empty where it is there."""
        return self._trouble

    def set_rate(self, rate: Rate | None) -> None:
        """Want this limit from now on; in force is the slowest that anyone wants."""
        if rate != self._asked:
            self._asked = rate
            self._tell()

    # ------------------------------------------------------------------ the keeper: one look after another

    def _want(self) -> None:
        if not self._demand:
            self._demand = True
            self._ring()

    def _tell(self) -> None:
        self._news = True
        self._ring()

    def _ring(self) -> None:
        if self._closed:
            return
        self._bell.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="bulkdel limiter")

    async def _keep(self) -> None:
        try:
            while await self._due():
                await self._look()
        except Exception as error:
            # A bug here must not leave anybody waiting.
            _log.exception("a bug in the shared limiter")
            self._trouble = f"a bug in the shared limiter raised {type(error).__name__}"
            self._lose(self._trouble, "")

    async def _due(self) -> bool:
        """Wait until a look is wanted and may be of use; False where none will be."""
        while not self._closed:
            at = -math.inf if self._news else self._look_at if self._demand else math.inf
            at = max(at, self._again_at)
            if at <= _now():
                return True
            self._bell.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(at if at < math.inf else None):
                    await self._bell.wait()
        return False

    async def _look(self) -> None:
        sent_at, told, own, rate = _now(), self._untold, self._untold_own, self._asked
        self._news = False
        ask = Ask(
            self._name,
            rate,
            act="take" if self._demand and not (self._hand and sent_at <= self._hand_until) else "tell",
            pause_s=0.0 if told is None else told - sent_at,
            own=own,
            heard=self._theirs,
        )
        try:
            look = await self._link.look(ask)
        except Away as away:
            self._news = self._news or told is not None or rate != self._asked
            self._away(away.reason, mends=away.mends)
            return
        if self._untold == told:
            self._untold = None
        self._untold_own = self._untold_own and not own
        self._hear(look, sent_at)

    def _hear(self, look: Look, sent_at: float) -> None:
        now = _now()
        if self._theirs is not None and look.before > self._theirs:
            self._pauses += look.before - self._theirs
        self._theirs = look.pauses
        if look.paused_s > 0:
            self._until = max(self._until, now + look.paused_s)
        elif look.fresh and self._until > now:
            # It was flushed, or restarted: a pause is not over because nobody remembers it.
            self._untold = self._until
            self._news = True
        self._active = look.active
        if look.rate != self._rate or (self._bucket is None) != (look.rate is None):
            self._rate = look.rate
            self._bucket = None if look.rate is None else joint_bucket(look.rate)
            self._hand = 0
        self._demand = False
        if self._bucket is None:
            self._free_until, self._look_at = sent_at + FREE_S, sent_at + HEARS_S
        else:
            self._lease(look, self._bucket, sent_at, now)
        if self._late >= LATE:
            hold = 0.0 if self._bucket is None else self._bucket.hold
            self._away(f"its answers take {1000 * (now - sent_at):.0f} ms, more than {1000 * hold:.0f} ms", mends=True)
        else:
            self._back()
        self._line.wake()

    def _lease(self, look: Look, b: JointBucket, sent_at: float, now: float) -> None:
        wait = look.wait_s
        if look.granted:
            self._hand, self._hand_until = look.granted, sent_at + b.hold
            self._late = self._late + 1 if now > self._hand_until else 0
            self._losses = 0
        elif look.paused_s <= 0:
            self._losses += 1
        if look.active > 1 and b.lease > SLOW_S * b.per_second:
            wait += courtesy(b, self._losses)
        self._look_at = now + min(wait, LOOK_S if look.paused_s > 0 else TURN_S)

    # ------------------------------------------------------------------ Redis away

    def _away(self, reason: str, *, mends: bool) -> None:
        """No answer, or none of use: nothing leaves, and it is asked again until patience ends."""
        now = _now()
        self._failures += 1
        self._again_at = now + min(AGAIN_MOST_S, AGAIN_S * 2.0 ** min(self._failures - 1, 10))
        where = f"the Redis at {self._link.address}"
        if not self._trouble:
            _log.warning("nothing is sent until the limiter is back: %s: %s", where, reason)
        self._trouble = f"the limiter is away: {where}: {reason}"
        if self._line.waiting and self._give_up_at is None:
            self._give_up_at = now + self._patience
        if not mends:
            self._lose(f"the limit cannot be kept: {where}: {reason}", "is the URL of the Redis right?")
        elif self._give_up_at is not None and now >= self._give_up_at:
            self._lose(f"the limit could not be kept for {self._patience:g} s: {where}: {reason}", "is the Redis up?")

    def _lose(self, reason: str, hint: str) -> None:
        self._give_up_at = None
        if self._line.waiting:
            self._lost = PacerLost(reason, hint)
        else:
            self._demand = False
        self._line.wake()

    def _back(self) -> None:
        if self._trouble:
            _log.info("the limiter is back: %s", self._link.address)
        self._trouble, self._failures, self._again_at, self._give_up_at = "", 0, -math.inf, None

    # ------------------------------------------------------------------ the end

    async def aclose(self) -> None:
        """Leave the limit to the others and let go of the connection; may be done twice."""
        if self._closed:
            return
        self._closed = True
        self._bell.set()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(LEAVES_S):
                if self._keeper is not None:
                    await asyncio.wait([self._keeper])
                    if not self._trouble:
                        with suppress(Away):  # then its silence tells it
                            await self._link.look(Ask(self._name, None, act="leave"))
            if self._keeper is not None and not self._keeper.done():
                self._keeper.cancel()
                await asyncio.wait([self._keeper])
            await self._link.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()


def redis_pacer(url: str, *, patience: float = PATIENCE_S) -> MakePacer:
    """What a ``Client`` takes as ``pacer=``, to share each provider's limit with all that name the same Redis.

    A limit is a provider's ``fingerprint``: of its kind, its address and its key, which cannot be read from it.

    :param url: ``redis://``, ``rediss://`` or ``unix://``, with user and password where Redis wants them
    :param patience: seconds for which a Redis that is away is waited for before a run stops
    :raises ConfigurationError: where that is no such URL; when a client is opened
    """

    def make(provider: Provider, rate: Rate | None) -> RedisPacer:
        return RedisPacer(rate, RedisLink(url, provider.fingerprint), patience=patience)

    return make
