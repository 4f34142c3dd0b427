"""A run's time cut into equal stretches: nothing is lost, nothing is invented, and what is latest or slowest stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.engine.timeline import Sample
from bulkdel.render.story import equal

looks = st.lists(
    st.tuples(
        st.floats(0.01, 100.0),
        st.integers(0, 50),
        st.integers(0, 50),
        st.sampled_from(["rate", "pause", "us"]),
        st.one_of(st.none(), st.floats(0.001, 60.0)),
    ),
    max_size=80,
)


def samples(given_looks: list[tuple[float, int, int, str, float | None]]) -> list[Sample]:
    """Neighbouring samples, as a timeline gives them."""
    found, at = [], 0.0
    for span, settled, requests, cause, p50 in given_looks:
        sample = Sample(
            at, span, settled=settled, requests=requests, requeued=settled, p50_s=p50, p95_s=p50, waited={cause: span}
        )
        found.append(sample)
        at += span
    return found


@given(looks, st.integers(1, 120))
def test_equal_stretches_add_up(given_looks: list[tuple[float, int, int, str, float | None]], most: int) -> None:
    """Counts, seconds by cause and the whole time are the same before and after, in at most as many stretches as asked."""
    before = samples(given_looks)
    after = equal(before, most)
    assert len(after) <= min(most, len(before))
    for what in ("settled", "requests", "requeued", "span_s"):
        assert sum(getattr(s, what) for s in after) == pytest.approx(sum(getattr(s, what) for s in before))
    for cause in ("rate", "pause", "us"):
        whole = sum(s.waited.get(cause, 0.0) for s in before)
        assert sum(s.waited.get(cause, 0.0) for s in after) == pytest.approx(whole)
    slowest = max((s.p95_s for s in before if s.p95_s is not None), default=None)
    assert max((s.p95_s for s in after if s.p95_s is not None), default=None) == slowest


def test_a_stretch_takes_its_share_of_what_lies_across_its_edge() -> None:
    """A sample over two stretches is shared out by time; the median is weighed by requests, the latest state and the most
    in flight hold."""
    first, second = equal(
        [
            Sample(0.0, 3.0, settled=30, requests=30, p50_s=1.0, p95_s=2.0, in_flight=3, concurrency=4, rate=9.0),
            Sample(3.0, 1.0, settled=4, requests=10, p50_s=3.0, p95_s=5.0, in_flight=2, concurrency=2, rate=4.5),
        ]
    )
    assert (first.at, first.span_s, second.at, second.span_s) == (0.0, 2.0, 2.0, 2.0)
    assert (first.settled, second.settled) == pytest.approx((20, 14))
    assert (first.p50_s, second.p50_s) == pytest.approx((1.0, 2.0))
    assert (first.p95_s, second.p95_s) == (2.0, 5.0)
    assert (second.in_flight, second.concurrency, second.rate) == (3, 2, 4.5)


def test_no_time_is_no_stretch() -> None:
    """Nothing measured, or nothing that took time, is nothing to draw."""
    assert equal([]) == ()
    assert equal([Sample(0.0, 0.0, settled=3)]) == ()
