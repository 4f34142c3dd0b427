"""A run at a glance: what became of it, its counts, and whether resuming it makes sense."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bulkdel.errors import BulkdelError
from bulkdel.store import Run

Overview = dict[str, Any]
"""A run as ``bulkdel runs --json`` has it.

``status`` is None if it cannot be read, and then ``problem`` says why and the counts are left out. ``command`` goes on with it,
None if resuming it has nothing to do or it was refused. ``reason`` is why it ended as it did, or what a later verification found.
``input_truncated``: there may be more documents than it counts.
"""


def overview(path: Path) -> Overview:
    """The run file at ``path``; whatever is wrong with it stands in the answer and is never raised."""
    name = run_name(path)
    found: Overview = {"name": name, "run": str(path)}
    try:
        with Run.open(path, check=False) as run:
            found |= {"status": run.state, "act": run.header.act, **asdict(run.counts())}
            if (created_at := run.header.created_at) is not None:
                found["age_s"] = round(max(0.0, time.time() - created_at), 3)  # clocks are set back
            command = shlex.join(["bulkdel", "resume", name]) if run.resumable else None
            return found | {
                "command": command,
                "reason": run.reason,
                "input_truncated": run.input_truncated,
            }
    except (BulkdelError, OSError) as error:
        return {"name": name, "run": str(path), "status": None, "problem": str(error), "command": None}


def needed_to_resume(run: Run) -> list[str]:
    """Options that carry out the run: one for a plan of a dataset whose listing did not show all that the service counts."""
    short = run.header.act == "plan" and any(dataset.unseen for dataset in run.plan().datasets)
    return ["--accept-incomplete"] if short and not run.header.policy.accept_incomplete else []


def run_name(path: Path) -> str:
    """What a run is called: its file's name without the ending."""
    return path.name.removesuffix(".run")
