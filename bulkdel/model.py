"""The values a caller sees: targets and how they settled, documents and datasets, limits, policy and selection."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, NamedTuple
from unicodedata import normalize

from bulkdel.errors import ConfigurationError
from bulkdel.text import NAME, format_time, sanitize

Outcome = Literal[
    "deleted", "already_gone",
    "archived", "stuck_indexing", "invalid_id", "missing", "refused", "gave_up", "dataset_stopped", "not_attempted",
]  # fmt: skip
"""How a target ended: the first two are fulfilled, the others rejected."""

Status = Literal["fulfilled", "rejected"]
Indexing = Literal["wait", "delete", "skip"]
Missing = Literal["ok", "fail"]
RunStatus = Literal["complete", "incomplete", "refused", "stopped", "deadline", "interrupted"]

FULFILLED: frozenset[Outcome] = frozenset({"deleted", "already_gone"})
MAY_BE_GONE = "it may be gone: the answer of an earlier attempt was lost"
"""How the reason of a document ends that was not attempted any more and is in doubt."""
ANSWER_LOST = "answer lost"
"""How the reason of a ``deleted`` begins that no answer confirmed: what was asked for again was not there any more."""


class Target(NamedTuple):
    """One document to delete: the provider's name, the dataset's id and the document's id.

    A named tuple, because every target is hashed and compared, and tuples do both in C (0.1 µs against 0.8 µs for a
    frozen dataclass).
    """

    provider: str
    dataset: str
    document: str


class Settled(NamedTuple):
    """A target's one ending.

    ``outcome`` is ``deleted`` or ``already_gone`` (fulfilled), or why not (rejected). ``reason`` is the service's own
    words, made safe, or ours if the service said nothing. ``attempts`` counts the DELETEs sent for it. ``name`` is the
    document's name made safe, empty if it is not known. ``settled_at`` is UTC, in Unix seconds.
    """

    target: Target
    outcome: Outcome
    reason: str
    attempts: int
    name: str
    settled_at: float

    @property
    def status(self) -> Status:
        """``fulfilled`` or ``rejected``, as in ``Promise.allSettled``."""
        return "fulfilled" if self.outcome in FULFILLED else "rejected"

    def as_dict(self) -> dict[str, Any]:
        """The settled line of the command (``--settled``): plain JSON values, time as UTC ISO 8601."""
        return {
            **self.target._asdict(),
            "name": self.name,
            "status": self.status,
            "outcome": self.outcome,
            "reason": self.reason,
            "attempts": self.attempts,
            "settled_at": datetime.fromtimestamp(self.settled_at, UTC).isoformat(timespec="milliseconds"),
        }


OnSettled = Callable[[Sequence[Settled]], Awaitable[None]]
"""Awaited with pages of targets as they settle."""


@dataclass(frozen=True, slots=True)
class Document:
    """One row of a listing.

    ``status`` is the service's own word (Dify's ``display_status``, Langdock's ``syncStatus``), ``indexing`` whether that
    word means that it is still being indexed, ``ready`` whether it was indexed completely. ``created_at`` is in Unix
    seconds, None if the service does not say. ``name`` is as the service sent it: make it safe before it is shown.
    ``synced`` marks a document that its source may bring back at the next sync.
    """

    id: str
    name: str = ""
    created_at: float | None = None
    status: str = ""
    indexing: bool = False
    ready: bool = True
    archived: bool = False
    enabled: bool = True
    synced: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a service says of one dataset: ``documents`` is its own count, None if it does not say.

    ``refusal`` says why it cannot be purged, empty if it can (an external knowledge base, a role too low).
    """

    id: str
    name: str = ""
    documents: int | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``n`` requests leave in any ``per`` seconds."""

    n: float
    per: float = 1.0

    def __post_init__(self) -> None:
        if not (_number(self.n) and _number(self.per) and self.n > 0 and self.per > 0):
            raise ConfigurationError(
                f"a rate must be a positive number of requests in a positive number of seconds: {self.n!r} in {self.per!r}"
            )
        if not 0 < self.per_second < math.inf:
            raise ConfigurationError(f"a rate must be one that can be kept: {self.n!r} in {self.per!r} s")

    @property
    def per_second(self) -> float:
        return self.n / self.per

    def __str__(self) -> str:
        if self.per == 1:
            return f"{self.n:g}/s"
        if self.per == 60:
            return f"{self.n:g}/min"
        if self.n == int(self.n) and self.per == int(self.per):
            return f"{self.n:g} in {self.per:g} s"
        # A rate that was found is known to some percent.
        return f"{self.per_second:.3g}/s" if self.per_second >= 1 else f"{60 * self.per_second:.3g}/min"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows: belongs to the key, shared by all its datasets.

    ``rate`` is the service's own limit, None if none is known. ``concurrency`` is how many requests may be in flight,
    None for the provider's own default ("auto").
    """

    rate: Rate | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.concurrency is not None and not (_whole(self.concurrency) and 1 <= self.concurrency <= 1000):
            raise ConfigurationError(
                f"concurrency must be a whole number from 1 to 1000, or None: {self.concurrency!r}"
            )
        if not isinstance(self.rate, Rate | None):
            raise ConfigurationError(f"a limit's rate must be a Rate, or None: {self.rate!r}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents of a dataset to delete; empty means all.

    ``names`` are patterns in which ``*`` stands for any characters, ``?`` for one, and everything else, brackets too, for
    itself; ``statuses`` are the service's own words. A document is selected if it matches any of each, capitals or not.
    ``created_before`` is in Unix seconds; a document without a creation time is then not selected.
    """

    # Read from a run file by pydantic: a condition that this version does not know must not be passed over, because
    # without it more documents would be deleted.
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    names: tuple[str, ...] = ()
    created_before: float | None = None
    statuses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A selection that is not understood must not select everything: "tmp-*" alone would be five patterns, "*" among
        # them, and no document is too late for a date that is not a number.
        for name in ("names", "statuses"):
            value = getattr(self, name)
            if not (isinstance(value, tuple | list) and all(isinstance(word, str) for word in value)):
                raise ConfigurationError(f"{name} must be a tuple of strings: {value!r}")
            object.__setattr__(self, name, tuple(value))
        if self.created_before is not None and not _number(self.created_before):
            raise ConfigurationError(f"created_before must be Unix seconds, or None: {self.created_before!r}")

    def why_not(self, document: Document) -> str:
        """Why ``document`` is not selected, in a few words; empty if it is selected.

        Of several reasons it is the first, in the order of the fields: name, then creation time, then status.
        """
        if self.names:
            name = _comparable(document.name)
            # A bracket is what begins a set of characters in fnmatch; as a set of its own it stands for itself.
            if not any(fnmatchcase(name, _comparable(pattern).replace("[", "[[]")) for pattern in self.names):
                return "name does not match"
        if self.created_before is not None:
            if document.created_at is None:
                return "creation time unknown"
            if document.created_at >= self.created_before:
                return "created too late"
        if self.statuses and document.status.casefold() not in {s.casefold() for s in self.statuses}:
            return "status does not match"
        return ""

    def __str__(self) -> str:
        """Every condition in words, made safe: ``name like tmp-* or *.old, status error``; empty if all are selected."""

        def any_of(words: Sequence[str]) -> str:
            return " or ".join(sanitize(word, NAME) for word in words)

        parts = [f"name like {any_of(self.names)}"] if self.names else []
        parts += [f"created before {format_time(self.created_before)}"] if self.created_before is not None else []
        parts += [f"status {any_of(self.statuses)}"] if self.statuses else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """One dataset to empty, and which of its documents."""

    provider: str
    dataset: str
    select: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a call behaves; the provider's limits are not part of it. Every duration is in seconds.

    :param attempts: attempts a document may cost before it is rejected; pauses and indexing waits are free
    :param timeout: one attempt, from connecting to the last byte
    :param connect_timeout: connecting alone
    :param backoff: first retry delay; doubles with full jitter up to ``backoff_cap``
    :param indexing: what to do with documents that are still being indexed; None is ``wait``
    :param indexing_backoff: first delay between looks at a document that is being indexed; later ones come after a fifth of it,
        then after a 30th of the wait so far, up to ``indexing_backoff_cap``, and further apart if looks would take more
        than a tenth of the provider's time
    :param indexing_timeout: give up waiting for one document
    :param unarchive: un-archive archived documents first (Dify)
    :param max_pause: the longest pause a service may ask for with ``Retry-After``
    :param deadline: the whole call; what is left then is not attempted
    :param max_delete: more selected than this: refused, nothing deleted
    :param expect: not exactly this many selected: refused, nothing deleted
    :param missing: what becomes of a document that was not there when it was first asked for: ``ok`` is already gone, ``fail``
        is rejected as ``missing``
    :param accept_incomplete: delete what was seen of a dataset whose listing does not show all that the service counts, also
        with a selection or from a plan; without it such a run is refused
    """

    attempts: int = 6
    timeout: float = 60.0
    connect_timeout: float = 10.0
    backoff: float = 1.0
    backoff_cap: float = 60.0
    indexing: Indexing | None = None
    indexing_backoff: float = 5.0
    indexing_backoff_cap: float = 30.0
    indexing_timeout: float = 900.0
    unarchive: bool = False
    max_pause: float = 3600.0
    deadline: float | None = None
    max_delete: int | None = None
    expect: int | None = None
    missing: Missing = "ok"
    accept_incomplete: bool = False

    def __post_init__(self) -> None:
        if not (_whole(self.attempts) and self.attempts >= 1):
            raise ConfigurationError(f"attempts must be a whole number of at least 1: {self.attempts!r}")
        for name in (
            "timeout", "connect_timeout", "backoff", "backoff_cap", "indexing_backoff", "indexing_backoff_cap",
            "indexing_timeout", "max_pause",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (_number(value) and value > 0):
                raise ConfigurationError(f"{name} must be a positive number of seconds: {value!r}")
        if self.deadline is not None and not (_number(self.deadline) and self.deadline > 0):
            raise ConfigurationError(f"deadline must be a positive number of seconds, or None: {self.deadline!r}")
        if self.indexing not in (None, "wait", "delete", "skip"):
            raise ConfigurationError(f"indexing must be wait, delete or skip: {self.indexing!r}")
        if self.missing not in ("ok", "fail"):
            raise ConfigurationError(f"missing must be ok or fail: {self.missing!r}")
        for name in ("max_delete", "expect"):
            value = getattr(self, name)
            if value is not None and not (_whole(value) and value >= 0):
                raise ConfigurationError(f"{name} must be a whole number of at least 0, or None: {value!r}")


def _comparable(name: str) -> str:
    """Names that look the same are the same: an ``é`` is one character or two, as the system of its author wrote it."""
    return normalize("NFC", name).casefold()


def _number(value: object) -> bool:
    # A whole number beyond a float's range is compared before it is converted, which would raise OverflowError.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
