"""Where a purge keeps what it listed and what became of it: in memory, or (the same words) in a run file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple, Protocol

from bulkdel.model import Document, Outcome, Settled

Fate = Literal["skipped", "selected"] | Outcome
"""What became of a listed document: left by selection, not settled yet, or how it settled."""

PAGE = 256


class Row(NamedTuple):
    """A listed document, and why it is not selected (empty where it is)."""

    document: Document
    skipped: str


class Work(NamedTuple):
    """A selected document that has not settled; ``handed``: a run before this one may have had it in flight."""

    key: int
    dataset: str
    document: Document
    handed: bool = False


class Ledger(Protocol):
    """Keeps listed documents, hands out the selected ones in pages, and takes their endings."""

    async def add(self, provider: str, dataset: str, rows: Sequence[Row]) -> list[Row]:
        """Keep rows that are not known yet, and return those; the same id again is the same document."""

    async def forget(self, provider: str, dataset: str) -> None:
        """Drop a dataset's rows: its listing was not completed, so nothing of it may be deleted."""

    def pages(self, provider: str) -> AsyncIterator[list[Work]]:
        """The selected documents in pages: ready ones first, those being indexed last."""

    async def fates(self, provider: str, dataset: str, ids: Sequence[str]) -> list[Fate | None]:
        """What became of each document; None for one that was never listed."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Take endings; returns only when they are safe."""


class MemoryLedger:
    """A ledger in memory: about 500 bytes a document."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, Row] | None] = []
        self._keys: dict[tuple[str, str], dict[str, int]] = {}
        self._outcomes: dict[int, Outcome] = {}

    async def add(self, provider: str, dataset: str, rows: Sequence[Row]) -> list[Row]:
        keys = self._keys.setdefault((provider, dataset), {})
        new: list[Row] = []
        for row in rows:
            if row.document.id not in keys:
                keys[row.document.id] = len(self._rows)
                self._rows.append((provider, dataset, row))
                new.append(row)
        return new

    async def forget(self, provider: str, dataset: str) -> None:
        for key in self._keys.pop((provider, dataset), {}).values():
            self._rows[key] = None

    async def pages(self, provider: str) -> AsyncIterator[list[Work]]:
        for indexing in (False, True):
            page: list[Work] = []
            for key, entry in enumerate(self._rows):
                if entry is None or entry[0] != provider or entry[2].skipped or entry[2].document.indexing != indexing:
                    continue
                page.append(Work(key, entry[1], entry[2].document))
                if len(page) == PAGE:
                    yield page
                    page = []
            if page:
                yield page

    async def fates(self, provider: str, dataset: str, ids: Sequence[str]) -> list[Fate | None]:
        keys = self._keys.get((provider, dataset), {})
        fates: list[Fate | None] = []
        for document in ids:
            key = keys.get(document)
            if key is None:
                fates.append(None)
                continue
            entry = self._rows[key]
            skipped = entry is not None and entry[2].skipped
            fates.append("skipped" if skipped else self._outcomes.get(key, "selected"))
        return fates

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        for key, settled in batch:
            self._outcomes[key] = settled.outcome
