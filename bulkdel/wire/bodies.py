"""Bodies, read and unpacked within a limit: an endless one ends there, and one that stops early is not a whole one."""

from __future__ import annotations

import asyncio
import zlib
from functools import partial
from typing import TYPE_CHECKING

from bulkdel.providers.protocol import Answer, Lost, Reply
from bulkdel.wire.failures import GarbledBody

if TYPE_CHECKING:
    import aiohttp

_GZIP = 16 + zlib.MAX_WBITS  # zlib's own way of saying "expect a gzip header"
_MEMBERS = 16  # each costs a copy of what is left; real bodies have one, and a million empty ones would stop the loop


def body_at_hand(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """As ``read_body``, of an answer that has given its connection back, as almost every one that comes in one segment has: it
    is all here.

    :raises Exception: one of ``FAILURES``, where it did not come whole
    """
    body = content.read_nowait()
    return (body[:limit], True) if len(body) > limit else (body, False)


async def read_body(
    content: aiohttp.StreamReader, connection: aiohttp.connector.Connection, limit: int
) -> tuple[bytes, bool]:
    """The body as it came, and whether it was cut at ``limit`` bytes.

    :raises Exception: one of ``FAILURES``, where it did not come whole
    """
    closed = None if connection.protocol is None else connection.protocol.closed
    if closed is None:
        return await _read(content, limit)
    # When a chunked body turns out to be nonsense, aiohttp closes the connection and tells the reader nothing: it would
    # wait for the whole timeout. So the end of the connection ends the reading.
    give_up = partial(_give_up, content)
    closed.remove_done_callback(_heard)  # it stays with the connection, once
    closed.add_done_callback(_heard)
    closed.add_done_callback(give_up)
    try:
        return await _read(content, limit)
    finally:
        closed.remove_done_callback(give_up)


async def _read(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    size = 0
    while size <= limit:
        piece = await content.readany()
        if not piece:
            return b"".join(pieces), False
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)[:limit], True


def _give_up(content: aiohttp.StreamReader, _closed: asyncio.Future[None]) -> None:
    if not content.is_eof() and content.exception() is None:
        content.set_exception(GarbledBody())


def _heard(closed: asyncio.Future[None]) -> None:
    """Take the error that a connection ended with, which asyncio would otherwise report as never retrieved."""
    if not closed.cancelled():
        closed.exception()


def unpacked(answer: Answer, limit: int) -> Reply:
    """``answer`` with its gzip body unpacked to at most ``limit`` bytes (``cut`` where there were more).

    A body that is not gzip although it says so is ``garbled``, one that stops early and was not cut by us ``disconnected``. An
    encoding that nobody asked for is left as it is: the status may be all that is needed.
    """
    if answer.headers.get("Content-Encoding", "").strip().lower() not in ("gzip", "x-gzip"):
        return answer
    try:
        body, whole = gunzip(answer.body, limit + 1)
    except zlib.error:
        return Lost("garbled", True, "the answer's body is not compressed as it says")
    if len(body) > limit:
        return answer._replace(body=body[:limit], cut=True)
    if not whole and not answer.cut:
        return Lost("disconnected", True, "the answer's body stops early")
    return answer._replace(body=body)


def gunzip(packed: bytes, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes that ``packed`` unpacks to, and whether it was whole; several members in a row are one body.

    :raises zlib.error: it is not gzip, or of absurdly many members
    """
    body = b""
    for _ in range(_MEMBERS):
        if not packed:
            return body, True
        member = zlib.decompressobj(_GZIP)
        body += member.decompress(packed, limit - len(body))
        if not member.eof or len(body) >= limit:
            return body, False
        packed = member.unused_data
    raise zlib.error("too many members")
