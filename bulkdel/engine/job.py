"""A target on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass

from bulkdel.account import Counts
from bulkdel.model import Outcome, Target


@dataclass(slots=True)
class Item:
    """A target as a feed hands it to the engine.

    ``key`` is the occurrence: the place in the input, or the row in the run file. ``step`` is where its delete begins.
    ``held``: the listing shows it as still being indexed, and no DELETE may be sent before the service shows it ready.
    ``doubt``: a run before this one may have had it in flight. ``listed``: a good listing held it in this run.
    ``ending``: it is known already how it ends, with this ``reason``, and nothing is sent for it.
    ``also``: the keys of further occurrences of the same target, which settle with it.
    """

    key: int
    target: Target
    name: str = ""
    step: str = "delete"
    held: bool = False
    doubt: bool = False
    listed: bool = False
    ending: Outcome | None = None
    reason: str = ""
    also: tuple[int, ...] = ()


class Job:
    """What the engine remembers of a target until it settles."""

    __slots__ = (
        "also", "asks", "attempts", "checking", "counts", "doubt", "indexing_since", "key", "listed", "looks", "name", "reason",
        "spent", "step", "target",
    )  # fmt: skip

    def __init__(self, item: Item, counts: Counts) -> None:
        self.key = item.key
        self.target = item.target
        self.name = item.name
        self.step = item.step
        self.doubt = item.doubt
        self.listed = item.listed
        # Further occurrences of the same target: they settle with it.
        self.also: list[int] | None = list(item.also) if item.also else None
        self.counts = counts  # its dataset's
        self.attempts = 0  # DELETEs sent
        self.spent = 0  # attempts that counted against Policy.attempts
        self.asks = 0  # steps gone through at once, to bound a provider that never comes to an end
        self.looks = 0  # times in a row that it was found being indexed
        self.indexing_since: float | None = None
        self.checking = False  # its attempts are spent: the last question is whether it is still there
        self.reason = ""  # the last words said about it
