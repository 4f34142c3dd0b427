"""Bodies, read and unpacked up to a limit: an endless one ends there, and one that stops early is not whole."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from bulkdel.providers.protocol import Answer, Lost, Reply

if TYPE_CHECKING:
    import aiohttp


async def read_body(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """The body's first ``limit`` bytes as they came, and whether there were more.

    :raises aiohttp.ClientError: it did not come whole
    """
    body = bytearray()
    while len(body) <= limit and (piece := await content.readany()):
        body += piece
    return bytes(body[:limit]), len(body) > limit


def unpacked(answer: Answer, limit: int) -> Reply:
    """``answer`` with its gzip body unpacked to at most ``limit`` bytes (``cut`` if there were more).

    If the body is not gzip although it says so, or stops early and was not cut by us, a 2xx is ``broken`` and any other answer
    lost. An encoding that was not asked for is left as it is: the status may be all that is needed.
    """
    if answer.headers.get("Content-Encoding", "").strip().lower() not in ("gzip", "x-gzip"):
        return answer
    try:
        body, whole = gunzip(answer.body, limit + 1)
    except zlib.error:
        lost = Lost("garbled", True, "the answer's body is not compressed as it says")
    else:
        if len(body) > limit:
            return answer._replace(body=body[:limit], cut=True)
        if whole or answer.cut:
            return answer._replace(body=body)
        lost = Lost("disconnected", True, "the answer's body stops early")
    return answer._replace(body=b"", broken=True) if 200 <= answer.status < 300 else lost


def gunzip(packed: bytes, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes that ``packed`` unpacks to, and whether it was whole; several members in a row are one body.

    :raises zlib.error: it is not gzip, or of absurdly many members
    """
    body = b""
    # Real bodies have one member. Each costs a copy of what is left, so a million empty ones would stop the event loop.
    for _ in range(16):
        if not packed:
            return body, True
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16 is zlib's own way of saying "expect a gzip header"
        body += member.decompress(packed, limit - len(body))
        if not member.eof or len(body) >= limit:
            return body, False
        packed = member.unused_data
    raise zlib.error("too many members")
