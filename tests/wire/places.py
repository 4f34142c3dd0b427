"""The smallest thing that a wire can be opened to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkdel.providers.protocol import Reply, Request
from bulkdel.wire import HttpWire

KEY = "dataset-KEY-that-must-not-be-seen"
DELETE = Request("DELETE", "/datasets/1/documents/2")


@dataclass(frozen=True, slots=True)
class Place:
    """The part of a provider that the wire looks at."""

    base_url: str
    given: Mapping[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"}, repr=False)

    def headers(self) -> Mapping[str, str]:
        return self.given


def wire_to(url: str, *, connections: int = 1, ca_file: str | Path | None = None, keepalive: float = 1.5) -> HttpWire:
    """A wire that is not open yet."""
    provider: Any = Place(url)
    return HttpWire(provider, connections=connections, ca_file=ca_file, keepalive=keepalive)


async def ask(wire: HttpWire, request: Request = DELETE, *, timeout: float = 20, connect_timeout: float = 10) -> Reply:
    """Send with a timeout that never comes, if the test is not about timeouts."""
    return await wire.send(request, timeout=timeout, connect_timeout=connect_timeout)
