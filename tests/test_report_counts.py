"""The counts of a report conserve: listed = selected + skipped, and the endings add up to what was selected (S21)."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.errors import BrokenPromise
from bulkdel.model import FULFILLED, Outcome
from bulkdel.report import Counts, DatasetReport

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
NAMES = [field.name for field in fields(Counts)]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_counted_once(outcome: Outcome) -> None:
    """Deleted, already gone and not attempted count apart, everything else is rejected."""
    counts = Counts()
    counts.settle(outcome)
    counts.settle(outcome, 2)
    where = outcome if outcome in FULFILLED | {"not_attempted"} else "rejected"
    assert {name: getattr(counts, name) for name in NAMES if getattr(counts, name)} == {where: 3}


@given(settled=st.lists(st.sampled_from(OUTCOMES)), skipped=st.integers(0, 10))
def test_what_is_settled_once_conserves(settled: list[Outcome], skipped: int) -> None:
    """Any endings of any targets pass the check, and one ending too few or too many breaks it."""
    counts = Counts(listed=len(settled) + skipped, selected=len(settled), skipped=skipped)
    for outcome in settled:
        counts.settle(outcome)
    counts.check("the run")
    counts.settle("deleted")
    with pytest.raises(BrokenPromise, match=r"the run: .* selected, but"):
        counts.check("the run")


@given(counts=st.builds(Counts, *[st.integers(0, 3) for _ in NAMES]))
def test_the_check_is_the_two_sums_and_nothing_else(counts: Counts) -> None:
    """S21, over all small counts."""
    conserves = counts.listed == counts.selected + counts.skipped and counts.selected == (
        counts.deleted + counts.already_gone + counts.rejected + counts.not_attempted
    )
    if conserves:
        counts.check("x")
    else:
        with pytest.raises(BrokenPromise):
            counts.check("x")


@given(st.lists(st.builds(Counts, *[st.integers(0, 1000) for _ in NAMES]), max_size=5))
def test_the_whole_is_the_sum_of_its_parts(parts: list[Counts]) -> None:
    """Adding datasets' counts adds each number."""
    whole = Counts.of(DatasetReport("p", "d", counts=part) for part in parts)
    for name in NAMES:
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
