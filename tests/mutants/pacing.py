"""Planted bugs in when something is sent: backoff, the rate, pauses, slots and the breaker."""

from __future__ import annotations

from tests.mutants.planted import Mutant

BACKOFF = "bulkdel/backoff.py"
BUCKET = "bulkdel/pacing/bucket.py"
PACE = "bulkdel/pacing/pace.py"
SLOTS = "bulkdel/pacing/slots.py"
BREAKER = "bulkdel/pacing/breaker.py"

BACKOFFS = ("tests/test_backoff.py",)
WINDOWS = ("tests/pacing/test_bucket.py", "tests/pacing/test_any_window.py")
PACES = ("tests/pacing/test_pace.py", "tests/pacing/test_any_window.py")

MUTANTS = (
    Mutant(
        "backoff-linear", "S2", BACKOFF,
        "return min(cap, base * 2.0 ** min(tries - 1, _MAX_DOUBLINGS))",
        "return min(cap, base * tries)",
        "exponential backoff that is linear",
        BACKOFFS,
    ),
    Mutant(
        "backoff-max-for-min", "S2", BACKOFF,
        "return min(cap, base * 2.0",
        "return max(cap, base * 2.0",
        "max for min: the cap is the least wait, and there is no most",
        BACKOFFS,
    ),
    Mutant(
        "backoff-no-jitter", "S2", BACKOFF,
        "return u * ceiling(tries, base, cap)",
        "return ceiling(tries, base, cap)",
        "clients that failed together come back together",
        BACKOFFS,
    ),
    Mutant(
        "retry-after-drops-days", "S7", BACKOFF,
        "return max(0.0, (then - now).total_seconds())",
        "return max(0.0, float((then - now).seconds))",
        "timedelta.seconds, which drops the days and makes the past tomorrow",
        BACKOFFS,
    ),
    Mutant(
        "retry-after-infinite", "S7", BACKOFF,
        "return max(0.0, seconds) if math.isfinite(seconds) else None",
        "return max(0.0, seconds)",
        "a Retry-After of inf is waited for",
        BACKOFFS,
    ),
    Mutant(
        "bucket-full-burst", "S6", BUCKET,
        "return Bucket(per_second, 2 + spare - lease, lease)",
        "return Bucket(per_second, n, lease)",
        "a whole window's permits leave at once, and the window's own come on top: 2N − 1, as AsyncLimiter(N, T) admits",
        WINDOWS,
    ),
    Mutant(
        "bucket-no-room-for-burst", "S6", BUCKET,
        "per_second = max(NEVER, (n - MARGIN * n - spare) / window)",
        "per_second = max(NEVER, n / window)",
        "the rate is the whole limit, and the burst comes on top of it",
        WINDOWS,
    ),
    Mutant(
        "bucket-rounds-up", "S6", BUCKET,
        "n = max(1, math.floor(min(rate.n, EVER) + 1e-9))",
        "n = max(1, math.ceil(min(rate.n, EVER)))",
        "2.5 requests in a window become three",
        WINDOWS,
    ),
    Mutant(
        "bucket-lease-one", "S6", BUCKET,
        "window = max(INSTANT, rate.per if rate.n >= 1 else rate.per / rate.n)",
        "window = max(INSTANT, rate.per)",
        "half a request in a second becomes one",
        WINDOWS,
    ),
    Mutant(
        "lower-doubles", "S8", BUCKET,
        "half = math.floor(rate.n / 2)",
        "half = math.floor(rate.n * 2)",
        "a refusal for going too fast makes it faster",
        ("tests/pacing/test_bucket.py",),
    ),
    Mutant(
        "pace-free-permit", "S6", PACE,
        "        self._hand = self._bucket.lease - 1\n        return True\n\n    async def acquire",
        "        self._hand = self._bucket.lease\n        return True\n\n    async def acquire",
        "every lease gives one permit more than it paid for",
        PACES,
    ),
    Mutant(
        "pace-through-a-pause", "S7", PACE,
        "if self._waiting or (self._until and self.paused_s):",
        "if self._waiting:",
        "whoever does not wait goes through a pause",
        PACES,
    ),
    Mutant(
        "pace-lease-kept-over-pause", "S6", PACE,
        "if limiter is not self._limiter or self.paused_s:",
        "if limiter is not self._limiter:",
        "a permit that came in the turn in which a pause began leaves during the pause",
        PACES,
    ),
    Mutant(
        "pace-shorter-pause-wins", "S7", PACE,
        "self._until = max(self._until, asyncio.get_running_loop().time() + max(0.0, seconds))",
        "self._until = asyncio.get_running_loop().time() + max(0.0, seconds)",
        "a second complaint that asks for less ends the first one's pause",
        PACES,
    ),
    Mutant(
        "pace-each-complaint-a-strike", "S8", PACE,
        "known = self.paused_s > 0 or (since is not None and since < self.pauses)",
        "known = False",
        "eight workers told 429 at once are eight strikes, and the rate collapses",
        (*PACES, "tests/engine/test_engine.py"),
    ),
    Mutant(
        "pace-new-rate-new-burst", "S6", PACE,
        "            _take(self._limiter, max(0.0, self._bucket.size - held))\n",
        "",
        "each change of the rate grants a full bucket",
        PACES,
    ),
    Mutant(
        "pace-waiters-obey-the-old-rate", "S6", PACE,
        "            _take(self._limiter, max(0.0, self._bucket.size - held))\n        self._call_out()\n",
        "            _take(self._limiter, max(0.0, self._bucket.size - held))\n",
        "who waits when the rate changes goes by the old one",
        PACES,
    ),
    Mutant(
        "slots-lost-on-cancel", "S1", SLOTS,
        "                self.release()  # the slot came in the same moment as the cancellation\n",
        "                pass\n",
        "a slot that comes in the same moment as a cancellation is never given back",
        ("tests/pacing/test_slots.py",),
    ),
    Mutant(
        "slots-over-the-limit", "S18", SLOTS,
        "while self._waiters and self.in_flight < self._limit:",
        "while self._waiters:",
        "everybody who waits gets a slot when one is given back",
        ("tests/pacing/test_slots.py",),
    ),
    Mutant(
        "breaker-forgets-nothing", "S8", BREAKER,
        "            self._in_a_row = self._openings = 0\n",
        "            self._openings = 0\n",
        "troubles far apart open the breaker as if they came in a row",
        ("tests/pacing/test_breaker.py",),
    ),
    Mutant(
        "breaker-impatient", "S2", BREAKER,
        "        if self._worked:\n            return self._patience\n",
        "",
        "a service that has worked all day is given up after 30 s of an upgrade",
        ("tests/pacing/test_breaker.py", "tests/engine/test_engine.py"),
    ),
    Mutant(
        "breaker-one-stale-connection", "S8", BREAKER,
        "if self._in_a_row <= TOLERATED:",
        "if self._in_a_row < TOLERATED:",
        "two stale connections of a restarted database stop everything",
        ("tests/pacing/test_breaker.py",),
    ),
)  # fmt: skip
