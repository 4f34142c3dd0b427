"""A run for programs and spreadsheets, in flat memory: the account as one JSON object, every ending as JSON lines or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from bulkdel.model import Settled
from bulkdel.store import Run
from bulkdel.store.recorded import recorded_report
from bulkdel.text import sanitize, show_invisible, write_cell

PLANNED = "planned, not carried out yet"
"""The reason of what a plan holds: nothing went wrong with a document that was not tried yet."""

COLUMNS = ("provider", "dataset", "document", "name", "status", "outcome", "reason", "attempts", "settled_at")


def account(run: Run) -> dict[str, Any]:
    """The object that ``--json`` gives, read from the file; ``state`` is the word of ``bulkdel runs``, ``digest`` is ``Run.digest``."""
    found = recorded_report(run).as_dict()
    datasets = found.pop("datasets")
    return found | {"state": run.state, "digest": f"sha256:{run.digest()}", "datasets": datasets}


def json_object(run: Run) -> Iterator[str]:
    """The account on one line; plain ASCII, so that no terminal, pipe or locale changes it."""
    yield json.dumps(account(run)) + "\n"


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
    """The lines that ``--settled`` writes, one for each selected target."""
    for row in rows(run):
        yield json.dumps(row) + "\n"


def csv_rows(run: Run) -> Iterator[str]:
    """The same as RFC 4180: a header line, CRLF, quotes if needed; ``bulkdel delete`` reads the same ids back.

    No cell is anything but text to a spreadsheet (``write_cell``), and of an id every character is shown, the invisible ones
    escaped.
    """
    returned: Any = SimpleNamespace(write=str)  # a writer gives back what its file's write does: the line
    writer = csv.writer(returned)
    yield writer.writerow(COLUMNS)
    for row in rows(run):
        for column in ("dataset", "document"):
            row[column] = write_cell(show_invisible(row[column], limit=10 * len(row[column])))  # an id is never cut
        for column in ("provider", "name", "reason"):
            row[column] = write_cell(sanitize(row[column]))
        yield writer.writerow([row[column] for column in COLUMNS])
