"""The breaker: when a service is left alone, and when it is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.limits import Breaker, GiveUp, Open
from bulkdel.limits.breaker import Trouble


def worked(patience: float = 600.0) -> Breaker:
    breaker = Breaker(patience)
    breaker.success(0.0)
    return breaker


def test_two_troubles_in_a_row_are_nothing() -> None:
    """The third trouble in a row opens the breaker; a success in between starts the count again."""
    breaker = worked()
    assert [breaker.trouble(t, 0.0) for t in (1.0, 2.0)] == [None, None]
    breaker.success(3.0)
    assert [breaker.trouble(t, 0.0) for t in (4.0, 5.0, 6.0)] == [None, None, Open(0.5)]


@pytest.mark.parametrize(("u", "share"), [(0.0, 0.5), (0.5, 0.75), (0.999, 0.9995)])
def test_pauses_double_up_to_thirty_seconds(u: float, share: float) -> None:
    """Each new trouble opens it for longer: 1, 2, 4, 8, 16, 30, 30 s with jitter over the upper half."""
    breaker, now, pauses = worked(), 10.0, list[float]()
    while len(pauses) < 7:
        match breaker.trouble(now, u, sent_at=now - 0.1):
            case Open(seconds):
                pauses.append(seconds / share)
                now += seconds + 1
            case None:
                now += 1
            case GiveUp():
                pytest.fail("gave up within its patience")
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])


def test_one_complaint_opens_it_once() -> None:
    """Troubles while it is open, and troubles of what was sent before it opened, are the same complaint."""
    breaker = worked()
    for _ in range(2):
        breaker.trouble(10.0, 0.5)
    assert breaker.trouble(10.0, 0.0) == Open(0.5)
    assert breaker.is_open(10.4)
    assert breaker.trouble(10.4, 0.0, sent_at=10.2) is None
    assert not breaker.is_open(10.5)
    assert breaker.trouble(20.0, 0.0, sent_at=9.9) is None
    assert breaker.trouble(20.0, 0.0, sent_at=10.6) == Open(1.0)


def test_a_success_closes_it() -> None:
    """After a success nothing is open, and the next pause is a short one again."""
    breaker = worked()
    for _ in range(3):
        breaker.trouble(10.0, 0.0)
    breaker.success(10.1)
    assert not breaker.is_open(10.1)
    assert [breaker.trouble(11.0, 0.0, sent_at=10.5) for _ in range(3)] == [None, None, Open(0.5)]


@pytest.mark.parametrize(
    ("ever", "kind", "patience", "words"),
    [
        (True, "service", 600.0, "no request has succeeded for 600 s"),
        (True, "unreachable", 600.0, "no request has succeeded for 600 s"),
        (False, "service", 30.0, "no request has succeeded, not even once in 30 s"),
        (False, "unreachable", 5.0, "the service could not be reached, not even once in 5 s"),
    ],
)
def test_patience_depends_on_what_worked_before(ever: bool, kind: Trouble, patience: float, words: str) -> None:
    """A service that worked gets ten minutes; one that never did half a minute, or seconds where it was not even reached."""
    breaker = Breaker()
    if ever:
        breaker.success(0.0)
    began = 1000.0  # idling before the first trouble is no trouble
    for t in (began, began, began, began + patience - 0.1):
        assert not isinstance(breaker.trouble(t, 0.0, kind=kind, why="503 oh no"), GiveUp)
    assert breaker.trouble(began + patience, 0.0, kind=kind, why="503 oh no") == GiveUp(f"{words}: 503 oh no")
    assert breaker.trouble(began + patience, 0.0, kind=kind) == GiveUp(words)


def test_two_troubles_far_apart_give_nothing_up() -> None:
    """A quiet service with a hiccup before and after a long idle time is not given up."""
    breaker = worked()
    assert breaker.trouble(10.0, 0.0) is None
    assert breaker.trouble(10_000.0, 0.0) is None


@pytest.mark.parametrize("between", [900.0, 3600.0])
def test_a_wait_that_others_made_long_is_no_trouble(between: float) -> None:
    """At four requests an hour, or with an hour's Retry-After between them, some troubles in a row are no outage."""
    breaker, now = worked(), 10.0
    for _ in range(12):
        assert not isinstance(breaker.trouble(now, 0.0, sent_at=now - 0.1), GiveUp)
        now += between


def test_up_to_thirty_seconds_between_them_count() -> None:
    """That long are the breaker's own pauses: of 31 s between two troubles 30 are added to its patience's account."""
    breaker = worked(patience=61.0)
    decisions = [breaker.trouble(t, 0.0, sent_at=t) for t in (100.0, 131.0, 162.0, 193.0)]
    assert [type(decision) for decision in decisions] == [type(None), type(None), Open, GiveUp]


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0, 1, exclude_max=True), st.booleans()), max_size=80))
def test_whatever_comes(steps: list[tuple[float, float, bool]]) -> None:
    """Pauses are 0.5 to 30 s, never begin while one is on, and giving up needs the whole patience without a success."""
    breaker, now, until, last_good, in_a_row = worked(), 0.0, 0.0, 0.0, 0
    for gap, u, good in steps:
        now += gap
        if good:
            breaker.success(now)
            until, last_good, in_a_row = now, now, 0
            continue
        in_a_row += 1
        match breaker.trouble(now, u, sent_at=now):
            case Open(seconds):
                assert in_a_row >= 3
                assert now >= until
                assert 0.5 <= seconds <= 30
                until = now + seconds
            case GiveUp():
                assert now - last_good >= 600
            case None:
                assert in_a_row < 3 or now <= until
