"""Which rate to keep if the service's limit is not known: found by bisection from refusals; pure, no clock and no I/O.

A refusal alone says little: three requests, then "wait a minute", may be another program's doing. So the first one is obeyed
and nothing is concluded. What passes behind it until the next refusal, under demand all the time, is what the service allows in
the time over which it counts. Around this estimate rates are tried, each for as long as the service counts: what passed is the
lower bound, what was refused the upper one, and the middle is tried next, until the two are within a tenth of each other. A
bucket that keeps less than a second's worth looks like a window of a second, so that twice as much is tried first.

A trial is paced evenly, which costs one window in all: what is allowed at once is sent over the whole of it. A service that showed
that it lets many through at once, in a window of 2 s or more, is asked for a window's worth at once, and then for nothing until the
window is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bulkdel.model import Rate

CLOSE = 1.1
"""The search ends if the refused rate is no more than this times the one that passed."""
MANY = 40
"""Requests that a window allows, from which on they are sent at once: of fewer, those in flight would be too large a part."""
FEW = 15
"""Requests that a window of a second allows, up to which it may be the bucket's size that was found and not its rate: finding out
costs a second, which is a large part of a run that more are allowed in."""
SCATTER_S = 0.025
"""Seconds by which requests that leave evenly arrive unevenly: of a window of a second, more than the bucket keeps in reserve."""
MINUTE_S = 60.0
"""The longest window that is searched for. Longer quotas (an hour, a day) are kept by the pauses that the service asks for."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a service's limit, in requests a second.

    :param passed: what was let through, under demand, for as long as the service counts; 0 if nothing is known
    :param refused: the lowest rate that was refused; infinite if none was
    :param window_s: seconds over which the service counts, as far as it showed
    """

    passed: float = 0.0
    refused: float = math.inf
    window_s: float = 1.0


@dataclass(slots=True)
class _Run:
    """What was let through since the last pause, under demand all the time. ``at`` are times at which requests were sent."""

    first_at: float
    last_at: float
    trial_at: float  # since when the present rate is tried, and how many had passed by then
    count: int = 0
    trial_count: int = 0
    behind_refusal: bool = False  # it began with the first request that passed behind a refusal
    rested_s: float = 0.0  # how long nothing was sent before it, if that was as long as the service counts; else 0
    before: int = 0  # what passed in the run before it
    rests_until: float = -math.inf  # nothing is sent until then: the window is used up, or the bucket has too much


@dataclass(slots=True)
class _Refusals:
    """Refusals in a row, with nothing let through between them; ``resumes_at``: when the pause behind the last one ends."""

    first_at: float = -math.inf
    after: float | None = None  # how many seconds the service said to wait, the last time
    count: int = 0
    resumes_at: float = -math.inf


class RateSearch:
    """Answers in, ``rate`` out: what the limiter is to keep; None for no limit, or while a window's worth leaves at once.

    Times are any monotonic clock in seconds.

    :param given: the limit as it is known before anything was sent, None for none; it is never exceeded, unless it is a guess
    :param guess: whether ``given`` is only where to begin, because the plan is not known and others live on the limit too
    :param known: what an earlier run found; a limit that is given and no guess overrides it
    """

    def __init__(self, given: Rate | None, *, guess: bool = False, known: Known | None = None) -> None:
        self._given = None if guess else given  # never exceeded
        # Of what is found: the customer's own apps, if they live on the limit, get a fifth.
        self._share = 0.8 if guess else 1.0
        self.known = known if self._given is None else None
        self._bounds = self.known or Known(window_s=MINUTE_S if guess else 1.0)
        self._trial = math.inf if given is None else given.per_second  # requests a second that are tried now
        self.rate = given
        # Windows whose worth leaves at once, and that may be refused early before that ends; 0: it does not.
        self._bursts = 0
        if self.known is not None:
            self._hold(self.known.passed)
        self._above_at = math.inf  # since when more is tried than an earlier run found
        self._step = 1.25  # the next step up, while nothing is refused
        self._probe_s = 30.0  # seconds for which a found rate is kept before more is tried
        self._run: _Run | None = None
        self._refusals = _Refusals()  # the last ones; of a count of 0 if something has passed since

    @property
    def found(self) -> Known | None:
        """What to remember: None if answers showed nothing, or if the limit was given."""
        bounds = self._bounds
        # More than an earlier run found may pass for a while: it is forgotten after a minute of that.
        return bounds if bounds.passed and (bounds.refused < math.inf or self._share < 1) else self.known

    @property
    def burst(self) -> Rate | None:
        """What is sent at once at the beginning of each window; None if requests are paced evenly, or not at all."""
        return Rate(round(self._worth), per=self._bounds.window_s) if self._bursts else None

    @property
    def probing(self) -> bool:
        """Whether requests go one at a time, until one passes behind a refusal: eight at once would be eight refusals."""
        return self._refusals.count > 0

    # ------------------------------------------------------------------ answers

    def passed(self, sent_at: float, now: float, times: int = 1) -> Rate | None:
        """A request was not refused, or several that left at about the same time; returns ``rate``."""
        run = self._run
        if sent_at < self._refusals.resumes_at:
            # It left before the last refusal was known, and counts with those that passed before.
            if run is not None:
                run.count += times
            return self.rate
        if self.probing:
            run = self._conclude(sent_at, now)
        # A gap that neither the answer's time nor the rate explains: there was no demand, so what comes is a new run.
        elif run is None or sent_at - max(run.last_at, run.rests_until) > 2.0 + 3 * (now - sent_at) + 2 / self._trial:
            run = self._run = _Run(sent_at, sent_at, sent_at)
        run.last_at = max(run.last_at, sent_at)
        lasted, window_s = run.last_at - run.trial_at, self._bounds.window_s
        # Evenly, twenty requests at least: a service that keeps a bucket lets a few more through than it allows.
        if lasted >= (window_s if self._bursts else max(1.1 * window_s, min(MINUTE_S, 20 / self._trial), 1.5)):
            # What was not asked for was not allowed either: a trial counts only if it was used.
            asked_for = self._worth if self._bursts else self._trial * lasted
            if run.count - run.trial_count >= 0.85 * asked_for:
                self._succeed(run)
            run.trial_at, run.trial_count = sent_at, run.count
        run.count += times
        return self.rate

    def rest_s(self, now: float, in_flight: int) -> float:
        """Seconds from now in which nothing may leave: a window's worth did, ``in_flight`` included, or a trial begins."""
        run, window_s = self._run, self._bounds.window_s
        if self.probing or run is None:
            return 0.0
        if not self._bursts or not run.rests_until < now < run.trial_at + window_s:
            return max(0.0, run.rests_until - now)
        if run.count - run.trial_count + in_flight < self._worth:
            return 0.0
        # A little longer: requests arrive a little earlier, or faster one after the other, in one window than in the one before.
        run.rests_until = run.trial_at + window_s + max(0.08, 0.02 * window_s, (run.last_at - run.trial_at) / 3)
        return run.rests_until - now

    def refused(self, sent_at: float, now: float, after: float | None, u: float = 0.0) -> float:
        """The rate was refused; what that means shows when the first request passes again.

        :param after: seconds for which the service wants nothing, None if it does not say
        :param u: uniform in [0, 1): machines that were given the same second do not come back together
        :returns: seconds from now in which nothing may leave
        """
        row, run = self._refusals, self._run
        if sent_at < row.resumes_at:
            return max(0.0, after or 0.0)  # it left before the last refusal was known: both are one complaint
        if not self.probing:
            row.first_at = sent_at
        row.count, row.after = row.count + 1, after
        pause_s = self._own_pause(now, row)
        if after is not None:
            began = 0.0 if run is None or (run.behind_refusal and not run.rested_s) else sent_at - run.first_at
            self._widen(_window(after, began if began <= 2 * after else 0.0))
            asked_s = after + min(0.25, 0.1 * after) * u
            # Some services always say one second, and refuse again and again: then ours is the longer one.
            pause_s = max(asked_s, pause_s) if row.count > 1 or self._bursts else asked_s
        row.resumes_at = now + pause_s
        return pause_s

    def _own_pause(self, now: float, row: _Refusals) -> float:
        """Seconds to wait if the service does not say."""
        run, window_s = self._run, self._bounds.window_s
        if row.count == 1 and run is not None and (self._bursts or run.rested_s):
            # The service counts all that passed since the last pause, until the first of it is as old as its window: 0.1 s for
            # what else was in flight and was refused. Many at once began when the first of them was answered.
            began = run.trial_at if self.rate is None and run.count >= MANY else run.first_at
            return max(1.0, began + window_s + 0.1 - now)
        # Two thirds longer each time, but the windows that services usually have are met exactly.
        elapsed = now - row.first_at
        wait = max(1.0, elapsed * 0.66, window_s / 6)
        ends = [end for end in (6.0, 10.0, 30.0, 60.0) if 0.3 * wait < end - elapsed < 1.55 * wait]
        return ends[0] - elapsed if ends else min(60.0, wait)

    # ------------------------------------------------------------------ what they mean

    def _conclude(self, sent_at: float, now: float) -> _Run:
        """The first request passes behind refusals: narrow the bounds, and begin the next trial."""
        row, run, paced = self._refusals, self._run, self.rate is not None
        waited = sent_at - row.first_at
        if row.count > 1 or row.after is None:
            self._widen(waited)  # the service counts over the time that this took, at least
        self._refusals, self._above_at = _Refusals(resumes_at=row.resumes_at), math.inf
        window_s = self._bounds.window_s
        since = row.first_at
        if run is not None and self._trial == math.inf and run.last_at - run.first_at < 0.5 * window_s:
            # What passed without a rate at the beginning of a window leaves it again as fast as it came.
            since = run.first_at + 0.05 * window_s
        if run is not None and self._bursts:
            self._conclude_burst(run, row, sent_at)
        elif not self._conclude_run(run, row, waited):
            assert run is not None  # one that began behind a refusal
            if run.count < 3:
                run.rested_s = 0.0  # too few to say anything: they count with those that follow
            return run
        # Many services count refused requests, too: then those of this row are in the window. Half of them is the middle.
        half, rested_s = row.count // 2, sent_at - since
        if rested_s < 0.9 * window_s:
            rested_s = 0.0
        before = run.count if run else 0
        self._run = run = _Run(sent_at, sent_at, now, half, half, behind_refusal=True, rested_s=rested_s, before=before)
        if paced and self.rate is not None:
            # What the bucket took in during the pause would come on top of what is tried now.
            run.rests_until = now + 1.5 / self._trial
        return run

    def _conclude_run(self, run: _Run | None, row: _Refusals, waited: float) -> bool:
        """What a run that a refusal ended says of the limit; False if it says nothing yet."""
        trial, window_s = self._trial, self._bounds.window_s
        # A rate that had passed and is refused now passes no more.
        passed = self._bounds.passed if self._bounds.passed < 0.999 * trial else 0.0
        if run is None or not run.behind_refusal:
            if passed and trial < math.inf:
                self._narrow(waited, passed, trial)  # more was tried than had passed, and it was too much
            return True
        lasted = row.first_at - run.first_at
        estimate = run.count / (max(window_s, lasted) + SCATTER_S)
        # If the service waits for less than half a window, or little passed, its window did not begin with this run; nor if it
        # turned out longer than it was taken for when this began.
        whole = (
            run.rested_s > (0.0 if trial == math.inf else 0.5 * window_s)
            and run.count >= max(3, run.before / 8)
            and lasted < 1.2 * window_s
            and (row.after or window_s) >= 0.5 * window_s
            and passed <= CLOSE * estimate  # it is no window of which more than its worth has passed
        )
        if whole or (trial == math.inf and lasted >= window_s):
            self._conclude_window(run, row, waited, passed, estimate)
            return True
        if trial < math.inf and (passed or lasted >= window_s / 10):
            # What passed before the last pause, or at other rates, is counted still: how much passed since then says nothing.
            self._narrow(waited, passed, trial, trial / 1.5)
            return True
        return False

    def _conclude_window(self, run: _Run, row: _Refusals, waited: float, passed: float, estimate: float) -> None:
        """The window was empty when a run began: what passed is what the service allows in a window, and one more was refused."""
        trial, window_s, refused = self._trial, self._bounds.window_s, self._bounds.refused
        lasted = row.first_at - run.first_at
        if trial == math.inf and window_s < 2 and run.count < FEW:
            # It may as well be a small bucket that fills faster than this: then twice as much passes evenly, and then more.
            self._bounds, self._step = Known(window_s=window_s), 2.0
            self._try(2 * estimate)
            return
        # In windows of a clock, a new one may begin meanwhile: then what passed is the worth of up to two.
        if trial == math.inf and window_s < 2 and FEW <= run.before < run.count <= 2 * run.before:
            estimate = run.before / (window_s + SCATTER_S)
        if trial < math.inf and refused == math.inf and not passed and estimate > 0.8 * trial:
            estimate = trial / self._step
        at_once = trial == math.inf and run.count >= MANY and lasted <= 0.35 * window_s
        if at_once and window_s >= 2 and self._given is None:
            self._bursts = 2
        # If it says how long it counts, or comes back at once, or many passed, that is the limit; else the window was measured
        # by probing, and may be half too long.
        sure = at_once or row.after is not None or window_s < 1.1
        self._narrow(waited, passed, min(trial, refused, CLOSE * estimate if sure else math.inf), estimate)

    def _conclude_burst(self, run: _Run, row: _Refusals, sent_at: float) -> None:
        """What a window says whose worth was sent at once, and of which something was refused."""
        trial, window_s, bounds = self._trial, self._bounds.window_s, self._bounds
        count = run.count - run.trial_count
        if row.first_at - run.trial_at >= window_s:
            # Nothing passed since the last window was over: the service counts over a longer time than it seemed.
            self._widen(sent_at - run.trial_at)
            self._bounds = Known(window_s=self._bounds.window_s)
            self._try(trial * window_s / self._bounds.window_s)
        elif count >= 0.9 * self._worth:
            estimate = min(count / window_s, trial / 1.05 if bounds.passed else math.inf)
            passed = min(bounds.passed if bounds.passed < 0.999 * trial else 0.0, estimate)
            self._narrow(sent_at - row.first_at, passed, CLOSE * estimate, estimate)
        else:
            # Once may be chance: requests of the window before arrived late.
            self._bursts -= 1
            if not self._bursts:
                self._narrow(sent_at - row.first_at, 0.0, trial, trial / 1.5)

    def _narrow(self, waited: float, passed: float, refused: float, estimate: float = 0.0) -> None:
        """New bounds; the next trial is at the estimate, or in the middle."""
        passed = passed if passed < refused else 0.0
        self._bounds = Known(passed, refused, self._bounds.window_s)
        self._step = 1.05
        low = max(passed, min(estimate, refused / CLOSE))
        if refused == math.inf:
            self._try(low)
        elif refused > CLOSE * low * 1.001:
            self._try(math.sqrt(low * refused))
        else:
            self._hold(low)
            # Each probe that is refused costs a pause: the next one comes ten of them later.
            self._probe_s = min(960.0, max(2 * self._probe_s, 10 * waited))

    def _succeed(self, run: _Run) -> None:
        """The trial passed for as long as the service counts, and was used."""
        self._bursts = 2 if self._bursts else 0
        passed = max(self._bounds.passed, self._trial)
        refused = self._bounds.refused if self._bounds.refused > passed else math.inf
        if self.known is not None and self._trial > self.known.passed:
            self._above_at = min(self._above_at, run.trial_at)
            if run.last_at - self._above_at >= MINUTE_S:
                self.known = None  # a clean minute above it: what the earlier run found holds no more
                if self._share == 1:
                    self._bounds = Known(window_s=self._bounds.window_s)
                    self._try(math.inf)
                    return
        self._bounds = replace(self._bounds, passed=passed, refused=refused)
        if refused == math.inf:
            self._try(passed * self._step)
            self._step = min(1.25, self._step**2)
        elif refused > CLOSE * passed * 1.001:
            self._try(math.sqrt(passed * refused))
        elif run.last_at - run.first_at >= self._probe_s:
            self._try(1.08 * passed)
        else:
            self._hold(passed)

    @property
    def _worth(self) -> float:
        """How many leave at once at the beginning of a window."""
        return self._trial * self._bounds.window_s

    def _widen(self, seconds: float) -> None:
        self._bounds = replace(self._bounds, window_s=max(self._bounds.window_s, min(MINUTE_S, seconds)))

    def _hold(self, per_second: float) -> None:
        # Evenly, the bucket keeps 3 % below.
        self._try(self._share * per_second if self._bounds.refused < math.inf else per_second)

    def _try(self, per_second: float) -> None:
        self._trial = per_second
        if self._bursts and not MANY <= self._worth < math.inf:
            self._bursts = 0
        if self._given is not None and per_second >= self._given.per_second:
            self._trial, self.rate = self._given.per_second, self._given
        else:
            self.rate = None if per_second == math.inf or self._bursts else to_rate(per_second)


def _window(after: float, began: float) -> float:
    """Over how many seconds a service counts, which waits ``after`` for the first of those that passed, ``began`` seconds ago.

    It rounds up what it says, and a date twice: of the last two seconds, the windows that services usually have are likelier.
    """
    most = after + began
    usual = [window for window in (1.0, 5.0, 6.0, 10.0, 15.0, 20.0, 30.0, 60.0) if after - 2.0 < window <= most + 0.02]
    # One that is over since the run began is less likely: not all that passed would be counted then.
    likely = [window for window in usual if window > max(began, most - 2.0)]
    return (likely or usual or [max(after, most - 1.0)])[-1]


def to_rate(per_second: float) -> Rate:
    """So many requests a second, as whole requests over a window that is short enough to allow no burst worth the name."""
    n = max(20, round(per_second / 4))
    return Rate(n, per=n / per_second)
