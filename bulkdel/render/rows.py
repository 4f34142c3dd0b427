"""A run's settled targets for programs and spreadsheets, line by line in flat memory: JSONL and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from bulkdel.model import Settled
from bulkdel.store import Run
from bulkdel.text import safe_cell

COLUMNS = ("provider", "dataset", "document", "name", "status", "outcome", "reason", "attempts", "settled_at")
"""The keys of a settled line, in its order."""

PLANNED = "planned, not carried out yet"
"""The reason of what a plan holds."""

_BLOCK = 1000  # rows written at a time


def endings(run: Run) -> Iterator[Settled]:
    """Every selected target once: those that settled, in input order, then those that were not attempted.

    Of a plan the reason says that it is one: nothing went wrong with a document for which nothing was tried yet.
    """
    yield from run.settled()
    planned = run.state == "planned"
    for left in run.not_attempted():
        yield left._replace(reason=left.reason or PLANNED) if planned else left


def rows(run: Run) -> Iterator[dict[str, Any]]:
    """``endings`` as settled lines have them; in a plan's the ``status`` is ``planned``, for nobody rejected anything yet."""
    planned = run.state == "planned"
    for settled in endings(run):
        row = settled.as_dict()
        yield row | {"status": "planned"} if planned and settled.outcome == "not_attempted" else row


def jsonl(run: Run) -> Iterator[str]:
    """The lines that ``--settled`` writes, one for each selected target."""
    for row in rows(run):
        yield json.dumps(row) + "\n"


def as_csv(run: Run) -> Iterator[str]:
    """The same as CSV (RFC 4180: a header line, CRLF, quotes where needed); no cell is a formula to a spreadsheet."""
    block = io.StringIO()
    writer = csv.writer(block)
    writer.writerow(COLUMNS)
    for number, row in enumerate(rows(run), 1):
        writer.writerow([value if isinstance(value := row[column], int) else safe_cell(value) for column in COLUMNS])
        if number % _BLOCK == 0:
            yield block.getvalue()
            block.seek(0)
            block.truncate()
    yield block.getvalue()
