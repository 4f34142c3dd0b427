"""Connections of aiohttp's pool: where one request leaves, and the head of its answer is read apart from what follows."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from bulkdel.wire.failures import BrokenBody, HeadTooLong, SpeaksTLS

if TYPE_CHECKING:
    from aiohttp.http_parser import RawResponseMessage

HEAD_BYTES = 64 * 1024
"""How long the status line and headers of an answer may be, each and all together."""


class ServiceConnection(ResponseHandler):
    """A connection that feeds aiohttp's parser an answer's head, up to its blank line, and then the rest.

    aiohttp parses what arrives at once as one piece and drops all of it for one bad byte, so garbage behind a 204 would lose
    the 204.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._head: bytearray | None = bytearray()  # what came of the head; None when it is complete

    async def ask(self, message: bytes) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
        """Send a whole request; the head of its answer, and its body to read."""
        assert self.transport is not None
        self._head = bytearray()
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,  # aiohttp takes a gzip body that stops early for a whole one
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEAD_BYTES,
        )
        self.transport.write(message)
        head, content = await self.read()
        while 100 <= head.code < 200 and head.code != 101:  # it only announces the real answer
            head, content = await self.read()
        return head, content

    def data_received(self, data: bytes) -> None:
        while self._head is not None and data and self.exception() is None:
            before = len(self._head)
            self._head += data
            end = self._head.find(b"\r\n\r\n", max(0, before - 3))
            if self._head.startswith(b"\x15\x03"):  # a TLS alert: what a TLS server says to plain text
                self._give_up(SpeaksTLS())
            elif (len(self._head) if end < 0 else end) > HEAD_BYTES:
                self._give_up(HeadTooLong())
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
    """aiohttp's pool with our connections in it."""

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
