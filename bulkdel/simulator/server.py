"""The wire of a simulator: an HTTP server on loopback, and on nothing else; requests that end early, and the log of what arrived."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from bulkdel.errors import ConfigurationError

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


class Server:
    """An HTTP server that gives each request to ``handler`` and sends what comes back, unless ``Cut`` is raised.

    :raises ConfigurationError: ``host`` is not a loopback address: a simulator deletes what it is asked to, and its key is no
        secret
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.Response]],
        *,
        host: str,
        port: int,
        keepalive: float | None,
    ) -> None:
        if host not in LOOPBACK:
            raise ConfigurationError(f"a simulator listens on loopback only ({', '.join(LOOPBACK)}): {host}")
        self.host = host
        self.port = port
        self._handler = handler
        self._keepalive = 75.0 if keepalive is None else keepalive  # 75 s is nginx's idle time
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen; ``port`` 0 becomes the free port that was found.

        :raises OSError: the port is taken
        """
        # web.Server and not web.Application: one handler, no router, about twice the requests a second.
        server = web.Server(self._respond, access_log=None, keepalive_timeout=self._keepalive)
        # A request that hangs on purpose must not hold the end up: aiohttp would wait for it up to 60 s.
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=1024).start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Close every connection and the port."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @property
    def address(self) -> str:
        """The address without a path, ``http://127.0.0.1:8080``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handler(request)
        except Cut as cut:
            if request.transport is not None and cut.reset:
                # Linger on, for 0 s: the kernel then sends RST and not FIN.
                linger = struct.pack("ii", 1, 0)
                request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                request.transport.abort()
            elif request.transport is not None:
                request.transport.close()
            # aiohttp ends the task of a connection that is gone when its handler is cancelled.
            raise asyncio.CancelledError from None


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
