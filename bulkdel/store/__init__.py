"""A run is a file: its plan, its journal and its evidence, in one SQLite database."""

from bulkdel.store.file import RunFile
from bulkdel.store.read import Run
from bulkdel.store.values import (
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
