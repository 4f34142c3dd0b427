"""The wire of a simulator: an HTTP server on loopback, and on nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from bulkdel.errors import ConfigurationError
from bulkdel.simulator.answers import Cut, Reply

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Server:
    """An HTTP server that gives each request to ``handler`` and sends, or cuts, what comes back.

    :raises ConfigurationError: ``host`` is not a loopback address: a simulator deletes what it is asked to, and its key is no
        secret
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[Reply | Cut]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keepalive: float | None = None,
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
        match await self._handler(request):
            case Reply(behind=behind) as reply if behind:
                return _WithBytesBehind(reply)
            case Reply() as reply:
                return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
            case Cut(reset=reset):
                if request.transport is not None:
                    _end(request.transport, reset=reset)
                # aiohttp ends the task of a connection that is gone when its handler is cancelled.
                raise asyncio.CancelledError


class _WithBytesBehind(web.Response):
    """An answer without a body that other bytes follow in the same segment."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(status=reply.status, headers=reply.headers)
        lines = (f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {text}" for name, text in reply.headers.items()))
        self._raw = "\r\n".join((*lines, "", "")).encode() + reply.behind

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is not None:
            request.transport.write(self._raw)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _end(transport: asyncio.Transport, *, reset: bool) -> None:
    if not reset:
        transport.close()
        return
    # Linger on, for 0 s: the kernel then sends RST and not FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
