"""A target on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass

from bulkdel.model import Outcome, Target
from bulkdel.providers.protocol import Requeue, Verdict


@dataclass(slots=True, eq=False)
class Job:
    """A target as a feed offers it, and what is remembered of it until it settles."""

    key: int  # of the occurrence: its place in the input, or its row in the run file
    target: Target
    name: str = ""
    step: str = "delete"  # what is asked next
    awaiting_indexing: bool = False  # no DELETE may be sent before the service shows it ready
    doubt: bool = False  # an earlier attempt may have been carried out: its answer was lost, or an earlier run sent it
    listed: bool = False  # a good listing held it in this run
    ending: Outcome | None = None  # it is known already how it ends, for ``reason``, and nothing is sent for it
    reason: str = ""  # the last words that were said about it
    also: list[int] | None = None  # the keys of further occurrences of the same target: they settle with it
    attempts: int = 0  # DELETEs sent
    spent: int = 0  # requests that count against Policy.attempts
    checking: bool = False  # its attempts are spent: the last question is whether it is still there
    waiting_since: float | None = None  # loop time at which it began to wait for the service

    def note(self, verdict: Verdict, *, sent: bool, deletes: bool) -> None:
        """Remember what the answer to one request says about the job, before it is decided what becomes of it.

        :param sent: whether the request may have reached the service
        :param deletes: whether it was a DELETE
        """
        if sent and deletes:  # whatever its step is called: a delete may take two
            self.attempts += 1
        if isinstance(verdict, Requeue) and verdict.cause != "indexing":
            # What never left the machine is no attempt; the breaker ends it if nothing leaves for long.
            self.spent += sent
            self.doubt = self.doubt or (verdict.doubt and deletes)
