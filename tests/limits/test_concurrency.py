"""The search for the best concurrency, in a closed loop without a clock: services are functions."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.limits import ConcurrencySearch, Kind, Sample

MOST = 8
Serve = Callable[[float, int, int], tuple[float, Kind]]
"""From the time, how many are in flight and the request's number to how long it takes and how it ends."""


@dataclass
class Loop:
    """A client that keeps as many requests in flight as the search says; ``fixed`` instead of what it says."""

    search: ConcurrencySearch
    serve: Serve
    fixed: int = 0
    now: float = 1_000.0
    number: int = 0
    flying: list[tuple[float, int, float, int, Kind]] = field(default_factory=list)
    done: int = 0
    failed: int = 0
    limits: list[int] = field(default_factory=list)

    def run(self, documents: int) -> float:
        """Seconds that so many take; failed ones are asked for again."""
        begun, until = self.now, self.done + documents
        while self.done < until:
            while len(self.flying) < min(self.fixed or self.search.limit, until - self.done):
                self.number += 1
                takes, kind = self.serve(self.now, len(self.flying) + 1, self.number)
                heapq.heappush(self.flying, (self.now + takes, self.number, self.now, len(self.flying) + 1, kind))
            self.now, _, sent_at, in_flight, kind = heapq.heappop(self.flying)
            self.done += kind == "ok"
            self.failed += kind == "overload"
            self.limits.append(self.search.add(Sample(sent_at, self.now, in_flight, kind)))
        return self.now - begun


def capacity(of: Callable[[int], float], noise: float = 0.5, seed: int = 1) -> Serve:
    """A service that does ``of(n)`` a second with n in flight (Little: each then takes n/of(n) seconds)."""
    dice = random.Random(seed)
    sigma = math.sqrt(math.log(1 + noise * noise))

    def serve(now: float, in_flight: int, number: int) -> tuple[float, Kind]:
        return in_flight / of(in_flight) * dice.lognormvariate(-sigma * sigma / 2, sigma), "ok"

    return serve


CURVES: dict[str, Callable[[int], float]] = {
    "knee at 8": lambda n: 8.0 * min(n, 8),
    "knee at 3": lambda n: 8.0 * min(n, 3),
    "slower beyond 3": lambda n: 8.0 * (n if n <= 3 else 3 * (3 / n) ** 0.5),
    "one at a time": lambda n: 8.0,
    "a real Dify": lambda n: 104 * n / 4 if n < 4 else 104 * (4 / n) ** 0.06,
}


@pytest.mark.parametrize("curve", CURVES)
def test_the_whole_run_is_near_the_best(curve: str) -> None:
    """1,500 documents from a start at 4 that knows nothing: at least 0.85 of the best fixed concurrency, on average of seeds."""
    of = CURVES[curve]
    shares = []
    for seed in range(1, 9):
        best = min(
            Loop(ConcurrencySearch(4, MOST), capacity(of, seed=seed), fixed=n).run(1500) for n in range(1, MOST + 1)
        )
        shares.append(best / Loop(ConcurrencySearch(4, MOST), capacity(of, seed=seed)).run(1500))
    assert sum(shares) / len(shares) >= 0.85
    assert min(shares) >= 0.8


def test_more_than_pays_is_left_to_others() -> None:
    """A service that serves three at a time is asked by about three at a time."""
    loop = Loop(ConcurrencySearch(4, MOST), capacity(CURVES["knee at 3"], noise=0.2))
    loop.run(10_000)
    tail = loop.limits[5_000:]
    assert sum(tail) / len(tail) <= 4.5


@pytest.mark.parametrize(("before", "after"), [(8, 2), (2, 8)])
def test_a_service_that_changes_is_followed(before: int, after: int) -> None:
    """Within two thousand documents of a change of capacity most of the new one is used, up or down."""
    first, then = (capacity(lambda n, k=k: 10.0 * min(n, k), noise=0.2) for k in (before, after))  # type: ignore[misc]
    loop = Loop(ConcurrencySearch(4, MOST), lambda now, n, k: (first if k < 2_000 else then)(now, n, k))
    loop.run(4_000)
    assert loop.run(2_000) <= 2_000 / (10.0 * after) / 0.8


def test_failures_bring_it_down_at_once() -> None:
    """A service that turns away more than four at a time: few requests fail, and it is not asked for more again for a minute."""
    base = capacity(lambda n: 10.0 * n, noise=0.2)
    loop = Loop(ConcurrencySearch(4, MOST), lambda now, n, k: base(now, n, k) if n <= 4 else (0.01, "overload"))
    loop.run(3_000)
    assert loop.failed <= 0.01 * loop.number
    assert max(loop.limits) <= 6


def test_documents_that_fail_are_not_overload() -> None:
    """One document in a hundred always fails: the limit is not brought down for that."""
    base = capacity(lambda n: 10.0 * n, noise=0.2)
    loop = Loop(ConcurrencySearch(4, MOST), lambda now, n, k: (0.1, "overload") if k % 100 == 50 else base(now, n, k))
    loop.run(4_000)
    tail = loop.limits[2_000:]
    assert sum(tail) / len(tail) >= 6


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_spread_failures_are_not_overload(share: float) -> None:
    """A few percent of the requests fail, at random: the whole run takes hardly longer than without them."""
    base = capacity(lambda n: 10.0 * n, noise=0.2)
    for seed in range(8):
        dice = random.Random(seed)
        loop = Loop(
            ConcurrencySearch(4, MOST),
            lambda now, n, k, dice=dice: (0.1, "overload") if dice.random() < share else base(now, n, k),  # type: ignore[misc]
        )
        assert loop.run(4_000) <= 4_000 / 80 / 0.85


@pytest.mark.parametrize("answered_in", [0.03, 1.0])
@pytest.mark.parametrize("away", [0.2, 3.0, 6.0, 40.0])
def test_after_an_outage_it_climbs_again(away: float, answered_in: float) -> None:
    """Everything fails for a while: within seconds of the first good answers as many are in flight as before."""
    base = capacity(lambda n: 10.0 * n, noise=0.2)
    back = 1_020 + away
    loop = Loop(
        ConcurrencySearch(4, MOST),
        lambda now, n, k: (answered_in, "overload") if 1_020 < now < back else base(now, n, k),
    )
    assert loop.run(5_000) <= 5_000 / 80 + away + 10
    assert min(loop.limits) == 1 or away < 40.0


def test_a_later_restart_costs_no_more_than_the_first() -> None:
    """Now and then all that are in flight fail, and nothing else: one such moment that is over says nothing of the next."""
    base = capacity(lambda n: 10.0 * n, noise=0.2)
    loop = Loop(ConcurrencySearch(4, MOST), lambda now, n, k: (0.1, "overload") if k % 1_500 < 8 else base(now, n, k))
    assert loop.run(20_000) <= 20_000 / 80 / 0.85


FAILS: dict[str, Callable[[int, int, random.Random], float]] = {
    "at once": lambda n, most, dice: 0.01 if n > most else 0.0,
    "half of them": lambda n, most, dice: 0.05 if n > most and dice.random() < 0.5 else 0.0,
    "in the end": lambda n, most, dice: 1.0 if n > most else 0.0,
    "whichever it is": lambda n, most, dice: 0.1 if dice.random() < 1 - most / n else 0.0,
}
"""From how many are in flight and how many a service bears to after how many seconds a request fails; 0 if it does not."""


@pytest.mark.parametrize("most", [1, 2, 4, 6])
@pytest.mark.parametrize("how", FAILS)
def test_real_overload_is_left_alone_ever_longer(how: str, most: int) -> None:
    """A service that fails beyond what it bears: it is used, few requests fail, and ever fewer, however they do."""
    base, fails, dice = capacity(lambda n: 10.0 * n, noise=0.2), FAILS[how], random.Random(most)

    def serve(now: float, n: int, k: int) -> tuple[float, Kind]:
        failed_in = fails(n, most, dice)
        return (failed_in, "overload") if failed_in else base(now, n, k)

    loop = Loop(ConcurrencySearch(4, MOST), serve)
    assert loop.run(3_000) <= 3_000 / (10.0 * most) / 0.85
    early = loop.failed
    loop.run(3_000)
    assert early <= 0.06 * 3_000
    assert loop.failed - early <= max(0.6 * early, 0.03 * 3_000)


@pytest.mark.parametrize("kind", ["ok", "overload"])
def test_requests_below_the_limit_say_nothing(kind: Kind) -> None:
    """While a rate or an open breaker holds requests back, or little is left to do, the limit stays as it is."""
    search = ConcurrencySearch(4, MOST)
    for k in range(1_000):
        search.add(Sample(1_000.0 + k, 1_000.1 + k, 2, kind))
    assert search.limit == 4


def test_answers_without_work_say_nothing() -> None:
    """Refusals cost a service nothing, so their speed is not its speed."""
    search = ConcurrencySearch(4, MOST)
    for k in range(1_000):
        search.add(Sample(1_000.0 + k, 1_000.01 + k, 4, "neutral"))
    assert search.limit == 4


@pytest.mark.parametrize(("start", "most"), [(0, 8), (9, 8), (-1, 1)])
def test_where_the_search_begins_is_checked(start: int, most: int) -> None:
    """Between 1 and the most."""
    with pytest.raises(ValueError, match="must begin between 1 and the most"):
        ConcurrencySearch(start, most)


@settings(deadline=None)
@given(
    st.integers(1, 8),
    st.integers(0, 8),
    st.lists(
        st.tuples(
            st.sampled_from(["ok", "ok", "ok", "overload", "neutral"]),
            st.floats(0, 100),
            st.floats(0, 5),
            st.integers(1, 9),
        ),
        max_size=300,
    ),
)
def test_the_limit_stays_within_bounds(start: int, more: int, came: list[tuple[Kind, float, float, int]]) -> None:
    """Whatever comes, the limit is between 1 and the most, and nothing raises."""
    search, now = ConcurrencySearch(start, start + more), 1_000.0
    for kind, took, later, in_flight in came:
        now += later
        assert 1 <= search.add(Sample(now - took, now, in_flight, kind)) <= start + more
