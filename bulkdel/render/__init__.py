"""What people and programs read of a run: its plan, its account and its endings, in five formats.

Everything here reads values and a run file, and counts nothing. No module is imported here: ``bulkdel --help`` needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bulkdel.store import Run

Format = Literal["text", "json", "jsonl", "csv", "html"]
"""The formats that ``bulkdel report --format`` offers."""


def render(run: Run, form: Format) -> Iterator[str]:
    """The report of ``run`` in pieces, in order and small whatever the run's size; pygal and jinja2 are imported only for HTML."""
    if form == "html":
        from bulkdel.render.html.page import page

        return page(run)
    from bulkdel.render import data, text

    if form == "text":
        return (line + "\n" for line in text.lines(run))
    return {"json": data.json_object, "jsonl": data.jsonl, "csv": data.csv_rows}[form](run)
