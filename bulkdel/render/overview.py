"""A run at a glance: what became of it, its counts, and whether resuming it makes sense."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bulkdel.errors import BulkdelError
from bulkdel.report import Counts
from bulkdel.store import Run, State


@dataclass(frozen=True, slots=True)
class Overview:
    """One run file. ``problem`` says why it cannot be read, and then the rest is empty.

    ``created_at`` is in Unix seconds. ``resumable`` and ``input_truncated`` are ``Run``'s, ``reason`` is why its last
    session ended as it did.
    """

    path: Path
    state: State | None = None
    act: str = ""
    created_at: float | None = None
    counts: Counts = field(default_factory=Counts)
    resumable: bool = False
    reason: str = ""
    input_truncated: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        return run_name(self.path)

    @property
    def age_s(self) -> float:
        """Seconds since it was made; clocks are set back."""
        return max(0.0, time.time() - (self.created_at or time.time()))

    @property
    def command(self) -> str:
        """What goes on with the run, by its name; empty if nothing does."""
        return shlex.join(["bulkdel", "resume", self.name]) if self.resumable else ""

    def as_dict(self) -> dict[str, Any]:
        """The run as a JSON list has it; ``command`` is null if there is nothing to go on with."""
        out: dict[str, Any] = {"name": self.name, "run": str(self.path)}
        if self.problem:
            return out | {"status": None, "problem": self.problem, "command": None}
        out |= {"status": self.state, "act": self.act} | asdict(self.counts)
        age = {} if self.created_at is None else {"age_s": round(self.age_s, 3)}
        return out | age | {"command": self.command or None}


def overview(path: Path) -> Overview:
    """The run file at ``path``; whatever is wrong with it stands in the answer and is never raised."""
    try:
        with Run.open(path, check=False) as run:
            return Overview(
                path,
                state=run.state,
                act=run.header.act,
                created_at=run.header.created_at,
                counts=run.counts(),
                resumable=run.resumable,
                reason=run.last_session.reason,
                input_truncated=run.input_truncated,
            )
    except (BulkdelError, OSError) as error:
        return Overview(path, problem=str(error))


def needed_to_resume(run: Run) -> list[str]:
    """Options that carry out the run: one for a plan of a dataset whose listing did not show all that the service counts."""
    short = run.header.act == "plan" and any(dataset.unseen for dataset in run.plan().datasets)
    return ["--accept-incomplete"] if short and not run.header.policy.accept_incomplete else []


def run_name(path: Path) -> str:
    """What a run is called: its file's name without the ending."""
    return path.name.removesuffix(".run")
