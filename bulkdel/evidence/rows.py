"""A run's settled targets for programs and spreadsheets, line by line in flat memory: JSONL and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from bulkdel.model import Settled
from bulkdel.runs import Run
from bulkdel.text import safe_cell

COLUMNS = ("provider", "dataset", "document", "name", "status", "outcome", "reason", "attempts", "settled_at")
"""The keys of a settled line, in its order."""

PLANNED = "planned, not carried out yet"
"""The reason of what a plan holds: the words of a settled line have an ending for it, and none that says so."""

_BLOCK = 1000  # rows written at a time


def endings(run: Run) -> Iterator[Settled]:
    """Every selected target once: those that settled, in input order, then those that were not attempted.

    Of a plan the reason says that it is one: nothing went wrong with a document for which nothing was tried yet.
    """
    yield from run.settled()
    planned = run.state == "planned"
    for left in run.not_attempted():
        yield left._replace(reason=left.reason or PLANNED) if planned else left


def jsonl(run: Run) -> Iterator[str]:
    """The lines that ``--settled`` writes, one for each selected target."""
    for settled in endings(run):
        yield json.dumps(settled.as_dict()) + "\n"


def as_csv(run: Run) -> Iterator[str]:
    """The same as CSV (RFC 4180: a header line, CRLF, quotes where needed); no cell is a formula to a spreadsheet."""
    block = io.StringIO()
    writer = csv.writer(block)
    writer.writerow(COLUMNS)
    for number, settled in enumerate(endings(run), 1):
        row = settled.as_dict()
        writer.writerow([value if isinstance(value := row[column], int) else safe_cell(value) for column in COLUMNS])
        if number % _BLOCK == 0:
            yield block.getvalue()
            block.seek(0)
            block.truncate()
    yield block.getvalue()
