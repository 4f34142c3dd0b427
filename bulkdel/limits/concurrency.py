"""Finds how many requests a service answers fastest, from how its answers come; no clock and no dice of its own.

Throughput is what is wanted, so throughput is what is searched (as Vespa's feed client does; the latency gradients of
Netflix's concurrency-limits and of Envoy hold a queue short, which is another wish). A *level* is how many requests circulate.
The search measures a level over a window, tries another, keeps the better one, and comes back to look again later. It
climbs only for a gain that is worth it, so it stops at the knee, and steps down wherever less does as well.

What speaks of overload speaks at once: failed answers cut the level by a third, and what they were sent at is a ceiling
for a while. Requests that hang hold their slots and bring no answer; they are found long before they time out, because
every other request overtakes them.
"""

from __future__ import annotations

from math import ceil, floor, hypot, sqrt

from bulkdel.limits.window import HUNG, HUNG_ROUNDS, LEAST_S, NOISE, Measure, Sample, Window

CLIMB = (1.5, 1.25, 1.1)
"""Steps up: the first while each is worth it, then finer ones, and the last only where it is at least one more."""
HOLD = len(CLIMB)
DOWN = 0.8
GAIN = 0.25
"""Share of the throughput that a step up would bring if the service were idle, that it must bring to be kept. Below a
quarter, noise (WORTH) decides and the queue grows for nothing."""
LOSS, SURE = 0.2, 0.05
"""Share of what a step down takes away that the throughput may lose for it to be kept. What is known worse than to the second
number must be better by twice the rest: chance must not walk down."""
WORTH = 0.03
"""Least gain of a step up: a window is known to about 3 %, see ``NOISE``."""
DOUBT = 0.75
"""Share of that gain to which a window is known while climbing: twice as well would take four times as long."""
KEEP = 0.95
"""Steps down never go below this share of the best throughput that was seen, however small each loss was."""
CHANGED = 0.25
"""A window this far off what the same level brought before: the service has changed, and the search begins anew."""
MIXED = 0.15
"""Two windows whose shares of neutral answers differ by more than this cannot be compared: a refusal costs a service less."""
MUTE = 0.98
"""A window with so many neutral answers says nothing: sixty-four refusals at once cost a service nothing, sixty-four deletes
behind them two thirds of what it can do."""
CUT, LESS = 0.7, 0.85
"""What overload leaves of the level (multiplicative decrease, at most once a round trip), and how far it may come back."""
LONE, MOST_BACKGROUND, MOSTLY = 0.02, 0.2, 0.3
"""Shares of failures among the answers: what is no more than the first, and what a cut did not end (up to the second), is the
documents' doing and not the level's, with two standard deviations for chance; a document that always fails is asked six times.
Right after a cut, while it is not known what it helped, only more than the third is cut again."""
STUCK, LEAST_STUCK = 0.12, 3
"""Requests that hang, of a level, that are too many to be slow answers."""
PROVEN_S = 60.0
"""Seconds at a level without a failure after which it is proven: longer than a pool's patience (30 s) and as long as the
default timeout. A failure at a proven level means that the service has changed, so its ceiling is short."""
CEILING_S, CEILING_PROVEN_S, CEILING_STUCK_S = 600.0, 30.0, 60.0
"""How long a level is not tried again: one that failed, one that was proven and failed, and one at which requests hung (twice as
long each time). To ask costs the service some 5xx, so it is asked every ten minutes."""
LOOK_S, LOOK_MOST_S, LOOK_WINDOWS = 10.0, 120.0, 8
"""Seconds between looks at the next level while a level is held; doubles up to the second while they find nothing, and is
never less than so many windows."""


class Concurrency:
    """Samples in, ``limit`` out: how many requests may be in flight.

    :param start: where the search begins
    :param most: what the limit never exceeds (requests that hang included)
    :raises ValueError: where not ``1 <= start <= most``
    """

    def __init__(self, start: int = 4, most: int = 64) -> None:
        if not 1 <= start <= most:
            raise ValueError(f"the search must begin between 1 and the most: {start!r} of {most!r}")
        self._most = most
        self._level = start  # circulating requests that are wanted now
        self._stuck = 0  # requests that hang beside them; they keep their slots until they end
        self._stuck_before = float("-inf")  # they were sent before this
        self._stuck_since = float("-inf")  # when that was found
        self._base: Measure | None = None  # what the level brings, or the level below a trial
        self._best = 0.0  # the most that any level brought since the service changed
        self._trial_of: int | None = None  # the level that a trial goes back to
        self._step = 0  # which of CLIMB is next
        self._window: Window | None = None
        self._settling = 0  # answers to requests sent since the level changed that were let pass
        self._second_from = float("-inf")  # when the first of them came: what is sent from then on is its slot's second
        self._changed_at = float("-inf")
        self._hung_windows = 0
        self._stuck_s = CEILING_STUCK_S
        self._dropped = False  # the level came down because requests hung
        self._suspects = 0  # windows in a row that were far off
        self._window_s = LEAST_S
        self._latency = 0.0
        self._failures = 0
        self._ended = 0  # answers since the failures are counted
        self._background = 0.0  # the share of failures that a lower level did not end
        self._after_cut = False
        self._cut_at = float("-inf")
        self._cut_share = 0.0
        self._proven, self._held_since = start, float("inf")
        self._ceiling, self._ceiling_until = most, float("-inf")
        self._look_up_at = self._look_down_at = float("-inf")
        self._wait_up = self._wait_down = LOOK_S
        self._down_next = False

    @property
    def limit(self) -> int:
        """How many requests may be in flight: those that circulate, and those that hang."""
        return min(self._most, self._level + self._stuck)

    def add(self, sample: Sample) -> int:
        """One request ended; the samples come in the order in which they end. Returns ``limit``."""
        now = sample.ended_at
        took = now - sample.sent_at
        if self._held_since == float("inf"):
            self._held_since = now
        if self._trial_of is None and now - self._held_since >= PROVEN_S:
            self._proven = max(self._proven, self._level)
        if self._stuck and sample.sent_at < self._stuck_before:
            self._stuck -= 1  # it has ended: its slot is not given to another
        self._ended += 1
        if sample.kind == "overload":
            self._failed(sample)
        else:
            self._latency = took if not self._latency else self._latency + 0.05 * (took - self._latency)
        self._watch(sample)
        return self.limit

    # ------------------------------------------------------------------ windows

    def _watch(self, sample: Sample) -> None:
        now, limit = sample.ended_at, self.limit
        if sample.sent_at >= self._changed_at and 2 * sample.in_flight <= limit and limit > 1:
            # After a pause, or with too little to do: nothing can be said of this level.
            self._settle(now)
            return
        window = self._window
        if window is None:
            # The first answer of each slot is let pass: it may have had a connection to set up.
            self._settling += sample.sent_at >= self._changed_at
            if self._settling == 1:
                self._second_from = now
            second = sample.sent_at >= self._second_from and sample.overtook - self._stuck <= HUNG * limit
            if (second and self._settling >= limit) or self._settling >= HUNG_ROUNDS * limit:
                self._window = Window(now, self._tolerance(now), now)
            return
        window.add(sample, limit)
        if window.closed(now, limit, self._stuck):
            self._window = Window(now, self._tolerance(now), now)
            self._window_s = window.lasted(now)
            self._judge(window, now)

    def _tolerance(self, now: float) -> float:
        """How well a window must know its throughput: while climbing, to a share of the gain that the step must bring."""
        lower, upper = (self._level, self._up(now)) if self._trial_of is None else (self._trial_of, self._level)
        climbing = self._step != HOLD and upper > lower
        return max(NOISE, DOUBT * GAIN * (upper / lower - 1.0)) if climbing else NOISE

    def _settle(self, now: float) -> None:
        self._window, self._settling = None, 0
        self._changed_at = max(self._changed_at, now)

    def _go(self, level: int, now: float) -> None:
        """Change the level; what was sent before says nothing of it."""
        self._level = max(1, min(self._most, level))
        self._changed_at = now
        self._failures = self._ended = 0
        self._settle(now)

    def _judge(self, window: Window, now: float) -> None:
        """A window of the present level came to its end."""
        lasted = window.lasted(now)
        if window.idle > 0.1 * window.ended or window.failed == window.ended or window.neutral >= MUTE * window.ended:
            return
        if self._hangs(window, now):
            return
        share = min(MOST_BACKGROUND, window.failed / window.ended)
        if self._after_cut and share > LONE and share >= 0.5 * self._cut_share:
            self._ceiling_until = now  # less does not help: it is the documents, or the service as a whole
        self._background = share if self._after_cut else self._background + 0.1 * (share - self._background)
        self._after_cut = False
        if self._failures <= 1:
            self._failures = self._ended = 0
        found = Measure((window.ended - window.failed) / lasted, window.error(), window.neutral / window.ended)
        base = self._base
        if base is None or abs(base.neutral - found.neutral) > MIXED:
            # Nothing to compare with: what this level brings becomes the base; a trial is given up.
            if self._trial_of is not None:
                self._back(now)
                self._base = None
                return
            if base is not None:
                self._look_again(now)
            self._base, self._best = found, found.per_second
        elif self._trial_of is not None:
            self._compare(base, found, now)
            return
        elif abs(found.per_second / base.per_second - 1.0) > max(CHANGED, 3 * hypot(found.error, base.error)):
            self._suspects += 1
            if self._suspects < 2:
                return  # one slow answer, a backup, a deploy: look once more
            self._base, self._best = found, found.per_second
            self._down_next = found.per_second < base.per_second
            self._look_again(now)
        else:
            per_second = base.per_second + 0.3 * (found.per_second - base.per_second)
            error = 0.7 * max(base.error, found.error)  # an average of about five windows
            self._base = Measure(per_second, error, base.neutral + 0.3 * (found.neutral - base.neutral))
            self._best = max(self._best * 0.99, per_second)
        self._suspects = 0
        self._try_another(now)

    # ------------------------------------------------------------------ the search

    def _try_another(self, now: float) -> None:
        """Begin a trial of another level where one is due."""
        level, up = self._level, self._up(now)
        down = min(level - 1, floor(level * DOWN + 0.5))
        down_due = down >= 1 and now >= self._look_down_at and (self._step == HOLD or self._down_next)
        if up > level and now >= self._look_up_at and not (down_due and self._down_next):
            wanted = up
        elif down_due:
            wanted = down
        else:
            if up <= level and self._step != HOLD:
                self._hold(now)
            return
        self._trial_of = level
        self._go(wanted, now)

    def _up(self, now: float) -> int:
        """The next level up: within the most, and below the ceiling."""
        ratio = CLIMB[1] if self._step == HOLD else CLIMB[self._step]
        top = self._most if now >= self._ceiling_until else min(self._most, self._ceiling)
        return min(top, max(self._level + 1, floor(self._level * ratio + 0.5)))

    def _hold(self, now: float) -> None:
        """The climb is over: stay, and look up and down now and then."""
        self._step = HOLD
        self._look_up_at = now + self._pause(self._wait_up)
        self._wait_up = min(LOOK_MOST_S, 2 * self._wait_up)
        self._look_down_at = max(self._look_down_at, now + self._pause(self._wait_down) / 2)

    def _look_again(self, now: float) -> None:
        """The service, or what it is asked, has changed: look up and down at once."""
        self._step = HOLD
        self._wait_up = self._wait_down = LOOK_S
        self._look_up_at = self._look_down_at = now

    def _compare(self, base: Measure, found: Measure, now: float) -> None:
        """Keep the trial's level, or go back."""
        before, level = self._trial_of, self._level
        assert before is not None
        gain = found.per_second / base.per_second - 1.0
        # Too low for long costs more than too high for a moment, so while climbing doubt speaks for the higher level.
        doubt = hypot(base.error, found.error)
        if level > before:
            excused = 0.0 if self._step == HOLD else doubt
            keep = gain >= max(WORTH, GAIN * (level / before - 1.0) - excused)
        else:
            least = 2 * max(0.0, doubt - SURE) - LOSS * (1.0 - level / before)
            keep = gain >= least and found.per_second >= KEEP * self._best
        if not keep:
            self._back(now)
            if level < before:
                self._down_next = False
                self._look_down_at = now + self._pause(self._wait_down)
                self._wait_down = min(LOOK_MOST_S, 2 * self._wait_down)
                return
            while self._step < HOLD:
                self._step += 1
                if self._step < HOLD and self._up(now) < level:
                    return  # a finer step, at the next window
            self._hold(now)
            return
        self._trial_of = None
        self._base, self._best = found, max(self._best, found.per_second)
        self._held_since = now
        if level > before:
            self._wait_up, self._look_up_at, self._down_next = LOOK_S, now, False
            self._step = 1 if self._step == HOLD else self._step
        else:
            self._wait_down, self._look_down_at, self._down_next = LOOK_S, now, True
        self._try_another(now)

    def _back(self, now: float) -> None:
        """Give a trial up."""
        assert self._trial_of is not None
        before, self._trial_of = self._trial_of, None
        self._go(before, now)

    def _pause(self, wait: float) -> float:
        return max(wait, LOOK_WINDOWS * self._window_s)

    # ------------------------------------------------------------------ overload

    def _hangs(self, window: Window, now: float) -> bool:
        """Whether requests hang, so that the window says nothing of its level; too many of them are a ceiling."""
        limit = self.limit
        hung = window.hung - self._stuck
        if hung <= HUNG * limit:
            self._hung_windows, self._dropped = 0, False
            return False
        self._hung_windows += 1
        if self._dropped:
            # The level came down and they hang still: they keep their slots, and the others go on beside them.
            self._stuck = min(self._stuck + hung, self._most - self._level)
            self._stuck_before, self._stuck_since = window.opened_at, now
            self._dropped = False
            self._go(self._level, now)
            return True
        many = hung >= max(LEAST_STUCK, STUCK * limit)
        if many and (self._trial_of is not None or self._hung_windows >= 2):
            before, self._trial_of = self._trial_of, None
            worked = before if before is not None and before < self._level else 1
            level = max(worked, self._level - hung)
            self._dropped = True
            self._hung_windows = 0
            self._lower_ceiling(level, now + self._stuck_s, now)
            self._stuck_s = min(CEILING_S, 2 * self._stuck_s)
            up, down = self._wait_up, self._wait_down
            self._restart(level, now)
            self._wait_up, self._wait_down = up, down  # the level is what it was: looking oftener would find no more
        return True

    def _failed(self, sample: Sample) -> None:
        """An answer failed: believed where it is not alone, or where it was long in coming at a level that is new."""
        now, at = sample.ended_at, sample.in_flight
        if at <= 1 or sample.sent_at < self._cut_at:
            return  # a lone request says nothing of concurrency; and one complaint is one cut
        self._failures += 1
        if self._after_cut:
            # Whether the cut helped is seen at the end of a window; only what fails by and large is cut again before.
            alone = self._failures < max(4.0, MOSTLY * self._ended)
        else:
            usual = (LONE + self._background) * self._ended
            alone = self._failures < 2 + usual + 2 * sqrt(usual)
        slow = now - sample.sent_at >= max(2.0, 4 * self._latency)
        circulating = at - self._stuck if sample.sent_at >= self._stuck_since else at
        if alone and not (slow and circulating > self._proven):
            return
        new = circulating > self._proven
        # A request that got nothing for long was one too many. One that was turned away at once was sent by a client that
        # keeps all slots full, so what it was sent at tells nothing: what worked before is known, or something less is tried.
        if slow:
            top = min(circulating, self._level) - 1
        elif self._trial_of is not None:
            top = min(self._trial_of, self._level - 1)
        else:
            top = floor(LESS * self._level)
        # In a total outage every level fails, the lowest included: a ceiling is never below half of what was tried.
        top = max(1, ceil(0.5 * self._level), top)
        lasts = CEILING_S if new else CEILING_PROVEN_S
        if self._after_cut:
            # The cut before this one did not help, so it was not the level: an outage leaves no long memory.
            self._ceiling_until, lasts = now, CEILING_PROVEN_S
        self._cut_at, self._cut_share = now, _surely(self._failures, self._ended)
        self._failures = self._ended = 0
        if circulating > self._level:
            self._lower_ceiling(at - 1, now + lasts, now)  # the level has come down since
            return
        self._trial_of = None
        self._lower_ceiling(top, now + lasts, now)
        level = max(1, min(top, floor(CUT * self._level)))
        self._proven = min(self._proven, level)
        self._restart(level, now)
        self._after_cut = True

    def _lower_ceiling(self, level: int, until: float, now: float) -> None:
        if now < self._ceiling_until:
            level = min(level, self._ceiling)
            until = max(until, self._ceiling_until)
        self._ceiling, self._ceiling_until = max(1, level), until

    def _restart(self, level: int, now: float) -> None:
        """Search on from ``level``, with nothing known of it."""
        self._base, self._suspects = None, 0
        self._step, self._down_next = 0, False
        self._wait_up = self._wait_down = LOOK_S
        self._look_up_at = now
        self._held_since = now
        self._go(level, now)


def _surely(failed: int, ended: int) -> float:
    """The share of failures that a few answers prove: two standard deviations below what was seen."""
    likely = (failed + 1) / (ended + 2)
    return max(0.0, failed / ended - 2 * sqrt(likely * (1 - likely) / ended))
