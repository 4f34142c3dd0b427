"""A run's account as one JSON object: the one that ``--json`` gives, with what matches it to its run file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bulkdel.store import Run
from bulkdel.store.recorded import recorded_report


def account(run: Run) -> dict[str, Any]:
    """The object that ``--json`` gives, read from the file; ``state`` is the word of ``bulkdel runs``, ``digest`` is ``Run.digest``."""
    found = recorded_report(run).as_dict()
    datasets = found.pop("datasets")
    return found | {"state": run.state, "digest": f"sha256:{run.digest()}", "datasets": datasets}


def json_object(run: Run) -> Iterator[str]:
    """The account on one line; plain ASCII, so that no terminal, pipe or locale changes it."""
    yield json.dumps(account(run)) + "\n"
