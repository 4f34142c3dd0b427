"""Numbers, lengths of time and moments as every account shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.evidence import words as shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"), (0.04, "0.0 s"), (0.4, "0.4 s"), (0.97, "1 s"), (42.4, "42 s"), (59.6, "1 min"), (60, "1 min"), (61, "1 min 01 s"),
        (200, "3 min 20 s"), (3599.9, "1 h"), (3600, "1 h"), (7500, "2 h 05 min"), (86399, "1 d"), (86400, "1 d"),
        (273600, "3 d 4 h"), (-5, "0.0 s"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_spoken(seconds: float, words: str) -> None:
    """Two units at most, and never 60 of the smaller one."""
    assert shown.spoken(seconds) == words


@given(st.floats(0, 1e9))
def test_no_length_of_time_is_spoken_as_sixty_of_a_smaller_unit(seconds: float) -> None:
    """Rounding up goes into the next unit."""
    words = f" {shown.spoken(seconds)}"
    assert " 60 " not in words
    assert " 24 h" not in words


@pytest.mark.parametrize(("moment", "words"), [(0.0, "1970-01-01"), (1769817600.0, "2026-01-31"), (1e18, "1e+18")])
def test_a_day_is_shown_in_utc(moment: float, words: str) -> None:
    """A moment is shown as its UTC day, and one that no calendar holds as the number it is."""
    assert shown.day(moment) == words


@pytest.mark.parametrize(
    ("moment", "words"), [(0.0, "1970-01-01 00:00:00 UTC"), (1769817605.9, "2026-01-31 00:00:05 UTC"), (1e18, "1e+18")]
)
def test_a_moment_is_shown_to_the_second_in_utc(moment: float, words: str) -> None:
    """Never rounded up, so that nothing is shown as later than it was."""
    assert shown.clock(moment) == words
