"""A run is a file: its plan, its journal and its evidence, in one SQLite database."""

from bulkdel.store.header import Act, ProviderHeader, RunHeader, address
from bulkdel.store.queries import PlannedRow, Run, Session, State
from bulkdel.store.run_file import ClaimedRow, DocumentState, ListedRow, RunFile

__all__ = [
    "Act", "ClaimedRow", "DocumentState", "ListedRow", "PlannedRow", "ProviderHeader", "Run",
    "RunFile", "RunHeader", "Session", "State", "address",
]  # fmt: skip
