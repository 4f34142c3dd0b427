"""A target on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulkdel.model import Outcome, Target
from bulkdel.report import Counts


@dataclass(slots=True, eq=False)
class Job:
    """A target as a feed hands it to a lane, and what is remembered of it until it settles.

    One object for both: another one with the same ten fields would be 1 % of what a document costs.
    """

    key: int  # of the occurrence: its place in the input, or its row in the run file
    target: Target
    name: str = ""
    step: str = "delete"  # where its delete begins, and then goes on
    held: bool = False  # the listing shows it as being indexed: no DELETE may be sent before the service shows it ready
    doubt: bool = False  # an earlier attempt may have been carried out: in a run before this one, or lost on the way
    listed: bool = False  # a good listing held it in this run
    ending: Outcome | None = None  # it is known already how it ends, with this reason, and nothing is sent for it
    reason: str = ""  # the last words said about it
    also: list[int] | None = None  # the keys of further occurrences of the same target: they settle with it
    counts: Counts = field(init=False, repr=False)  # its dataset's, from where it is taken in
    attempts: int = 0  # DELETEs sent
    spent: int = 0  # attempts that counted against Policy.attempts
    asks: int = 0  # steps gone through at once, to bound a provider that never comes to an end
    looks: int = 0  # times in a row that it was found being indexed
    indexing_since: float | None = None
    checking: bool = False  # its attempts are spent: the last question is whether it is still there
