"""A run at a glance: what became of it, its counts, and whether it can go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkdel.errors import BulkdelError
from bulkdel.purging.recorded import unread
from bulkdel.report import Counts
from bulkdel.store import Run, State

STATES: dict[State, str] = {
    "planned": "planned",
    "running": "running",
    "crashed": "crashed",
    "complete": "complete",
    "incomplete": "incomplete",
    "refused": "refused",
    "stopped": "stopped",
    "deadline": "deadline",
    "interrupted": "interrupted",
}
"""What became of a run, as a list of runs shows it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One run file. ``problem`` says why it could not be read, and then the rest is empty.

    ``created_at`` is in Unix seconds. ``goes_on``: resuming it has something to do, and nobody said no. ``reason`` is why its last
    session ended as it did, where there is more to say than ``state``. ``unread``: there may be more documents than it counts.
    """

    path: Path
    state: State | None = None
    act: str = ""
    created_at: float | None = None
    counts: Counts = field(default_factory=Counts)
    goes_on: bool = False
    reason: str = ""
    unread: bool = False
    problem: str = ""
    hint: str = ""

    @property
    def name(self) -> str:
        return name_of(self.path)

    def as_dict(self) -> dict[str, Any]:
        c = self.counts
        out: dict[str, Any] = {"name": self.name, "run": str(self.path)}
        if self.problem:
            return out | {"status": None, "problem": self.problem}
        return out | {
            "status": self.state,
            "act": self.act,
            "listed": c.listed,
            "selected": c.selected,
            "skipped": c.skipped,
            "deleted": c.deleted,
            "already_gone": c.already_gone,
            "rejected": c.rejected,
            "not_attempted": c.not_attempted,
        }


def look(path: Path) -> Overview:
    """The run file at ``path``; whatever is wrong with it is said in the answer, never raised."""
    try:
        with Run.open(path, check=False) as run:
            header, reason = run.header, run.sessions()[-1].reason
            return Overview(
                path, run.state, header.act, header.created_at, run.counts(), offered(run), reason, unread(run)
            )
    except (BulkdelError, OSError) as error:
        return Overview(path, problem=str(error), hint=getattr(error, "hint", ""))


def goes_on(run: Run) -> bool:
    """Whether resuming the run has something to do."""
    if unfinished_plan(run) or run.targets == "open":
        return False
    return run.go_on()


def offered(run: Run) -> bool:
    """Whether going on is worth naming: what a guard or a person refused would be refused again, as it is.

    A refusal ends no run whose deletes had begun, nor a plan, which waits for whoever carries it out.
    """
    if run.state != "refused":
        return goes_on(run)
    first = run.sessions()[0]
    kept = run.begun or (first.act == "plan" and first.status != "refused")
    return kept and goes_on(run)


def unfinished_plan(run: Run) -> bool:
    """A plan that ended before it held anything that could be carried out."""
    return run.header.act == "plan" and not {"complete", "none"} & set(run.listings().values())


def name_of(path: Path) -> str:
    """What a run is called: its file's name without the ending."""
    return path.name.removesuffix(".run")
