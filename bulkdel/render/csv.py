"""A run's settled targets for a spreadsheet, in flat memory: the columns of a settled line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from bulkdel.render.jsonl import rows
from bulkdel.store import Run
from bulkdel.text import sanitize, show_invisible, write_cell

COLUMNS = ("provider", "dataset", "document", "name", "status", "outcome", "reason", "attempts", "settled_at")


def csv_rows(run: Run) -> Iterator[str]:
    """RFC 4180: a header line, CRLF, quotes if needed; ``bulkdel delete`` reads the same ids back.

    No cell is anything but text to a spreadsheet (``write_cell``), and of an id every character is shown, the invisible ones
    escaped.
    """
    block = io.StringIO()
    writer = csv.writer(block)
    writer.writerow(COLUMNS)
    for number, row in enumerate(rows(run), 1):
        writer.writerow([_cell(column, row[column]) for column in COLUMNS])
        if number % 1000 == 0:
            yield block.getvalue()
            block.seek(0)
            block.truncate()
    yield block.getvalue()


def _cell(column: str, value: str | int) -> str | int:
    if isinstance(value, int):
        return value
    if column in ("dataset", "document"):
        return write_cell(show_invisible(value, limit=10 * len(value)))  # an id is never cut
    return write_cell(sanitize(value))
