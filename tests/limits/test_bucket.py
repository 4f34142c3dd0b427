"""The arithmetic from a service's limit to a bucket, and to a lower limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkdel.limits import bucket, lower
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


@pytest.mark.parametrize(
    ("rate", "lowered"),
    [
        (Rate(2000), Rate(1000)),
        (Rate(45, 60), Rate(22, 60)),
        (Rate(8, 60), Rate(4, 60)),
        (Rate(4, 60), Rate(4, 120)),
        (Rate(1), Rate(1, 2)),
        (Rate(0.5), Rate(0.5, 2)),
        (Rate(1.5, 60), Rate(1, 60)),
        (Rate(1, 60), Rate(1, 60)),
        (Rate(1, 3600), Rate(1, 3600)),
    ],
    ids=str,
)
def test_known_lower_limits(rate: Rate, lowered: Rate) -> None:
    """Halving keeps the window where it can and stops at one a minute."""
    assert lower(rate) == lowered


@given(RATES)
def test_lowering_is_about_half_and_ends(rate: Rate) -> None:
    """A lowered rate is 0.4 to 0.5 of the old one or the slowest there is, and never above the old one."""
    slower = lower(rate)
    assert slower.per_second <= rate.per_second
    if slower != rate and slower != Rate(1, 60):
        assert 0.4 <= slower.per_second / rate.per_second <= 0.5 + 1e-9
    for _ in range(60):
        slower = lower(slower)
    assert slower.per_second <= 1 / 60 or slower == Rate(1, 60)
