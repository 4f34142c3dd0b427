"""What was asked, as a run file keeps it: frozen values, their JSON, and the tables that hold them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Limits, Policy, PurgeRequest, Target
from bulkdel.providers.protocol import Provider
from bulkdel.store.database import damaged

T = TypeVar("T")

Act = Literal["purge", "delete", "plan", "job"]


# Datasets, and documents in the order of their rows, each with its place. NOT INDEXED and CROSS JOIN: read by the index of
# ids, a million documents take 4 s (each is looked up), by row 0.6 s.
DATASETS = "dataset s JOIN provider p ON p.id = s.provider"
EVERY_DOCUMENT = "document d NOT INDEXED"
DOCUMENTS = f"{EVERY_DOCUMENT} CROSS JOIN dataset s ON s.id = d.dataset CROSS JOIN provider p ON p.id = s.provider"


def address(base_url: str) -> str:
    """``base_url`` without what could be a secret (a user and password before the host, a query): how a run names a place."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")).rstrip("/")


@dataclass(frozen=True, slots=True)
class ProviderHeader:
    """A provider as a run remembers it: everything but the key, and its address without secrets.

    ``max_concurrency`` is how far ``auto`` may go, ``rate_is_default`` whether the user said nothing of the rate; 0 and True in a
    file that an older bulkdel wrote.
    """

    name: str
    kind: str
    base_url: str
    limits: Limits
    fingerprint: str
    max_concurrency: int = 0
    rate_is_default: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", address(self.base_url))

    @classmethod
    def of(cls, provider: Provider) -> ProviderHeader:
        p = provider
        return cls(p.name, p.kind, p.base_url, p.limits, p.fingerprint, p.max_concurrency, p.rate_is_default)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What was asked, as the run file keeps it.

    ``version`` is bulkdel's. ``created_at`` is in Unix seconds, set when the file is created. ``datasets`` are those to empty:
    they are on disk from the first moment, so that a run that is killed before it has listed them does not forget any.
    ``targets`` is whether explicit targets will follow. ``more`` is anything else worth keeping, plain JSON values.
    """

    act: Act
    providers: tuple[ProviderHeader, ...]
    version: str
    policy: Policy = field(default_factory=Policy)
    datasets: tuple[PurgeRequest, ...] = ()
    targets: bool = False
    created_at: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)


def write_header(db: sqlite3.Connection, header: RunHeader) -> None:
    """Into the tables of a new file.

    :raises ConfigurationError: if a dataset's provider is none of the run's
    """
    targets = "open" if header.targets else "none"
    db.execute("INSERT INTO run (asked, targets) VALUES (?, ?)", (to_json(header), targets))
    db.executemany("INSERT INTO provider (name) VALUES (?)", [(provider.name,) for provider in header.providers])
    for asked in header.datasets:
        key = dataset_key(db, asked.provider, asked.dataset)
        db.execute("UPDATE dataset SET listing = 'open' WHERE id = ?", (key,))


def read_header(db: sqlite3.Connection, path: str) -> RunHeader:
    """What was asked, out of the tables; raises SQLite's errors.

    :raises RunFileError: if what is there is no header; its place in it is named
    """
    run = db.execute("SELECT asked FROM run").fetchone()
    if run is None:
        raise damaged(path, "what was asked is missing")
    return from_json(RunHeader, run[0], path, "asked")


def provider_key(db: sqlite3.Connection, name: str) -> int:
    """:raises ConfigurationError: if the run has no such provider"""
    found = db.execute("SELECT id FROM provider WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise ConfigurationError(f"this run has no provider of that name: {name!r}")
    return int(found[0])


def dataset_key(db: sqlite3.Connection, provider: str, dataset: str) -> int:
    """The key of a dataset, which is written down if it is new.

    :raises ConfigurationError: if the run has no such provider
    """
    place = (provider_key(db, provider), pack_id(dataset))
    db.execute("INSERT INTO dataset (provider, dataset, listing) VALUES (?, ?, 'none') ON CONFLICT DO NOTHING", place)
    return int(db.execute("SELECT id FROM dataset WHERE provider = ? AND dataset = ?", place).fetchone()[0])


# ---------------------------------------------------------------------- JSON and ids


def to_json(value: object) -> str:
    return json.dumps(value, default=_fields, separators=(",", ":"))


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def from_json(kind: Callable[..., T], text: str, path: str, what: str) -> T:
    """What ``to_json`` wrote, checked: keys of another version are passed over, but not a selection's; what is missing is left at its
    default.

    :raises RunFileError: if it is not that; ``path`` and ``what`` (the place in the file) are named
    """
    from pydantic import ValidationError  # only reading needs it: a third of the time that aiohttp takes to import

    try:
        value: T = _adapter(kind).validate_json(text)
        return value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([what, *map(str, first["loc"])])
        if first["type"] == "unexpected_keyword_argument":  # only a selection forbids keys that it does not know
            raise RunFileError(
                "the run file was written by a newer bulkdel, whose selection has what this one does not know"
                f" ({place}): {path}",
                hint="upgrade bulkdel, and ask again",
            ) from None
        raise damaged(path, f"{place}: {first['msg']}") from None


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)  # takes longer to make than a run file to open


def pack_id(id: str) -> str | bytes:
    """An id as SQLite takes it: text, or bytes if it is not Unicode (half a surrogate pair out of a JSON escape)."""
    if id.isascii():
        return id
    try:
        id.encode()
    except UnicodeEncodeError:
        return id.encode("utf-8", "surrogatepass")
    return id


def unpack_id(stored: str | bytes) -> str:
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored


def given_target(target: Target, given: str) -> Target:
    """The target as the caller spelled it, from the column ``given``."""
    return Target(target.provider, *json.loads(given)) if given else target
