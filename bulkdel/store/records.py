"""What goes into a run file and comes out of it: frozen values, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from bulkdel.errors import RunFileError
from bulkdel.model import Document, Limits, Outcome, Policy, RunStatus, Selection, Target
from bulkdel.providers.protocol import Provider

T = TypeVar("T")

Act = Literal["purge", "delete", "plan", "job"]

State = Literal[
    "planned", "running", "crashed", "complete", "incomplete", "refused", "stopped", "deadline", "interrupted"
]
"""What became of a run: the words of its report, or that it waits for its first delete, goes on now, or ended without
a word (killed, or the power failed)."""

DocumentState = Literal["skipped", "selected"] | Outcome
"""What became of a document: left by selection, not settled yet, or how it settled."""


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
    """A dataset to empty: ``selection`` is None if the run's own holds."""

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


class ListedRow(NamedTuple):
    """A listed document, and why it is not selected (empty if it is)."""

    document: Document
    skipped: str


class ClaimedRow(NamedTuple):
    """One document to delete, given to the engine's workers.

    ``row`` is its place in the input and its key for ``RunFile.settled``. ``document`` is its row in a listing, None if no
    listing showed it; its name is safe to show. ``in_doubt``: an attempt may have been carried out without our hearing of it
    (an earlier session crashed, or stopped before the answer came), so "not found" now means deleted. ``also`` are the rows
    of further lines with the same id: they settle together (S4). ``given`` has the target of each of these rows that the caller
    spelled otherwise than its service.
    """

    row: int
    target: Target
    document: Document | None
    in_doubt: bool
    also: tuple[int, ...]
    given: Mapping[int, Target] = {}


class ClaimedPage(NamedTuple):
    """Documents claimed at once, in input order; the next page begins after the row ``last``. ``over``: there is none."""

    rows: list[ClaimedRow]
    last: int
    over: bool


class PlannedRow(NamedTuple):
    """One listed document or one line of targets as a report shows it; ``why_not`` is empty if it is selected, ``invalid``
    if its id may be sent."""

    target: Target
    name: str
    created_at: float | None
    status: str
    indexing: bool
    archived: bool
    why_not: str
    invalid: str


class Session(NamedTuple):
    """One process that worked on the run: ``status`` and ``exit_status`` are None if it crashed. Times in Unix seconds."""

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


def to_json(value: Policy | Selection | Limits) -> str:
    return json.dumps(asdict(value), separators=(",", ":"))


def from_json(kind: type[T], text: str, path: str, what: str) -> T:
    """What ``to_json`` wrote, checked: keys of another version are passed over, what is missing is left at its default.

    :raises RunFileError: if it is not that; ``path`` and ``what`` (the place in the file) are named
    """
    # Only reading needs it, and it takes a third of the time that aiohttp takes to import.
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([what, *map(str, first["loc"])])
        raise RunFileError(
            f"the run file is damaged and cannot be used ({place}: {first['msg']}): {path}",
            hint="begin a new run: what is deleted already is no longer listed",
        ) from None


def pack_id(id: str) -> str | bytes:
    """An id as SQLite takes it: text, or bytes if it is not Unicode (half a surrogate pair out of a JSON escape)."""
    if id.isascii():
        return id
    try:
        id.encode()
    except UnicodeEncodeError:
        return id.encode("utf-8", "surrogatepass")
    return id


def given_target(target: Target, given: str) -> Target:
    """The target as the caller spelled it, from the column ``given``."""
    return Target(target.provider, *json.loads(given)) if given else target


def unpack_id(stored: str | bytes) -> str:
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored
