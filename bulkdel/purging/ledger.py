"""Where a purge keeps what it listed and what became of it: in memory, or (the same words) in a run file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple, Protocol

from bulkdel.model import Document, Outcome, Rate, Selection, Settled, Target
from bulkdel.report import DatasetReport

Fate = Literal["skipped", "selected"] | Outcome
"""What became of a listed document: left by selection, not settled yet, or how it settled."""

PAGE = 256


class Row(NamedTuple):
    """A listed document, and why it is not selected (empty where it is)."""

    document: Document
    skipped: str


class Work(Protocol):
    """A selected target that has not settled, in any class: a run file's row is one.

    ``row`` is the key of its occurrence. ``document`` is its row in a listing, None where no listing showed it.
    ``handed``: a session before this one may have had it in flight. ``also`` are the keys of further occurrences of the
    same target.
    """

    @property
    def row(self) -> int: ...
    @property
    def target(self) -> Target: ...
    @property
    def document(self) -> Document | None: ...
    @property
    def handed(self) -> bool: ...
    @property
    def also(self) -> tuple[int, ...]: ...


class _Work(NamedTuple):
    row: int
    target: Target
    document: Document | None
    also: tuple[int, ...]
    handed: bool = False


class Ledger(Protocol):
    """Keeps listed documents, hands out the selected ones in pages, and takes their endings."""

    async def begin(self, provider: str, dataset: str, name: str, select: Selection) -> None:
        """A dataset's listing begins; ``name`` is safe to show, empty where it is not known."""

    async def add(self, provider: str, dataset: str, rows: Sequence[Row]) -> list[Row]:
        """Keep rows that are not known yet, and return those; the same id again is the same document."""

    async def add_targets(self, targets: Sequence[Target]) -> None:
        """Keep explicit targets, every occurrence; the last page may be kept only when ``took_targets`` returns."""

    async def invalid(self, size: int, found: Sequence[tuple[int, str]]) -> None:
        """Of the last ``size`` explicit targets these are never sent, each by its place among them, from 0, and with why; for who
        looks at the plan later."""

    async def took_targets(self, *, whole: bool) -> None:
        """Explicit targets were given as far as they were read; ``whole``: there are no more."""

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        """Keep what a listing shows of explicit targets; the other documents are none of ours. Returns how many were."""

    async def whole(self, provider: str, dataset: str) -> None:
        """The dataset's listing came to its end and nothing is missing."""

    async def forget(self, provider: str, dataset: str, reason: str) -> None:
        """Drop a dataset's rows: its listing was not completed, so nothing of it may be deleted (S15)."""

    async def agreed(self, provider: str, selected: int) -> None:
        """The guards and the user said yes to all ``selected`` of the run; kept with any of the providers."""

    async def estimated(self, provider: str, seconds: float) -> None:
        """How long the deletes will take, for who looks at the plan later; kept with any of the providers."""

    async def learned(self, provider: str, rate: Rate, ago_s: float) -> None:
        """The rate that the estimate counts with, as an earlier run learned it; for who looks at the plan later."""

    def pages(self, provider: str) -> AsyncIterator[Sequence[Work]]:
        """The selected documents in pages: ready ones first, those being indexed last."""

    async def fates(self, provider: str, dataset: str, ids: Sequence[str]) -> list[Fate | None]:
        """What became of each document; None for one that was never listed."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Take endings; returns only when they are safe."""

    async def ended(self, report: DatasetReport) -> None:
        """Take how a dataset came out, its verification included."""


class MemoryLedger:
    """A ledger in memory: about 500 bytes a document."""

    def __init__(self) -> None:
        self._rows: list[tuple[Target, Document | None, str] | None] = []
        self._keys: dict[tuple[str, str], dict[str, int]] = {}
        self._also: dict[int, list[int]] = {}  # further occurrences of explicit targets, by the first one's key
        self._shown: dict[Target, Document] = {}  # of explicit targets
        self._outcomes: dict[int, Outcome] = {}

    async def add(self, provider: str, dataset: str, rows: Sequence[Row]) -> list[Row]:
        keys = self._keys.setdefault((provider, dataset), {})
        new: list[Row] = []
        for row in rows:
            if row.document.id not in keys:
                keys[row.document.id] = len(self._rows)
                self._rows.append((Target(provider, dataset, row.document.id), row.document, row.skipped))
                new.append(row)
        return new

    async def add_targets(self, targets: Sequence[Target]) -> None:
        for target in targets:
            place = len(self._rows)
            first = self._keys.setdefault(target[:2], {}).setdefault(target.document, place)
            if first == place:
                self._rows.append((target, None, ""))
            else:
                self._also.setdefault(first, []).append(place)
                self._rows.append(None)

    async def invalid(self, size: int, found: Sequence[tuple[int, str]]) -> None:
        pass

    async def took_targets(self, *, whole: bool) -> None:
        pass

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        keys = self._keys.get((provider, dataset), {})
        shown = [document for document in documents if document.id in keys]
        self._shown.update((Target(provider, dataset, document.id), document) for document in shown)
        return len(shown)

    async def begin(self, provider: str, dataset: str, name: str, select: Selection) -> None:
        pass

    async def whole(self, provider: str, dataset: str) -> None:
        pass

    async def agreed(self, provider: str, selected: int) -> None:
        pass

    async def estimated(self, provider: str, seconds: float) -> None:
        pass

    async def learned(self, provider: str, rate: Rate, ago_s: float) -> None:
        pass

    async def forget(self, provider: str, dataset: str, reason: str) -> None:
        for key in self._keys.pop((provider, dataset), {}).values():
            self._rows[key] = None

    async def pages(self, provider: str) -> AsyncIterator[Sequence[Work]]:
        for indexing in (False, True):
            page: list[Work] = []
            for key, entry in enumerate(self._rows):
                if entry is None or entry[0].provider != provider or entry[2]:
                    continue
                document = entry[1] or self._shown.get(entry[0])
                if (document is not None and document.indexing) is not indexing:
                    continue
                page.append(_Work(key, entry[0], document, tuple(self._also.get(key, ()))))
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
            skipped = entry is not None and entry[2] != ""
            fates.append("skipped" if skipped else self._outcomes.get(key, "selected"))
        return fates

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        for key, settled in batch:
            self._outcomes[key] = settled.outcome

    async def ended(self, report: DatasetReport) -> None:
        pass
