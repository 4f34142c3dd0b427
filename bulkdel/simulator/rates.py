"""How services count requests against a rate, and how they word a refusal. Times are any monotonic seconds.

``refuse(now)`` counts a request at ``now``: None if it may pass, else the seconds after which one alone would pass.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import web

from bulkdel.simulator.faults import Faults, RateStyle


class SlidingWindow:
    """A request at ``t`` is refused if more than ``limit`` requests, itself included, fall in ``(t - per, t]``.

    With ``count_refused`` a refused request stays in the window, so a client that goes on asking stays locked out.
    """

    def __init__(self, limit: int, per: float, *, count_refused: bool = True) -> None:
        self.limit = limit
        self.per = per
        self.count_refused = count_refused
        # The last limit + 1 times decide everything: a window is full if the oldest of them is still inside it.
        self._times: deque[float] = deque(maxlen=limit + 1 if count_refused else limit)

    def refuse(self, now: float) -> float | None:
        times = self._times
        if self.count_refused:
            times.append(now)
            if len(times) <= self.limit or times[0] <= now - self.per:
                return None
            return max(0.0, times[1] + self.per - now)
        if len(times) < self.limit or times[0] <= now - self.per:
            times.append(now)
            return None
        return times[0] + self.per - now


@dataclass
class FixedWindow:
    """At most ``limit`` requests pass from each multiple of ``per`` seconds to the next."""

    limit: int
    per: float
    _window: float = 0.0
    _passed: int = 0

    def refuse(self, now: float) -> float | None:
        window = now // self.per
        if window != self._window:
            self._window, self._passed = window, 0
        if self._passed < self.limit:
            self._passed += 1
            return None
        return (window + 1) * self.per - now


@dataclass
class LeakyBucket:
    """A request adds a drop, and ``rate`` drops leak each second; one that would make more than ``burst`` is refused."""

    rate: float
    burst: int
    _level: float = 0.0
    _at: float = 0.0

    def refuse(self, now: float) -> float | None:
        self._level = max(0.0, self._level - (now - self._at) * self.rate)
        self._at = now
        over = self._level + 1 - self.burst
        if over > 1e-9:
            return over / self.rate
        self._level += 1
        return None


def rate_limit(faults: Faults) -> SlidingWindow | FixedWindow | LeakyBucket | None:
    limit, per = faults.rate_limit, faults.rate_window
    if limit is None:
        return None
    match faults.rate_shape:
        case "sliding":
            return SlidingWindow(limit, per, count_refused=faults.count_refused)
        case "fixed":
            return FixedWindow(limit, per)
        case "bucket":
            return LeakyBucket(limit / per, faults.rate_burst)


def over_limit(
    style: RateStyle, wait: float, date: float, error: Callable[[int, str, str], web.Response]
) -> web.Response:
    """Refuse a request for its rate; ``wait`` seconds later one would pass. ``date`` is the server's clock, in unix seconds."""
    if style == "403":
        message = "Sorry, you have reached the knowledge base request rate limit of your subscription."
        return error(403, "forbidden", message)
    if style == "529":
        return error(529, "overloaded_error", "Overloaded")
    if style == "1015":  # Cloudflare's own page, of which the service knows nothing
        headers = {"Server": "cloudflare", "CF-RAY": "0000000000000000-FRA"}
        text = "Too many requests came from your address. Please wait."
        return page(429, "Error 1015: You are being rate limited", text, headers)
    seconds = str(max(1, math.ceil(wait)))
    # HTTP dates are whole seconds; one more, because a fraction is cut off both this date and its Retry-After.
    until = formatdate(date + math.ceil(wait) + 1, usegmt=True)
    refusal = error(429, "too_many_requests", "Rate limit exceeded")
    refusal.headers.update(
        {
            "429": {},
            "429-retry-after": {"Retry-After": seconds},
            "429-date": {"Date": formatdate(date, usegmt=True), "Retry-After": until},
            "429-reset": {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": seconds},
        }[style]
    )
    return refusal


def page(status: int, title: str, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """A small HTML page, as what stands in front of a service answers."""
    html = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    own = {"Content-Type": "text/html; charset=utf-8", **(headers or {})}
    return web.Response(status=status, body=html.encode(), headers=own)
