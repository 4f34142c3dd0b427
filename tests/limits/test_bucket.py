"""The arithmetic from a service's limit to a bucket."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkdel.limits import bucket, shared_bucket
from bulkdel.limits.bucket import fairness_delay
from bulkdel.model import Rate
from tests.limits.departures import whole

RATES = st.builds(
    Rate,
    st.one_of(st.integers(1, 100_000), st.floats(0.01, 100_000, allow_nan=False)),
    st.one_of(st.sampled_from([1, 60, 3600, 0.1]), st.floats(0.001, 86_400)),
)


@pytest.mark.parametrize(
    ("rate", "per_second", "size", "lease"),
    [
        (Rate(8, 60), 7.76 / 60, 1.16, 1),
        (Rate(10, 60), 9.7 / 60, 1.2, 1),
        (Rate(45, 60), 43.65 / 60, 1.9, 1),
        (Rate(6.4, 60), 5.82 / 60, 1.12, 1),
        (Rate(1000, 60), 970 / 60, 21, 1),
        (Rate(100), 97, 3, 1),
        (Rate(2000), 1940, 28, 14),
        (Rate(0.5), 0.97 / 2, 1.02, 1),
        (Rate(1), 0.97, 1.02, 1),
        (Rate(1, 0.01), 59, 1.4, 1),
    ],
    ids=str,
)
def test_known_limits(rate: Rate, per_second: float, size: float, lease: int) -> None:
    """The buckets of the limits that matter, worked out by hand."""
    b = bucket(rate)
    assert b.per_second == pytest.approx(per_second)
    assert b.size == pytest.approx(size)
    assert b.lease == lease


@given(RATES)
def test_no_window_can_hold_more_than_the_limit(rate: Rate) -> None:
    """What a window can hold at most, burst and refill, stays below the limit plus one, with a margin."""
    b, (n, window) = bucket(rate), whole(rate)
    assert b.burst + b.per_second * window < n + 1 - 0.009 * n


@given(RATES)
def test_a_lease_fits_with_room_for_late_timers(rate: Rate) -> None:
    """A lease is at least one permit and fits into the bucket, with a third of the burst as room above it."""
    b = bucket(rate)
    assert b.lease >= 1
    assert b.size - b.lease >= (b.burst - 1) / 3 - 1e-9
    assert b.per_second > 0


@given(RATES.filter(lambda r: r.per >= 0.2))
def test_little_is_lost(rate: Rate) -> None:
    """From windows of 0.2 s on, 97 % of what is allowed in whole requests is aimed at."""
    n, window = whole(rate)
    assert bucket(rate).per_second == pytest.approx(0.97 * n / window)


@given(st.floats(5e-324, 1.7e308), st.floats(5e-324, 1.7e308))
def test_every_rate_has_a_bucket(n: float, per: float) -> None:
    """No rate that can be written down overflows or divides by zero."""
    assume(0 < n / per < math.inf)
    b = bucket(Rate(n, per))
    assert math.isfinite(b.burst)
    assert b.per_second > 0


@given(RATES)
def test_processes_together_hold_no_more(rate: Rate) -> None:
    """What a shared bucket held, and what comes in during a window and the hold before it, stays below the limit plus one."""
    b, (n, window) = shared_bucket(rate), whole(rate)
    assert b.size + b.per_second * (window + b.hold_s) < n + 1 - 0.009 * n
    assert b.lease <= b.size
    if window >= 0.5:
        assert b.per_second >= 0.96 * n / window


@pytest.mark.parametrize(("per", "hold_s"), [(60.0, 0.6), (1.0, 0.01), (0.5, 0.005), (0.01, 0.005)])
def test_a_shared_lease_lives_a_hundredth_of_the_window(per: float, hold_s: float) -> None:
    """And 5 ms at least: a busy machine takes some milliseconds from the store to the wire."""
    assert shared_bucket(Rate(100, per)).hold_s == pytest.approx(hold_s)


def test_who_came_away_empty_comes_first() -> None:
    """The delay shrinks with each miss, and is a quarter of the slack at most."""
    assert [fairness_delay(0.8, misses) for misses in (0, 1, 3)] == [0.2, 0.1, 0.05]
