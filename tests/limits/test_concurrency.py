"""The search for a service's best concurrency, in a closed loop without a clock: services are functions."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.limits import Concurrency, Kind, Sample
from bulkdel.limits.concurrency import CEILING_S, CUT
from bulkdel.limits.window import HUNG, HUNG_ROUNDS, NOISE, Window

Serve = Callable[[float, int, int], tuple[float, Kind]]
"""From the time, how many are in flight and the request's number to how long it takes and how it ends."""


@dataclass
class Loop:
    """A client with endless work that keeps as many requests in flight as the search says."""

    search: Concurrency
    serve: Serve
    work: Callable[[float], int] = lambda now: 10**9  # how many requests there are to keep in flight
    now: float = 1_000.0
    number: int = 0
    under_way: dict[int, tuple[float, int]] = field(default_factory=dict)  # number -> sent at, in flight
    ends: list[tuple[float, int, Kind]] = field(default_factory=list)
    done: int = 0
    history: list[tuple[float, int]] = field(default_factory=list)  # time, limit

    def run(self, seconds: float) -> Loop:
        until = self.now + seconds
        while True:
            while len(self.under_way) < min(self.search.limit, self.work(self.now)):
                self.number += 1
                in_flight = len(self.under_way) + 1
                takes, kind = self.serve(self.now, in_flight, self.number)
                self.under_way[self.number] = (self.now, in_flight)
                heapq.heappush(self.ends, (self.now + takes, self.number, kind))
            if not self.ends or self.ends[0][0] > until:
                self.now = until
                return self
            self.now, number, kind = heapq.heappop(self.ends)
            overtook = sum(earlier < number for earlier in self.under_way) if number in self.under_way else 0
            sent_at, in_flight = self.under_way.pop(number)
            self.done += kind == "ok"
            self.search.add(Sample(sent_at, self.now, in_flight, kind, overtook))
            if not self.history or self.history[-1][1] != self.search.limit:
                self.history.append((self.now, self.search.limit))

    def limits(self, since: float) -> Iterator[int]:
        """Every limit that was in force from ``since`` on."""
        before = [limit for at, limit in self.history if at <= since]
        yield from before[-1:]
        yield from (limit for at, limit in self.history if at > since)

    def usual(self, seconds: float) -> int:
        """The limit that was in force longest in the last seconds."""
        spans: dict[int, float] = {}
        for (at, limit), (then, _) in zip(self.history, [*self.history[1:], (self.now, 0)], strict=True):
            spans[limit] = spans.get(limit, 0.0) + max(0.0, then - max(at, self.now - seconds))
        return max(spans, key=spans.__getitem__)


def capacity(of: Callable[[int], float], noise: float = 0.3, seed: int = 1) -> Serve:
    """A service that does ``of(n)`` a second with n in flight (Little: each then takes n/of(n) seconds)."""
    dice = random.Random(seed)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        return in_flight / of(in_flight) * dice.lognormvariate(-noise * noise / 2, noise), "ok"

    return serve


def slots(c: int, each: float = 0.1, **options: float) -> Serve:
    """``c`` requests are served at a time; more wait."""
    return capacity(lambda n: min(n, c) / each, **options)  # type: ignore[arg-type]


def collapsing(n: int) -> float:
    """As a real Dify was measured: 104 a second at 4, 68 at 16, 33 at 64."""
    return 104 * n / 4 if n < 4 else 104 * (n / 4) ** -0.41


# ---------------------------------------------------------------------- the knee


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("c", "seconds"), [(2, 500), (4, 300), (10, 200), (25, 100), (40, 60)])
def test_the_knee_is_found_and_kept(c: int, seconds: float, seed: int) -> None:
    """A service that serves so many at a time is asked by about so many at a time, whatever it began with."""
    loop = Loop(Concurrency(4, 64), slots(c, seed=seed)).run(seconds)
    assert math.floor(0.8 * c) <= loop.usual(30) <= math.ceil(1.5 * c) + 1


@pytest.mark.parametrize("seed", [1, 2])
def test_where_more_is_slower_it_stays_low(seed: int) -> None:
    """A service that collapses under load is never brought near it, and gets nine tenths of what it can do."""
    loop = Loop(Concurrency(4, 64), capacity(collapsing, seed=seed)).run(120)
    assert max(loop.limits(0)) <= 9
    assert loop.done >= 0.9 * 104 * 120


def test_a_service_without_a_knee_gets_the_most() -> None:
    """Where every request more is served as fast as the first, the limit climbs to the most and stays there."""
    loop = Loop(Concurrency(4, 64), slots(1_000, 0.2)).run(40)
    assert loop.usual(20) == 64
    assert max(loop.limits(0)) == 64


@pytest.mark.parametrize(("before", "after"), [(40, 10), (10, 40)])
def test_a_service_that_changes_is_followed(before: int, after: int) -> None:
    """Within a minute and a half of a change of capacity the limit is where the new knee is, up or down."""
    first, then = slots(before), slots(after)
    loop = Loop(Concurrency(4, 64), lambda now, n, k: (first if now < 1_060 else then)(now, n, k)).run(60)
    assert loop.usual(30) >= 0.8 * before
    loop.run(90)
    assert math.floor(0.8 * after) <= loop.usual(30) <= math.ceil(1.5 * after) + 1


def test_between_one_and_two_no_level_is_left_out() -> None:
    """Where two at a time are twice as fast and three are slower than one, two is what is found from one on."""
    best = {1: 10.0, 2: 20.0}
    loop = Loop(Concurrency(1, 64), capacity(lambda n: best.get(n, 8.0), noise=0.05)).run(120)
    assert loop.usual(60) == 2


# ---------------------------------------------------------------------- what is no overload


def test_setting_up_connections_is_not_mistaken_for_load() -> None:
    """Each slot's first request takes two seconds longer (DNS, TLS); the knee is found as without that."""
    base, connected = slots(20), [0]

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        takes, kind = base(now, in_flight, number)
        if in_flight > connected[0]:
            connected[0] = in_flight
            takes += 2.0
        return takes, kind

    loop = Loop(Concurrency(4, 64), serve).run(120)
    assert 16 <= loop.usual(60) <= 28
    assert min(loop.limits(0)) >= 4


def test_the_first_answers_of_a_level_are_let_pass() -> None:
    """Four slow first answers do not make four slots look slow, so that more are tried of a service that has no more."""
    quick = capacity(collapsing, noise=0.05)
    slow = Loop(Concurrency(4, 64), lambda now, n, k: (0.4 * k, "ok") if k <= 4 else quick(now, n, k)).run(20)
    assert max(slow.limits(0)) <= 6


def test_one_slow_answer_is_not_mistaken_for_load() -> None:
    """One request that takes a minute, well or failing in the end, lowers the limit by no more than a look down does."""
    for ends in ("ok", "overload"):
        base = slots(10)

        def serve(now: float, in_flight: int, number: int, base: Serve = base, ends: Kind = ends) -> tuple[float, Kind]:
            return (60.0, ends) if number == 8_000 else base(now, in_flight, number)

        loop = Loop(Concurrency(4, 64), serve).run(75)
        held = loop.usual(30)
        loop.run(90)
        assert loop.number > 8_000
        assert min(loop.limits(1_075)) >= math.floor(0.64 * held)
        assert loop.usual(30) >= 0.8 * held


def test_a_requeue_storm_is_not_mistaken_for_load() -> None:
    """A third of all answers come at once and say nothing (being indexed, refused, gone): nothing is cut for that."""
    base, dice = slots(10), random.Random(1)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        if 1_100 <= now < 1_200 and dice.random() < 0.33:
            return 0.005, "neutral"
        return base(now, in_flight, number)

    loop = Loop(Concurrency(4, 64), serve).run(300)
    assert min(loop.limits(1_050)) >= 6
    assert 8 <= loop.usual(60) <= 14


def test_a_storm_of_nothing_else_does_not_raise_the_limit() -> None:
    """While no document can be deleted every level looks good; the one that is kept is the one for the work behind it."""
    base = capacity(collapsing)
    loop = Loop(Concurrency(4, 64), lambda now, n, k: (0.005, "neutral") if 1_050 <= now < 1_080 else base(now, n, k))
    loop.run(80)
    assert max(loop.limits(1_050)) <= 6
    before = loop.done
    loop.run(30)
    assert loop.done - before >= 0.9 * 104 * 30


def test_documents_that_always_fail_are_not_mistaken_for_load() -> None:
    """Where one answer in ten is a 500 at whatever concurrency, the limit is not cut down for it for ever."""
    base, dice = slots(20, 0.2), random.Random(1)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        takes, kind = base(now, in_flight, number)
        return takes, ("overload" if dice.random() < 0.1 else kind)

    loop = Loop(Concurrency(4, 64), serve).run(300)
    assert loop.usual(100) >= 14


def test_it_does_not_grow_where_there_is_too_little_to_do() -> None:
    """A run that keeps three requests in flight shows nothing of four: the limit stays."""
    loop = Loop(Concurrency(4, 64), slots(40), work=lambda now: 3).run(300)
    assert set(loop.limits(0)) <= {4}


def test_pauses_are_not_mistaken_for_load() -> None:
    """A pause every few seconds, short or long, leaves the knee where it is."""
    for works, pauses in ((20.0, 10.0), (3.0, 5.0), (2.0, 1.0)):
        loop = Loop(Concurrency(4, 64), slots(20))
        while loop.now < 1_150:
            loop.run(works)
            loop.work = lambda now: 0
            loop.run(pauses)
            loop.work = lambda now: 10**9
        assert 16 <= loop.usual(50) <= 30


# ---------------------------------------------------------------------- overload


def steady(level: int, most: int = 64) -> tuple[Concurrency, float]:
    """A search that holds a level, and the time."""
    loop = Loop(Concurrency(level, most), slots(level)).run(10)
    return loop.search, loop.now


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_failed_together_is_one_cut(share: float) -> None:
    """Sixty failures that were sent before the first was known leave two thirds of the level, not nothing."""
    search, now = steady(20)
    before = search.limit
    for k in range(60):
        search.add(Sample(now - 0.1, now + k * 0.001, int(share * before), "overload"))
    assert search.limit == math.floor(CUT * before)


def test_overload_that_goes_on_is_cut_again() -> None:
    """Failures of what was sent after a cut cut again, down to one at a time and no further."""
    search, now = steady(20)
    for _ in range(40):
        limit = search.limit
        for _ in range(4):
            search.add(Sample(now, now + 0.1, limit, "overload"))
        now += 1.0
    assert search.limit <= 2
    assert search.add(Sample(now, now + 0.1, 1, "overload")) >= 1


def test_an_outage_is_survived() -> None:
    """While everything fails the limit goes down; when the service is back, it comes back."""
    base = slots(20)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        return (0.05, "overload") if 1_030 <= now < 1_060 else base(now, in_flight, number)

    loop = Loop(Concurrency(4, 64), serve).run(60)
    assert loop.search.limit <= 2
    loop.run(60)
    assert 16 <= loop.usual(10) <= 30


def test_a_lone_request_that_fails_says_nothing() -> None:
    """While a service is probed one request at a time, its failures do not lower the limit further."""
    search, now = steady(20)
    before = search.limit
    for k in range(50):
        search.add(Sample(now + k, now + k + 0.5, 1, "overload"))
    assert search.limit == before


def test_one_failure_that_came_at_once_says_nothing() -> None:
    """A restarted database answers one 500 on its stale connection."""
    search, now = steady(20)
    before = search.limit
    assert search.add(Sample(now, now + 0.05, before, "overload")) == before


def test_failures_of_a_few_leave_half_of_the_level() -> None:
    """Requests that were sent three at a time, after a pause, and failed late speak of no more than the half of twenty."""
    search, now = steady(20)
    before = search.limit
    for k in range(10):
        search.add(Sample(now, now + 10 + k, 3, "overload"))
    assert math.ceil(before / 2) <= search.limit < before


def test_a_service_that_can_do_one_at_a_time_is_asked_one_at_a_time() -> None:
    """Where two at once fail, that is found once and again after half a minute, and then left alone for ten minutes."""
    failed: list[float] = []

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        if in_flight == 1:
            return 0.1, "ok"
        failed.append(now)
        return 0.1, "overload"

    loop = Loop(Concurrency(4, 64), serve).run(400)
    assert loop.usual(300) == 1
    assert not [at for at in failed if at > 1_100]


def starving(pool: int, patience: float = 30.0) -> Serve:
    """A pool of connections that is not fair: beyond it requests wait for ``patience`` seconds and fail."""
    base = slots(pool, 0.4)
    starved: list[float] = []

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        starved[:] = [end for end in starved if end > now]
        if in_flight - len(starved) > pool:
            starved.append(now + patience)
            return patience, "overload"
        return base(now, in_flight - len(starved), number)

    return serve


def test_a_starved_pool_is_found_once_and_left_alone() -> None:
    """Requests beyond a pool hang until they fail: they were sent by one probe, and the next comes ten minutes later."""
    failed: list[float] = []
    pool = starving(40)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        takes, kind = pool(now, in_flight, number)
        if kind == "overload":
            failed.append(now)
        return takes, kind

    loop = Loop(Concurrency(4, 64), serve).run(300)
    assert failed
    assert max(failed) - min(failed) <= 30.0 < CEILING_S
    assert loop.usual(100) in range(36, 41)
    assert loop.done >= 0.85 * 100 * 300


@pytest.mark.parametrize("pool", [20, 40])
def test_requests_that_hang_do_not_hold_the_others_up(pool: int) -> None:
    """Where what hangs hangs for ten minutes, it is found by what overtakes it: the rest of the pool stays at work, and all
    together are never more than the most."""
    loop = Loop(Concurrency(4, 64), starving(pool, patience=600.0)).run(400)
    assert loop.done >= 0.85 * pool / 0.4 * 400
    assert max(limit for _, limit in loop.history) <= 64


def test_what_hung_is_no_part_of_the_level_once_it_has_ended() -> None:
    """Where requests hang for two minutes, few are sent into it, and afterwards the level is the pool's again."""
    hung: list[float] = []
    pool = starving(30, patience=120.0)

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        takes, kind = pool(now, in_flight, number)
        if kind == "overload":
            hung.append(now)
        return takes, kind

    loop = Loop(Concurrency(4, 64), serve).run(900)
    assert len(hung) <= 22
    assert loop.usual(100) in range(30, 43)
    assert loop.done >= 0.93 * 30 / 0.4 * 900


@pytest.mark.parametrize(
    ("hung", "known", "enough"), [(0, 0, True), (3, 3, True), (3, 0, False), (6, 3, False)], ids=str
)
def test_a_window_waits_for_what_may_hang_and_for_nothing_that_is_known_to(hung: int, known: int, enough: bool) -> None:
    """While more is overtaken than is known to hang, a window goes on, until twenty rounds have overtaken it."""
    limit, window = 20, Window(0.0, 1.0, 0.0)
    assert HUNG * limit < 3
    for number in range(6 * limit):
        window.add(Sample(number * 0.01, number * 0.01 + 0.1, limit, "ok", hung), limit)
    assert window.closed(1.3, limit, known) is enough
    for number in range(6 * limit, HUNG_ROUNDS * limit):
        window.add(Sample(number * 0.01, number * 0.01 + 0.1, limit, "ok", hung), limit)
    assert window.closed(4.1, limit, known)


# ---------------------------------------------------------------------- whatever comes


samples = st.lists(
    st.tuples(
        st.floats(0.0, 70.0),
        st.floats(0.0, 5.0),
        st.integers(1, 80),
        st.sampled_from(["ok", "ok", "ok", "overload", "neutral"]),
        st.integers(0, 80),
    ),
    max_size=300,
)


@settings(deadline=None)
@given(samples, st.integers(1, 64), st.integers(0, 64))
def test_the_limit_stays_in_its_bounds(came: list[tuple[float, float, int, Kind, int]], start: int, more: int) -> None:
    """Whatever comes, at least one request may be in flight, and never more than the most."""
    search, now = Concurrency(start, start + more), 1_000.0
    for took, later, in_flight, kind, overtook in came:
        now += later
        limit = search.add(Sample(now - took, now, in_flight, kind, overtook))
        assert limit == search.limit
        assert 1 <= limit <= start + more


@given(st.lists(st.sampled_from(["ok", "overload", "neutral"])), st.integers(1, 64))
def test_a_window_counts_every_answer_once(kinds: list[Kind], limit: int) -> None:
    """What came is what is counted, each kind by itself: from the shares it is judged what a level can do."""
    window = Window(0.0, NOISE, 0.0)
    for number, kind in enumerate(kinds):
        window.add(Sample(number, number + 1.0, limit, kind), limit)
    assert (window.ended, window.ok, window.neutral, window.failed) == (
        len(kinds), *(Counter(kinds)[kind] for kind in ("ok", "neutral", "overload")),
    )  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 50), st.floats(0.0, 1.0))
def test_the_limit_rises_at_most_once_a_round_trip(seed: int, c: int, noise: float) -> None:
    """Between a change and the next rise as many requests as the limit allows were sent and have ended."""
    loop = Loop(Concurrency(4, 64), slots(c, noise=noise, seed=seed))
    ended_after_change, changed_at, before = 0, -math.inf, loop.search.limit
    add = loop.search.add

    class Watching:
        limit = property(lambda self: loop_search.limit)

        def add(self, sample: Sample) -> int:
            nonlocal ended_after_change, changed_at, before
            ended_after_change += sample.sent_at >= changed_at
            limit = add(sample)
            if limit > before:
                assert ended_after_change >= before
            if limit != before:
                ended_after_change, changed_at, before = 0, sample.ended_at, limit
            return limit

    loop_search = loop.search
    loop.search = Watching()  # type: ignore[assignment]
    loop.run(30)
    assert loop.done


@pytest.mark.parametrize(("start", "most"), [(0, 4), (5, 4), (-1, 4)])
def test_a_search_that_cannot_begin_is_refused(start: int, most: int) -> None:
    """The start lies between one and the most."""
    with pytest.raises(ValueError, match="begin"):
        Concurrency(start, most)


@pytest.mark.parametrize("begin", [1, 3, 5])
@pytest.mark.parametrize("seed", [1, 3, 5, 8])
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_documents_that_fail_from_the_middle_of_the_climb_on_do_not_keep_it_low(
    share: float, seed: int, begin: float
) -> None:
    """A cut after a few answers, of which some failed by chance, has not helped because fewer fail afterwards."""
    whole, dice = slots(40, 0.2, seed=seed), random.Random(seed)
    started = 1_000.0

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        takes, kind = whole(now, in_flight, number)
        return takes, "overload" if now >= started + begin and dice.random() < share else kind

    loop = Loop(Concurrency(4, 64), serve).run(300)
    assert loop.usual(100) >= 20
