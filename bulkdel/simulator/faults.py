"""What a simulator does wrong, as one frozen value.

Durations are seconds, shares are 0 to 1, counts are whole documents. Everything is off by default, and every draw is
seeded, so that the same faults and the same order of requests give the same answers.
"""

from __future__ import annotations

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
RateShape = Literal["sliding", "fixed", "bucket"]
"""How requests are counted against a rate: in any window, in each window from a multiple of its length on, or in a leaky bucket."""
Intercept = Literal["login", "redirect", "forbidden", "stand-in"]
"""What a proxy in front answers instead of the service: a login page with 200, a 302 to it, an HTML 403, or ``{"data":[]}``."""
Preflight = Literal["500", "502", "503", "hang", "plugin-daemon"]
"""What becomes of a GET of one dataset or of all: an error, no answer at all, or Dify's 400 while its plugin daemon is away."""
Behind = Literal["chunk", "garbage"]
"""What follows a 204 on the same connection, where nothing may: an empty chunk, or bytes that are no HTTP."""
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

    :raises ConfigurationError: if a share is not between 0 and 1, a number is negative, or a word is unknown
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
    """Many share one creation time and position. As PostgreSQL does, each page orders them anew, by its size: an id comes twice
    and another never, the same ones in every pass. Pages of 100 and of any other size together show all."""

    # What a listing shows
    total_off: int = 0
    """Dify: its ``total`` is so many too high, or too low, for good."""
    stale: float = 0.0
    """It goes on showing a deleted document for so long."""
    comes_back: float | None = None
    """So long after a listing has shown a dataset empty, the documents that were deleted there are back."""
    page_latency: float = 0.0
    """How much longer a page of a listing takes than other requests."""

    # Dify's states
    guard: bool = False
    """DELETE of a document being indexed is answered 400 ``document_indexing`` (up to 0.3.27); else it is deleted, with orphans."""
    lock_for: float = 1.0
    """How long a PATCH of the status holds the indexing lock: until the worker has run; 600 (its life in Redis) with no worker."""
    locks_left: int = 0
    """So many documents keep the lock for ``lock_left_for``, although the worker has run: it was set after that."""
    lock_left_for: float = 600.0
    redis_down: bool = False
    """Reads take 16 s; a DELETE answers 500 after 65 s and deletes nothing (measured on 1.14.2)."""
    postgres_down: bool = False
    """Everything is answered 500; the first request after it is back, too: its pooled connection is stale."""
    suffix_404: bool = False
    """The messages of 404 carry the router's "You have requested this URI" suffix."""

    # A rate limit
    rate_limit: int | None = None
    rate_window: float = 60.0
    rate_shape: RateShape = "sliding"
    rate_burst: int = 20
    """How many requests a leaky bucket lets pass at once; ``rate_limit`` leak from it in each ``rate_window``."""
    rate_style: RateStyle = "429"
    count_refused: bool = True
    """Refused requests fill a sliding window too, as at Dify Cloud, where the window is written before it is checked."""
    clock_skew: float = 0.0
    """How far the server's wall clock (its Date) is ahead of ours; may be negative."""
    pause_once: float | None = None
    """The first document DELETE is answered 429 with this ``Retry-After``, though there is no such limit."""

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
    preflight: Preflight | None = None
    vanish_after: int | None = None
    """The dataset of the last of them disappears."""
    vanished_400: float = 0.0
    """Share of DELETEs in a vanished Dify dataset answered 400 ``invalid_param`` and not 404."""
    revoke_after: int | None = None
    """The key is refused from then on."""
    intercept: Intercept | None = None
    intercept_after: int = 0

    # Headers, and what follows them
    strip_version: int | None = None
    """Dify: from the n-th answer on (1 is the first) a proxy takes ``X-Version`` and ``X-Env`` away."""
    long_headers: bool = False
    """Each answer has a header of 20 KiB."""
    behind_204: Behind | None = None

    # Time and connections
    latency: float = 0.0
    """Service time of a request that does some work."""
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
        for each in fields(self):
            name, value, words = each.name, getattr(self, each.name), _WORDS.get(each.name)
            if name in _SHARES and not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is a share between 0 and 1: {value}")
            if words is not None and value not in words:
                raise ConfigurationError(f"{name} is one of {', '.join(map(str, words))}: {value}")
            if name not in ("clock_skew", "total_off") and isinstance(value, int | float) and not value >= 0:
                raise ConfigurationError(f"{name} cannot be negative: {value}")
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ConfigurationError(f"the shares of mishaps add up to more than 1: {sum(self.shares.values()):g}")
        for name in ("rate_limit", "rate_burst", "strip_version", "vanish_after", "revoke_after"):
            if getattr(self, name) == 0:
                raise ConfigurationError(f"{name} is at least 1, or None")

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


_SHARES = ("error_500", "error_500_deleted", "lost", "reset", "billing", "vanished_400")
_WORDS = {
    "rate_style": get_args(RateStyle),
    "rate_shape": get_args(RateShape),
    "error_shape": get_args(ErrorShape),
    "intercept": (None, *get_args(Intercept)),
    "outage_status": (502, 503, 504),
    "preflight": (None, *get_args(Preflight)),
    "behind_204": (None, *get_args(Behind)),
}
"""What a fault that is a word may be."""
