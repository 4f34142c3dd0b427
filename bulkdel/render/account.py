"""A run's account as one JSON object: the command's own, with what matches it to its run file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bulkdel.purging.recorded import recorded_report
from bulkdel.store import Run


def account(run: Run) -> dict[str, Any]:
    """The object that ``--json`` gives, counted from the file; ``state`` says what became of the run in the words of
    ``bulkdel runs``, ``digest`` is ``Run.digest``."""
    told = recorded_report(run).as_dict()
    datasets = told.pop("datasets")
    return told | {"state": run.state, "digest": f"sha256:{run.digest()}", "datasets": datasets}


def as_json(run: Run) -> Iterator[str]:
    """The account on one line; plain ASCII, so that no terminal, pipe or locale changes it."""
    yield json.dumps(account(run)) + "\n"
