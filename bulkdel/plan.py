"""What a call is about to delete: each dataset as it was listed and selected, for the user to agree to."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulkdel.model import Document, Rate

FIRST = 10
"""Documents of a dataset that a plan in memory names: enough to see whether they are the meant ones."""


@dataclass(slots=True)
class PlannedDataset:
    """One dataset as listed and selected.

    ``skipped`` counts documents by the reason why they are left, ``archived`` and ``indexing`` those among the selected
    that need more than a DELETE, ``synced`` those that their source may bring back. ``oldest`` and ``newest`` are the
    selected documents' creation times in Unix seconds. ``stopped`` says why nothing in it can be deleted, empty if it can.
    ``explicit``: its documents were named one by one; the dataset is not emptied, and not listed again afterwards.
    ``cut``: the run was stopped before it was listed whole, or its named documents were looked up; ``outage`` says why, if that was the
    service alone. ``counted`` is
    the service's own count, if its listing never shows as many: what was not seen may be there all the same. ``first`` has the ids and names of the first ``FIRST`` selected, as the
    service has them; empty if they were named one by one, and in a plan that is read from a run file. ``invalid`` counts the explicit targets whose ids
    are never sent, ``first_invalid`` has the first of them and why. ``statuses`` counts every listed document by the service's word for
    its status (the first twenty words). ``repeated`` of the explicit targets name a document that another names, too. ``missing`` counts the explicit targets that a look-up showed not to be there; 0 in a plan that
    is read from a run file.
    """

    provider: str
    dataset: str
    name: str = ""
    listed: int = 0
    selected: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    archived: int = 0
    indexing: int = 0
    synced: int = 0
    oldest: float | None = None
    newest: float | None = None
    stopped: str = ""
    explicit: bool = False
    cut: bool = False
    outage: str = ""
    counted: int | None = None
    first: list[tuple[str, str]] = field(default_factory=list)
    invalid: int = 0
    first_invalid: str = ""
    missing: int = 0
    repeated: int = 0
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def out_of_reach(self) -> bool:
        """Whether nothing of the dataset could be listed or deleted now, and a later session may."""
        return self.cut and (not self.explicit or bool(self.outage))

    @property
    def unseen(self) -> bool:
        """Whether more may be there than was seen; a dataset that lists none and has none by its own count is empty."""
        return self.counted is not None and self.listed > 0

    def add(self, document: Document, skipped: str) -> None:
        """Count a listed document, and why it is left (empty if it is selected)."""
        self.listed += 1
        if document.status in self.statuses or len(self.statuses) < 20:
            self.statuses[document.status] = self.statuses.get(document.status, 0) + 1
        if skipped:
            self.skipped[skipped] = self.skipped.get(skipped, 0) + 1
            return
        self.selected += 1
        if len(self.first) < FIRST:
            self.first.append((document.id, document.name))
        self.archived += document.archived
        self.indexing += document.indexing
        self.synced += document.synced
        if (created := document.created_at) is not None:
            self.oldest = created if self.oldest is None else min(self.oldest, created)
            self.newest = created if self.newest is None else max(self.newest, created)


LearnedRate = tuple[Rate, float] | tuple[Rate, float, Rate | None]
"""A rate that passed in an earlier run, how many seconds ago that was, and what was refused then: None for nothing. Run files that an
older bulkdel wrote do not have the last."""


@dataclass(slots=True)
class Plan:
    """Everything that one call is about to delete; ``seconds`` is how long it will take at the current limits, about.

    ``learned`` has the rates that an earlier run learned, by provider.
    """

    datasets: list[PlannedDataset] = field(default_factory=list)
    seconds: float | None = None
    learned: dict[str, LearnedRate] = field(default_factory=dict)

    @property
    def listed(self) -> int:
        return sum(d.listed for d in self.datasets)

    @property
    def selected(self) -> int:
        return sum(d.selected for d in self.datasets)
