"""Where a purge keeps what it listed and what became of it: in memory, or (the same words) in a run file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from bulkdel.model import Document, Outcome, Rate, Selection, Settled, Target
from bulkdel.report import DatasetReport

DocumentState = Literal["skipped", "selected"] | Outcome
"""What became of a listed document: left by selection, not settled yet, or how it settled."""

PAGE = 256


class ListedRow(NamedTuple):
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

    async def begin_listing(self, provider: str, dataset: str, name: str, selection: Selection) -> None:
        """A dataset's listing begins; ``name`` is safe to show, empty if it is not known.

        What an earlier session listed of it without coming to the end is dropped.
        """

    async def add_listed(self, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
        """Keep rows that are not known yet, and return those; the same id again is the same document."""

    async def end_listing(self, provider: str, dataset: str, *, complete: bool, reason: str = "") -> None:
        """The listing ended. If it is not complete its rows are dropped: nothing of it may be deleted (S15)."""

    async def add_targets(self, targets: Sequence[Target], invalid: Sequence[tuple[int, str]] = ()) -> None:
        """Keep explicit targets, every occurrence; the last page may be kept only when ``end_targets`` returns.

        ``invalid`` are those of this page that are never sent, each by its place in it, from 0, and with why.
        """

    async def end_targets(self, *, complete: bool) -> None:
        """Explicit targets were given as far as they were read; ``complete``: there are no more."""

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        """Keep what a listing shows of explicit targets; other documents are ignored. Returns how many were the run's."""

    async def record_consent(self, selected: int) -> None:
        """The guards and the user agreed to all ``selected`` documents of the run."""

    async def record_estimate(self, seconds: float | None, learned: Mapping[str, tuple[Rate, float]]) -> None:
        """How long the deletes of a plan will take, in seconds, and the rates that an earlier run learned, with how many
        seconds ago, by provider."""

    def pages(self, provider: str) -> AsyncIterator[Sequence[Work]]:
        """The selected documents in pages: ready ones first, those being indexed last."""

    async def states(self, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
        """What became of each document; None for one that is not in the run."""

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Take endings; returns only when they are safe."""

    async def end_dataset(self, report: DatasetReport) -> None:
        """Take how a dataset came out, its verification included."""


class MemoryLedger:
    """A ledger in memory: about 500 bytes a document."""

    def __init__(self) -> None:
        self._rows: list[tuple[Target, Document | None, str] | None] = []
        self._keys: dict[tuple[str, str], dict[str, int]] = {}
        self._also: dict[int, list[int]] = {}  # further occurrences of explicit targets, by the first one's key
        self._shown: dict[Target, Document] = {}  # of explicit targets
        self._outcomes: dict[int, Outcome] = {}

    async def add_listed(self, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
        keys = self._keys.setdefault((provider, dataset), {})
        new: list[ListedRow] = []
        for row in rows:
            if row.document.id not in keys:
                keys[row.document.id] = len(self._rows)
                self._rows.append((Target(provider, dataset, row.document.id), row.document, row.skipped))
                new.append(row)
        return new

    async def add_targets(self, targets: Sequence[Target], invalid: Sequence[tuple[int, str]] = ()) -> None:
        for target in targets:
            place = len(self._rows)
            first = self._keys.setdefault(target[:2], {}).setdefault(target.document, place)
            if first == place:
                self._rows.append((target, None, ""))
            else:
                self._also.setdefault(first, []).append(place)
                self._rows.append(None)

    async def end_targets(self, *, complete: bool) -> None:
        pass

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        keys = self._keys.get((provider, dataset), {})
        shown = [document for document in documents if document.id in keys]
        self._shown.update((Target(provider, dataset, document.id), document) for document in shown)
        return len(shown)

    async def begin_listing(self, provider: str, dataset: str, name: str, selection: Selection) -> None:
        pass

    async def end_listing(self, provider: str, dataset: str, *, complete: bool, reason: str = "") -> None:
        if not complete:
            for key in self._keys.pop((provider, dataset), {}).values():
                self._rows[key] = None

    async def record_consent(self, selected: int) -> None:
        pass

    async def record_estimate(self, seconds: float | None, learned: Mapping[str, tuple[Rate, float]]) -> None:
        pass

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

    async def states(self, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
        keys = self._keys.get((provider, dataset), {})
        states: list[DocumentState | None] = []
        for document in ids:
            key = keys.get(document)
            if key is None:
                states.append(None)
                continue
            entry = self._rows[key]
            skipped = entry is not None and entry[2] != ""
            states.append("skipped" if skipped else self._outcomes.get(key, "selected"))
        return states

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        for key, settled in batch:
            self._outcomes[key] = settled.outcome

    async def end_dataset(self, report: DatasetReport) -> None:
        pass
