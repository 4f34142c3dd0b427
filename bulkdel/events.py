"""What an ``on_event`` listener is called with: frozen values, one per thing that happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bulkdel import model


@dataclass(frozen=True, slots=True)
class Listed:
    """A dataset was listed: ``listed`` documents, of which ``selected`` are to be deleted."""

    provider: str
    dataset: str
    name: str
    listed: int
    selected: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A target settled; with a run file, it is on disk."""

    settled: model.Settled


@dataclass(frozen=True, slots=True)
class Requeued:
    """A target will be asked again in about ``seconds``, because of ``reason``.

    ``cause``: document_indexing, document_locked, rate_limit, blocked, server_error, lost_answer, unreachable or unclear.
    """

    target: model.Target
    cause: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is sent to the provider for ``seconds``, because of ``reason``."""

    provider: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The provider's pause is over."""

    provider: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing more is sent to the provider (``dataset`` empty) or to one of its datasets."""

    provider: str
    dataset: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """A dataset was listed again after its deletes: ``remaining`` documents are still there, ``new`` of them came newly,
    ``skipped`` of them were never to be deleted; ``name`` is the dataset's, empty if it is not known."""

    provider: str
    dataset: str
    remaining: int
    new: int
    skipped: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class RateLearned:
    """Pacing begins at ``rate``, which passed in an earlier run ``ago_s`` seconds ago; ``refused`` was refused then, None for nothing."""

    provider: str
    rate: model.Rate
    ago_s: float
    refused: model.Rate | None = None


Event = Listed | Settled | Requeued | Paused | Resumed | Stopped | Verified | RateLearned
OnEvent = Callable[[Event], None]
