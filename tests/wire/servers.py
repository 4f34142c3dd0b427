"""Servers on loopback whose every byte a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"result":"success"}'
DELETED = b"HTTP/1.1 204 NO CONTENT\r\nX-Version: 1.14.2\r\n\r\n"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
"""What to do after a request was read: ``(reader, writer, nth)``, ``nth`` counting the server's requests from 1."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came: header names in lower case, ``raw`` the head's bytes."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    raw: bytes = field(repr=False, default=b"")


def answering(*answers: bytes) -> Script:
    """Answer the nth request with the nth of these bytes, the last one for all that follow."""

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
        writer.write(answers[min(nth, len(answers)) - 1])

    return script


def full(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer with its length."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"))
    return head.encode("latin-1") + b"\r\n" + body


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset instead of a FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class ScriptedServer:
    """Reads requests and leaves what happens then to ``script``; what it saw is in ``seen``.

    ``greet`` runs on each new connection before anything is read. A script that closes its writer ends the connection;
    one that waits for ever is ended with the server.
    """

    def __init__(self, script: Script, *, greet: Script | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._greet = greet
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.seen: list[Seen] = []
        self.connections = 0
        self.ended = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        self._bell = await asyncio.start_server(_ring, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._bell.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await self._bell.wait_closed()

    async def roundtrip(self) -> None:
        """Hear from this server on a connection apart: what it wrote before has then reached every client on this loop."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._bell.sockets[0].getsockname()[1])
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()

    async def until(self, condition: Callable[[ScriptedServer], bool]) -> None:
        """Wait for something to be true of this server: looked at after each connection, request and end."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._changed.set()
        task = asyncio.ensure_future(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                if self._greet is not None:
                    await self._greet(reader, writer, connection)
                while not writer.is_closing():
                    self.seen.append(await _read_request(reader, connection))
                    self._changed.set()
                    await self._script(reader, writer, len(self.seen))
                    await writer.drain()
        finally:
            self.ended += 1
            self._changed.set()
            writer.close()
            # The other side may have gone with a reset, or leave a TLS farewell unanswered.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if self._tls is None:
                    await writer.wait_closed()
                else:
                    writer.transport.abort()


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _nth: int) -> None:
    """Answer nothing, until the client has gone."""
    await reader.read(1)


def then_silence(start: bytes) -> Script:
    """Begin an answer with these bytes, and then nothing more until the client has gone."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        writer.write(start)
        await writer.drain()
        await reader.read(1)

    return script


def then_close(start: bytes) -> Script:
    """Answer with these bytes and close the connection."""

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        writer.write(start)
        await writer.drain()
        writer.close()

    return script


async def _ring(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"!")
    await writer.drain()
    writer.close()


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Seen:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body, connection, raw)
