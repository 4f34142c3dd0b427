"""A connection that does not come: nothing was sent, and each reason has its own words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Lost
from tests.wire.certificates import authority_file, server_context
from tests.wire.conftest import Run, run_on
from tests.wire.places import ask, wire_to
from tests.wire.servers import OK, ScriptedServer, answering, reset, silence, then_silence


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_refused(run: Run, closed_port: int) -> None:
    """A refused connection is unreachable, and nothing was sent."""

    async def main() -> None:
        async with wire_to(f"http://127.0.0.1:{closed_port}") as wire:
            reply = await ask(wire)
            assert reply == Lost("unreachable", False, f"127.0.0.1:{closed_port}: Connection refused")

    run(main())


def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host is unreachable, and nothing was sent."""

    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        async with wire_to("http://dify.example:8080/v1") as wire:
            reply = await ask(wire)
            assert reply == Lost("unreachable", False, "dify.example:8080: no such host: Name or service not known")

    run_on("asyncio", main())


def test_address_that_only_looks_like_one(run: Run) -> None:
    """An abbreviated IPv4 address, which some systems would complete, is unreachable."""

    async def main() -> None:
        async with wire_to("http://127.1:9") as wire:
            assert await ask(wire) == Lost("unreachable", False, "the address cannot be used")

    run(main())


@pytest.mark.parametrize(("timeout", "connect_timeout"), [(20, 0.1), (0.1, 20), (0.1, 0.1)])
def test_connecting_takes_too_long(run: Run, timeout: float, connect_timeout: float) -> None:
    """A connection that does not come in time is unreachable and nothing was sent, whichever timeout is the shorter."""

    async def main() -> None:
        async def no_handshake(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _nth: int) -> None:
            while await reader.read(1000):
                pass

        async with (
            ScriptedServer(silence, greet=no_handshake) as server,
            wire_to(server.url.replace("http", "https")) as wire,
        ):
            reply = await ask(wire, timeout=timeout, connect_timeout=connect_timeout)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("unreachable", False)

    run(main())


def test_cancelled_while_connecting(run: Run) -> None:
    """A request cancelled before its connection came was not sent, and the pool is as good as new."""

    async def main() -> None:
        async def no_handshake(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _nth: int) -> None:
            while await reader.read(1000):
                pass

        async with (
            ScriptedServer(silence, greet=no_handshake) as server,
            wire_to(server.url.replace("http", "https")) as wire,
        ):
            for n in range(1, 4):
                sending = asyncio.create_task(ask(wire))
                await server.until(lambda it, n=n: it.connections == n)
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
                await server.until(lambda it, n=n: it.ended == n)

    run(main())


def test_unknown_authority(run: Run, tmp_path: Path) -> None:
    """A certificate from an unknown authority is refused before anything is sent."""

    async def main() -> None:
        async with ScriptedServer(answering(OK), tls=server_context(tmp_path)) as server:
            async with wire_to(server.url) as wire:
                reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("tls", False)
            assert reply.detail.startswith(f"127.0.0.1:{server.port}: ")
            assert server.seen == []

    run(main())


def test_authority_from_a_file(run: Run, tmp_path: Path) -> None:
    """With the authority's file the same server is trusted, and its connection kept."""

    async def main() -> None:
        ca_file = authority_file(tmp_path)
        async with ScriptedServer(answering(OK), tls=server_context(tmp_path)) as server:
            for given in (ca_file, str(ca_file)):
                async with wire_to(server.url, ca_file=given) as wire:
                    for _ in range(3):
                        assert isinstance(await ask(wire), Answer)
            assert (len(server.seen), server.connections) == (6, 2)

    run(main())


def test_certificate_for_another_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate from a trusted authority for another host is refused all the same."""
    real = socket.getaddrinfo

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **options: real("127.0.0.1", *rest, **options))
        async with ScriptedServer(answering(OK), tls=server_context(tmp_path)) as server:
            async with wire_to(f"https://other.test:{server.port}", ca_file=authority_file(tmp_path)) as wire:
                reply = await ask(wire)
            detail = "the certificate is for localhost, service.test, 127.0.0.1, and not for other.test"
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent, reply.detail) == ("tls", False, detail)
            assert "a name of the certificate" in reply.hint
            assert server.seen == []

    run_on("asyncio", main())


def test_names_of_an_untrusted_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate that no trusted authority signed is not believed in anything, not in its names either."""
    real = socket.getaddrinfo

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **options: real("127.0.0.1", *rest, **options))
        async with ScriptedServer(answering(OK), tls=server_context(tmp_path)) as server:
            async with wire_to(f"https://other.test:{server.port}") as wire:
                reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.hint) == ("tls", "")
            assert "service.test" not in reply.detail
            assert server.seen == []

    run_on("asyncio", main())


def test_https_to_a_plain_server(run: Run) -> None:
    """An https address of a server that speaks plain HTTP is no matter of certificates: the scheme is named."""

    async def main() -> None:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with ScriptedServer(answering(OK), greet=greet) as server:
            async with wire_to(server.url.replace("http", "https")) as wire:
                reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("tls", False)
            assert reply.detail.endswith("it speaks no TLS there, and the address says https://")
            assert "http://" in reply.hint

    run(main())


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_server_that_hangs_up_on_a_handshake(run: Run, how: str) -> None:
    """A server that hangs up as TLS begins may speak plain HTTP: that is said, and it may be asked again."""

    async def main() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            await reader.read(1)
            writer.close() if how == "closed" else reset(writer)

        async with ScriptedServer(answering(OK), greet=greet) as server:
            async with wire_to(server.url.replace("http", "https")) as wire:
                reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("unreachable", False)
            assert "its address begins with http://" in reply.detail

    run(main())


def test_http_to_a_tls_server(run: Run) -> None:
    """A server that answers plain text with a TLS alert is named as one that speaks TLS."""

    async def main() -> None:
        async with ScriptedServer(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as server, wire_to(server.url) as wire:
            reply = await ask(wire)
        assert isinstance(reply, Lost)
        assert (reply.kind, reply.sent, reply.hint) == ("tls", False, "write https:// instead")

    run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_leaves_nothing_open(loop: str, tmp_path: Path) -> None:
    """After an answer, a timeout, a cut and a cancellation over TLS nothing is left open when the loop ends."""

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth == 1:
                writer.write(OK)
            elif nth == 3:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"a" * 100_000)
                await reader.read(1)
            else:
                await then_silence(OK[:-3])(reader, writer, nth)

        async with (
            ScriptedServer(script, tls=server_context(tmp_path)) as server,
            wire_to(server.url, ca_file=authority_file(tmp_path)) as wire,
        ):
            assert isinstance(await ask(wire), Answer)
            slow = await ask(wire, timeout=0.1)
            assert isinstance(slow, Lost)
            assert (slow.kind, slow.sent) == ("timeout", True)
            cut = await ask(wire)
            assert isinstance(cut, Answer)
            assert cut.cut
            sending = asyncio.create_task(ask(wire))
            await server.until(lambda it: len(it.seen) == 4)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

    run_on(loop, main(), debug=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read the CA file"), (b"", "holds no PEM certificates"), (b"\0not a certificate", "holds no PEM")],
)
def test_bad_authority_file(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A CA file that cannot be used is named when the wire is made, before anything is sent."""
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as raised:
        wire_to("https://127.0.0.1", ca_file=path)
    assert str(path) in str(raised.value)


def test_authority_file_that_is_a_folder(tmp_path: Path) -> None:
    """A folder is no CA file."""
    with pytest.raises(ConfigurationError, match="CA file"):
        wire_to("https://127.0.0.1", ca_file=tmp_path)
