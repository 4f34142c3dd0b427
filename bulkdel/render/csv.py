"""A run's settled targets for a spreadsheet, in flat memory: the columns of a settled line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from bulkdel.render.jsonl import rows
from bulkdel.store import Run
from bulkdel.text import sanitize_cell

COLUMNS = ("provider", "dataset", "document", "name", "status", "outcome", "reason", "attempts", "settled_at")


def csv_rows(run: Run) -> Iterator[str]:
    """RFC 4180: a header line, CRLF, quotes if needed; no cell is a formula to a spreadsheet."""
    block = io.StringIO()
    writer = csv.writer(block)
    writer.writerow(COLUMNS)
    for number, row in enumerate(rows(run), 1):
        writer.writerow(
            [value if isinstance(value := row[column], int) else sanitize_cell(value) for column in COLUMNS]
        )
        if number % 1000 == 0:
            yield block.getvalue()
            block.seek(0)
            block.truncate()
    yield block.getvalue()
