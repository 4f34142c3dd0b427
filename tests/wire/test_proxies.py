"""Proxies from the environment: used if they are named, and given neither the key nor more than they need."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from pathlib import Path

import pytest
from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Lost, Request
from bulkdel.wire.proxies import proxy_for
from tests.wire.certificates import authority_file, server_context
from tests.wire.conftest import Run, run_on
from tests.wire.places import DELETE, KEY, ask, wire_to
from tests.wire.servers import OK, Script, ScriptedServer, answering, full, silence

BASIC = "Basic " + base64.b64encode(b"someone:p@ss word").decode()


def tunnel_to(port: int) -> Script:
    """A proxy that opens every tunnel to this local port."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.close()
            with contextlib.suppress(OSError):
                await far_writer.wait_closed()
            writer.close()

    return script


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_plain_http(run: Run, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A plain address is asked of the proxy, whole, over kept connections."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as proxy:
            monkeypatch.setenv(variable, proxy.url)
            async with wire_to("http://service.test/v1") as wire:
                for _ in range(3):
                    assert isinstance(await ask(wire), Answer)
                await ask(wire, Request("PATCH", "/x", json={}))
            assert len(proxy.seen) == 4
            assert [seen.path for seen in proxy.seen[:3]] == ["http://service.test/v1" + DELETE.path] * 3
            assert {seen.headers["authorization"] for seen in proxy.seen} == {f"Bearer {KEY}"}
            assert all("proxy-authorization" not in seen.headers for seen in proxy.seen)
            assert proxy.connections == 1

    run(main())


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_tunnel(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    """An https address goes through one tunnel, and the proxy hears nothing of the key."""

    async def main() -> None:
        async with (
            ScriptedServer(answering(OK), tls=server_context(tmp_path)) as service,
            ScriptedServer(tunnel_to(service.port)) as proxy,
        ):
            monkeypatch.setenv(variable, proxy.url)
            async with wire_to("https://service.test/v1", ca_file=authority_file(tmp_path)) as wire:
                for _ in range(3):
                    assert isinstance(await ask(wire), Answer)
            assert [(seen.method, seen.path) for seen in proxy.seen] == [("CONNECT", "service.test:443")]
            assert KEY.encode() not in proxy.seen[0].raw
            assert proxy.seen[0].headers["user-agent"].startswith("bulkdel/")
            assert [seen.path for seen in service.seen] == ["/v1" + DELETE.path] * 3
            assert service.seen[0].headers["authorization"] == f"Bearer {KEY}"

    run(main())


def test_credentials_for_a_tunnel(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy's credentials reach the proxy, and not the service behind it."""

    async def main() -> None:
        async with (
            ScriptedServer(answering(OK), tls=server_context(tmp_path)) as service,
            ScriptedServer(tunnel_to(service.port)) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://someone:p%40ss%20word@127.0.0.1:{proxy.port}")
            async with wire_to("https://service.test", ca_file=authority_file(tmp_path)) as wire:
                assert "someone" not in repr(wire)
                assert isinstance(await ask(wire), Answer)
            assert proxy.seen[0].headers["proxy-authorization"] == BASIC
            assert "proxy-authorization" not in service.seen[0].headers

    run(main())


def test_credentials_for_plain_http(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's credentials go with each plain request, and not in its address."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as proxy:
            # Without a scheme, as people write it.
            monkeypatch.setenv("HTTP_PROXY", f"someone:p%40ss%20word@127.0.0.1:{proxy.port}")
            async with wire_to("http://service.test") as wire:
                await ask(wire)
                await ask(wire, Request("PATCH", "/x", json={}))
            assert [seen.headers["proxy-authorization"] for seen in proxy.seen] == [BASIC, BASIC]
            assert [seen.path for seen in proxy.seen] == ["http://service.test" + DELETE.path, "http://service.test/x"]

    run(main())


def test_tunnel_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that the proxy refuses is unreachable: nothing was sent to the service."""

    async def main() -> None:
        for answer in (full("407 Proxy Authentication Required"), full("502 Bad Gateway", b"no such host")):
            async with ScriptedServer(answering(answer)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", f"http://someone:secret@127.0.0.1:{proxy.port}")
                async with wire_to("https://service.test") as wire:
                    reply = await ask(wire)
                    status = answer[9:12].decode()
                    detail = f"the proxy 127.0.0.1:{proxy.port} opens no tunnel, it answers {status}"
                    assert reply == Lost("unreachable", False, detail)

    run(main())


def test_proxy_that_talks_nonsense(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that hangs up, or is none, is unreachable: nothing was sent to the service."""

    async def main() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            writer.close()

        for script in (hang_up, answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")):
            async with ScriptedServer(script) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                async with wire_to("https://service.test") as wire:
                    reply = await ask(wire)
                    assert reply == Lost("unreachable", False, f"the proxy 127.0.0.1:{proxy.port} broke off")
                    assert len(proxy.seen) == 1

    run(main())


def test_proxy_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses connections is named as the proxy, without its credentials."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as gone:
            port = gone.port
        monkeypatch.setenv("HTTP_PROXY", f"http://someone:secret@127.0.0.1:{port}")
        async with wire_to("http://service.test") as wire:
            reply = await ask(wire)
        assert reply == Lost("unreachable", False, f"the proxy 127.0.0.1:{port}: Connection refused")

    run(main())


def test_proxy_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy whose name is unknown is named as the proxy, too."""

    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://someone:secret@proxy.test:3128")
            async with wire_to(f"{scheme}://service.test") as wire:
                reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("unreachable", False)
            assert reply.detail == "the proxy proxy.test:3128: no such host: Name or service not known"

    run_on("asyncio", main())


def test_proxy_that_says_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that never opens the tunnel is named with the time that it had."""

    async def main() -> None:
        async with ScriptedServer(silence) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with wire_to("https://service.test") as wire:
                reply = await ask(wire, connect_timeout=0.1)
            detail = f"no connection within 0.1 s (through the proxy 127.0.0.1:{proxy.port})"
            assert reply == Lost("unreachable", False, detail)

    run(main())


def test_proxy_that_wants_a_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses a plain request has not passed it on: the loss names the proxy, without its credentials."""

    async def main() -> None:
        async with ScriptedServer(answering(full("407 Proxy Authentication Required", b"<html>"))) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://someone:secret@127.0.0.1:{proxy.port}")
            async with wire_to("http://service.test") as wire:
                reply = await ask(wire)
            detail = f"the proxy 127.0.0.1:{proxy.port} wants a user name and a password, it answers 407"
            assert reply == Lost("unreachable", False, detail)

    run(main())


def test_answers_through_a_proxy_name_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes through a proxy in clear may be its own: the answer names it, and so does a loss."""

    async def main() -> None:
        async with ScriptedServer(answering(full("502 Bad Gateway", b"<html>"), b"nonsense\r\n\r\n")) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://someone:secret@127.0.0.1:{proxy.port}")
            async with wire_to("http://service.test") as wire:
                answer, loss = await ask(wire), await ask(wire)
            assert isinstance(answer, Answer)
            assert (answer.status, answer.proxy) == (502, f"127.0.0.1:{proxy.port}")
            assert isinstance(loss, Lost)
            assert loss.detail == f"through the proxy 127.0.0.1:{proxy.port}"

    run(main())


NO_PROXY = (
    "127.0.0.1", "127.0.0.1:{port}", "*", "example.com,127.0.0.1", "127.0.0.0/8", "example.com 127.0.0.0/8", "127.*",
    "127.*.0.1:{port}", "*.0.0.1", "127.0.0.0/255.0.0.0", "http://127.0.0.1:{port}/", "0.0.0.0/0",
)  # fmt: skip


@pytest.mark.parametrize("exception", NO_PROXY)
def test_no_proxy(run: Run, monkeypatch: pytest.MonkeyPatch, exception: str) -> None:
    """A host that NO_PROXY names is asked directly."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as service, ScriptedServer(answering(OK)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", exception.format(port=service.port))
            async with wire_to(service.url) as wire:
                assert isinstance(await ask(wire), Answer)
            assert (len(service.seen), len(proxy.seen)) == (1, 0)

    run(main())


def test_an_empty_no_proxy_in_small_letters_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As requests reads it: the one in capitals counts."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "")
    assert proxy_for(URL("http://127.0.0.1:8080")) is None


@pytest.mark.parametrize("exception", ["127.0.0.1:1", "128.0.0.0/8", "27.*", "::/0", "", "example.com"])
def test_no_proxy_for_others(run: Run, monkeypatch: pytest.MonkeyPatch, exception: str) -> None:
    """A host that NO_PROXY does not name is asked through the proxy."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as service, ScriptedServer(answering(OK)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", exception)
            async with wire_to(service.url) as wire:
                assert isinstance(await ask(wire), Answer)
            assert (len(service.seen), len(proxy.seen)) == (0, 1)

    run(main())


@pytest.mark.parametrize(
    ("no_proxy", "address", "direct"),
    [
        ("example.com", "http://example.com", True), ("example.com", "http://api.example.com", True),
        (".example.com", "http://api.example.com", True), (".example.com", "http://example.com", True),
        ("*.example.com", "http://a.b.example.com", True), ("EXAMPLE.com.", "http://api.Example.COM./v1", True),
        ("example.com", "http://notexample.com", False), ("example.com", "http://example.com.evil.test", False),
        ("api-*.example.com", "http://api-7.example.com", True), ("api-*.example.com", "http://web.example.com", False),
        ("example.com:8080", "http://example.com:8080", True), ("example.com:8080", "http://example.com", False),
        ("example.com:80", "http://example.com", True), ("bücher.test", "http://bücher.test", True),
        ("xn--bcher-kva.test", "http://bücher.test", True), ("[::1]", "http://[::1]:8080", True),
        ("::1", "http://[::1]:8080", True), ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:9", "http://[::1]:8080", False), ("0:0:0:0:0:0:0:1", "http://[::1]", True),
        ("fd00::/8", "http://[fd12::1]", True), ("fd00::/8", "http://[fe80::1]", False),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True), ("127.0.0.0/8", "http://localhost", True),
        ("10.0.0.0/8", "http://service.test", False), ("[", "http://service.test", False), ("*:80", "http://a.test", True),
        ("fd00::/8,[2001:DB8::]/32", "http://[2001:db8::5]", True), ("[2001:db8::]/32", "http://[2001:db9::5]", False),
        ("10.0.0.0/8:8080", "http://10.1.2.3:8080", True), ("10.0.0.0/8:8080", "http://10.1.2.3", False),
        ("https://service.test/v1", "https://service.test/v1", True), ("https://service.test:8443/", "https://service.test", False),
        ("..service.test", "http://api.service.test", True), ("LOCALHOST", "http://localhost:5001", True),
        ('"localhost,service.test"', "http://service.test", True), ("localhost;service.test;", "http://service.test", True),
        ("fe80::/10", "http://[fe80::1%25eth0]", True), (" , ,service.test", "http://service.test", True), ("10.0.0.0/99", "http://10.0.0.1", False),
    ],
)  # fmt: skip
def test_what_no_proxy_names(monkeypatch: pytest.MonkeyPatch, no_proxy: str, address: str, direct: bool) -> None:
    """Hosts, domains, patterns, networks and ports, as curl, requests and Go read them."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_for(URL(address)) is None) == direct


def test_proxy_for_the_other_scheme(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY is not for plain addresses."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as service:
            monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
            async with wire_to(service.url) as wire:
                assert isinstance(await ask(wire), Answer)

    run(main())


def test_environment_is_read_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says after the wire was made does not matter."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as service:
            wire = wire_to(service.url)
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            async with wire:
                assert isinstance(await ask(wire), Answer)

    run(main())


@pytest.mark.parametrize(
    "named",
    ["socks5://someone:secret@127.0.0.1:1080", "http://someone:secret@127.0.0.1:port", "http://someone:secret@"],
)
def test_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """A proxy that bulkdel cannot use is a configuration error that names the variable and hides the credentials."""
    monkeypatch.setenv("ALL_PROXY", named)
    with pytest.raises(ConfigurationError, match="ALL_PROXY") as raised:
        wire_to("http://service.test")
    assert "secret" not in str(raised.value) + raised.value.hint
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "named", ["proxy.test:3128", " http://proxy.test:3128/ ", '"http://proxy.test:3128"', "'proxy.test:3128'"]
)
def test_how_a_proxy_is_written(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """With a scheme or without, in blanks or quotes."""
    monkeypatch.setenv("HTTP_PROXY", named)
    proxy = proxy_for(URL("http://service.test"))
    assert proxy is not None
    assert (str(proxy.url), proxy.authorization) == ("http://proxy.test:3128", "")


def test_credentials_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of a proxy shows no credentials, so that no message made of it can."""
    monkeypatch.setenv("HTTP_PROXY", "http://someone:secret@proxy.test:3128/")
    proxy = proxy_for(URL("http://service.test"))
    assert proxy is not None
    assert (str(proxy.url), proxy.authorization[:6]) == ("http://proxy.test:3128", "Basic ")
    assert "secret" not in repr(proxy)
    assert proxy.authorization not in repr(proxy)
