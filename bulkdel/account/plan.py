"""What is about to be deleted: what a confirmation shows and a guard judges, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulkdel.model import Rate

FIRST = 10
"""Documents of a dataset that a plan in memory names: enough to see whether they are the meant ones."""


@dataclass(slots=True)
class PlannedDataset:
    """One dataset as listed and selected.

    ``skipped`` counts documents by the reason why they are left, ``archived`` and ``indexing`` those among the selected
    that need more than a DELETE, ``synced`` those that their source may bring back. ``oldest`` and ``newest`` are the
    selected documents' creation times in Unix seconds. ``stopped`` says why nothing in it can be deleted, empty where it can.
    ``explicit``: its documents were named one by one; the dataset is not emptied, and not listed again afterwards.
    ``cut``: the run was stopped before it was listed whole. ``first`` has the ids and names of the first ``FIRST`` selected, as the
    service has them; empty where they were named one by one, and in a plan that is read from a run file. ``invalid`` counts the explicit targets whose ids
    are never sent, ``first_invalid`` has the first of them and why.
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
    first: list[tuple[str, str]] = field(default_factory=list)
    invalid: int = 0
    first_invalid: str = ""


@dataclass(slots=True)
class Plan:
    """Everything that one call is about to delete; ``seconds`` is how long it will take at the current limits, about.

    ``learned`` has the rates that an earlier run learned, and how many seconds ago, by provider.
    """

    datasets: list[PlannedDataset] = field(default_factory=list)
    seconds: float | None = None
    learned: dict[str, tuple[Rate, float]] = field(default_factory=dict)

    @property
    def listed(self) -> int:
        return sum(d.listed for d in self.datasets)

    @property
    def selected(self) -> int:
        return sum(d.selected for d in self.datasets)
