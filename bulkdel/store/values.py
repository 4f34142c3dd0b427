"""What goes into a run file and comes out of it: frozen values, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from bulkdel.model import Document, Limits, Outcome, Policy, Rate, RunStatus, Selection, Target
from bulkdel.providers.protocol import Provider
from bulkdel.store.schema import ARCHIVED, DISABLED, INDEXING, READY, SYNCED

Act = Literal["purge", "delete", "plan", "job"]
State = Literal[
    "planned", "running", "crashed", "complete", "incomplete", "refused", "stopped", "deadline", "interrupted"
]
"""What became of a run: the words of its report, or that it waits for its first delete, goes on now, or ended without
a word (killed, or the power failed)."""


def address(base_url: str) -> str:
    """``base_url`` without what could be a secret (a user and password before the host, a query): how a run names a place."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")).rstrip("/")


@dataclass(frozen=True, slots=True)
class ProviderHeader:
    """A provider as a run remembers it: everything but the key."""

    name: str
    kind: str
    base_url: str
    limits: Limits
    fingerprint: str

    @classmethod
    def of(cls, provider: Provider) -> ProviderHeader:
        return cls(provider.name, provider.kind, address(provider.base_url), provider.limits, provider.fingerprint)


class AskedDataset(NamedTuple):
    """A dataset to empty: ``selection`` is None where the run's own holds."""

    provider: str
    dataset: str
    selection: Selection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What was asked, as the run file keeps it.

    ``version`` is bulkdel's. ``created_at`` is in Unix seconds; leave it None to have it set when the file is created.
    ``datasets`` are those to empty: they are on disk from the first moment, so that a run that is killed before it has
    listed them does not forget any. ``targets`` is whether explicit targets will follow. ``more`` is anything else worth
    keeping, plain JSON values.
    """

    act: Act
    providers: tuple[ProviderHeader, ...]
    version: str
    policy: Policy = field(default_factory=Policy)
    selection: Selection = field(default_factory=Selection)
    datasets: tuple[AskedDataset, ...] = ()
    targets: bool = False
    created_at: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Added(NamedTuple):
    """What a batch of rows came to: ``listed = selected + skipped``. ``duplicates`` of the listed were there already."""

    listed: int = 0
    selected: int = 0
    skipped: int = 0
    duplicates: int = 0

    def __add__(self, other: object) -> Added:  # tuples join, these add up
        if not isinstance(other, Added):
            return NotImplemented
        return Added(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(slots=True)
class Row:
    """One document to delete, as it is handed over.

    ``row`` is its number for ``RunFile.settled``, and the order of the input; ``key`` is its dataset's. ``document`` is
    its row in the listing, None where no listing showed it; its name is safe to show. ``handed``: an earlier
    session may have had it deleted without our knowing (it was handed over and the session crashed, or asked for and not
    settled), so a "not found" now means deleted. ``also`` has its row once more for each further occurrence: they settle
    together (S4). ``attempts`` were spent on it before.
    """

    row: int
    key: int
    target: Target
    document: Document | None
    handed: bool
    also: tuple[int, ...]
    attempts: int

    @property
    def name(self) -> str:
        return "" if self.document is None else self.document.name


class Known(NamedTuple):
    """What a run knows of one document: its row, whether it was left out, and how it ended (None: it has not)."""

    row: int
    skipped: bool
    outcome: Outcome | None


class Count(NamedTuple):
    """Something to count for a provider: ``what`` (requests, pauses, requeues, waited …), ``cause`` where it has one."""

    provider: str
    what: str
    n: float = 1
    cause: str = ""


class PlannedRow(NamedTuple):
    """One listed document or one line of targets as a report shows it; ``why_not`` is empty where it is selected, ``invalid``
    where its id may be sent."""

    target: Target
    name: str
    created_at: float | None
    status: str
    indexing: bool
    archived: bool
    why_not: str
    invalid: str = ""


class Session(NamedTuple):
    """One process that worked on the run: ``status`` and ``exit_status`` are None where it crashed."""

    id: int
    act: str
    version: str
    pid: int
    host: str
    started_at: float
    ended_at: float | None
    elapsed_s: float | None
    status: RunStatus | None
    exit_status: int | None
    reason: str
    clean: bool
    retried: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What a run cost over all its sessions: requests and pauses, requeues and seconds waited by cause."""

    requests: int = 0
    pauses: int = 0
    requeued: Mapping[str, int] = field(default_factory=dict)
    waited_s: Mapping[str, float] = field(default_factory=dict)
    other: Mapping[tuple[str, str], float] = field(default_factory=dict)


def flags_of(document: Document) -> int:
    """A listing's yes-and-no words as bits."""
    return (
        (INDEXING if document.indexing else 0)
        | (READY if document.ready else 0)
        | (ARCHIVED if document.archived else 0)
        | (0 if document.enabled else DISABLED)
        | (SYNCED if document.synced else 0)
    )


def document_of(id: str, name: str, created_at: float | None, status: str, flags: int) -> Document:
    """The inverse of ``flags_of``, with the rest of the row."""
    return Document(
        id=id,
        name=name,
        created_at=created_at,
        status=status,
        indexing=bool(flags & INDEXING),
        ready=bool(flags & READY),
        archived=bool(flags & ARCHIVED),
        enabled=not flags & DISABLED,
        synced=bool(flags & SYNCED),
    )


def milliseconds(seconds: float) -> int:
    """Unix seconds as ``datetime.isoformat(timespec="milliseconds")`` shows them: to the microsecond, then cut."""
    return round(seconds * 1_000_000) // 1000


def pack_id(id: str) -> str | bytes:
    """An id as SQLite takes it: text, or bytes where it is not Unicode (half a surrogate pair out of a JSON escape)."""
    if id.isascii():
        return id
    try:
        id.encode()
    except UnicodeEncodeError:
        return id.encode("utf-8", "surrogatepass")
    return id


def pack_ids(ids: Iterable[str]) -> list[str | bytes]:
    """``pack_id`` of many."""
    known = list(ids)
    return [*known] if "".join(known).isascii() else [pack_id(id) for id in known]


def unpack_id(stored: str | bytes) -> str:
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored


def to_json(value: Policy | Selection | Limits) -> str:
    return json.dumps(asdict(value), separators=(",", ":"))


def policy_from(text: str) -> Policy:
    """A stored policy; what an older or newer bulkdel called differently is left at its default."""
    return Policy(**_known(Policy, json.loads(text)))


def selection_from(text: str) -> Selection:
    """A stored selection, its lists as tuples again."""
    stored = json.loads(text)
    return Selection(
        names=tuple(stored.get("names", ())),
        created_before=stored.get("created_before"),
        statuses=tuple(stored.get("statuses", ())),
    )


def limits_from(text: str) -> Limits:
    stored = json.loads(text)
    rate = stored.get("rate")
    return Limits(rate=None if rate is None else Rate(**_known(Rate, rate)), concurrency=stored.get("concurrency"))


def _known(cls: type[Policy | Rate], stored: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in stored.items() if key in names}
