"""What a provider is: a frozen value that words requests and reads answers; no I/O, no clock, no state.

A provider answers two questions. *What do I send?* (``request``, ``preflight``, ``listing``, ``document``, ``datasets``) and
*what does this answer mean?* (``read`` and the ``read_…`` methods). Everything else (pacing, retries, accounting) is the
engine's.

A delete is a short walk through named steps. It begins at ``start(...)`` (``delete`` for almost every document); a verdict
``Ask(step)`` goes on to another step at once, and any other verdict ends or postpones it. Two steps every provider words:
``delete``, and ``check`` (is this document still there? asked before a document is given up). A walk may come back to
``delete``; whoever walks it bounds its length.

Services behind a bearer key share ``bearer.Bearer``, which checks key and address and keeps the limits; ``registry`` finds
providers by their kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bulkdel.exchange import Asked, Failure, Gone, Page, Reply, Request, Verdict
from bulkdel.model import Dataset, Document, Limits, Rate, Target


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
        """What pacing keeps: ``limits.rate``, or less where the limit is shared with others; None for no known limit."""

    @property
    def page_size(self) -> int:
        """How many documents one listing request returns; decides whether waiting documents are looked at one by one."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell one key at one address from another, and do not tell the key."""

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, the key among them; only the wire calls this."""

    def invalid(self, dataset: str, document: str | None = None) -> str:
        """Why these ids may not be sent (they would reach another route), in a few words; empty where they may.

        Called once for each target, so it is one compiled pattern and never raises, whatever is given.
        """

    def start(self, document: Document, *, unarchive: bool) -> str:
        """The step that the delete of a listed ``document`` begins at; one that was not listed begins at ``delete``."""

    def request(self, target: Target, step: str) -> Request:
        """What to send for this step. The ids were found good by ``invalid``.

        :raises ValueError: for a step that the provider does not have: a bug
        """

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        """What the reply to ``asked.step`` means for the target, its dataset or the provider.

        ``Deleted`` only for the service's own success, ``Gone`` only for its own "no such document", also where an earlier
        attempt is in doubt: the engine, which counts the attempts, then calls it deleted.

        :raises ValueError: for a step that the provider does not have: a bug
        """

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        """Proves key, address and dataset before anything is deleted; ``cursor`` is None at first."""

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        """The dataset, with ``refusal`` where it is there and cannot be purged; ``StopDataset`` where it is not there."""

    def listing(self, dataset: str, cursor: str | None) -> Request:
        """One page of the dataset's documents; ``cursor`` is None for the first."""

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        """A page that was read whole; anything less is a failure, never a page with fewer rows.

        Promise S15: a failed or incomplete listing is not an empty one, and such a run never exits 0.
        """

    def document(self, target: Target) -> Request:
        """One document's state."""

    def read_document(self, target: Target, reply: Reply) -> Document | Gone | Failure:
        """Its state, asked only after a good listing of its dataset."""

    def datasets(self, cursor: str | None) -> Request:
        """One page of the datasets that the key sees."""

    def read_datasets(self, cursor: str | None, reply: Reply) -> Page[Dataset] | Failure:
        """A page of them; a failure is the provider's (never ``StopDataset``), because no dataset was asked for."""
