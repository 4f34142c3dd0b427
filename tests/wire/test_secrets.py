"""Where a wire keeps its key: nowhere that anybody reads."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Lost
from tests.wire.certificates import server_context
from tests.wire.conftest import run_on
from tests.wire.places import KEY, Place, ask, wire_to
from tests.wire.servers import OK, ScriptedServer, reset, silence, then_close


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_key_is_shown_nowhere(loop: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, the key is in no detail, log line or repr, even if the service sends it back."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def echo(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nAuthorization Bearer {KEY}\r\n\r\n".encode())

    async def echo_first(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        writer.write(f"Bearer {KEY}\r\n\r\n".encode())

    async def echo_chunk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode())

    async def drop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        reset(writer)

    async def main() -> None:
        for script in (echo, echo_first, echo_chunk, drop, silence, then_close(OK[:30])):
            for tls in (None, server_context(tmp_path)):
                async with ScriptedServer(script, tls=tls) as server, wire_to(server.url) as wire:
                    reply = await ask(wire, timeout=0.2)
                    assert isinstance(reply, Lost) or reply.broken
                    shown.extend((repr(reply), repr(wire), str(wire)))
        async with wire_to(f"http://127.0.0.1:{server.port}") as wire:
            shown.append(repr(await ask(wire)))

    run_on(loop, main(), debug=True)
    shown.append(caplog.text)
    assert KEY not in "".join(shown)


@pytest.mark.parametrize("value", [f"Bearer {KEY}\n", f"Bearer {KEY}\r\nX: y", f"Bearer \x00{KEY}", f"Bearer é{KEY}"])
def test_key_that_cannot_be_sent(value: str) -> None:
    """A key with characters that no header can carry is refused when the wire is made, and not shown."""
    from bulkdel.wire import HttpWire

    with pytest.raises(ConfigurationError, match="Authorization") as raised:
        HttpWire(Place("http://service.test", {"Authorization": value}), connections=1)  # type: ignore[arg-type]
    assert KEY not in str(raised.value) + raised.value.hint
