"""One send is at most one request on the wire, and connections are kept as long as they are good."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bulkdel.providers.protocol import ANSWER_BYTES, Answer, Lost, Request
from bulkdel.wire import HttpWire
from tests.wire.conftest import Run, run_on
from tests.wire.places import DELETE, KEY, Place, ask, wire_to
from tests.wire.servers import DELETED, OK, ScriptedServer, answering, full, reset, silence, then_close, then_silence

IDEMPOTENT = [Request("DELETE", "/1"), Request("GET", "/1")]


@pytest.mark.parametrize("request_", IDEMPOTENT, ids=["DELETE", "GET"])
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_kept_connection_that_drops(run: Run, request_: Request, how: str) -> None:
    """A request lost on a kept connection leaves once, and is lost in doubt."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth == 1:
                writer.write(OK)
            elif how == "closed":
                writer.close()
            else:
                reset(writer)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            assert isinstance(await ask(wire), Answer)
            reply = await ask(wire, request_)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("disconnected", True)
            assert (len(server.seen), server.connections) == (2, 1)

    run(main())


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_new_connection_that_drops(run: Run, how: str) -> None:
    """A request lost on a new connection leaves once, too."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            writer.close() if how == "closed" else reset(writer)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            reply = await ask(wire)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("disconnected", True)
            assert len(server.seen) == 1

    run(main())


def test_server_that_hangs_up_on_connecting(run: Run) -> None:
    """A connection that is reset before anything is read ends as a loss, however far the request came."""

    async def main() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            reset(writer)

        async with ScriptedServer(answering(OK), greet=hang_up) as server, wire_to(server.url) as wire:
            for _ in range(20):
                assert isinstance(await ask(wire), Lost)
            assert server.seen == []
            assert server.connections <= 20

    run(main())


def test_reset_in_the_middle_of_a_request(run: Run) -> None:
    """A service that has read a part of the request and resets may have done it: lost in doubt, and sent once."""

    async def main() -> None:
        body = {"words": "a" * 500_000}  # more than the sockets' buffers take at once
        parts: list[bytes] = []

        async def read_some(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            parts.append(await reader.read((1, 100, 100_000)[nth % 3]))
            reset(writer)

        async with ScriptedServer(answering(OK), greet=read_some) as server, wire_to(server.url) as wire:
            for n in range(1, 10):
                reply = await ask(wire, Request("POST", "/1", json=body) if n % 2 else Request("DELETE", "/1"))
                assert isinstance(reply, Lost)
                assert (reply.kind, reply.sent) == ("disconnected", True), reply
                assert (server.connections, len(parts)) == (n, n)
            assert server.seen == []

    run(main())


def test_connection_that_closes_after_each_answer(run: Run) -> None:
    """A service that closes unannounced after each answer gets no request twice, whichever side is faster."""

    async def main() -> None:
        sends = 100
        async with ScriptedServer(then_close(OK)) as server, wire_to(server.url) as wire:
            replies = [await ask(wire, Request("DELETE", f"/{i}")) for i in range(sends)]
            paths = [seen.path for seen in server.seen]
            assert len(paths) == len(set(paths))
            assert len(paths) <= sends - sum(isinstance(reply, Lost) and not reply.sent for reply in replies)
            assert len(paths) >= sum(isinstance(reply, Answer) for reply in replies)

    run(main())


def test_idle_connection_that_was_closed(run: Run) -> None:
    """A connection that the service closed while it was idle is not used again: the next request finds a new one."""

    async def main() -> None:
        async with ScriptedServer(then_close(OK)) as server, wire_to(server.url) as wire:
            for n in (1, 2, 3):
                assert isinstance(await ask(wire), Answer)
                await server.until(lambda it, n=n: it.ended == n)
                await server.roundtrip()
            assert len(server.seen) == 3

    run(main())


def test_connection_that_was_idle_too_long(run: Run) -> None:
    """A connection that was idle for longer than it is kept is not used again."""

    async def main() -> None:
        # Every pause is longer than -1 s.
        async with ScriptedServer(answering(OK)) as server, wire_to(server.url, keepalive=-1.0) as wire:
            for _ in range(3):
                assert isinstance(await ask(wire), Answer)
            assert server.connections == 3

    run(main())


def test_stray_answer_is_not_taken_for_the_next_one(run: Run) -> None:
    """A stray answer on an idle connection answers no request: nothing is sent on that one."""

    async def main() -> None:
        speak = asyncio.Event()
        spoken = asyncio.Event()

        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            writer.write(OK)
            if nth == 1:
                await writer.drain()
                await speak.wait()
                writer.write(DELETED)
                await writer.drain()
                spoken.set()

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            first = await ask(wire)
            speak.set()
            await spoken.wait()
            await server.roundtrip()
            second = await ask(wire)
            third = await ask(wire)
            for reply in (first, third):
                assert isinstance(reply, Answer)
                assert reply.status == 200
            assert isinstance(second, Lost)
            assert (second.kind, second.sent) == ("disconnected", False)
            assert len(server.seen) == 2

    run(main())


def test_second_answer_in_the_same_breath(run: Run) -> None:
    """Two answers to one request: the first counts, and the connection is given up."""

    async def main() -> None:
        async with ScriptedServer(answering(OK + DELETED)) as server, wire_to(server.url) as wire:
            for _ in range(3):
                reply = await ask(wire)
                assert isinstance(reply, Answer)
                assert reply.status == 200
            assert server.connections == 3

    run(main())


REFUSALS = {
    "empty": full("400 BAD REQUEST"),
    "short": full("403 FORBIDDEN", b'{"code":"forbidden"}'),
    "as long as is read": full("404 NOT FOUND", b"x" * ANSWER_BYTES),
    "chunked": b"HTTP/1.1 500 OH\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "deleted": DELETED,
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_one_connection_for_many_requests(run: Run, answer: bytes) -> None:
    """Twenty refusals with bodies cost one connection."""

    async def main() -> None:
        async with ScriptedServer(answering(answer)) as server, wire_to(server.url) as wire:
            for _ in range(20):
                assert isinstance(await ask(wire), Answer)
            assert (len(server.seen), server.connections) == (20, 1)

    run(main())


def test_connections_are_bounded(run: Run) -> None:
    """Four workers need four connections, for any number of requests."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as server, wire_to(server.url, connections=4) as wire:

            async def worker() -> None:
                for _ in range(25):
                    assert isinstance(await ask(wire), Answer)

            await asyncio.gather(*(worker() for _ in range(4)))
            assert (len(server.seen), server.connections) == (100, 4)

    run(main())


@pytest.mark.parametrize("start", [b"", OK[:20], OK[:-3]], ids=["before", "in the head", "in the body"])
def test_cancelled(run: Run, start: bytes) -> None:
    """A cancelled request is raised as cancelled, its connection is closed, and the pool is as good as new."""

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            await (then_silence(start) if nth <= 5 else answering(OK))(reader, writer, nth)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            for n in range(1, 6):
                sending = asyncio.create_task(ask(wire))
                await server.until(lambda it, n=n: len(it.seen) == n)
                await server.roundtrip()
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
                await server.until(lambda it, n=n: it.ended == n)
            reply = await ask(wire)
            assert isinstance(reply, Answer)
            assert reply.body == b'{"result":"success"}'
            assert len(server.seen) == 6

    run(main())


def test_next_request_after_a_cancelled_one(run: Run) -> None:
    """It has a connection of its own at once: on the old one the answer to the cancelled request may still come."""

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            await (silence if nth == 1 else answering(OK))(reader, writer, nth)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            sending = asyncio.create_task(ask(wire))
            await server.until(lambda it: len(it.seen) == 1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert isinstance(await ask(wire), Answer)
            assert [seen.connection for seen in server.seen] == [1, 2]

    run(main())


def test_outer_timeout_is_the_caller_s(run: Run) -> None:
    """A timeout around ``send`` is the caller's own and is not taken for the wire's."""

    async def main() -> None:
        async with ScriptedServer(silence) as server, wire_to(server.url) as wire:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(wire), 0.05)

    run(main())


def test_what_is_sent(run: Run) -> None:
    """A request has its percent-encoding untouched, our own headers once each, and no other."""

    async def main() -> None:
        path = "/knowledge/a%2Fb/%61tt%20%C3%A9?page=1&q=a%2Bb"
        cookie = full("200 OK", b"{}", "Set-Cookie: session=1; Path=/")
        async with ScriptedServer(answering(cookie)) as server, wire_to(server.url + "/v1/") as wire:
            await ask(wire, Request("DELETE", path))
            await ask(wire, Request("PATCH", "/status/disable", json={"document_ids": ["é"]}))
            delete, patch = server.seen
            assert (delete.method, delete.path, delete.body) == ("DELETE", "/v1" + path, b"")
            assert delete.headers["authorization"] == f"Bearer {KEY}"
            assert delete.headers["accept"] == "application/json"
            assert delete.headers["accept-encoding"] == "gzip"
            assert delete.headers["user-agent"].startswith("bulkdel/")
            assert json.loads(patch.body) == {"document_ids": ["é"]}
            assert (patch.method, patch.headers["content-type"]) == ("PATCH", "application/json")
            ours = {"host", "authorization", "accept", "accept-encoding", "user-agent", "content-length"}
            assert (set(delete.headers), set(patch.headers)) == (ours, ours | {"content-type"})
            for seen in (delete, patch):
                assert seen.raw.count(b"\r\n") == len(seen.headers) + 2, "a header was sent twice"
                assert seen.headers["host"] == f"127.0.0.1:{server.port}"

    run(main())


@pytest.mark.parametrize("path", ["/a\r\nX-Evil: 1", "/a\x00", "/\u00e9"])
def test_path_that_is_not_encoded(path: str) -> None:
    """A provider that lets such a path through is a bug: nothing is sent."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as server, wire_to(server.url) as wire:
            with pytest.raises(ValueError, match="percent-encoded"):
                await ask(wire, Request("DELETE", path))
            assert (server.seen, server.connections) == ([], 0)

    run_on("asyncio", main())


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://service.test", "service.test"), ("http://service.test:80/v1", "service.test"),
        ("http://service.test:8080/v1", "service.test:8080"), ("http://SERVICE.test./v1", "service.test"),
        ("http://[::1]:8080", "[::1]:8080"), ("http://bücher.test", "xn--bcher-kva.test"),
    ],
)  # fmt: skip
def test_host(run: Run, monkeypatch: pytest.MonkeyPatch, address: str, host: str) -> None:
    """The service is named as its address has it, without the port that goes without saying."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            async with wire_to(address) as wire:
                await ask(wire)
                await ask(wire, Request("PATCH", "/x", json={}))
        assert [seen.headers["host"] for seen in proxy.seen] == [host, host]

    run(main())


@pytest.mark.parametrize("name", ["Host", "host"])
def test_host_of_a_plug_in(run: Run, name: str) -> None:
    """A provider that names a host itself (behind a gateway that looks at it) is obeyed, and no other is sent."""

    async def main() -> None:
        async with ScriptedServer(answering(OK)) as server:
            place: Any = Place(server.url, {name: "tenant.test"})
            async with HttpWire(place, connections=1) as wire:
                await ask(wire)
        assert server.seen[0].headers["host"] == "tenant.test"
        assert server.seen[0].raw.lower().count(b"\r\nhost:") == 1

    run(main())


def test_two_wires_at_once(run: Run) -> None:
    """Two wires in one loop keep connections of their own."""

    async def main() -> None:
        async with (
            ScriptedServer(answering(OK)) as server,
            wire_to(server.url) as one,
            wire_to(server.url) as other,
        ):
            await asyncio.gather(ask(one), ask(other), ask(other, DELETE))
            assert (len(server.seen), server.connections) == (3, 2)

    run(main())


def test_not_open(run: Run) -> None:
    """A wire that is not open yet, or closed, says so: that is the caller's mistake."""

    async def main() -> None:
        wire = wire_to("http://127.0.0.1:1")
        with pytest.raises(RuntimeError, match="not open"):
            await ask(wire)
        async with wire:
            pass
        with pytest.raises(RuntimeError, match="not open"):
            await ask(wire)

    run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_closed_in_the_middle(loop: str) -> None:
    """A wire that is closed under a request ends it as a loss, and leaves nothing open behind it."""

    async def main() -> None:
        async with ScriptedServer(silence) as server:
            async with wire_to(server.url) as wire:
                sending = asyncio.create_task(ask(wire))
                await server.until(lambda it: len(it.seen) == 1)
            reply = await sending
            assert isinstance(reply, Lost)
            assert reply.sent

    run_on(loop, main(), debug=True)


def test_connections_that_are_not_needed_grow_old(run: Run) -> None:
    """After three at once, one after another uses one connection alone: the other two are closed for their age."""

    async def main() -> None:
        arrived = asyncio.Event()

        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth == 3:
                arrived.set()
            await arrived.wait()
            writer.write(OK)

        async with ScriptedServer(script) as server, wire_to(server.url, connections=3) as wire:
            await asyncio.gather(*(ask(wire) for _ in range(3)))
            for _ in range(6):
                await ask(wire)
            assert server.connections == 3
            assert len({seen.connection for seen in server.seen[3:]}) == 1

    run(main())
