"""What a simulator does wrong, as one frozen value, and what ``bulkdel simulate`` says of it.

Durations are seconds, shares are 0 to 1, counts are whole documents. Everything is off by default, and every draw is
seeded, so that the same faults and the same order of requests give the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, get_args

from bulkdel.errors import ConfigurationError

RateStyle = Literal["429", "429-retry-after", "429-date", "429-reset", "403", "529", "1015"]
"""How a rate limit is said.

``429`` bare; with ``Retry-After`` in seconds, or as an HTTP date; with ``x-ratelimit-reset-requests`` in seconds; Dify
Cloud's JSON ``403``; an overloaded ``529``; Cloudflare's HTML page ``1015``, which the service itself never saw.
"""
RateShape = Literal["sliding", "fixed", "bucket"]
Intercept = Literal["login", "redirect", "forbidden", "stand-in"]
Preflight = Literal["500", "502", "503", "hang", "plugin-daemon"]
Behind = Literal["chunk", "garbage"]
OutageStatus = Literal[502, 503, 504]
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


def _fault(kind: Any, default: Any = None, help: str = "", option: str = "", /, **shown: Any) -> Any:
    """A field, and the option of ``simulate`` that gives it, if it has a ``help``.

    :param kind: ``seconds``, ``share`` or ``flag``; ``any``, or the least value, for a whole number; or the words it may be
    :param option: what the option is called, if not as the field
    :param shown: more that click is to know of it
    """
    return field(default=default, metadata={"kind": kind, "help": help, "option": option, "shown": shown})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Every fault a simulator knows; the default is a service that does nothing wrong.

    :raises ConfigurationError: if a share is not between 0 and 1, a number is negative, or a word is unknown
    """

    # The documents that the simulator is born with: how many in each dataset are special. Read once, when it is made.
    indexing: int = _fault(0, 0, "So many documents are still being indexed.")
    indexing_for: float = _fault(
        "seconds",
        5.0,
        "How long they are being indexed, from the simulator's start on.",
        default="5s",
        show_default=True,
    )
    stuck: int = _fault(0, 0, "So many documents are being indexed for ever.")
    guard: bool = _fault(
        "flag", False, "Refuse to delete what is being indexed (old Dify); else it is deleted and leaves orphans."
    )
    archived: int = _fault(0, 0, "So many documents are archived (Dify).")
    # Dify's worker takes a document out of the index or back into it; with no worker the lock stays for its life in Redis, 600 s.
    lock_for: float = _fault("seconds", 1.0, "How long un-archiving holds its lock. Default: 1s.")
    locks_left: int = _fault(0, 0, "So many documents keep that lock although its task is done (Dify).")
    lock_left_for: float = _fault("seconds", 600.0, "How long they keep it. Default: 10m.")
    failed: int = 0
    """Their indexing ended in an error."""
    synced: int = _fault(0, 0, "So many documents come from a synced source (Langdock).")
    nasty_names: bool = _fault("flag", False, "Some names hold terminal escapes, HTML and formulas.")

    # What a listing shows
    ties: bool = _fault(
        "flag", False, "Pages of one size show some documents twice and some never, as PostgreSQL does (Dify)."
    )
    total_off: int = _fault("any", 0, "The total of a listing is N too high, for good (Dify).")
    stale: float = _fault("seconds", 0.0, "A listing shows what is deleted for so long.")
    comes_back: float | None = _fault(
        "seconds", None, "So long after a dataset was listed as empty, its documents are back."
    )
    page_latency: float = _fault("seconds", 0.0, "How much longer a page of a listing takes.")

    # A rate limit
    rate_limit: int | None = _fault(1)
    rate_window: float = 60.0
    rate_style: RateStyle = _fault(
        get_args(RateStyle), "429", "How it says that the rate is too high.", "signal", default="429", show_default=True
    )
    rate_shape: RateShape = _fault(
        get_args(RateShape), "sliding",
        "How it counts against the rate: in any window, in fixed ones, in a leaky bucket.", "shape",
    )  # fmt: skip
    rate_burst: int = _fault(1, 20, "How many requests the leaky bucket holds. Default: 20.", "burst")
    count_refused: bool = True
    """Refused requests fill a sliding window too, as at Dify Cloud, where the window is written before it is checked."""
    clock_skew: float = _fault("any", 0.0)
    """How far the server's wall clock (its Date) is ahead of ours; may be negative."""
    pause_once: float | None = _fault(
        "seconds", None, "The first delete is answered 429 with this Retry-After, though there is no limit."
    )

    # What becomes of a document DELETE: shares, the n-th DELETE of all (from 1), and the tries of one document in order
    error_500: float = _fault("share", 0.0, "Share of deletes answered 500.", "errors", metavar="5%")
    error_500_deleted: float = _fault(
        "share", 0.0, "Share of deletes answered 500 though they were carried out.", "errors-deleted"
    )
    lost: float = _fault("share", 0.0, "Share of deletes carried out whose answer is lost.")
    reset: float = _fault("share", 0.0, "Share of deletes whose connection breaks before they are carried out.")
    billing: float = _fault("share", 0.0)
    mishaps_at: Mapping[int, Mishap] = field(default_factory=dict)
    mishaps_of: Mapping[str, Sequence[Mishap | None]] = field(default_factory=dict)

    # Answers changed, and requests that never reach the service
    behind_204: Behind | None = _fault(get_args(Behind), None, "Bytes follow each 204 (Dify).")
    long_headers: bool = _fault("flag", False, "Each answer has a header of 20 KiB.")
    strip_version: int | None = _fault(
        1, None, "X-Version is missing, from the N-th answer on (Dify). Default: from the first.",
        is_flag=False, flag_value=1, metavar="[N]",
    )  # fmt: skip
    intercept: Intercept | None = _fault(
        get_args(Intercept), None, 'A proxy answers instead: a login page, a redirect to it, 403, or {"data":[]}.'
    )
    intercept_after: int = 0
    preflight: Preflight | None = _fault(
        get_args(Preflight), None, "What is asked about datasets fails, and nothing else."
    )

    # Time and connections
    latency: float = _fault("seconds", 0.0, "How long a request takes.")
    keepalive: float | None = _fault("seconds", None, "Close connections that are idle for so long.")
    redis_down: bool = False
    """Dify's reads take 16 s; a DELETE answers 500 after 65 s and deletes nothing (measured on 1.14.2)."""
    postgres_down: bool = False
    """Dify answers everything 500; the first request after it is back, too: its pooled connection is stale."""

    # What happens once, when so many documents have been deleted
    outage_after: int | None = _fault(0, None, "After N deletes the service is away.")
    outage_for: float = _fault("seconds", 5.0, "How long it is away. Default: 5s.")
    outage_status: OutageStatus = _fault(get_args(OutageStatus), 503, "What is answered meanwhile. Default: 503.")
    vanish_after: int | None = _fault(1, None, "After N deletes the dataset disappears.")
    vanished_400: float = _fault("share", 0.0)
    """Share of DELETEs in a vanished Dify dataset answered 400 ``invalid_param`` and not 404."""
    revoke_after: int | None = _fault(1, None, "After N deletes the key is refused.")

    # The services' words
    suffix_404: bool = False
    """The messages of Dify's 404 carry the router's "You have requested this URI" suffix."""
    error_shape: ErrorShape = _fault(get_args(ErrorShape), "message")
    missing_as_500: bool = False
    """Langdock answers the DELETE of a file that is not there 500 "Attachment not found" and not 404."""
    no_scope: bool = False
    """The key lacks Langdock's scope KNOWLEDGE_FOLDER_API: 403."""
    personal_key: bool = False
    """The key is a person's: Langdock's list of folders is empty."""

    def __post_init__(self) -> None:
        for each in fields(self):
            name, value, kind = each.name, getattr(self, each.name), each.metadata.get("kind")
            if kind == "share" and not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is a share between 0 and 1: {value}")
            if isinstance(kind, tuple):
                words = kind if each.default is not None else (None, *kind)
                if value not in words:
                    raise ConfigurationError(f"{name} is one of {', '.join(map(str, words))}: {value}")
            if kind != "any" and isinstance(value, int | float) and not value >= 0:
                raise ConfigurationError(f"{name} cannot be negative: {value}")
            if kind == 1 and value == 0:
                raise ConfigurationError(f"{name} is at least 1, or None")
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ConfigurationError(f"the shares of mishaps add up to more than 1: {sum(self.shares.values()):g}")

    @property
    def shares(self) -> dict[Mishap, float]:
        """The share of document DELETEs that meets each mishap."""
        shares = (self.error_500, self.error_500_deleted, self.lost, self.reset, self.billing)
        return dict(zip(Mishap, shares, strict=True))
