"""What becomes of a job after each verdict: a table, and what holds for every job, verdict and policy."""

from __future__ import annotations

from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import Policy, Target
from bulkdel.engine.decide import Continue, Decision, LastCheck, Retry, Settle, Wait, decide, not_attempted
from bulkdel.engine.job import Job
from bulkdel.model import Outcome
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Deleted,
    Gone,
    Lost,
    Pause,
    Reject,
    Reply,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)

NOW = 1_000.0
OK = Answer(200)
CUT, REFUSED = Lost("disconnected", sent=True), Lost("unreachable", sent=False)
POLICY = Policy(attempts=3, backoff=1.0, backoff_cap=60.0, max_pause=100.0, indexing_timeout=900.0)
TROUBLE = Requeue("trouble", "HTTP 503")


def job(**fields: object) -> Job:
    made = Job(0, Target("dify", "dataset", "document"))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("fields", "verdict", "reply", "expected"),
    [
        ({}, Deleted("gone now"), OK, Settle("deleted", "gone now")),
        ({}, Gone("not there"), OK, Settle("already_gone", "not there")),
        (
            {"doubt": True},
            Gone("not there"),
            OK,
            Settle("deleted", "answer lost; gone when asked again: not there"),
        ),
        ({}, Reject("archived", "archived"), OK, Settle("archived", "archived")),
        ({}, Ask("check", "odd"), OK, Continue("check", "odd")),
        ({}, StopDataset("no such dataset"), OK, StopDataset("no such dataset")),
        ({}, StopProvider("key refused", "hint"), OK, StopProvider("key refused", "hint")),
        ({}, Pause("slow down", after=9.0), OK, Retry(0.0, "delete", "rate_limit", "slow down")),
        ({"step": "check"}, Pause("blocked", slower=False), OK, Retry(0.0, "check", "blocked", "blocked")),
        ({"spent": 1}, TROUBLE, OK, Retry(0.5, "delete", "server_error", "HTTP 503")),
        ({"spent": 2}, TROUBLE, OK, Retry(1.0, "delete", "server_error", "HTTP 503")),
        ({"spent": 1}, TROUBLE, CUT, Retry(0.5, "delete", "lost_answer", "HTTP 503")),
        ({}, TROUBLE, REFUSED, Retry(0.5, "delete", "unreachable", "HTTP 503")),
        ({"spent": 1}, Requeue("unclear", "odd", step="delete"), OK, Retry(0.5, "delete", "unclear", "odd")),
        ({"spent": 1}, Requeue("trouble", "busy", after=9.0), OK, Retry(9.0, "delete", "server_error", "busy")),
        ({"spent": 1}, Requeue("trouble", "busy", after=1e6), OK, Retry(100.0, "delete", "server_error", "busy")),
        ({"spent": 3, "attempts": 3}, TROUBLE, OK, LastCheck("gave up after 3 attempts: HTTP 503")),
        ({"spent": 4, "checking": True, "reason": "gave up"}, TROUBLE, OK, Settle("gave_up", "gave up")),
        ({"spent": 3, "checking": True, "reason": "gave up"}, TROUBLE, REFUSED, Settle("gave_up", "gave up")),
        ({"checking": True, "doubt": True, "spent": 3}, Gone("no"), OK, Settle("deleted", "answer lost; gone when asked again: no")),
        ({}, Requeue("indexing", "being indexed"), OK, Wait(900.0, "delete", None, None, "document_indexing", "being indexed")),
        (
            {"waiting_since": NOW - 100},
            Requeue("locked", "held", after=7.0, step="un_archive", at_most=600.0),
            OK,
            Wait(800.0, "un_archive", 7.0, 600.0, "document_locked", "held"),
        ),
        (
            {"waiting_since": NOW - 900},
            Requeue("locked", "held", step="un_archive"),
            OK,
            Settle("stuck_indexing", "still locked after 900 s: held"),
        ),
        (
            {"waiting_since": NOW - 899.5},
            Requeue("indexing", "being indexed"),
            OK,
            Wait(0.5, "delete", None, None, "document_indexing", "being indexed"),
        ),
        (
            {"waiting_since": NOW - 900},
            Requeue("indexing", "being indexed"),
            OK,
            Settle("stuck_indexing", "still being indexed after 900 s: being indexed"),
        ),
        ({"spent": 3, "checking": False}, Requeue("indexing", "busy"), OK, Wait(900.0, "delete", None, None, "document_indexing", "busy")),
    ],
)  # fmt: skip
def test_each_verdict_has_its_decision(
    fields: dict[str, object], verdict: Verdict, reply: Reply, expected: Decision
) -> None:
    """The jitter is half of the longest wait here."""
    assert decide(job(**fields), verdict, reply, POLICY, now=NOW, u=0.5) == expected


def test_indexing_is_left_alone_if_it_is_to_be_skipped() -> None:
    """With ``indexing='skip'`` a document that is being indexed ends at once."""
    skipping = Policy(indexing="skip")
    decision = decide(job(), Requeue("indexing", "busy"), OK, skipping, now=NOW, u=0.5)
    assert decision == Settle("stuck_indexing", "left alone, because indexing is 'skip': busy")


def test_a_document_that_was_never_seen_may_be_a_mistake() -> None:
    """With ``missing='fail'`` it is rejected; one that a listing held, or an attempt may have deleted, is not."""
    fail = Policy(missing="fail")
    missing = decide(job(), Gone("no"), OK, fail, now=NOW, u=0.5)
    assert missing == Settle("missing", "not there when first asked for: no")
    assert decide(job(listed=True), Gone("no"), OK, fail, now=NOW, u=0.5) == Settle("already_gone", "no")
    assert decide(job(doubt=True), Gone("no"), OK, fail, now=NOW, u=0.5) != missing


words = st.text(max_size=5)
seconds = st.one_of(st.none(), st.floats(0, 1e5))
steps = st.sampled_from(["delete", "check", "un_archive"])
causes: st.SearchStrategy[Literal["indexing", "locked", "trouble", "unclear"]] = st.sampled_from(
    ["indexing", "locked", "trouble", "unclear"]
)
verdicts: st.SearchStrategy[Verdict] = st.one_of(
    st.builds(Deleted, words),
    st.builds(Gone, words, st.booleans()),
    st.builds(Reject, st.sampled_from(get_args(Outcome)), words),
    st.builds(Requeue, causes, words, st.booleans(), seconds, st.one_of(st.none(), steps)),
    st.builds(Ask, steps, words),
    st.builds(StopDataset, words),
    st.builds(Pause, words, seconds, st.booleans(), st.one_of(st.none(), st.integers(1, 5))),
    st.builds(StopProvider, words, words),
)
replies: st.SearchStrategy[Reply] = st.sampled_from([OK, CUT, REFUSED])
policies = st.builds(Policy, attempts=st.integers(1, 6), indexing=st.sampled_from([None, "wait", "delete", "skip"]))
jobs = st.builds(
    job,
    step=steps,
    doubt=st.booleans(),
    spent=st.integers(0, 7),
    attempts=st.integers(0, 9),
    checking=st.booleans(),
    waiting_since=st.one_of(st.none(), st.floats(0, NOW)),
)
units = st.floats(0, 1, exclude_max=True)


@given(jobs, verdicts, replies, policies, units)
def test_a_decision_keeps_the_promises(one: Job, verdict: Verdict, reply: Reply, policy: Policy, u: float) -> None:
    """S2, S8, S12: attempts are bounded, pauses and waits spend none, waits are bounded, and nothing is called gone unsaid."""
    sent = not (isinstance(reply, Lost) and not reply.sent)
    before = (one.spent, one.attempts, one.doubt)
    one.note(verdict, sent=sent, deletes=one.step == "delete")
    assert one.attempts == before[1] + (sent and one.step == "delete")
    assert one.doubt or not before[2]
    costs = isinstance(verdict, Requeue) and verdict.cause not in ("indexing", "locked") and sent
    assert one.spent == before[0] + costs
    decision = decide(one, verdict, reply, policy, now=NOW, u=u)
    assert decision == decide(one, verdict, reply, policy, now=NOW, u=u)  # pure
    match decision:
        case Retry():
            assert 0.0 <= decision.seconds <= max(policy.max_pause, policy.backoff_cap)
            assert isinstance(verdict, Pause) or one.spent < policy.attempts
        case Wait():
            assert 0.0 < decision.left <= policy.indexing_timeout
        case LastCheck():
            assert one.spent >= policy.attempts
            assert not one.checking
        case Settle("deleted" | "already_gone"):
            assert isinstance(verdict, Deleted | Gone | Reject)
        case Settle("gave_up"):
            assert one.checking or isinstance(verdict, Reject)
        case _:
            assert isinstance(decision, Settle | Continue | StopDataset | StopProvider)


def test_what_is_left_in_doubt_says_so() -> None:
    """S14: a target that a stop leaves after a lost answer is not called untouched."""
    assert not_attempted(job(), "interrupted") == Settle("not_attempted", "interrupted")
    ending = not_attempted(job(doubt=True), "interrupted")
    assert ending.outcome == "not_attempted"
    assert "it may be gone" in ending.reason
