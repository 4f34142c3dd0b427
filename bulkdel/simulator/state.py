"""What a simulated service holds: datasets, their documents, and what has become of them."""

from __future__ import annotations

import math
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Held(NamedTuple):
    """One document as the service holds it now."""

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
    """A document of Dify or a file of Langdock; times are seconds of the store's clock unless they say unix."""

    id: str
    name: str
    position: int
    created_at: int
    """Unix seconds."""
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
        """Tell whether it is still being indexed."""
        return now < self.ready_at and not self.paused

    def held(self, now: float) -> Held:
        """Give what a test may look at."""
        return Held(self.id, self.name, self.status(now), self.archived, self.enabled, self.created_at)


@dataclass(slots=True, kw_only=True)
class Dataset:
    """A knowledge base of Dify or a knowledge folder of Langdock."""

    id: str
    name: str
    created_at: int
    """Unix seconds."""
    provider: str = "vendor"
    """Dify: ``external`` keeps its documents elsewhere."""
    api_access: bool = True
    """Dify: whether the service API may touch it."""
    private: bool = False
    """Dify: another member's own; listed only with include_all."""
    role: str | None = "EDITOR"
    """Langdock: what the key may do there; None where the folder is not shared with it."""
    documents: dict[str, Document] = field(default_factory=dict)
    positions: int = 0
    _newest_first: list[Document] | None = field(default=None, init=False, repr=False)
    _holes: bool = field(default=False, init=False, repr=False)

    def add(self, document: Document) -> None:
        """Take a document in."""
        self.documents[document.id] = document
        self._newest_first = None

    def remove(self, document: str) -> Document | None:
        """Take a document out, in constant time; None when it is not there."""
        gone = self.documents.pop(document, None)
        self._holes = self._holes or gone is not None
        return gone

    def newest_first(self) -> list[Document]:
        """List what is there now by creation time and position, both descending; the list is not the caller's to change."""
        if self._newest_first is None:
            self._newest_first = sorted(self.documents.values(), key=listing_key)
        elif self._holes:
            self._newest_first = [document for document in self._newest_first if document.id in self.documents]
        self._holes = False
        return self._newest_first


def listing_key(document: Document) -> tuple[int, int]:
    """Sort by ``created_at DESC, position DESC``, which is not a unique order."""
    return -document.created_at, -document.position


def shuffled_ties(documents: list[Document], seed: str) -> list[Document]:
    """Order documents of one sort key anew, by ``seed``: what a database may do for each page it is asked for."""
    rng = random.Random(seed)
    return sorted(documents, key=lambda document: (*listing_key(document), rng.random()))


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
        """Make a new UUID."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def word(self, length: int) -> str:
        """Make ``length`` new letters and digits."""
        return "".join(self._ids.choices(string.ascii_letters + string.digits, k=length))

    def delete(self, dataset: Dataset, document: str) -> bool:
        """Delete a document and keep account of it; False when it is not there."""
        now = self.clock()
        gone = dataset.remove(document)
        if gone is None:
            return False
        # A worker that is still writing goes on after the row is gone (594 and 172 rows were left so by two real documents).
        if (gone.busy(now) and gone.phase != "waiting") or now < gone.embedding_until:
            self.orphans += gone.segments
        self.deleted.append(gone.id)
        return True

    def remove(self, dataset: str) -> bool:
        """Let a dataset vanish with all that is in it; False when it is not there."""
        if self.datasets.pop(dataset, None) is None:
            return False
        self.vanished.add(dataset)
        return True
