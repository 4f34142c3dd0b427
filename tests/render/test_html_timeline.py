"""A run's time in few enough stretches to draw: nothing is lost, nothing is invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.engine.timeline import Sample
from bulkdel.render.html.figures import coarser

looks = st.lists(
    st.tuples(
        st.floats(0.01, 100.0),
        st.integers(0, 50),
        st.integers(0, 50),
        st.sampled_from(["rate", "pause", "client"]),
        st.one_of(st.none(), st.floats(0.001, 60.0)),
    ),
    max_size=80,
)


def samples(given_looks: list[tuple[float, int, int, str, float | None]]) -> list[Sample]:
    """Neighboring samples, as a timeline gives them."""
    found, at = [], 0.0
    for span, settled, requests, cause, p50 in given_looks:
        sample = Sample(
            at, span, settled=settled, requests=requests, requeued=settled, p50_s=p50, p95_s=p50, waited={cause: span}
        )
        found.append(sample)
        at += span
    return found


@given(looks, st.integers(1, 120))
def test_coarser_samples_add_up(given_looks: list[tuple[float, int, int, str, float | None]], most: int) -> None:
    """Counts, seconds by cause and the whole time are the same before and after, in at most as many samples as asked."""
    before = samples(given_looks)
    after = coarser(before, most)
    assert len(after) <= most
    for what in ("settled", "requests", "requeued", "span_s"):
        assert sum(getattr(s, what) for s in after) == pytest.approx(sum(getattr(s, what) for s in before))
    for cause in ("rate", "pause", "client"):
        whole = sum(s.waited.get(cause, 0.0) for s in before)
        assert sum(s.waited.get(cause, 0.0) for s in after) == pytest.approx(whole)
    slowest = max((s.p95_s for s in before if s.p95_s is not None), default=None)
    assert max((s.p95_s for s in after if s.p95_s is not None), default=None) == slowest


def test_no_time_is_no_sample() -> None:
    """Nothing measured, or nothing that took time, is nothing to draw."""
    assert coarser([]) == ()
    assert coarser([Sample(0.0, 0.0, settled=3)]) == ()
