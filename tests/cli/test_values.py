"""The words of the command line: what is read, what is refused, and that what is shown can be read again."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.cli import values
from bulkdel.model import Rate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("500ms", 0.5), ("0.5s", 0.5), ("90s", 90.0), ("15m", 900.0), ("2h", 7200.0), ("3d", 259200.0), ("1ms", 0.001),
        ("1.5h", 5400.0), ("36500d", 36500 * 86400.0), ("007s", 7.0),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_seconds(words: str, seconds: float) -> None:
    """Each unit that the design names is read as its seconds."""
    assert values.duration(words) == pytest.approx(seconds)


NO_DURATION = ["", "5", "s", "0s", "0.0ms", "-1s", "+1s", "1 s", " 1s", "1s ", "1S", "1min", "1w", "1e3s", ".5s", "1.s", "1h30m",
               "nan", "infs", "٣s", "1,5s", "36501d", "9" * 400 + "s", "99999999999999999d", "1s\n"]  # fmt: skip


@pytest.mark.parametrize("words", NO_DURATION)
def test_what_is_no_duration_is_refused_with_the_value(words: str) -> None:
    """Nothing else is a duration, and the message ends in what was given."""
    with pytest.raises(ValueError, match=r"^must be ") as refused:
        values.duration(words)
    assert str(refused.value).endswith(repr(words))


@given(st.text(max_size=12))
def test_a_duration_is_positive_and_finite_or_refused(words: str) -> None:
    """No text becomes a duration that a clock cannot be set to."""
    try:
        seconds = values.duration(words)
    except ValueError:
        return
    assert 0 < seconds <= values.LONGEST


@given(st.integers(1, 10**5), st.sampled_from(["ms", "s", "m", "h"]))
def test_a_longer_duration_is_longer(n: int, unit: str) -> None:
    """A number more is more, in every unit."""
    assert values.duration(f"{n}{unit}") < values.duration(f"{n + 1}{unit}")


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("45/min", Rate(45, per=60)), ("100/s", Rate(100, per=1)), ("0.5/s", Rate(0.5, per=1)), ("600/h", Rate(600, per=3600)),
        ("none", "none"),
    ],
)  # fmt: skip
def test_a_rate_is_read(words: str, rate: Rate | str) -> None:
    """A rate keeps the unit in which the service counts, and none is no known limit."""
    assert values.rate(words) == rate


@pytest.mark.parametrize(
    "words",
    [
        "",
        "45",
        "45/m",
        "-45/min",
        "0/s",
        "0.0/min",
        "45/ min",
        "45 /min",
        "1e3/s",
        "NONE",
        "nan/s",
        "100001/s",
        "inf/s",
    ],
)
def test_what_is_no_rate_is_refused_with_the_value(words: str) -> None:
    """A negative, missing or senseless rate is refused, and the message ends in what was given."""
    with pytest.raises(ValueError, match=r"^must be ") as refused:
        values.rate(words)
    assert str(refused.value).endswith(repr(words))


@given(st.text(max_size=12))
def test_a_rate_is_possible_or_refused(words: str) -> None:
    """No text becomes a rate that pacing cannot keep."""
    try:
        rate = values.rate(words)
    except ValueError:
        return
    assert rate == "none" or 0 < rate.per_second <= values.FASTEST


@pytest.mark.parametrize(
    ("words", "n"),
    [
        ("1", 1),
        ("16", 16),
        ("1000", 1000),
        ("auto", values.Auto()),
        ("auto:16", values.Auto(16)),
        ("auto:1", values.Auto(1)),
    ],
)
def test_a_concurrency_is_read(words: str, n: int | None) -> None:
    """A whole number of workers, or auto."""
    assert values.concurrency(words) == n


@pytest.mark.parametrize("words", ["", "0", "-1", "1001", "1.5", "Auto", "many", "٣", "1_0"])
def test_what_is_no_concurrency_is_refused(words: str) -> None:
    """Nothing else is a concurrency."""
    with pytest.raises(ValueError, match="from 1 to 1000, auto, or auto:N"):
        values.concurrency(words)


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T18:30", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31 18:30:15", datetime(2026, 1, 31, 18, 30, 15, tzinfo=UTC)),
        ("2026-01-31T18:30:00Z", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31T18:30:00+02:00", datetime(2026, 1, 31, 16, 30, tzinfo=UTC)),
        ("1d", datetime(2026, 2, 28, 12, 0, tzinfo=UTC)),
        ("90d", datetime(2025, 12, 1, 12, 0, tzinfo=UTC)),
        ("2h", datetime(2026, 3, 1, 10, 0, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_date_or_an_age(words: str, moment: datetime) -> None:
    """A date is UTC unless it says otherwise; an age counts back from now, in whole days where it says days."""
    assert values.when(words, NOW) == moment.timestamp()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "20260131",
        "2026-W05-6",
        "90",
        "-90d",
        "0d",
        "2026-01-31T25:00",
        "31.01.2026",
    ],
)
def test_what_is_no_moment_is_refused_with_the_value(words: str) -> None:
    """What is neither a date nor an age is refused: a slip here would select what the user did not mean."""
    with pytest.raises(ValueError, match=r"^must be ") as refused:
        values.when(words, NOW)
    assert str(refused.value).endswith(repr(words))


@given(st.text(max_size=30))
def test_a_moment_is_finite_or_refused(words: str) -> None:
    """No text becomes a moment that cannot be compared."""
    try:
        moment = values.when(words, NOW)
    except ValueError:
        return
    assert math.isfinite(moment)


@pytest.mark.parametrize(
    ("words", "part"), [("5%", 0.05), ("0.05", 0.05), ("0%", 0), ("100%", 1), ("1", 1), ("0.5%", 0.005)]
)
def test_a_share_is_read(words: str, part: float) -> None:
    """A share is a percentage or a number from 0 to 1."""
    assert values.share(words) == pytest.approx(part)


@pytest.mark.parametrize("words", ["", "5", "101%", "-1%", "%", "5 %", "half"])
def test_what_is_no_share_is_refused(words: str) -> None:
    """Nothing else is a share: 5 alone is more likely a slip than 500 %."""
    with pytest.raises(ValueError, match="must be a share"):
        values.share(words)
