"""What a simulated service holds: datasets and their documents, which of them are special at first, and what was deleted."""

from __future__ import annotations

import math
import random
import string
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bulkdel.errors import ConfigurationError
from bulkdel.simulator.faults import Faults


class Held(NamedTuple):
    """One document as the service holds it now, for a test to look at."""

    id: str
    name: str
    status: str
    """The service's own word: Dify's ``indexing_status``, Langdock's ``syncStatus``."""
    archived: bool
    enabled: bool
    created_at: int
    """Unix seconds."""


@dataclass(slots=True, kw_only=True)
class Document:
    """A document of Dify or a file of Langdock; times are seconds of the store's clock, ``created_at`` is Unix seconds."""

    id: str
    name: str
    position: int
    created_at: int
    phase: str
    """Its status until ``ready_at``."""
    outcome: str
    """Its status from ``ready_at`` on."""
    ready_at: float = -math.inf
    archived: bool = False
    enabled: bool = True
    paused: bool = False
    """Dify: its indexing is paused: neither ready nor under way."""
    disabled_at: int | None = None
    locked_until: float = -math.inf
    """Dify: Redis holds its indexing lock."""
    embedding_until: float = -math.inf
    """Dify: it is being embedded again, though its status does not say so; deleting it now leaves orphans."""
    external_id: str | None = None
    segments: int = 3
    characters: int = 128

    def status(self, now: float) -> str:
        """Give the service's own word for where its indexing is."""
        return self.phase if now < self.ready_at else self.outcome

    def busy(self, now: float) -> bool:
        return now < self.ready_at and not self.paused


@dataclass(slots=True, kw_only=True)
class Dataset:
    """A knowledge base of Dify or a knowledge folder of Langdock; ``created_at`` is Unix seconds."""

    id: str
    name: str
    created_at: int
    provider: str = "vendor"
    """Dify: ``external`` keeps its documents elsewhere."""
    api_access: bool = True
    """Dify: whether the service API may touch it."""
    private: bool = False
    """Dify: another member's own; listed only with include_all."""
    role: str | None = "EDITOR"
    """Langdock: what the key may do there; None if the folder is not shared with it."""
    documents: dict[str, Document] = field(default_factory=dict)
    positions: int = 0
    deleted: list[tuple[float, Document]] = field(default_factory=list)
    """What was deleted and when, if a fault still needs it."""
    _sorted: list[Document] | None = field(default=None, init=False, repr=False)

    def add(self, *documents: Document) -> None:
        self.documents |= {document.id: document for document in documents}
        self._sorted = None

    def newest_first(self) -> list[Document]:
        """List what is there by creation time and position, both descending, which is no unique order."""
        # A listing of 100,000 documents has 1,000 pages: it is sorted again only if a document was added.
        if self._sorted is None:
            self._sorted = sorted(self.documents.values(), key=listing_key)
        elif len(self._sorted) != len(self.documents):
            self._sorted = [document for document in self._sorted if document.id in self.documents]
        return self._sorted

    def listing(self, now: float, stale: float) -> list[Document]:
        """List what is there and what was deleted less than ``stale`` seconds ago."""
        late = [document for at, document in self.deleted if now < at + stale]
        return sorted([*self.newest_first(), *late], key=listing_key) if late else self.newest_first()


def listing_key(document: Document) -> tuple[int, int]:
    """Sort by ``created_at DESC, position DESC``."""
    return -document.created_at, -document.position


def one_page(documents: Sequence[Document], page: int, size: int, *, ties: bool) -> list[Document]:
    """Cut page ``page`` (from 1) out of a listing.

    PostgreSQL orders rows of one sort key for each page anew. With ``ties``, if a page begins amid such rows, it shows the last
    row of the page before again in place of one of its own, which is on no page then: the same one in every pass. What pages
    of 100 hide no other size hides, so that two sizes together show all.
    """
    begin = (page - 1) * size
    shown = list(documents[begin : begin + size])
    if ties and (hidden := _hidden(documents, begin, size)) is not None:
        shown[hidden - begin] = documents[begin - 1]
    return shown


def _hidden(documents: Sequence[Document], begin: int, size: int) -> int | None:
    """The place of the row that the page at ``begin`` hides, if any."""
    if not 0 < begin < len(documents):
        return None
    key = listing_key(documents[begin - 1])
    for place in range(begin, min(begin + size, len(documents))):
        if listing_key(documents[place]) != key:
            return None
        if size == 100 or place % 100 or _hidden(documents, place, 100) is None:
            return place
    return None


class Store:
    """All datasets of one simulated service, and its accounts.

    ``clock`` gives monotonic seconds, ``epoch`` is the unix time at its zero; ids come from ``seed``.
    """

    def __init__(self, *, clock: Callable[[], float], epoch: float, seed: int) -> None:
        self.clock = clock
        self.epoch = epoch
        self.datasets: dict[str, Dataset] = {}
        self.vanished: set[str] = set()
        """Ids of the datasets that were there once."""
        self.deleted: list[str] = []
        """Ids of the documents that were deleted, in order."""
        self.orphans = 0
        """Segments left behind by documents that were deleted while they were being indexed or embedded."""
        self._ids = random.Random(f"{seed}/ids")

    def unix(self) -> int:
        """Give the service's own wall time, whole unix seconds."""
        return math.floor(self.epoch + self.clock())

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def word(self, length: int) -> str:
        return "".join(self._ids.choices(string.ascii_letters + string.digits, k=length))

    def delete(self, dataset: Dataset, document: str, *, remember: bool) -> bool:
        """Delete a document and keep account of it; False if it is not there."""
        now = self.clock()
        gone = dataset.documents.pop(document, None)
        if gone is None:
            return False
        # A worker that is still writing goes on after the row is gone (594 and 172 rows were left so by two real documents).
        if (gone.busy(now) and gone.phase != "waiting") or now < gone.embedding_until:
            self.orphans += gone.segments
        self.deleted.append(gone.id)
        if remember:
            dataset.deleted.append((now, gone))
        return True

    def remove(self, dataset: str) -> None:
        """Let a dataset vanish with all that is in it."""
        self.datasets.pop(dataset, None)
        self.vanished.add(dataset)


KINDS = (
    "FAQ-{:04}.md",
    "FAQ-{:04}.md",
    "release-notes-{:04}.md",
    "manual-chapter-{:04}.pdf",
    "ticket-{:04}.txt",
    "meeting-notes-{:04}.docx",
    "price-list-{:04}.csv",
    "tmp-import-{:04}.txt",
)
"""What a knowledge base of a support team holds; ``tmp-`` is there to be selected by name."""

NASTY = (
    "\x1b[31mred alert\x1b[0m\x1b]0;title\x07.md",  # colours, and a terminal's title
    "<img src=x onerror=alert(1)>.html",
    '=HYPERLINK("http://127.0.0.1/","click").csv',
    "+1+cmd.csv",
    "@SUM(A1:A9).csv",
    "-2+3.csv",
    "line\nbreak\r\nand\ttab.txt",
    "Ende\u202egpj.exe",  # right-to-left override: shows as Endeexe.jpg
    "null\u2028separator.txt",
    'quo"te, comma; and \\ backslash.txt',
    "[link=https://example.invalid]markup[/link].md",  # rich's own markup
    "überlänge-" + "ä" * 230 + ".pdf",
    "   ",
    "../../etc/passwd",
    "🗑️ déjà vu.md",
)
"""Names that harm a terminal, a page, a spreadsheet or a layout when they are shown as they are."""

DATASETS = (
    "Support articles",
    "Product manuals",
    "Sales playbook",
    "Release notes",
    "Onboarding",
    "Legal",
    "Old imports",
)


def document_names(count: int, *, nasty: bool = False) -> Iterator[str]:
    """Give ``count`` names; with ``nasty``, every third of the first ones is a nasty one."""
    for number in range(1, count + 1):
        third, rest = divmod(number - 1, 3)
        if nasty and rest == 0 and third < len(NASTY):
            yield NASTY[third]
        else:
            yield KINDS[number % len(KINDS)].format(number)


def dataset_name(number: int) -> str:
    """Name dataset ``number``, counted from 0."""
    times, which = divmod(number, len(DATASETS))
    return DATASETS[which] if times == 0 else f"{DATASETS[which]} {times + 1}"


def planned(count: int, faults: Faults, *, newest: int, seed: str, failed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Give the arguments of ``add_document`` for each of ``count`` documents, oldest first.

    They are an hour apart, the last an hour before ``newest`` (unix seconds). As many are special as ``faults`` says, at
    places that ``seed`` decides; ``failed`` are the statuses of failed ones, used in turn.

    :raises ConfigurationError: if more are to be special than there are
    """
    special: dict[str, dict[str, Any]] = {
        "indexing": {"indexing_for": faults.indexing_for},
        "stuck": {"indexing_for": math.inf},
        "archived": {"archived": True},
        "failed": {},
        "synced": {},
    }
    marks = [mark for mark in special for _ in range(getattr(faults, mark))]
    if len(marks) > count:
        raise ConfigurationError(f"more documents are to be special than there are: {len(marks)} of {count}")
    rng = random.Random(seed)
    marked = dict(zip(rng.sample(range(count), len(marks)), marks, strict=True))
    for number, name in enumerate(document_names(count, nasty=faults.nasty_names)):
        fields: dict[str, Any] = {"name": name, "created_at": newest - 3600 * (count - number)}
        if faults.ties:
            # 64 share one sort key: less than a page of 100, so that ties fall across every page's edge.
            fields["created_at"] = newest - 3600 * (count - number // 64 * 64)
            fields["position"] = 1
        if mark := marked.get(number):
            fields |= special[mark]
        if mark == "failed":
            fields["status"] = failed[number % len(failed)]
        if mark == "synced":
            fields["external_id"] = f"drive:{rng.getrandbits(48):012x}"
        yield fields
