"""A run is a file: its plan, its journal and its evidence, in one SQLite database."""

from bulkdel.store.queries import Run
from bulkdel.store.records import (
    Act,
    AskedDataset,
    ClaimedRow,
    DocumentState,
    ListedRow,
    PlannedRow,
    ProviderHeader,
    RunHeader,
    Session,
    State,
    address,
)
from bulkdel.store.run_file import RunFile

__all__ = [
    "Act", "AskedDataset", "ClaimedRow", "DocumentState", "ListedRow", "PlannedRow", "ProviderHeader", "Run",
    "RunFile", "RunHeader", "Session", "State", "address",
]  # fmt: skip
