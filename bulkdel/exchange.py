"""One exchange with a service: what is asked, what comes back, and what it means, named by how far it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from bulkdel.model import Outcome, Target

T = TypeVar("T")

ANSWER_BYTES = 64 * 1024
"""How much of an answer to a DELETE is read: the largest real one is a 5 KB HTML page."""
LISTING_BYTES = 32 * 1024 * 1024
"""How much of a listing is read: 1,000 Langdock files are about 400 KB, 100 Dify rows about 100 KB."""


class Request(NamedTuple):
    """What to send: ``path`` begins with ``/``, is percent-encoded already and goes behind the provider's base URL.

    A named tuple, as all that is made for every document: 0.3 µs against 1.0 µs for a frozen dataclass.
    """

    method: Literal["GET", "DELETE", "PATCH", "POST"]
    path: str
    json: Mapping[str, object] | None = None
    max_body: int = ANSWER_BYTES


class Answer(NamedTuple):
    """What a service answered: ``headers`` has lower-case keys (or ignores case); ``body`` is cut at ``Request.max_body``.

    ``cut`` is True where the body was longer than that. A body that ended early is no Answer but a Lost.
    """

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole answer came.

    ``sent`` is whether the request may have reached the service: then what it asked for may have been done (in doubt).
    ``kind``: ``unreachable`` (refused, no such host, connecting timed out), ``tls`` (a certificate that does not verify),
    ``timeout``, ``disconnected``, ``garbled`` (what came is not HTTP). ``detail`` is for people and holds no key.
    """

    kind: Literal["unreachable", "tls", "timeout", "disconnected", "garbled"]
    sent: bool
    detail: str = ""


Reply = Answer | Lost


class Wire(Protocol):
    """Sends a request and brings the reply; never raises for anything that a network or a service can do."""

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        """One attempt: at most one request leaves. Only cancellation is raised."""


# ------------------------------------------------------------------ verdicts on one document


@dataclass(frozen=True, slots=True)
class Deleted:
    """The service says that the document is deleted."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The service itself says that there is no such document.

    ``listed``: it says so by a good listing of the dataset, which proves that the dataset is there for the next documents.
    """

    reason: str = ""
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """The service will not delete this document, however often it is asked."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Ask again later.

    ``cause`` decides what it costs: ``indexing`` waits on its own time budget and spends no attempt; ``trouble`` (the
    service or the network is unwell) spends an attempt and counts for the breaker; ``unclear`` spends an attempt only.
    ``doubt``: what was asked may have been done all the same. ``after`` is the least wait in seconds, None for the
    backoff's. ``step`` is where to go on, None for the same step again.
    """

    cause: Literal["indexing", "trouble", "unclear"]
    reason: str
    doubt: bool = False
    after: float | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Not settled yet: ask this next, at once, for the same document."""

    step: str
    reason: str = ""


# ------------------------------------------------------------------ verdicts on a dataset


@dataclass(frozen=True, slots=True)
class StopDataset:
    """Nothing in this dataset can be deleted: its targets settle as ``dataset_stopped``."""

    reason: str


# ------------------------------------------------------------------ verdicts on a provider


@dataclass(frozen=True, slots=True)
class Pause:
    """The provider wants nothing for a while; the document is asked again and it costs it no attempt.

    ``after`` is in seconds, None for a backoff. ``slower``: it is a rate limit, so the rate is lowered. ``stop_after``:
    that many such pauses in a row, with nothing else in between, stop the provider.
    """

    reason: str
    after: float | None = None
    slower: bool = True
    stop_after: int | None = None


@dataclass(frozen=True, slots=True)
class StopProvider:
    """Nothing more can be done at this provider; what is left stays not attempted."""

    reason: str
    hint: str = ""


Verdict = Deleted | Gone | Reject | Requeue | Ask | StopDataset | Pause | StopProvider
"""What an answer to one step of a delete means."""

Failure = Requeue | StopDataset | Pause | StopProvider
"""What an answer to a question (preflight, listing) means where it is not what was asked for; never cause indexing."""


class Asked(NamedTuple):
    """What an answer answers.

    ``step``: ``delete``, ``check`` (is the document still there?), or a step of the provider's own. ``doubt``: an earlier
    attempt may have been carried out. ``unarchive``: the user wants archived documents un-archived first. ``listed``: a good
    listing of the dataset held this document in this run.
    """

    target: Target
    step: str = "delete"
    doubt: bool = False
    unarchive: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a listing; ``next`` is the cursor of the next page, None where this was the last.

    ``total`` is how many items the service says there are in all, None where it does not say.
    """

    items: tuple[T, ...] = field(default=())
    next: str | None = None
    total: int | None = None
