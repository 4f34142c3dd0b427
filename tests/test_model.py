"""The values a caller gives and gets: what they accept, what they mean, and that they cannot be changed."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.errors import ConfigurationError
from bulkdel.model import FULFILLED, Document, Limits, Outcome, Policy, Rate, Selection, Settled, Target

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
NO_NUMBER: list[Any] = [math.nan, math.inf, -math.inf, "1", None, True, [1], 10**400]


@pytest.mark.parametrize("bad", [0, -1, -0.0, *NO_NUMBER])
def test_a_rate_is_a_positive_number_in_a_positive_time(bad: Any) -> None:
    """Anything else is refused by both halves of it, and shown."""
    with pytest.raises(ConfigurationError, match="rate"):
        Rate(bad)
    with pytest.raises(ConfigurationError, match="rate"):
        Rate(1, per=bad)


def test_a_rate_that_cannot_be_kept_is_refused() -> None:
    """Two finite numbers may still divide to nothing, or to no end."""
    with pytest.raises(ConfigurationError, match="rate"):
        Rate(5e-324, per=1e308)
    with pytest.raises(ConfigurationError, match="rate"):
        Rate(1e308, per=1e-308)


@given(n=st.floats(1e-6, 1e9), per=st.floats(1e-3, 1e6))
def test_a_rate_per_second_is_its_quotient(n: float, per: float) -> None:
    """``n`` in ``per`` seconds."""
    assert Rate(n, per=per).per_second == n / per


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (Rate(5), "5/s"),
        (Rate(0.5), "0.5/s"),
        (Rate(45, per=60), "45/min"),
        (Rate(7, per=10), "7 in 10 s"),
        (Rate(8, per=60.0), "8/min"),
    ],
)
def test_a_rate_is_shown_as_people_say_it(rate: Rate, shown: str) -> None:
    """As ``--rate`` takes it."""
    assert str(rate) == shown


@pytest.mark.parametrize("bad", [0, -1, 1001, 1.5, 4.0, "4", True, math.nan])
def test_concurrency_is_a_whole_number_from_1_to_1000(bad: Any) -> None:
    """None is the provider's own default; anything else is refused."""
    with pytest.raises(ConfigurationError, match="concurrency"):
        Limits(concurrency=bad)
    assert Limits(concurrency=1).concurrency == 1
    assert Limits(concurrency=1000).concurrency == 1000
    assert Limits() == Limits(None, None)


@pytest.mark.parametrize("bad", [5, "5/s", (45, 60)])
def test_a_limits_rate_is_a_rate(bad: Any) -> None:
    """A number alone has no time."""
    with pytest.raises(ConfigurationError, match="Rate"):
        Limits(rate=bad)


def test_values_cannot_be_changed() -> None:
    """What was agreed on stays."""
    for value, field in (
        (Rate(1), "n"),
        (Limits(), "rate"),
        (Policy(), "attempts"),
        (Selection(), "names"),
        (Document("a"), "id"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, 7)
    with pytest.raises(AttributeError):
        Target("a", "b", "c").document = "d"  # type: ignore[misc]


# ------------------------------------------------------------------ policy


def test_a_policy_begins_with_the_commands_defaults() -> None:
    """The numbers that the command's table of options promises."""
    policy = Policy()
    assert (policy.attempts, policy.timeout, policy.backoff, policy.indexing_backoff, policy.indexing_timeout) == (
        6,
        60,
        1,
        5,
        900,
    )
    assert (policy.indexing, policy.unarchive, policy.deadline, policy.max_delete, policy.expect) == (
        None,
        False,
        None,
        None,
        None,
    )


DURATIONS = ["timeout", "connect_timeout", "backoff", "backoff_cap", "indexing_backoff", "indexing_backoff_cap",
             "indexing_timeout", "max_pause"]  # fmt: skip


@pytest.mark.parametrize("field", [*DURATIONS, "deadline"])
@pytest.mark.parametrize("bad", [0, -1, *NO_NUMBER])
def test_a_duration_is_a_positive_number_of_seconds(field: str, bad: Any) -> None:
    """Each is named in the message; only the deadline may be none."""
    if field == "deadline" and bad is None:
        assert Policy(deadline=None).deadline is None
        return
    with pytest.raises(ConfigurationError, match=f"^{field} must be"):
        Policy(**{field: bad})


@pytest.mark.parametrize(
    ("field", "bad"),
    [("attempts", 0), ("attempts", 1.5), ("attempts", True), ("attempts", None), ("max_delete", -1), ("max_delete", "5"),
     ("max_delete", True), ("expect", -1), ("expect", 2.0), ("indexing", "never"), ("indexing", ""), ("indexing", True)],
)  # fmt: skip
def test_a_wrong_policy_is_refused_by_name(field: str, bad: Any) -> None:
    """One sentence with the field and the value."""
    with pytest.raises(ConfigurationError, match=f"^{field} must be") as caught:
        Policy(**{field: bad})
    assert repr(bad) in str(caught.value)


def test_a_policy_takes_the_edges_of_what_it_allows() -> None:
    """Zero documents may be expected or allowed, one attempt is enough."""
    policy = Policy(attempts=1, max_delete=0, expect=0, indexing="skip", deadline=0.001, timeout=1)
    assert (policy.max_delete, policy.expect) == (0, 0)


# ------------------------------------------------------------------ selection


@pytest.mark.parametrize(
    ("selection", "document", "why"),
    [
        (Selection(), Document("a"), ""),
        (Selection(names=("tmp-*",)), Document("a", "tmp-1.txt"), ""),
        (Selection(names=("tmp-*",)), Document("a", "TMP-1.TXT"), ""),
        (Selection(names=("TMP-*",)), Document("a", "tmp-1.txt"), ""),
        (Selection(names=("tmp-*",)), Document("a", "my tmp-1.txt"), "name does not match"),
        (Selection(names=("tmp-*",)), Document("a"), "name does not match"),
        (Selection(names=("*.pdf", "a?c")), Document("a", "abc"), ""),
        (Selection(names=("*.pdf",)), Document("a", "x.pdf\nx"), "name does not match"),
        (Selection(names=("[old]*",)), Document("a", "lost.txt"), "name does not match"),
        (Selection(names=("[old]*",)), Document("a", "[OLD] a.txt"), ""),
        (Selection(names=("[!a]?",)), Document("a", "bc"), "name does not match"),
        (Selection(names=("[[]",)), Document("a", "["), "name does not match"),
        (Selection(names=("a]b[*",)), Document("a", "a]b[c"), ""),
        (Selection(names=(r"\*",)), Document("a", "*"), "name does not match"),
        (Selection(names=("a{b,c}.$+(d)^",)), Document("a", "A{b,c}.$+(d)^"), ""),
        (Selection(names=("caf\u00e9*",)), Document("a", "Cafe\u0301 1.txt"), ""),
        (Selection(names=("cafe\u0301*",)), Document("a", "CAF\u00c9"), ""),
        (Selection(created_before=10.0), Document("a", created_at=9.999), ""),
        (Selection(created_before=10.0), Document("a", created_at=10.0), "created too late"),
        (Selection(created_before=10.0), Document("a"), "creation time unknown"),
        (Selection(statuses=("error", "PAUSED")), Document("a", status="paused"), ""),
        (Selection(statuses=("error",)), Document("a", status="Error"), ""),
        (Selection(statuses=("error",)), Document("a"), "status does not match"),
        (Selection(("a*",), 10.0, ("error",)), Document("a", "ab", 5.0, "error"), ""),
        (Selection(("a*",), 10.0, ("error",)), Document("a", "ab", 5.0, "paused"), "status does not match"),
        (Selection(("a*",), 10.0, ("error",)), Document("a", "ab", 50.0, "error"), "created too late"),
    ],
)
def test_a_selection_takes_what_matches_all_of_it(selection: Selection, document: Document, why: str) -> None:
    """Any name, any status, and before the time; a creation time that is not known is not before it."""
    assert selection.why_not(document) == why


@pytest.mark.parametrize(
    "given_", [{"names": "tmp-*"}, {"names": None}, {"names": (7,)}, {"statuses": "error"}, {"statuses": {"error"}}]
)
def test_a_selection_that_is_not_understood_is_refused(given_: dict[str, Any]) -> None:
    """A string is no tuple of patterns: its letters would be, and one of them is ``*``."""
    with pytest.raises(ConfigurationError, match="must be a tuple of strings"):
        Selection(**given_)


@pytest.mark.parametrize("bad", [math.nan, math.inf, "90d", True, 10**400])
def test_a_date_that_is_no_number_selects_nothing(bad: Any) -> None:
    """No document is too late for a date that is not a number, so such a date is refused."""
    with pytest.raises(ConfigurationError, match="created_before"):
        Selection(created_before=bad)


def test_a_selection_takes_lists_and_stays_a_value() -> None:
    """Lists become tuples, so that it can still be compared and hashed."""
    assert Selection(names=["a"], statuses=["b"]) == Selection(("a",), None, ("b",))  # type: ignore[arg-type]
    assert hash(Selection(names=["a"])) == hash(Selection(("a",)))  # type: ignore[arg-type]


@given(name=st.text(max_size=20), created=st.none() | st.floats(0, 1e10), status=st.text(max_size=8),
       before=st.none() | st.floats(0, 1e10))  # fmt: skip
def test_more_conditions_never_take_more_documents(
    name: str, created: float | None, status: str, before: float | None
) -> None:
    """Each condition only leaves out."""
    document = Document("a", name, created, status)
    assert Selection().why_not(document) == ""
    assert Selection(names=("*",)).why_not(document) == ""
    narrow = Selection(names=("a*",), created_before=before, statuses=("error",))
    if not narrow.why_not(document):
        assert not Selection(names=("a*",)).why_not(document)
        assert not Selection(created_before=before).why_not(document)
        assert not Selection(statuses=("error",)).why_not(document)


# ------------------------------------------------------------------ settled


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_settled_target_is_fulfilled_or_rejected(outcome: Outcome) -> None:
    """As in Promise.allSettled: deleted and already gone are fulfilled, everything else is rejected."""
    settled = Settled(Target("dify", "ds", "doc"), outcome, "", 1, "a.txt", 0.0)
    assert settled.status == ("fulfilled" if outcome in ("deleted", "already_gone") else "rejected")
    assert (outcome in FULFILLED) == (settled.status == "fulfilled")


def test_a_settled_line_has_the_commands_keys() -> None:
    """The keys of ``--settled``, in order, with the time in UTC ISO 8601."""
    line = Settled(Target("dify", "ds", "doc"), "deleted", "", 2, "a.txt", 946_684_799.5).as_dict()
    assert json.loads(json.dumps(line)) == {
        "provider": "dify", "dataset": "ds", "document": "doc", "name": "a.txt", "status": "fulfilled", "outcome": "deleted",
        "reason": "", "attempts": 2, "settled_at": "1999-12-31T23:59:59.500+00:00",
    }  # fmt: skip
    assert list(line) == [
        "provider",
        "dataset",
        "document",
        "name",
        "status",
        "outcome",
        "reason",
        "attempts",
        "settled_at",
    ]


@given(st.floats(0, 4e9))
def test_the_time_of_a_settled_line_is_utc(moment: float) -> None:
    """To the millisecond, rounded down; floats of this size are 0.5 µs apart."""
    line = Settled(Target("a", "b", "c"), "deleted", "", 1, "", moment).as_dict()
    assert -1e-5 < moment - datetime.fromisoformat(line["settled_at"]).timestamp() < 0.001 + 1e-5
