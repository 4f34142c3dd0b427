"""The forms that a report of a run comes in, each a function from a run to pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bulkdel.evidence.account import as_json
from bulkdel.evidence.rows import as_csv, jsonl
from bulkdel.evidence.text import text
from bulkdel.runs import Run

Renderer = Callable[[Run], Iterator[str]]

FORMATS: Mapping[str, Renderer] = {"text": text, "json": as_json, "jsonl": jsonl, "csv": as_csv}
"""By the name that ``bulkdel report --format`` takes; pieces are in order and small, whatever the run's size."""
