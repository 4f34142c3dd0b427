"""What becomes of a job after an answer: pure, no clock and no randomness of its own, every verdict matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, assert_never

from bulkdel.backoff import full_jitter
from bulkdel.engine.job import Job
from bulkdel.model import ANSWER_LOST, MAY_BE_GONE, Outcome, Policy
from bulkdel.providers.protocol import (
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
from bulkdel.text import pluralize


class Settle(NamedTuple):
    """The job ends. A named tuple, as all that is made for every document: 0.3 µs against 1.0 µs for a frozen dataclass."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Continue:
    """Ask ``step`` next, at once."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class LastCheck:
    """The attempts are spent: ask at once whether the document is still there; if it is, it is given up for ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask ``step`` in ``seconds``, because of ``reason``; ``cause`` is the report's word for it."""

    seconds: float
    step: str
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the service is ready for ``step``, at most ``left`` seconds more; this spends no attempt (S2).

    ``after`` is how many seconds the service asked to wait, None if it did not say; ``at_most`` how long such a wait can last in
    all, None if only the service knows. ``cause`` is the report's word for it.
    """

    left: float
    step: str
    after: float | None
    at_most: float | None
    cause: str
    reason: str


Decision = Settle | Continue | LastCheck | Retry | Wait | StopDataset | StopProvider
"""What becomes of a job; the last two reach further, to its dataset or to the provider."""


def decide(job: Job, verdict: Verdict, reply: Reply, policy: Policy, *, now: float, u: float) -> Decision:
    """What becomes of ``job``, which has taken note of the verdict already (``Job.note``).

    :param now: any monotonic clock in seconds, the one of ``Job.waiting_since``
    :param u: uniform in [0, 1), for the jitter
    """
    match verdict:
        case Deleted():
            return Settle("deleted", verdict.reason)
        case Gone():
            return gone(job, verdict.reason, policy)
        case Reject():
            return Settle(verdict.outcome, verdict.reason)
        case Ask():
            return Continue(verdict.step, verdict.reason)
        case Requeue() if verdict.cause in ("indexing", "locked"):
            return _wait(job, verdict, policy, now)
        case Requeue():
            return _retry(job, verdict, reply, policy, u)
        case Pause():
            # The pause is the provider's and costs the document nothing (S8); it is first in line afterwards.
            return Retry(0.0, job.step, "rate_limit" if verdict.slower else "blocked", verdict.reason)
        case StopDataset() | StopProvider():
            return verdict
        case _:
            assert_never(verdict)


def gone(job: Job, reason: str, policy: Policy) -> Settle:
    """The ending of a document that is not there: an earlier attempt in doubt has deleted it."""
    if job.doubt:
        return Settle("deleted", f"{ANSWER_LOST}; gone when asked again: {reason}")
    # One that a listing of this run held was there; what was never seen may be a wrong id.
    if policy.missing == "fail" and not job.listed:
        return Settle("missing", f"not there when first asked for: {reason}")
    return Settle("already_gone", reason)


def not_attempted(job: Job, reason: str) -> Settle:
    """The ending of a document that is left because nothing more is sent, for ``reason``."""
    if job.doubt:
        reason = f"{reason}; {MAY_BE_GONE}"
    return Settle("not_attempted", reason)


def _retry(job: Job, verdict: Requeue, reply: Reply, policy: Policy, u: float) -> Settle | LastCheck | Retry:
    """Retry with backoff while attempts are left; then look once whether the document is gone all the same."""
    if job.checking:
        return Settle("gave_up", job.reason)
    if job.spent >= policy.attempts:
        return LastCheck(f"gave up after {pluralize(job.attempts, 'attempt')}: {verdict.reason}")
    seconds = full_jitter(max(job.spent, 1), policy.backoff, policy.backoff_cap, u)
    seconds = max(min(verdict.after or 0.0, policy.max_pause), seconds)
    return Retry(seconds, verdict.step or job.step, _cause(verdict, reply), verdict.reason)


def _wait(job: Job, verdict: Requeue, policy: Policy, now: float) -> Settle | Wait:
    """Wait on the indexing budget."""
    indexing = verdict.cause == "indexing"
    if indexing and policy.indexing == "skip":
        return Settle("stuck_indexing", f"left alone, because indexing is 'skip': {verdict.reason}")
    since = now if job.waiting_since is None else job.waiting_since
    left = since + policy.indexing_timeout - now
    if left <= 0:
        still = "being indexed" if indexing else "locked"
        return Settle("stuck_indexing", f"still {still} after {policy.indexing_timeout:g} s: {verdict.reason}")
    cause = "document_indexing" if indexing else "document_locked"
    return Wait(left, verdict.step or job.step, verdict.after, verdict.at_most, cause, verdict.reason)


def _cause(verdict: Requeue, reply: Reply) -> str:
    """The report's word for why a target is requeued."""
    if isinstance(reply, Lost):
        return "lost_answer" if reply.sent else "unreachable"
    return "server_error" if verdict.cause == "trouble" else "unclear"
