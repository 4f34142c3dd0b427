"""A run's settled targets as JSON lines, one at a time in flat memory: the lines that ``--settled`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bulkdel.model import Settled
from bulkdel.store import Run

PLANNED = "planned, not carried out yet"
"""The reason of what a plan holds: nothing went wrong with a document that was not tried yet."""


def endings(run: Run) -> Iterator[Settled]:
    """Every selected target once: those that settled, in input order, then those that were not attempted."""
    yield from run.settled()
    planned = run.state == "planned"
    for left in run.not_attempted():
        yield left._replace(reason=left.reason or PLANNED) if planned else left


def rows(run: Run) -> Iterator[dict[str, Any]]:
    """``endings`` as objects; the ``status`` of what is only planned is ``planned``, because nothing rejected it."""
    planned = run.state == "planned"
    for settled in endings(run):
        row = settled.as_dict()
        yield row | {"status": "planned"} if planned and settled.outcome == "not_attempted" else row


def jsonl(run: Run) -> Iterator[str]:
    """One line for each selected target."""
    for row in rows(run):
        yield json.dumps(row) + "\n"
