"""A target on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bulkdel.errors import BrokenPromise
from bulkdel.model import Outcome, Target
from bulkdel.providers.protocol import Provider, Requeue, Verdict


def spelled_by_service(target: Target, provider: Provider) -> Target:
    """The target with its ids in the one spelling of their service; the same object if they are."""
    try:
        dataset, document = provider.canonical(target.dataset), provider.canonical(target.document)
    except Exception:
        return target  # no text, or a bug of the provider's: its ``invalid`` is asked next, and says so
    if dataset == target.dataset and document == target.document:
        return target
    return Target(target.provider, dataset, document)


@dataclass(slots=True, eq=False)
class Job:
    """A target as a feed offers it, and what is remembered of it until it settles."""

    key: int  # of the occurrence: its place in the input, or its row in the run file
    target: Target  # in the spelling of its service, so that one document is one job
    name: str = ""
    step: str = "delete"  # what is asked next
    awaiting_indexing: bool = False  # no DELETE may be sent before the service shows it ready
    doubt: bool = False  # an earlier attempt may have been carried out: its answer was lost, or an earlier run sent it
    listed: bool = False  # a good listing held it in this run
    ending: Outcome | None = None  # it is known already how it ends, for ``reason``, and nothing is sent for it
    reason: str = ""  # the last words that were said about it
    # By its key, each further occurrence of the same target as the caller spelled it, and this one if that is another spelling.
    others: dict[int, Target] | None = None
    attempts: int = 0  # DELETEs sent
    spent: int = 0  # requests that count against Policy.attempts
    checking: bool = False  # its attempts are spent: the last question is whether it is still there
    waiting_since: float | None = None  # loop time at which it began to wait for the service
    waits_for: Literal["", "retry", "indexing", "locked", "evidence"] = ""  # its due time, or the service
    wait_ends_at: float = 0.0  # loop time at which that wait is over at the latest

    @classmethod
    def of(cls, key: int, target: Target, provider: Provider) -> Job:
        """A job for a target as the caller spelled it."""
        spelled = spelled_by_service(target, provider)
        return cls(key, spelled) if spelled is target else cls(key, spelled, others={key: target})

    def join(self, later: Job) -> None:
        """Another occurrence of the same target settles with this one.

        :raises BrokenPromise: if it is this one once more
        """
        if later.key == self.key:
            raise BrokenPromise(f"target {self.key} came in twice")
        if self.others is None:
            self.others = {}
        self.others[later.key] = later.target
        if later.others is not None:
            self.others |= later.others

    def note(self, verdict: Verdict, *, sent: bool, deletes: bool) -> None:
        """Remember what the answer to one request says about the job, before it is decided what becomes of it.

        :param sent: whether the request may have reached the service
        :param deletes: whether it was a DELETE
        """
        if sent and deletes:  # whatever its step is called: a delete may take two
            self.attempts += 1
        if isinstance(verdict, Requeue) and verdict.cause not in ("indexing", "locked"):
            # What never left the machine is no attempt; the breaker ends it if nothing leaves for long.
            self.spent += sent
            self.doubt = self.doubt or (verdict.doubt and deletes)
