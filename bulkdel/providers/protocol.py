"""What a provider is: a frozen value that words requests and reads answers; no I/O, no clock, no state.

A provider answers two questions. *What do I send?* (``request``, ``preflight``, ``listing``, ``document``, ``datasets``) and
*what does this answer mean?* (``read`` and the ``read_…`` methods). Everything else (pacing, retries, accounting) is the
engine's.

A delete is a short walk through named steps. It begins at ``start(...)`` (``delete`` for almost every document); a verdict
``Ask(step)`` goes on to another step at once, and any other verdict ends or postpones it. Two steps every provider words:
``delete``, and ``check`` (is this document still there? asked before a document is given up). A walk may come back to
``delete``; the engine bounds its length.

Verdicts are named by how far they reach: one document, its dataset, or the provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from bulkdel.model import Dataset, Document, Limits, Outcome, Rate, Target

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

    ``cut`` is True if the body was longer than that. ``broken``: the status line and headers came, and the body stopped early or
    made no sense. Only a 2xx comes so, because its status alone says what was done; anything else that breaks is a ``Lost``.
    ``mark_stripped``: the engine has seen answers that ``Provider.lacks_mark`` knows, so that the absence of the service's mark says
    nothing. ``proxy`` is the address of the proxy that carried the answer in clear and so may have written it.
    """

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    cut: bool = False
    broken: bool = False
    mark_stripped: bool = False
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole answer came.

    ``sent`` is whether the request may have reached the service: then what it asked for may have been done (in doubt).
    ``kind``: ``unreachable`` (refused, no such host, connecting timed out), ``tls`` (a certificate that does not verify, or no
    TLS at all), ``timeout``, ``disconnected``, ``garbled`` (what came is not HTTP). ``detail`` is for people and holds no key;
    ``hint`` is what the user can do, if the wire knows more than ``kind`` says.
    """

    kind: Literal["unreachable", "tls", "timeout", "disconnected", "garbled"]
    sent: bool
    detail: str = ""
    hint: str = ""


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

    ``cause`` decides what it costs: ``indexing`` and ``locked`` (the service holds a lock on the document, which ends by
    itself) wait on a time budget of their own and spend no attempt; ``trouble`` (the service or the network is unwell) spends
    an attempt and counts for the breaker; ``unclear`` spends an attempt only. ``at_most`` is how many seconds such a wait can
    last in all, if that is known. ``blocked_by`` names the one document that a request for several was refused for.
    ``doubt``: what was asked may have been done all the same. ``after`` is the least wait in seconds, None for the
    backoff's. ``step`` is where to go on, None for the same step again.
    """

    cause: Literal["indexing", "locked", "trouble", "unclear"]
    reason: str
    doubt: bool = False
    after: float | None = None
    step: str | None = None
    at_most: float | None = None
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Not settled yet: ask this next, at once, for the same document."""

    step: str
    reason: str = ""


# ------------------------------------------------------------------ verdicts on a dataset


@dataclass(frozen=True, slots=True)
class StopDataset:
    """Nothing in this dataset can be deleted: its targets settle as ``dataset_stopped``.

    ``reason`` has the service's own words; ``gone``: it says that there is no such dataset.
    """

    reason: str
    gone: bool = field(default=False, compare=False)

    @property
    def meanwhile(self) -> str:
        """The reason of a dataset that was there, and can no longer be deleted from."""
        return f"the dataset no longer exists: {self.reason}" if self.gone else self.reason

    @property
    def never(self) -> str:
        """The reason of a dataset of which nothing was seen."""
        return f"the dataset does not exist, or the key may not see it: {self.reason}" if self.gone else self.reason


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
"""What an answer to a question (preflight, listing) means if it is not what was asked for; never cause indexing or locked."""


class Asked(NamedTuple):
    """What an answer answers.

    ``step``: ``delete``, ``check`` (is the document still there?), or a step of the provider's own. ``doubt``: an earlier
    attempt may have been carried out. ``unarchive``: the user wants archived documents un-archived first. ``listed``: a good
    listing of the dataset held this document in this run. ``dataset_found``: a good listing of the dataset was made in this run,
    which proves that it is there, and says nothing of this document.
    """

    target: Target
    step: str = "delete"
    doubt: bool = False
    unarchive: bool = False
    listed: bool = False
    dataset_found: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a listing; ``next`` is the cursor of the next page, None if this was the last.

    ``total`` is how many items the service says there are in all, None if it does not say. ``note`` is what the user should
    know of this answer if nothing came of the whole list, because an empty list looks like a good one; empty if there is nothing.
    """

    items: tuple[T, ...] = field(default=())
    next: str | None = None
    total: int | None = None
    note: str = ""


# ------------------------------------------------------------------ the provider


@dataclass(frozen=True, slots=True)
class Next:
    """The answer to a preflight said nothing of the dataset yet: ask again with this cursor."""

    cursor: str


class Provider(Protocol):
    """One service as one key sees it. Every method is pure; none raises for anything a service can answer."""

    @property
    def name(self) -> str:
        """What targets and reports call it (``dify``); unique among the providers of one call."""

    @property
    def kind(self) -> str:
        """Which service it is; the entry point's name (``dify``)."""

    @property
    def base_url(self) -> str:
        """Where the service is, without a trailing slash; a ``Request.path`` goes straight behind it."""

    @property
    def limits(self) -> Limits:
        """The service's limits: the caller's, or this provider's defaults for the address. ``concurrency`` is never None."""

    @property
    def pace(self) -> Rate | None:
        """What pacing keeps: ``limits.rate``, or less if the limit is shared with others; None for no known limit."""

    @property
    def rate_is_default(self) -> bool:
        """Whether the rate is this provider's choice, because the caller gave none: what is learned of it may be remembered."""

    @property
    def rate_is_guess(self) -> bool:
        """Whether ``pace`` is a cautious guess at a limit that is not known: it may be raised while nothing is refused."""

    @property
    def max_concurrency(self) -> int:
        """The most requests that may be in flight: ``limits.concurrency`` if the caller gave it, else how far it may be raised."""

    @property
    def page_size(self) -> int:
        """How many documents one listing request returns; decides whether waiting documents are looked at one by one."""

    @property
    def listing_starts(self) -> Sequence[str | None]:
        """The cursors at which a pass over a listing may begin, None first, which is the usual one.

        If rows share a sort key, a service may show some of them twice and others never, the same in every pass. The passes
        of the further cursors cut the rows into other pages, so that all of them together show what one leaves out.
        """

    @property
    def last_step(self) -> str:
        """The step whose success means that the document is deleted: ``delete``, unless a delete takes several requests."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ for another key or address, and do not reveal the key."""

    @property
    def warning(self) -> str:
        """What the user should know of this address before the key is sent to it; empty if there is nothing."""

    def with_concurrency(self, concurrency: int, *, up_to: int | None = None) -> Self:
        """The same provider with so many requests in flight; of its rate nothing more is said than before."""

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """The same provider with more headers in every request; their values are as secret as the key, and change no fingerprint."""

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, the key among them; only the wire calls this."""

    def invalid(self, dataset: str, document: str | None = None) -> str:
        """Why these ids may not be sent (they would reach another route), in a few words; empty if they may.

        Called once for each target, so it is one compiled pattern and never raises, whatever is given.
        """

    def canonical(self, id: str) -> str:
        """The one spelling of an id: two ids of one thing are equal in it. What compares ids compares these.

        Documents and datasets that the readers return are spelled so. Never raises for text.
        """

    def lacks_mark(self, answer: Answer) -> bool:
        """Whether this is surely the service's own answer, and lacks the header that all of its answers carry.

        A proxy takes it away then, and no answer is taken for the proxy's because it lacks it. False for a service that has no
        such header.
        """

    def start(self, document: Document, *, unarchive: bool) -> str:
        """The step that the delete of a listed ``document`` begins at; one that was not listed begins at ``delete``."""

    def request(self, target: Target, step: str) -> Request:
        """What to send for this step. The ids were found good by ``invalid``.

        :raises ValueError: for a step that the provider does not have: a bug
        """

    def request_together(self, targets: Sequence[Target], step: str) -> Request | None:
        """One request that asks this step for all these documents of one dataset, all or nothing; None if there is none.

        ``read`` reads its answer for any of them: ``Ask`` is so for all, a ``Requeue`` that waits leaves all as they are, and
        after any other verdict each is asked for itself.
        """

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        """What the reply to ``asked.step`` means for the target, its dataset or the provider.

        ``Deleted`` only for the service's own success, ``Gone`` only for its own "no such document", also if an earlier
        attempt is in doubt: the engine, which counts the attempts, then calls it deleted.

        :raises ValueError: for a step that the provider does not have: a bug
        """

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        """Proves key, address and dataset before anything is deleted; ``cursor`` is None at first."""

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        """The dataset, with ``refusal`` if it is there and cannot be purged; ``StopDataset`` if it is not there."""

    def listing(self, dataset: str, cursor: str | None) -> Request:
        """One page of the dataset's documents; ``cursor`` is one of ``listing_starts``, ``Page.next`` or ``pages_ahead``."""

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        """A page that was read whole; anything less is a failure, never a page with fewer rows.

        Promise S15: a failed or incomplete listing is not an empty one, and such a run never exits 0.
        """

    def pages_ahead(self, cursor: str | None, total: int) -> Iterable[str]:
        """The cursors behind ``cursor``, in order, if the pages there can be asked for side by side; none if only one after
        the other. ``total`` is the service's count. The last one is that of the empty page, which ends a listing."""

    def document(self, target: Target) -> Request:
        """One document's state."""

    def read_document(self, target: Target, reply: Reply) -> Document | Gone | Failure:
        """Its state, asked only after a good listing of its dataset."""

    def datasets(self, cursor: str | None) -> Request:
        """One page of the datasets that the key sees."""

    def read_datasets(self, cursor: str | None, reply: Reply) -> Page[Dataset] | Failure:
        """A page of them; a failure is the provider's, because no dataset was asked for. ``StopDataset``: the cursor is refused."""
