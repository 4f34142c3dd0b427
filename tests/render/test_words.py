"""Numbers, lengths of time and moments as every account shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import text
from bulkdel.model import Rate, RunStatus
from bulkdel.render.wording import CAUSES, RATE_OVERRIDES, costs, format_rate, learned, not_gone
from bulkdel.report import Counts, DatasetReport, Report


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
    assert text.format_duration(seconds) == words


@given(st.floats(0, 1e9))
def test_no_length_of_time_is_spoken_as_sixty_of_a_smaller_unit(seconds: float) -> None:
    """Rounding up goes into the next unit."""
    words = f" {text.format_duration(seconds)}"
    assert " 60 " not in words
    assert " 24 h" not in words


@pytest.mark.parametrize(("moment", "words"), [(0.0, "1970-01-01"), (1769817600.0, "2026-01-31"), (1e18, "1e+18")])
def test_a_day_is_shown_in_utc(moment: float, words: str) -> None:
    """A moment is shown as its UTC day, and one that no calendar holds as the number it is."""
    assert text.format_day(moment) == words


@pytest.mark.parametrize(
    ("moment", "words"), [(0.0, "1970-01-01 00:00:00 UTC"), (1769817605.9, "2026-01-31 00:00:05 UTC"), (1e18, "1e+18")]
)
def test_a_moment_is_shown_to_the_second_in_utc(moment: float, words: str) -> None:
    """Never rounded up, so that nothing is shown as later than it was."""
    assert text.format_time(moment) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7300, "2 h"), (86400 * 3.5, "3 d")],
)
def test_a_rough_length_of_time_has_one_unit(seconds: float, words: str) -> None:
    """Short enough for a column of six."""
    assert text.format_age(seconds) == words
    assert len(words) <= 6


@pytest.mark.parametrize(
    ("rate", "words"), [(Rate(80, per=60), "80/min"), (Rate(50.2187), "50.2/s"), (Rate(262.7, per=60), "263/min")]
)
def test_a_measured_rate_has_three_digits(rate: Rate, words: str) -> None:
    """What was learned is never shown more exactly than it is known."""
    assert format_rate(rate) == words
    assert learned(rate, 7200) == f"pacing at {words}, learned 2 h ago; {RATE_OVERRIDES}"


def test_where_the_time_went_is_said() -> None:
    """Every cause with time of its own, the longest first; of several providers it says that their times were added up."""
    waited = {"client": 1.0, "rate": 62.0, "service": 40.0, "pause": 0.01}
    assert (
        "service" not in CAUSES["pause"]
    )  # whatever wished for it: where the service failed, the pause was bulkdel's own
    one = Report("complete", Counts(), datasets=(DatasetReport("dify", "a"),), waited_s=waited)
    assert costs(one)[1:] == [
        "where the time went: waiting for the rate limit 1 min 02 s, waiting for answers 40 s, client (bulkdel itself) 1 s"
    ]
    two = replace(one, datasets=(*one.datasets, DatasetReport("langdock", "b")))
    assert costs(two)[-1].startswith("where the time went (of 2 providers, added up): waiting for the rate limit")
    assert costs(replace(two, waited_s={"done": 9.0}))[-1].endswith(": done, while another provider went on 9 s")
    assert costs(replace(one, waited_s={})) == ["0 requests in 0.0 s"]


def test_what_was_not_listed_again_is_said() -> None:
    """A sum over some of the datasets is no sum over all: the others are counted, in words and in the JSON object."""
    known = DatasetReport("dify", "a", remaining=3)
    some = Report("incomplete", Counts(), datasets=(known, DatasetReport("dify", "b")), remaining=3)
    said = "listed again: 1 of 2 datasets; what is still in the others is not known"
    assert costs(some)[0] == said
    assert (some.as_dict()["remaining"], some.as_dict()["unverified"]) == (3, 1)
    for whole in (replace(some, datasets=(known,)), replace(some, remaining=None)):
        assert said not in costs(whole)
        assert "unverified" not in whole.as_dict()


@pytest.mark.parametrize(
    ("run", "status", "resumes"),
    [("a.run", "interrupted", True), ("a.run", "refused", False), (None, "interrupted", False)],
)
def test_only_a_run_that_can_go_on_is_said_to(run: str | None, status: RunStatus, resumes: bool) -> None:
    """Without a run file there is nothing to resume, and what was refused would be refused again."""
    report = Report(status, Counts(), reasons={"not_attempted": 3}, run=run)
    ((_, n, what_to_do),) = not_gone(report)
    assert (n, "resume" in what_to_do) == (3, resumes)
