"""The wire of a simulator: requests that end early, answers that no server should give, and the log of what arrived."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(eq=False)
class Refused(Exception):
    """Raised to answer a request with ``reply`` wherever it has got to."""

    reply: web.Response


@dataclass(eq=False, kw_only=True)
class Cut(Exception):
    """Raised to end a connection without an answer: ``reset`` as if the server died, else closed in order."""

    reset: bool


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


def end_connection(transport: asyncio.Transport | None, *, reset: bool) -> None:
    """Close a connection in order, or reset it as if the server died."""
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    # Linger on, for 0 s: the kernel then sends RST and not FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class WithBytesBehind(web.Response):
    """An answer without a body that other bytes follow in the same segment, though no request asked for them."""

    def __init__(self, reply: web.Response, behind: bytes) -> None:
        super().__init__(status=reply.status, headers=reply.headers)
        lines = (f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {text}" for name, text in reply.headers.items()))
        self._raw = "\r\n".join((*lines, "", "")).encode() + behind

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is not None:
            request.transport.write(self._raw)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass
