"""Which rate is kept after refusals, without a clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel.limits import bucket
from bulkdel.limits.rate import CLOSE, Known, RateSearch, to_rate
from bulkdel.model import Rate
from tests.limits.services import LATENCY_S, AnyWindow, Both, FixedWindow, LeakyBucket, NoLimit, Service, run

SERVICES: dict[str, Callable[[], Service]] = {
    **{
        f"{n} in {per} s": partial(AnyWindow, n, per)
        for per, counts in {1: (5, 10, 20, 30, 50), 6: (20, 30, 60, 100), 10: (20, 60, 100), 60: (20, 60, 100)}.items()
        for n in counts
    },
    **{
        f"fixed, {n} in {per} s, from {offset}": partial(FixedWindow, n, per, offset)
        for per, counts in {1: (5, 10, 20, 30), 6: (20, 30, 60, 100), 10: (20, 60, 100), 60: (20, 60, 100)}.items()
        for n in counts
        for offset in (0.5, 0.13)
    },
    **{
        f"leaky, {rate}/s, burst {burst}": partial(LeakyBucket, rate, burst)
        for rate, burst in (
            (2, 20),
            (5, 5),
            (5, 10),
            (10, 3),
            (10, 5),
            (10, 10),
            (10, 20),
            (20, 10),
            (20, 20),
            (50, 50),
            (50, 100),
        )
    },
}


# ---------------------------------------------------------------------- an unknown limit


BY_DATE = {
    "50 in 1 s": 0.7,
    "leaky, 10/s, burst 3": 0.75,
    "leaky, 10/s, burst 5": 0.75,
    "leaky, 20/s, burst 10": 0.6,
    "leaky, 50/s, burst 50": 0.55,
}
"""Where less is reached by a date: two pauses of two seconds each, which the service asks for, are much of 12 s, three of 60."""


@pytest.mark.parametrize("says", ["seconds", "a date", "a late date", "nothing"])
@pytest.mark.parametrize("service", SERVICES)
def test_an_unknown_limit_is_found(service: str, says: str) -> None:
    """600 documents take at most 1.25 of the ideal time behind the first refusal, and one request in twenty is refused at most."""
    least = BY_DATE.get(service, 0.8) if "date" in says else 0.8
    for workers in (4, 8):
        for seed in (1, 2, 3):
            outcome = run(SERVICES[service](), says, workers=workers, seed=seed)
            assert outcome.share >= least, (workers, seed, outcome.share)
            assert outcome.refused <= 0.05 * outcome.sent, (workers, seed, outcome.refused)


@pytest.mark.parametrize(
    ("n", "per", "says"),
    [
        (200, 6, "seconds"),
        (200, 10, "seconds"),
        (200, 60, "seconds"),
        (200, 10, "a late date"),
        (200, 60, "a late date"),
    ],
)
def test_a_run_of_three_windows(n: int, per: float, says: str) -> None:
    """A window's worth leaves at once in each. Without a word of how long, looking for the end of a window costs the fourth."""
    for workers in (4, 8):
        for seed in (1, 2, 3):
            outcome = run(AnyWindow(n, per), says, workers=workers, seed=seed)
            assert outcome.share >= 0.8, (workers, seed, outcome.share)
            assert outcome.refused <= 0.05 * outcome.sent


def test_a_window_is_used_up_at_once() -> None:
    """Once the limit is known, most of a minute's worth is sent in its first seconds, and nothing is refused any more."""
    outcome = run(AnyWindow(100, 60.0), "seconds")
    assert outcome.search.burst == Rate(100, per=60.0)
    assert outcome.search.rate is None
    assert outcome.refused <= 16
    windows = [[outcome.times[0]]]
    for before, time in pairwise(outcome.times):
        if time - before > 20:
            windows.append([])
        windows[-1].append(time)
    assert [len(window) for window in windows] == [100] * 6
    assert all(window[-1] - window[0] < 2.0 for window in windows)


@pytest.mark.parametrize("per", [6.0, 10.0])
def test_a_window_that_was_not_quite_empty(per: float) -> None:
    """What came slowly leaves the window slowly: it is refused once more, for a second, and what passes behind that counts on."""
    for seed in range(1, 11):
        outcome = run(AnyWindow(100, per), "seconds", workers=4, seed=seed)
        assert outcome.share >= 0.8, (seed, outcome.share)


@pytest.mark.parametrize("says", ["seconds", "nothing"])
@pytest.mark.parametrize("in_a_second", [12, 15, 20, 25, 40])
def test_what_is_allowed_evenly_is_paced_evenly(in_a_second: int, says: str) -> None:
    """A service that lets only so many through in a second: a window of 10 s is not used up at once."""
    service = Both(AnyWindow(100, 10.0), AnyWindow(in_a_second, 1.0))
    outcome = run(service, says)
    assert outcome.search.burst is None
    assert outcome.search.rate is not None
    assert outcome.share >= 0.8


@pytest.mark.parametrize("says", ["seconds", "nothing"])
def test_a_window_that_is_not_let_through_at_once_any_more_is_paced(says: str) -> None:
    """From the fourth window on no more than 15 are let through in a second: two refusals later they are paced."""
    service = Both(AnyWindow(100, 10.0), AnyWindow(15, 1.0), begin=1_032.0)
    outcome = run(service, says, documents=3_000)
    assert outcome.search.burst is None
    assert outcome.refused <= 100
    assert outcome.share >= 0.8


@pytest.mark.parametrize("says", ["seconds", "nothing"])
@pytest.mark.parametrize(("per_second", "burst"), [(1, 10), (1, 2), (0.5, 5)])
def test_a_bucket_that_refills_slowly_is_found(per_second: float, burst: int, says: str) -> None:
    """One request passes behind each pause and the next is refused: what passed in many pauses is the limit, too."""
    outcome = run(LeakyBucket(per_second, burst), says)
    assert outcome.share >= 0.8
    assert outcome.refused <= 0.07 * outcome.sent


@pytest.mark.parametrize("says", ["seconds", "nothing"])
@pytest.mark.parametrize(("per_second", "least"), [(1, 0.6), (5, 0.55), (10, 0.5)])
def test_a_service_that_wants_its_requests_evenly(per_second: float, least: float, says: str) -> None:
    """A bucket of one: each request that arrives a little early is refused, and one in fifty arrives late."""
    outcome = run(LeakyBucket(per_second, 1), says)
    assert outcome.share >= least
    assert outcome.refused <= 0.08 * outcome.sent


@pytest.mark.parametrize("says", ["seconds", "nothing"])
@pytest.mark.parametrize(("per_second", "burst", "seconds"), [(20, 5, 60), (50, 5, 60), (50, 10, 60), (50, 20, 240)])
def test_a_bucket_smaller_than_a_second_is_found(per_second: float, burst: int, seconds: float, says: str) -> None:
    """What passes at once is not what passes in a second: after fewer than 15, twice as much is tried; after more, in a minute."""
    assert run(LeakyBucket(per_second, burst), says).share >= 0.45
    outcome = run(LeakyBucket(per_second, burst), says, documents=round(seconds * per_second))
    assert outcome.share >= 0.8
    assert outcome.refused <= 0.05 * outcome.sent


@pytest.mark.parametrize("says", ["seconds", "nothing"])
@pytest.mark.parametrize("offset", [0.13, 0.3])
@pytest.mark.parametrize("workers", [4, 8])
@pytest.mark.parametrize("n", [25, 50])
def test_a_burst_that_meets_two_seconds_of_a_clock(n: int, workers: int, offset: float, says: str) -> None:
    """What passed first says that what passed next was the worth of two windows."""
    outcome = run(FixedWindow(n, 1.0, offset), says, workers=workers)
    assert outcome.share >= 0.8
    assert outcome.refused <= 0.05 * outcome.sent


@pytest.mark.parametrize("says", ["seconds", "nothing", "always one"])
@pytest.mark.parametrize(("n", "per"), [(100, 60.0), (100, 1.0), (1000, 60.0), (17, 3.0), (30, 20.0)])
def test_a_long_run_keeps_near_it(n: int, per: float, says: str) -> None:
    """Over many windows most of the limit is used, and one request in thirty is refused at most."""
    outcome = run(AnyWindow(n, per), says, documents=max(6_000, 30 * n))
    assert outcome.share >= 0.88
    assert outcome.refused <= outcome.sent / 30
    found = outcome.search.found
    assert found is not None
    assert 0.9 * n / per <= found.passed <= 1.05 * n / per


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 150), st.sampled_from([1.0, 6.0, 10.0, 30.0, 60.0]), st.sampled_from(["seconds", "nothing"]),
       st.integers(1, 16), st.integers(1, 10**6))  # fmt: skip
@example(
    n=147, per=60.0, says="seconds", workers=1, seed=1199
)  # a run over two windows is no empty window before the next
def test_any_limit_is_used(n: int, per: float, says: str, workers: int, seed: int) -> None:
    """Whatever the limit and however many workers: over 30 windows most of it is used, and few requests are refused.

    In windows of a second each pause, a second long, is one of them. The workers could do half as much again as the limit.
    """
    workers = max(workers, math.ceil(1.5 * n / per * LATENCY_S))
    outcome = run(AnyWindow(n, per), says, documents=30 * n, workers=workers, seed=seed)
    assert outcome.share >= (0.6 if per == 1 else 0.75)
    assert outcome.refused <= 0.08 * outcome.sent


def test_a_refusal_after_too_little_is_only_obeyed() -> None:
    """Three requests, "wait 60 s", then no limit at all: the pause is kept, nothing is concluded and nothing remembered."""
    outcome = run(NoLimit(odd=range(3, 4)), "exactly", documents=60)
    assert 60 <= outcome.seconds <= 63
    assert outcome.search.rate is None
    assert outcome.search.found is None


def test_refusals_far_apart_are_not_compared() -> None:
    """Two refusals with an hour of little demand between them say nothing of a rate."""
    search, now = RateSearch(None), 1_000.0
    for hour in range(3):
        for k in range(20):
            search.passed(now + 30 * k, now + 30 * k + 0.05)
        now += 600.0
        pause = search.refused(now, now + 0.05, 1.0)
        assert 1.0 <= pause <= 1.25
        search.passed(now + 2.0, now + 2.05)
        assert search.rate is None, hour
        now += 3_600.0


def test_until_one_passes_requests_go_one_at_a_time() -> None:
    """Behind a refusal one request is in flight until one passes: eight at once would be eight refusals."""
    search = RateSearch(None)
    search.passed(1_000.0, 1_000.05)
    search.refused(1_000.1, 1_000.2, None)
    assert search.probing
    search.passed(1_002.0, 1_002.05)
    assert not search.probing


def test_one_complaint_counts_once() -> None:
    """Requests that left before the refusal was known are part of it: no longer pause, no other conclusion."""
    search = RateSearch(None)
    assert search.refused(1_000.0, 1_000.1, 5.0) == pytest.approx(5.0)
    for late in (0.0, 0.05, 0.09):
        assert search.refused(1_000.0 + late, 1_000.2, 5.0) == 5.0
    search.passed(1_005.2, 1_005.3)
    assert search.rate is None


@given(st.lists(st.floats(0.5, 70.0), min_size=1, max_size=30))
def test_silent_refusals_are_probed_slower_and_slower(waits: list[float]) -> None:
    """Without a word of how long, waits grow by half of the whole wait, up to a minute each."""
    search, now, pauses = RateSearch(None), 1_000.0, list[float]()
    search.passed(999.0, 999.1)
    for _ in waits:
        pauses.append(search.refused(now, now + 0.05, None))
        now += 0.05 + pauses[-1]
    assert all(pause > 0 for pause in pauses)
    assert all(pause <= 60.0 for pause in pauses)
    ends = [sum(pauses[: k + 1]) + 0.05 * k for k in range(len(pauses))]
    for window in (6.0, 10.0, 30.0, 60.0):
        if ends[-1] >= window + 1:
            assert any(window - 0.1 <= end <= window + 0.8 for end in ends), window


# ---------------------------------------------------------------------- a given limit, a guess, and what was found before


def test_a_given_limit_is_never_exceeded_and_comes_back() -> None:
    """Another process uses half of a known limit up for a while: less is kept, and all of it again in the end."""
    given_ = Rate(100, per=60)
    search = RateSearch(given_)
    outcome = run(AnyWindow(50, 60.0), "exactly", documents=300, search=search)
    assert outcome.refused <= 20
    assert search.rate is not None
    assert search.rate.per_second <= 0.9 * given_.per_second
    run(NoLimit(), "exactly", documents=4_000, search=search, begin=10_000.0)
    assert search.rate == given_
    assert search.found is None


def test_a_guess_grows_until_it_is_refused() -> None:
    """If the plan is not known it begins at the guess and grows by a quarter a minute; at the limit others get a fifth."""
    guess = Rate(8, per=60)
    search = RateSearch(guess, guess=True)
    outcome = run(NoLimit(), "exactly", documents=200, search=search)
    assert search.rate is not None
    assert guess.per_second * 5 <= search.rate.per_second <= 40 * guess.per_second
    assert search.found is not None
    assert search.found.refused == math.inf
    run(AnyWindow(60, 60.0), "exactly", documents=1_000, search=search, begin=1_000.0 + outcome.seconds)
    assert search.rate.per_second <= 0.9
    assert search.found.refused < math.inf


def test_what_was_found_is_where_the_next_run_begins() -> None:
    """The rate that passed is kept from the first request on, and a given limit overrides it."""
    known = Known(passed=1.6, refused=1.75, window_s=60.0)
    search = RateSearch(None, known=known)
    assert search.rate == to_rate(1.6)
    outcome = run(AnyWindow(100, 60.0), "seconds", documents=150, search=search)
    assert outcome.refused == 0
    assert search.found == known
    assert RateSearch(Rate(5), known=known).rate == Rate(5)


def test_a_clean_minute_above_it_forgets_it() -> None:
    """The limit that an earlier run found is gone: within minutes more is tried, and after a minute of it there is no limit."""
    known = Known(passed=0.8, refused=0.88, window_s=60.0)
    search = RateSearch(None, known=known)
    outcome = run(NoLimit(), "exactly", documents=3_000, search=search)
    assert outcome.seconds <= 300
    assert search.rate is None
    assert search.known is None
    assert search.found is None


@given(st.floats(0.01, 5_000))
def test_a_rate_is_whole_requests(per_second: float) -> None:
    """What is kept is what was meant, to a hundredth, and no burst of more than a tenth of a second or two requests."""
    rate = to_rate(per_second)
    assert rate.per_second == pytest.approx(per_second, rel=0.011)
    assert bucket(rate).burst <= 2 + max(1.0, 0.3 * per_second)


# ---------------------------------------------------------------------- whatever comes


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["passed", "passed", "passed", "refused"]),
        st.floats(0.0, 200.0),
        st.floats(0.0, 70.0),
        st.none() | st.floats(0.0, 100_000.0),
    ),
    max_size=120,
)
RATES = st.builds(Rate, st.floats(0.5, 5_000), st.sampled_from([1.0, 10.0, 60.0]))


@settings(deadline=None)
@given(HAPPENINGS, st.none() | RATES, st.booleans(), st.none() | st.floats(0.01, 100.0))
def test_a_known_rate_is_never_exceeded(
    came: list[tuple[str, float, float, float | None]], given_: Rate | None, guess: bool, known: float | None
) -> None:
    """Whatever comes, nothing raises, bounds are in order, pauses are what was said or more, and no given limit is exceeded."""
    search = RateSearch(given_, guess=guess, known=None if known is None else Known(known, CLOSE * known))
    now = 1_000.0
    for what, later, took, after in came:
        now += later
        if what == "refused":
            assert search.refused(now - took, now, after) >= (after or 0.0)
        else:
            assert search.passed(now - took, now) == search.rate
        if given_ is not None and not guess:
            assert search.rate is not None
            assert search.rate.per_second <= given_.per_second * 1.011
        if (found := search.found) is not None:
            assert 0 < found.passed < found.refused
            assert 0 < found.window_s <= 60.0
