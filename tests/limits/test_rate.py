"""What rate is kept after a refusal, without a clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel.limits import RateControl, bucket
from bulkdel.limits.rate import BACK, EVERY_S, GROWTH, GUESS_S, SHARE, SHARE_OF_GUESS, STEP
from bulkdel.model import Rate


def burst(rates: RateControl, n: int, since: float, seconds: float = 1.0) -> float:
    """``n`` requests are let through within so many seconds; returns when the last of them was sent."""
    at = since
    for k in range(n):
        at = since + seconds * k / n
        rates.passed(at, at + 0.05)
    return at


def steady(rates: RateControl, since: float, seconds: float, share: float = 1.0) -> float:
    """So many seconds of the allowed rate (a share of it) without a refusal; returns when they are over."""
    at, until = since, since + seconds
    while at < until:
        assert rates.rate is not None
        rates.passed(at, at + 0.05)
        at += 1 / (share * bucket(rates.rate).per_second)
    return at


def near(rate: Rate | None, wanted: Rate) -> bool:
    return rate is not None and rate.per == wanted.per and rate.n == pytest.approx(wanted.n)


# ---------------------------------------------------------------------- what was let through


@pytest.mark.parametrize(
    ("after", "window"),
    [
        (None, 1),
        (0.0, 1),
        (0.4, 1),
        (1.0, 1),
        (2.0, 10),
        (10.0, 10),
        (11.0, 10),
        (30.0, 60),
        (60.0, 60),
        (86_400.0, 60),
    ],
)
def test_an_unknown_limit_is_derived_from_what_was_let_through(after: float | None, window: float) -> None:
    """Nine tenths of what passed in the window that the service's wait speaks of: a second, ten, or a minute."""
    rates = RateControl(None)
    at = burst(rates, 100, 1_000.0)
    assert near(rates.refused(at, after), Rate(100 * SHARE, per=window))


def test_only_the_window_counts() -> None:
    """What passed long before the refusal does not speak of the limit."""
    rates = RateControl(None)
    burst(rates, 500, 1_000.0)
    at = burst(rates, 100, 1_100.0)
    assert near(rates.refused(at, 60.0), Rate(90, per=60.0))


def test_a_refusal_after_nothing_tells_no_rate() -> None:
    """Where the very first request is refused, others use the limit up: there is nothing to derive a rate from."""
    rates = RateControl(None)
    assert rates.refused(1_000.0, 60.0) is None
    assert rates.learned is None


def test_more_than_is_remembered_is_a_rate_all_the_same() -> None:
    """At thousands a second the rate is that of the requests that are remembered."""
    rates = RateControl(None)
    at = burst(rates, 10_000, 1_000.0, 10.0)
    found = rates.refused(at, 60.0)
    assert found is not None
    assert found.per_second == pytest.approx(900, rel=0.01)


# ---------------------------------------------------------------------- one complaint, one strike


def test_refusals_with_nothing_let_through_between_are_one() -> None:
    """A service whose window is still full is asked again and again: the rate is not lowered for that."""
    rates = RateControl(None)
    at = burst(rates, 100, 1_000.0)
    rate = rates.refused(at, 60.0)
    for k in range(1, 8):
        assert rates.refused(at + 60.0 * k, 60.0) == rate


def test_a_window_is_as_long_as_it_refuses() -> None:
    """With no word of how long, each refusal without a pass shows that the window is at least as long as that."""
    rates = RateControl(None)
    at = burst(rates, 100, 1_000.0)
    windows = [1.0]
    assert near(rates.refused(at, None), Rate(90, per=1.0))
    for waited in (0.9, 1.5, 4.5, 10.5, 22.5, 46.5, 90.0):
        rate = rates.refused(at + waited, None)
        assert rate is not None
        windows.append(rate.per)
    assert windows == [1.0, 1.0, 10.0, 10.0, 10.0, 60.0, 60.0, 60.0]
    assert near(rates.rate, Rate(90, per=60.0))


def test_a_second_refusal_soon_after_halves() -> None:
    """Where a derived rate is refused within two minutes, what was seen before spoke of another limit."""
    rates = RateControl(None)
    at = burst(rates, 100, 1_000.0)
    rates.refused(at, 60.0)
    first = rates.rate
    at = steady(rates, at + 5.0, 59.0)
    at = steady(rates, at, 50.0)
    second = rates.refused(at, 60.0)
    assert first is not None
    assert second is not None
    assert second.per_second <= 0.51 * first.per_second


def test_a_refusal_long_after_goes_back_to_what_passed() -> None:
    """Where a derived rate rose until it was refused, what passed in the last minute is the limit."""
    rates = RateControl(None)
    at = burst(rates, 100, 1_000.0)
    rates.refused(at, 60.0)
    at = steady(rates, at + 60.0, 600.0)
    passed = 60 * bucket(rates.rate or Rate(1)).per_second
    found = rates.refused(at, 60.0)
    assert found is not None
    assert found.per == 60.0
    assert found.n == pytest.approx(SHARE * passed, abs=2)


# ---------------------------------------------------------------------- slowly up


def test_a_derived_rate_rises_a_hundredth_a_minute() -> None:
    """Each minute without a refusal adds a hundredth; after a second refusal it takes two minutes, then four."""
    rates = RateControl(None)
    at = burst(rates, 1_000, 1_000.0)
    before = rates.refused(at, 60.0)
    for every in (EVERY_S, 2 * EVERY_S, 4 * EVERY_S):
        assert before is not None
        at = steady(rates, at + 60.0, every - 1.0)
        assert rates.rate == before
        at = steady(rates, at, 2.0)
        assert rates.rate is not None
        assert rates.rate.per_second == pytest.approx(before.per_second * (1 + STEP))
        at = steady(rates, at, 130.0)
        before = rates.refused(at, 60.0)


def test_a_rate_that_is_not_used_does_not_rise() -> None:
    """A run that sends half of what it may has not shown that more is allowed."""
    rates = RateControl(None)
    at = burst(rates, 1_000, 1_000.0)
    rate = rates.refused(at, 60.0)
    steady(rates, at + 60.0, 1_200.0, share=0.5)
    assert rates.rate == rate


def test_a_rate_that_is_used_for_moments_does_not_rise() -> None:
    """Ten seconds of every minute at the full rate are no demand for more, whenever in them it is looked at."""
    rates = RateControl(None)
    at = burst(rates, 40, 1_000.0)
    rate = rates.refused(at, None)
    assert rate is not None
    for minute in range(20):
        begun = at + 59.0 * (1 + minute)  # a rate is raised after 60 s, each time a second later in the burst
        for request in range(round(10 * rate.per_second)):
            rates.passed(begun + request / rate.per_second, begun + request / rate.per_second)
    assert rates.rate == rate


def test_a_known_rate_is_halved_and_comes_back() -> None:
    """A limit that the user knows and somebody else uses up: half, then a twentieth a minute, and all of it in the end."""
    given = Rate(100, per=60)
    rates = RateControl(given)
    at = steady(rates, 1_000.0, 60.0)
    assert rates.refused(at, None) == Rate(50, per=60)
    assert rates.learned == Rate(50, per=60)
    at = steady(rates, at, EVERY_S + 2.0)
    assert near(rates.rate, Rate(50 + 100 * BACK, per=60))
    steady(rates, at, 10 * (EVERY_S + 2.0))
    assert rates.rate == given
    assert rates.learned is None


# ---------------------------------------------------------------------- what is known beforehand


def test_what_was_learned_is_where_the_next_run_begins() -> None:
    """A rate that an earlier run found is kept from the first request on."""
    rates = RateControl(None, learned=Rate(90, per=60))
    assert rates.rate == rates.learned == Rate(90, per=60)
    assert rates.found


def test_a_known_rate_overrides_what_was_learned() -> None:
    """``--rate`` is what the user knows; what was learned yesterday is not."""
    rates = RateControl(Rate(100, per=60), learned=Rate(40, per=60))
    assert rates.rate == Rate(100, per=60)
    assert rates.learned is None


def test_a_guess_grows_while_nothing_is_refused() -> None:
    """Where nobody knows the plan: five minutes at the smallest, then a quarter more each minute."""
    guess = Rate(8, per=60)
    rates = RateControl(guess, guess=True)
    at = steady(rates, 1_000.0, GUESS_S - 10.0)
    assert rates.rate == guess
    at = steady(rates, at, 20.0)
    assert near(rates.rate, Rate(8 * GROWTH, per=60))
    steady(rates, at, 20 * 70.0)
    assert rates.rate is not None
    assert rates.rate.n >= 8 * GROWTH**15
    assert rates.learned == rates.rate
    assert not rates.found


def test_a_guess_that_was_refused_leaves_room_for_others() -> None:
    """The first refusal ends the growth: four fifths of what passed, the rest is the customer's own apps'."""
    rates = RateControl(Rate(8, per=60), guess=True)
    at = steady(rates, 1_000.0, 1_500.0)
    passed = 60 * bucket(rates.rate or Rate(1)).per_second
    found = rates.refused(at, 60.0)
    assert found is not None
    assert found.per == 60.0
    assert found.n == pytest.approx(SHARE_OF_GUESS * passed, rel=0.25)  # it grew within that minute
    assert rates.found
    steady(rates, at + 60.0, 200.0)
    assert rates.rate is not None
    assert rates.rate.n <= found.n * (1 + 5 * STEP)


# ---------------------------------------------------------------------- whatever comes


happenings = st.lists(
    st.tuples(
        st.sampled_from(["passed", "passed", "passed", "refused"]),
        st.floats(0.0, 200.0),
        st.floats(0.0, 70.0),
        st.none() | st.floats(0.0, 100_000.0),
    ),
    max_size=120,
)
rates_ = st.builds(Rate, st.floats(0.5, 5_000), st.sampled_from([1.0, 10.0, 60.0]))


@settings(deadline=None)
@given(happenings, st.none() | rates_, st.booleans(), st.none() | rates_)
def test_a_refusal_never_raises_and_a_known_rate_is_never_exceeded(
    came: list[tuple[str, float, float, float | None]], given_: Rate | None, guess: bool, learned: Rate | None
) -> None:
    """Whatever comes, a refusal lowers the rate or leaves it, and nothing leaves faster than the user said."""
    rates, now = RateControl(given_, guess=guess, learned=learned), 1_000.0
    for what, later, took, after in came:
        now += later
        before = rates.rate
        if what == "refused":
            rate = rates.refused(now - took, after)
            if before is not None:
                assert rate is not None
                assert rate.per_second <= before.per_second * (1 + 1e-9)
        else:
            rate = rates.passed(now - took, now)
            assert (rate is None) == (before is None)
        assert rate == rates.rate
        if given_ is not None and not guess:
            assert rates.rate is not None
            assert rates.rate.per_second <= given_.per_second * (1 + 1e-9)


SAYS = ["exactly", "nothing", "the window"]
"""How a service words how long it wants nothing."""


@dataclass
class Limiter:
    """At most ``n`` in any ``per`` seconds; refused ones count."""

    n: int
    per: float
    counted: deque[float] = field(default_factory=deque)

    def ask(self, now: float) -> float:
        """0 where it is let through, else seconds until one would be."""
        while self.counted and self.counted[0] <= now - self.per:
            self.counted.popleft()
        self.counted.append(now)
        excess = len(self.counted) - self.n
        return 0.0 if excess <= 0 else self.counted[excess] + self.per - now


@example(174, 10.0, "nothing", 20.0)
@example(11, 1.0, "nothing", 20.0)
@settings(deadline=None, max_examples=30)
@given(st.integers(10, 200), st.sampled_from([1.0, 10.0, 60.0]), st.sampled_from(SAYS), st.floats(20.0, 200.0))
def test_any_limit_is_found(n: int, per: float, says: str, speed: float) -> None:
    """A service that lets so many through in a second, ten or a minute is asked for most of that from then on, seldom for more.

    Where we are hardly faster than its limit a refusal tells little of it: then for half of it at least, until the rate has risen.
    """
    rates, limiter = RateControl(None), Limiter(n, per)
    now, refused, passed, asked, in_a_row = 1_000.0, 0, 0, 0, 0
    begin = None
    while asked < 1_500:
        rate = rates.rate
        now += 1 / speed if rate is None else max(1 / speed, 1 / bucket(rate).per_second)
        asked += 1
        wait = limiter.ask(now)
        if wait:
            refused, in_a_row = refused + 1, in_a_row + 1
            after = {"exactly": wait, "nothing": None, "the window": per}[says]
            rates.refused(now, after)
            now += min(60.0, 1.5 * 2**in_a_row) if after is None else after
        else:
            begin = now if begin is None and refused else begin
            passed, in_a_row = passed + (begin is not None), 0
            rates.passed(now, now)
    assert refused <= 0.05 * asked
    if begin is not None:
        assert passed / (now - begin) >= (0.75 if speed > 1.5 * n / per else 0.5) * n / per
