"""What people and programs read of a run: its plan, its account and its endings, in five formats.

Everything here reads values and a run file, and counts nothing. No module is imported here: ``bulkdel --help`` needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from bulkdel.store import Run

Format = Literal["text", "json", "jsonl", "csv", "html"]
"""The formats that ``bulkdel report --format`` offers."""


def render(run: Run, form: Format) -> Iterator[str]:
    """The report of ``run`` in pieces, in order and small whatever the run's size; only the module of ``form`` is imported."""
    match form:
        case "text":
            from bulkdel.render.text import text

            return text(run)
        case "json":
            from bulkdel.render.json import json_object

            return json_object(run)
        case "jsonl":
            from bulkdel.render.jsonl import jsonl

            return jsonl(run)
        case "csv":
            from bulkdel.render.csv import csv_rows

            return csv_rows(run)
        case "html":
            from bulkdel.render.html.page import page

            return page(run)
        case _:
            assert_never(form)
