"""A run is a file: its plan, its journal and its evidence, in one SQLite database."""

from bulkdel.runs.file import RunFile
from bulkdel.runs.read import Run
from bulkdel.runs.values import (
    Added,
    AskedDataset,
    Count,
    Counters,
    Known,
    PlannedRow,
    ProviderHeader,
    Row,
    RunHeader,
    Session,
    State,
)

__all__ = [
    "Added", "AskedDataset", "Count", "Counters", "Known", "PlannedRow", "ProviderHeader", "Row", "Run", "RunFile", "RunHeader", "Session", "State",
]  # fmt: skip
