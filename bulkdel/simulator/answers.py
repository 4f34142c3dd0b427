"""What a simulator answers: a reply, or a connection that ends without one; and the pages that proxies put in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus

from bulkdel.simulator.faults import Intercept, RateStyle

HTML = "text/html; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; ``headers`` are all but length, date and server."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    behind: bytes = b""
    """What is sent behind it on the same connection, though no request asked for it."""

    def plus(self, headers: Mapping[str, str]) -> Reply:
        """Give the same answer with more headers."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends with no answer: ``reset`` as if the server died, else closed in order."""

    reset: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as a service reads it; ``path`` is raw, still percent-encoded and without its query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Logged:
    """One request that arrived."""

    at: float
    """Loop time of its arrival."""
    method: str
    path: str
    """As it was sent, the query included."""
    status: int = 0
    """Of its answer; 0 while there is none, and if there will be none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """As they came; their names in any case."""


def page(status: int, title: str, text: str, headers: Mapping[str, str]) -> Reply:
    """Answer with a small HTML page."""
    html = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    return Reply(status, html.encode(), headers)


def outage(status: int) -> Reply:
    """A gateway's own page while the service behind it is away: no JSON, no X-Version."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return page(status, title, "gateway", {"Content-Type": "text/html", "Server": "gateway"})


def intercepted(how: Intercept) -> Reply:
    """What a login proxy, a firewall or another service in front answers."""
    match how:
        case "login":
            fields = '<input name="user"><input name="password" type="password">'
            form = f'<form method="post" action="/login">{fields}</form>'
            return page(200, "Sign in", form, {"Content-Type": HTML})
        case "redirect":
            return Reply(302, b"", {"Location": "/login?next=%2F", "Content-Type": HTML})
        case "forbidden":
            return page(403, "403 Forbidden", "Request blocked by policy.", {"Content-Type": "text/html"})
        case "stand-in":
            return Reply(200, b'{"data":[]}', {"Content-Type": JSON})


def over_limit(style: RateStyle, wait: float, date: float, error: Callable[[int, str, str], Reply]) -> Reply:
    """Refuse a request for its rate; ``wait`` seconds later one would pass. ``date`` is the server's clock, in unix seconds."""
    seconds = str(max(1, math.ceil(wait)))
    refusal = error(429, "too_many_requests", "Rate limit exceeded")
    match style:
        case "429":
            return refusal
        case "429-retry-after":
            return refusal.plus({"Retry-After": seconds})
        case "429-date":
            # HTTP dates are whole seconds; one more, because a fraction is cut off both this date and its Retry-After.
            until = date + math.ceil(wait) + 1
            return refusal.plus({"Date": formatdate(date, usegmt=True), "Retry-After": formatdate(until, usegmt=True)})
        case "429-reset":
            return refusal.plus({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": seconds})
        case "403":
            message = "Sorry, you have reached the knowledge base request rate limit of your subscription."
            return error(403, "forbidden", message)
        case "529":
            return error(529, "overloaded_error", "Overloaded")
        case "1015":  # Cloudflare's own page, of which the service knows nothing
            text = "Too many requests came from your address. Please wait."
            headers = {
                "Content-Type": "text/html; charset=UTF-8",
                "Server": "cloudflare",
                "CF-RAY": "0000000000000000-FRA",
            }
            return page(429, "Error 1015: You are being rate limited", text, headers)
