"""What aiohttp lets others replace: one request of one send, and the connection that it travels on.

An ``Attempt`` goes along with each send. It keeps aiohttp from sending a request twice, and knows whether it left at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from bulkdel.wire.failures import BrokenBody, Connected, Dropped, SpeaksTLS, StrayBytes

if TYPE_CHECKING:
    from aiohttp.typedefs import LooseHeaders

HEAD_BYTES = 64 * 1024
"""How long the status line and headers of an answer may be, each and all together."""


class Attempt:
    """One send of one request, as a middleware of aiohttp's session; ``connect_only``: nothing is sent, not even that."""

    def __init__(self, *, connect_only: bool = False) -> None:
        self.sent = False  # whether it may have reached the service
        self.connect_only = connect_only

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        assert isinstance(request, WireRequest)
        request.attempt = self
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            # aiohttp answers these two by sending a DELETE or GET again, unasked and past the limiter. Any other error it
            # leaves to its caller.
            raise Dropped from error


class WireRequest(aiohttp.ClientRequest):
    """A request that notes when it leaves, and has exactly the wire's headers."""

    attempt: Attempt

    def update_headers(self, headers: LooseHeaders | None) -> None:
        # What comes is the session's own copy of the wire's headers. Copying it name by name is 4 % of a delete.
        if isinstance(headers, CIMultiDict):
            self.headers = headers
        else:
            super().update_headers(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add none: the wire's headers lack nothing."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        protocol = conn.protocol
        # aiohttp also hands out an idle connection on which something arrived meanwhile, a late or a second answer. The
        # request would read that as its own: a stray 204 would read as deleted.
        if protocol is None or protocol.should_close:
            raise StrayBytes
        if self.attempt.connect_only:
            raise Connected(conn.transport.get_extra_info("peercert") if conn.transport else None)
        if isinstance(protocol, ServiceConnection):
            protocol.expect_answer()
        self.attempt.sent = True
        return await super().send(conn)


class ServiceConnection(ResponseHandler):
    """A connection that reads the head of an answer, up to its blank line, apart from what follows.

    aiohttp parses what arrives at once as one piece and drops all of it for one bad byte, so garbage behind a 204 would lose
    the 204.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._head: bytearray | None = bytearray()  # what came of the head; None when it is complete

    def expect_answer(self) -> None:
        """The next byte begins an answer's head."""
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        while self._head is not None and data and self.exception() is None:
            before = len(self._head)
            self._head += data
            end = self._head.find(b"\r\n\r\n", max(0, before - 3))
            if self._head.startswith(b"\x15\x03"):  # a TLS alert: what a TLS server says to plain text
                self._give_up(SpeaksTLS())
            elif (len(self._head) if end < 0 else end) > HEAD_BYTES:
                self._give_up(HttpProcessingError(message="the headers are too long"))
            else:
                length = len(data) if end < 0 else end + 4 - before
                self._feed(data[:length])
                data = data[length:]
                if end >= 0:
                    # A status of 100 to 199 only announces the real answer, whose head follows.
                    self._head = bytearray() if self._head[9:10] == b"1" else None
        if not data or self.exception() is not None:
            return
        if self._payload is None or self._payload.is_eof():
            self.force_close()  # these bytes answer no request, so that none is sent on this connection any more
        else:
            self._feed(data)

    def _give_up(self, why: Exception) -> None:
        self.close()
        self.set_exception(why)

    def _feed(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp closes the connection at a chunk that makes no sense and leaves the reader of the body waiting.
        if self.exception() is not None and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(BrokenBody())


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool with our connections in it.

    An aiohttp that makes its connections in another way makes its own: what only ours read is lost in doubt then.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        kind: type[ResponseHandler] = ServiceConnection
        self._factory = partial(kind, loop=self._loop)

    async def _get(self, key: Any, traces: Any) -> Any:
        """The idle connection that was used last; aiohttp takes the one that was idle longest.

        So what is open beyond what is in use grows old, and is closed: an idle connection holds a slot of a gunicorn.
        """
        if idle := self._conns.get(key):
            idle.rotate(1)
        return await super()._get(key, traces)
