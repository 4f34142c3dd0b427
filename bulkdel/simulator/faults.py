"""What a simulator is told to do wrong, as one frozen value, and which mishap the next delete meets.

Durations are seconds, shares are 0 to 1, counts are whole documents. Everything is off by default, and every draw is
seeded, so that the same faults and the same order of requests give the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal, get_args

from bulkdel.errors import ConfigurationError

RateStyle = Literal["429", "429-retry-after", "429-date", "429-reset", "403", "529", "1015"]
"""How a rate limit is said.

``429`` bare; with ``Retry-After`` in seconds, or as an HTTP date; with ``x-ratelimit-reset-requests`` in seconds; Dify
Cloud's JSON ``403``; an overloaded ``529``; Cloudflare's HTML page ``1015``, which the service itself never saw.
"""
Intercept = Literal["login", "redirect", "forbidden"]
"""What a proxy in front answers instead of the service: a login page with 200, a 302 to it, or an HTML 403."""
ErrorShape = Literal["message", "error", "error-object", "message-errors", "text"]
"""Langdock's error bodies: {message}, {error}, {error: {type, message}}, {message, errors: []} or text."""


class Mishap(StrEnum):
    """What can become of one document DELETE."""

    ERROR = "500"
    """Answered 500, nothing was deleted."""
    ERROR_DELETED = "500-deleted"
    """Answered 500, and the document is gone."""
    LOST = "lost"
    """The document is gone, and the connection is closed without an answer."""
    RESET = "reset"
    """The connection is reset before anything was deleted."""
    BILLING = "billing"
    """Dify Cloud cannot ask its billing service: 400, nothing was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Every fault a simulator knows; the default is a service that does nothing wrong.

    :raises ConfigurationError: when a share is not between 0 and 1, a number is negative, or a word is unknown
    """

    # The documents that the simulator is born with: how many in each dataset are special. Read once, when it is made.
    indexing: int = 0
    """Still being indexed, and ready after ``indexing_for``."""
    indexing_for: float = 5.0
    stuck: int = 0
    """Being indexed for ever, as a crashed worker leaves them."""
    archived: int = 0
    failed: int = 0
    """Their indexing ended in an error."""
    synced: int = 0
    """Langdock: they have an ``externalId`` and may come back."""
    nasty_names: bool = False
    """Some names have terminal escapes, HTML, spreadsheet formulas, line breaks."""
    ties: bool = False
    """Many share one creation time and position, and their order differs from page to page: an id comes twice, another never."""

    # Dify's states
    guard: bool = False
    """DELETE of a document being indexed is answered 400 ``document_indexing`` (up to 0.3.27); else it is deleted, with orphans."""
    lock_for: float = 1.0
    """How long a PATCH of the status holds the indexing lock: until the worker has run; 600 (its life in Redis) with no worker."""
    redis_down: bool = False
    """Reads take 16 s; a DELETE answers 500 after 65 s and deletes nothing (measured on 1.14.2)."""
    postgres_down: bool = False
    """Everything is answered 500; the first request after it is back, too: its pooled connection is stale."""
    suffix_404: bool = False
    """The messages of 404 carry the router's "You have requested this URI" suffix."""

    # A sliding window
    rate_limit: int | None = None
    rate_window: float = 60.0
    rate_style: RateStyle = "429"
    count_refused: bool = True
    """Refused requests fill the window too, as at Dify Cloud, where the window is written before it is checked."""
    clock_skew: float = 0.0
    """How far the server's wall clock (its Date) is ahead of ours; may be negative."""

    # What becomes of a document DELETE: shares, the n-th DELETE of all (from 1), and the tries of one document in order
    error_500: float = 0.0
    error_500_deleted: float = 0.0
    lost: float = 0.0
    reset: float = 0.0
    billing: float = 0.0
    mishaps_at: Mapping[int, Mishap] = field(default_factory=dict)
    mishaps_of: Mapping[str, Sequence[Mishap | None]] = field(default_factory=dict)

    # What happens once, when so many documents have been deleted
    outage_after: int | None = None
    """A restart: everything is answered ``outage_status`` by the proxy for ``outage_for``."""
    outage_for: float = 5.0
    outage_status: Literal[502, 503, 504] = 503
    vanish_after: int | None = None
    """The dataset of the last of them disappears."""
    vanished_400: float = 0.0
    """Share of DELETEs in a vanished Dify dataset answered 400 ``invalid_param`` and not 404."""
    revoke_after: int | None = None
    """The key is refused from then on."""
    intercept: Intercept | None = None
    intercept_after: int = 0

    # Time and connections
    latency: float = 0.0
    """Service time of a request that does some work."""
    jitter: float = 0.0
    """Up to so much is added to it, evenly spread."""
    slots: int | None = None
    """So many requests are worked on at once; the others queue, and get 500 after ``slot_timeout``."""
    slot_timeout: float = 30.0
    contention: float = 0.0
    """Each request in the queue makes the work longer by this share. 4 slots, a latency of 0.04 and 0.04 here do 100 deletes/s at
    4 connections, 68 at 16 and 29 at 64, where a real Dify 1.14.2 on 2 cores did 95 to 110, 68 and 33."""
    keepalive: float | None = None
    """Idle connections are closed after so long (gunicorn: 2 s). Read once, when the simulator starts."""

    # Langdock's words
    error_shape: ErrorShape = "message"
    missing_as_500: bool = False
    """DELETE of a file that is not there is answered 500 "Attachment not found" and not 404."""
    no_scope: bool = False
    """The key lacks the scope KNOWLEDGE_FOLDER_API: 403."""
    personal_key: bool = False
    """The key is a person's: its list of folders is empty."""

    def __post_init__(self) -> None:
        for name in ("error_500", "error_500_deleted", "lost", "reset", "billing", "vanished_400"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} is a share between 0 and 1: {getattr(self, name)}")
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ConfigurationError(f"the shares of mishaps add up to more than 1: {sum(self.shares.values()):g}")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and each.name != "clock_skew" and (value < 0 or math.isnan(value)):
                raise ConfigurationError(f"{each.name} cannot be negative: {value}")
        if self.rate_limit == 0 or self.slots == 0:
            raise ConfigurationError("rate_limit and slots are at least 1, or None for no limit")
        _known("rate_style", self.rate_style, get_args(RateStyle))
        _known("error_shape", self.error_shape, get_args(ErrorShape))
        _known("intercept", self.intercept, (None, *get_args(Intercept)))
        _known("outage_status", self.outage_status, (502, 503, 504))

    @property
    def shares(self) -> dict[Mishap, float]:
        """The share of document DELETEs that meets each mishap."""
        return {
            Mishap.ERROR: self.error_500,
            Mishap.ERROR_DELETED: self.error_500_deleted,
            Mishap.LOST: self.lost,
            Mishap.RESET: self.reset,
            Mishap.BILLING: self.billing,
        }


def _known(name: str, value: object, words: Sequence[object]) -> None:
    if value not in words:
        raise ConfigurationError(f"{name} is one of {', '.join(map(str, words))}: {value}")


def mishap_of(faults: Faults, *, number: int, document: str, attempt: int, chance: float) -> Mishap | None:
    """Say what becomes of a document DELETE.

    ``number`` counts all document DELETEs from 1, ``attempt`` those of this document from 1; ``chance`` is a random number in
    [0, 1). What is said of the document comes first, then what is said of the number, then the shares.
    """
    script = faults.mishaps_of.get(document, ())
    if attempt <= len(script):
        return script[attempt - 1]
    if (told := faults.mishaps_at.get(number)) is not None:
        return told
    for mishap, share in faults.shares.items():
        if chance < share:
            return mishap
        chance -= share
    return None
