"""How long to wait: formulas, tables of what services send, and the properties that must hold for anything."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkdel.backoff import ceiling, full_jitter, next_look, reset_after, retry_after, seconds_to_next_minute

DATE = "Fri, 31 Dec 1999 23:59:29 GMT"
SECONDS = st.floats(1e-3, 1e6)
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1)).map(
    lambda naive: naive.replace(microsecond=0, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(-1, 0), (0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (8, 60), (10_000, 60), (10**9, 60)],
)
def test_the_ceiling_doubles_from_the_base_up_to_the_cap(tries: int, seconds: float) -> None:
    """``min(cap, base * 2**(tries - 1))``: doubling, not adding and not squaring, with no overflow at any count."""
    assert ceiling(tries, 1.0, 60.0) == seconds


@given(tries=st.integers(1, 20_000), base=SECONDS, cap=SECONDS)
@example(tries=10_000, base=1e6, cap=1e6)
def test_the_ceiling_grows_and_keeps_below_the_cap(tries: int, base: float, cap: float) -> None:
    """Never above the cap, never shrinking, and exactly doubled below the cap."""
    now, then = ceiling(tries, base, cap), ceiling(tries + 1, base, cap)
    assert 0.0 < now <= then <= cap
    assert then in (2 * now, cap)
    assert ceiling(1, base, cap) == min(base, cap)


@given(tries=st.integers(1, 20_000), base=SECONDS, cap=SECONDS, u=st.floats(0, 1, exclude_max=True))
def test_full_jitter_is_spread_over_the_whole_interval(tries: int, base: float, cap: float, u: float) -> None:
    """Between nothing and the ceiling, in proportion to the random number."""
    assert full_jitter(tries, base, cap, u) == u * ceiling(tries, base, cap)
    assert 0.0 <= full_jitter(tries, base, cap, u) <= cap


@pytest.mark.parametrize(
    ("waited", "cost", "seconds"),
    [
        (0, 0, 5), (2, 0, 3), (4, 0, 1), (4.5, 0, 1), (5, 0, 1), (30, 0, 1), (60, 0, 2), (300, 0, 10), (900, 0, 30),
        (9_000, 0, 30), (0, 8, 8), (60, 8, 8), (900, 8, 30), (900, 45, 45),
    ],
)  # fmt: skip
def test_looks_come_sooner_the_shorter_the_wait_was(waited: float, cost: float, seconds: float) -> None:
    """First after the base, then a fifth of it, then a 30th of the wait, up to the cap; the cost outdoes all of that."""
    assert next_look(waited, 5.0, 30.0, cost, 0.0) == pytest.approx(seconds)
    assert next_look(waited, 5.0, 30.0, cost, 0.8) == pytest.approx(0.8 * seconds)


@given(waited=st.floats(0, 1e6), base=SECONDS, cap=SECONDS, cost=SECONDS, u=st.floats(0, 1, exclude_max=True))
def test_a_look_is_between_its_cost_and_its_cap(waited: float, base: float, cap: float, cost: float, u: float) -> None:
    """Jitter takes at most a quarter, off the end; below the cap unless the cost is above it."""
    seconds = next_look(waited, base, cap, cost, u)
    whole = next_look(waited, base, cap, cost, 0.0)
    assert 0.75 * whole <= seconds <= whole
    assert cost <= whole <= max(cap, cost)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("0.5", 0.5), ("-3", 0.0), ("nan", None),
        ("inf", None), ("-inf", None), ("1e400", None), ("soon", None), ("7 s", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 30.0), ("Fri, 31 Dec 1999 23:59:29 GMT", 0.0), ("Fri, 31 Dec 1999 23:00:00 GMT", 0.0),
        ("Sat, 01 Jan 2000 23:59:29 GMT", 86_400.0), ("Friday, 31-Dec-99 23:59:59 GMT", 30.0),
        ("Fri Dec 31 23:59:59 1999", 30.0), ("Sat, 01 Jan 2000 00:59:29 +0100", 0.0), ("Fri, 32 Dec 1999 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110, 10.2.3; days are not dropped, what is past is now, what is noise is nothing."""
    assert retry_after(value, DATE) == seconds


def test_a_date_without_the_answers_own_date_cannot_be_read() -> None:
    """Our clock may be wrong, so it is never asked."""
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") is None
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT", "garbage") is None
    assert retry_after("7") == 7.0


@given(now=MOMENTS, seconds=st.integers(-(10**7), 10**7))
def test_a_retry_date_is_the_difference_of_the_two(now: datetime, seconds: int) -> None:
    """Whatever the answer's own clock says, and however far away it is."""
    then = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(then, format_datetime(now, usegmt=True)) == max(0, seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("12", 12.0), ("0.5", 0.5), ("1m30s", 90.0), ("250ms", 0.25), ("6m0s", 360.0), ("2h", 7200.0),
        ("1d", 86_400.0), ("1h2m3s4ms", 3723.004), ("1.5s", 1.5), ("1M30S", 90.0), ("30s1m", None), ("-5", None), ("1 m", None),
        ("nan", None), ("946684799", 946_684_799.0), ("1e9", None), ("9" * 400, None), ("9" * 400 + "s", None),
    ],
)  # fmt: skip
def test_a_reset_is_seconds_or_a_duration(value: str | None, seconds: float | None) -> None:
    """What services send as x-ratelimit-reset; noise is nothing."""
    assert reset_after(value, DATE) == (None if seconds is None else pytest.approx(seconds))


@given(now=st.integers(10**9, 10**10), wait=st.integers(-1000, 1000))
def test_a_reset_may_be_a_moment(now: int, wait: int) -> None:
    """Unix seconds and milliseconds, against the answer's own Date; the past is now, and without a Date it is nothing."""
    wait = max(wait, 10**9 - now)
    date = format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)
    assert reset_after(str(now + wait), date) == max(0, wait)
    assert reset_after(str((now + wait) * 1000), date) == max(0, wait)
    assert reset_after(str(now + wait)) is None


def test_a_moment_in_milliseconds_is_not_read_as_seconds() -> None:
    """From 1e11 on a moment is in milliseconds: 1973, and not the year 5138."""
    date = "Sat, 03 Mar 1973 09:46:39 GMT"
    assert reset_after("100000000000", date) == 1.0
    assert reset_after("99999999999", date) == 99_999_999_999 - 99_999_999


@pytest.mark.parametrize(
    ("date", "seconds"),
    [(DATE, 31.0), ("Fri, 31 Dec 1999 23:59:00 GMT", 60.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 1.0), (None, 60.0), ("", 60.0),
     ("garbage", 60.0), ("Fri, 31 Dec 1999 23:59:60 GMT", 60.0)],
)  # fmt: skip
def test_the_next_minute_begins_at_the_answers_own_second_0(date: str | None, seconds: float) -> None:
    """Always more than nothing and at most a minute."""
    assert seconds_to_next_minute(date) == seconds


@given(value=st.text(max_size=40), date=st.none() | st.text(max_size=40) | st.just(DATE))
@example(value="Fri, 31 Dec 0001 00:00:00 +2359", date="Fri, 31 Dec 9999 23:59:59 -2359")
@example(value="Fri, 31 Dec 1999 23:59:59 +9999", date=DATE)
@example(value="²", date=DATE)
def test_no_header_raises_or_makes_a_wait_that_cannot_be_waited(value: str, date: str | None) -> None:
    """Anything may stand in a header."""
    for seconds in (retry_after(value, date), reset_after(value, date), seconds_to_next_minute(value)):
        assert seconds is None or (seconds >= 0.0 and math.isfinite(seconds))


@given(
    words=st.lists(
        st.sampled_from(
            [
                "Fri,",
                "31",
                "Dec",
                "Foo",
                "1999",
                "23:59:59",
                "99:99:99",
                "GMT",
                "+9999",
                "-0000",
                "99999999999",
                "-",
                ":",
                ",",
            ]
        ),
        max_size=8,
    )
)
def test_no_almost_date_raises(words: list[str]) -> None:
    """Dates are parsed by the standard library, which has raised a handful of errors over the years."""
    value = " ".join(words)
    for seconds in (retry_after(value, DATE), retry_after(DATE, value), seconds_to_next_minute(value)):
        assert seconds is None or (seconds >= 0.0 and math.isfinite(seconds))
