"""What the service's bytes become: a whole answer, or a lost one, and never an exception."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.providers.protocol import ANSWER_BYTES, Answer, Lost, Request
from bulkdel.wire.bodies import gunzip
from tests.wire.conftest import Run
from tests.wire.places import DELETE, ask, wire_to
from tests.wire.servers import (
    DELETED,
    OK,
    Script,
    ScriptedServer,
    answering,
    full,
    reset,
    then_close,
    then_silence,
)

CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"result\r\n3\r\n":1\r\n1\r\n}\r\n0\r\n\r\n'


def zipped(body: bytes, *, stop: int | None = None) -> bytes:
    return full("200 OK", gzip.compress(body)[:stop], "Content-Encoding: gzip")


async def replies(script: Script, *requests: Request) -> tuple[list[Answer | Lost], ScriptedServer]:
    async with ScriptedServer(script) as server, wire_to(server.url) as wire:
        found = [await ask(wire, request) for request in requests or (DELETE,)]
        assert len(server.seen) == len(found)
    return found, server


ERROR = full("500 OH", b'{"code":"unknown"}')


@pytest.mark.parametrize(
    "whole", [OK, DELETED, CHUNKED, zipped(b"{}" * 40), ERROR], ids=["200", "204", "chunked", "gzip", "500"]
)
def test_cut_anywhere(run: Run, whole: bytes) -> None:
    """An answer that is cut after any of its bytes is lost in doubt; a 2xx whose head came is one with a broken body."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            await then_close(whole[: nth - 1])(_reader, writer, nth)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            for length in range(len(whole)):
                reply = await ask(wire)
                if b"\r\n\r\n" in whole[:length] and whole != ERROR:
                    assert isinstance(reply, Answer), (length, whole[:length], reply)
                    assert (reply.status, reply.body, reply.broken) == (200, b"", True), (length, reply)
                else:
                    assert isinstance(reply, Lost), (length, whole[:length], reply)
                    assert (reply.kind, reply.sent) == ("disconnected", True), (length, reply)
            reply = await ask(wire)
            assert isinstance(reply, Answer)
            assert not reply.broken
            assert len(server.seen) == len(whole) + 1

    run(main())


def test_reset_anywhere(run: Run) -> None:
    """A reset after any byte of the answer is a loss in doubt too, and the next request finds a good connection."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            writer.write(ERROR[: nth - 1])
            await writer.drain()
            reset(writer)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            for length in range(len(ERROR)):
                reply = await ask(wire)
                assert isinstance(reply, Lost), (length, reply)
                assert (reply.kind, reply.sent) == ("disconnected", True), (length, reply)
            assert len(server.seen) == len(ERROR)

    run(main())


def test_byte_by_byte(run: Run) -> None:
    """An answer that trickles in is the same answer."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _nth: int) -> None:
            for i in range(len(CHUNKED)):
                writer.write(CHUNKED[i : i + 1])
                await writer.drain()
                await asyncio.sleep(0)

        (reply, again), server = await replies(script, DELETE, DELETE)
        assert isinstance(reply, Answer)
        assert isinstance(again, Answer)
        assert (reply.status, reply.body, reply.cut) == (200, b'{"result":1}', False)
        assert server.connections == 1

    run(main())


NOT_HTTP = {
    "words": b"hello\r\n\r\n",
    "a flood of letters": b"a" * 100_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "almost a TLS alert": b"\x15\x02\x01\x00\x02\x02\x50",
    "our own request": b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown version": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}",
    "status too small": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "status too large": b"HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "switching protocols": b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc",
    "length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}",
    "length below zero": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "length beyond all": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk size of letters": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "chunk size beyond all": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n{}",
    "header without a colon": b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\n{}",
    "header name with a space": b"HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\n{}",
    "header with a NUL": b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "header bomb": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(7_000)) + b"\r\n",
    "header of 100 KB": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "reason of 100 KB": b"HTTP/1.1 200 " + b"a" * 100_000 + b"\r\n\r\n",
    "gzip of 3,000 members": full("200 OK", gzip.compress(b"") * 3000, "Content-Encoding: gzip"),
    "not gzip at all": full("200 OK", b"hello", "Content-Encoding: gzip"),
}


BROKEN_BODIES = [
    NOT_HTTP[name]
    for name in (
        "chunk size of letters",
        "chunk too long",
        "chunk size beyond all",
        "gzip of 3,000 members",
        "not gzip at all",
    )
]


@pytest.mark.parametrize("at_once", [True, False], ids=["in one piece", "in two pieces"])
@pytest.mark.parametrize("answer", NOT_HTTP.values(), ids=NOT_HTTP)
def test_garbage(run: Run, answer: bytes, at_once: bool) -> None:
    """What is not HTTP is lost as garbled or broken behind a good head, at once, and spoils no request after it."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth == 2:
                writer.write(OK)
                return
            head, blank, body = answer.partition(b"\r\n\r\n")
            if not at_once:
                writer.write(head + blank)
                await writer.drain()
                for _ in range(5):  # turns of the loop, for the client to come to the headers alone
                    await asyncio.sleep(0)
            writer.write(answer if at_once else body)  # and the connection stays open: only the bytes show it

        (reply, after), _server = await replies(script, DELETE, DELETE)
        if isinstance(reply, Answer):
            assert (reply.status, reply.body, reply.broken) == (200, b"", True), reply
            assert answer in BROKEN_BODIES
        else:
            assert (reply.kind, reply.sent) == ("garbled", True), reply
            assert answer not in BROKEN_BODIES
        assert isinstance(after, Answer)

    run(main())


ODD_BUT_HTTP = {
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "header not UTF-8": (b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "reason not UTF-8": (b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "continue first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b'{"result":"success"}'),
    "early hints first": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + DELETED, 204, b""),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "gzip": (zipped(b"{}"), 200, b"{}"),
    "gzip in two members": (
        full("200 OK", gzip.compress(b"{") + gzip.compress(b"}"), "Content-Encoding: gzip"),
        200,
        b"{}",
    ),
    "gzip said of no body": (full("204 NO CONTENT", b"", "Content-Encoding: gzip"), 204, b""),
    "an encoding that was not asked for": (full("200 OK", b"\x1b\x00", "Content-Encoding: br"), 200, b"\x1b\x00"),
    "an offer to upgrade": (full("200 OK", b"{}", "Upgrade: h2c", "Connection: upgrade"), 200, b"{}"),
    "the longest body": (full("200 OK", b"a" * ANSWER_BYTES), 200, b"a" * ANSWER_BYTES),
}


@pytest.mark.parametrize(("answer", "status", "body"), ODD_BUT_HTTP.values(), ids=ODD_BUT_HTTP)
def test_odd_answers(run: Run, answer: bytes, status: int, body: bytes) -> None:
    """What is HTTP is an answer, however odd, and so is the next one."""

    async def main() -> None:
        found, _server = await replies(answering(answer), DELETE, DELETE)
        for reply in found:
            assert isinstance(reply, Answer), reply
            assert (reply.status, reply.body, reply.cut) == (status, body, False)

    run(main())


def test_body_until_close(run: Run) -> None:
    """A body without a length ends with its connection."""

    async def main() -> None:
        (reply,), _server = await replies(then_close(b"HTTP/1.0 200 OK\r\n\r\nhello"))
        assert isinstance(reply, Answer)
        assert (reply.status, reply.body) == (200, b"hello")

    run(main())


def test_headers_ignore_case(run: Run) -> None:
    """Header names are found in lower case however the service writes them."""

    async def main() -> None:
        (reply,), _server = await replies(answering(full("429 SLOW", b"", "RETRY-After: 7", "X-Version: 1")))
        assert isinstance(reply, Answer)
        assert (reply.headers["retry-after"], "x-version" in reply.headers) == ("7", True)

    run(main())


JUNK = {
    "an empty chunk": b"0\r\n\r\n",
    "garbage": b"\x00garbage\r\n\r\n",
    "a body": b'{"result":"success"}',
    "half an answer": b"HTTP/1.1 500 ",
    "a flood": b"a" * 1_000_000,
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("header", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_bytes_behind_a_204(run: Run, junk: bytes, header: bytes, cut: int) -> None:
    """A 204 ends with its head: what follows, wherever the pieces part, changes nothing but costs the connection."""

    async def main() -> None:
        deleted = DELETED[:-2] + header + b"\r\n"

        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth == 2:
                writer.write(OK)
                return
            writer.write(deleted[: len(deleted) - cut])
            await writer.drain()
            for _ in range(5 if cut else 0):
                await asyncio.sleep(0)
            writer.write(deleted[len(deleted) - cut :] + junk)

        (reply, after), server = await replies(script, DELETE, DELETE)
        assert isinstance(reply, Answer), reply
        assert (reply.status, reply.headers["x-version"], reply.body, reply.cut) == (204, "1.14.2", b"", False)
        assert isinstance(after, Answer)
        assert after.status == 200
        assert server.connections == 2

    run(main())


def test_head_of_a_broken_2xx_counts(run: Run) -> None:
    """A 2xx whose body breaks is an answer with its status and headers, and with no body; another answer is lost."""
    gzipped = zipped(b"{}" * 50, stop=20).replace(b"OK\r\n", b"OK\r\nX-Version: 1\r\n")
    head = b"HTTP/1.1 200 OK\r\nX-Version: 1\r\n"
    breaks = {
        head + b"Content-Length: 9\r\n\r\n{": "disconnected",
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n": "garbled",
        gzipped: "disconnected",
    }

    async def main() -> None:
        for answer, kind in breaks.items():
            (reply,), _server = await replies(then_close(answer))
            assert isinstance(reply, Answer)
            assert (reply.status, reply.headers["x-version"], reply.body, reply.broken) == (200, "1", b"", True)
            (reply,), _server = await replies(then_close(answer.replace(b"200 OK", b"500 OH")))
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == (kind, True), reply

    run(main())


LONG = {
    "one of 64,000": [b"X-Long: " + b"a" * 64_000],
    "six of 10,000": [b"X-%d: " % i + b"a" * 10_000 for i in range(6)],
    "five thousand": [b"X-%d: 1" % i for i in range(5000)],
    "a long reason": [b""],
}


@pytest.mark.parametrize("lines", LONG.values(), ids=LONG)
def test_long_headers_are_read(run: Run, lines: list[bytes]) -> None:
    """64 KiB of headers are read, whatever their number and length."""

    async def main() -> None:
        reason = b"OK" if lines != [b""] else b"a" * 60_000
        head = b"\r\n".join([b"HTTP/1.1 200 " + reason, b"X-Version: 1", *filter(None, lines), b"Content-Length: 2"])
        found, server = await replies(answering(head + b"\r\n\r\n{}"), DELETE, DELETE)
        for reply in found:
            assert isinstance(reply, Answer), reply
            assert (reply.status, reply.body, reply.headers["x-version"]) == (200, b"{}", "1")
        assert server.connections == 1

    run(main())


def test_longer_headers_are_named(run: Run) -> None:
    """70 KiB of headers behind a good status line are no answer, and the loss says why."""

    async def main() -> None:
        answer = full("200 OK", b"{}", "X-Long: " + "a" * 70 * 1024)
        (reply, after), _server = await replies(answering(answer, OK), DELETE, DELETE)
        assert reply == Lost("garbled", True, "its headers are longer than 64 KiB")
        assert isinstance(after, Answer)

    run(main())


def test_headers_without_an_end(run: Run) -> None:
    """Headers that never end are given up at 64 KiB, long before the timeout."""

    async def main() -> None:
        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n" if nth == 1 else OK)
            while nth == 1:
                writer.write(b"X: " + b"a" * 1000 + b"\r\n")
                await writer.drain()

        (reply, after), _server = await replies(script, DELETE, DELETE)
        assert reply == Lost("garbled", True, "its headers are longer than 64 KiB")
        assert isinstance(after, Answer)

    run(main())


def test_redirects_are_answers(run: Run) -> None:
    """A redirect is not followed, wherever it points."""

    async def main() -> None:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            (reply,), server = await replies(answering(full(status, b"", "Location: /login"), OK))
            assert isinstance(reply, Answer)
            assert (str(reply.status), reply.headers["location"]) == (status[:3], "/login")
            assert [seen.path for seen in server.seen] == [DELETE.path]

    run(main())


ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("head", ENDLESS, ids=["no length", "chunked"])
def test_endless_body(run: Run, head: bytes) -> None:
    """A body without an end is cut at the limit, and its connection closed."""

    async def main() -> None:
        block = b"a" * 4096 if head == ENDLESS[0] else b"1000\r\n" + b"a" * 4096 + b"\r\n"

        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            writer.write(head if nth == 1 else OK)
            while nth == 1:
                writer.write(block)
                await writer.drain()

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            reply = await ask(wire)
            assert isinstance(reply, Answer)
            assert (len(reply.body), reply.cut) == (ANSWER_BYTES, True)
            await server.until(lambda it: it.ended == 1)
            assert isinstance(await ask(wire), Answer)

    run(main())


def test_body_of_a_gigabyte(run: Run) -> None:
    """A body that says it has 1 GB, and brings it, is cut at the limit: its connection is closed long before its end."""

    async def main() -> None:
        gigabyte, sent = 2**30, 0

        async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            nonlocal sent
            if nth == 2:
                writer.write(OK)
                return
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {gigabyte}\r\n\r\n".encode())
            block = b"a" * 2**16
            while sent < gigabyte:
                sent += len(block)
                writer.write(block)
                await writer.drain()

        (reply, after), server = await replies(script, DELETE, DELETE)
        assert isinstance(reply, Answer)
        assert (len(reply.body), reply.cut) == (ANSWER_BYTES, True)
        assert isinstance(after, Answer)
        # What the sockets' buffers hold was sent, too; on Linux that is 6 MB at most.
        assert (server.connections, sent < 64 * 2**20) == (2, True)

    tracemalloc.start()
    try:
        run(main())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


SLOW = {
    "status line": (b"HTTP/1.1 200 ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a"),
    "chunks": (ENDLESS[1], b"1\r\na\r\n"),
    "announcements": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize(("start", "drop"), SLOW.values(), ids=SLOW)
def test_slow_loris(run: Run, start: bytes, drop: bytes) -> None:
    """An answer that keeps coming, drop by drop, has the time that any answer has: each drop buys it no more."""

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            if nth != 2:
                writer.write(OK)
                return
            writer.write(start)
            while not (reader.at_eof() or writer.is_closing()):
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.01)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            await ask(wire)  # so that the time is spent on the answer, and none of it on connecting
            reply = await ask(wire, timeout=0.2)
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("timeout", True)
            await server.until(lambda it: it.ended == 1)
            assert isinstance(await ask(wire), Answer)
            assert (server.connections, len(server.seen)) == (2, 3)

    run(main())


def test_limit_is_the_request_s_own(run: Run) -> None:
    """A body is read to the request's own limit, and a longer one is cut there."""

    async def main() -> None:
        body = b"0123456789" * 100_000
        requests = [Request("GET", "/", max_body=size) for size in (len(body) + 1, len(body), len(body) - 1, 1, 0)]
        found, _server = await replies(answering(full("200 OK", body)), *requests)
        for request, reply in zip(requests, found, strict=True):
            assert isinstance(reply, Answer)
            assert reply.body == body[: request.max_body]
            assert reply.cut == (request.max_body < len(body))

    run(main())


def test_gzip_bomb(run: Run) -> None:
    """A small body that unpacks to 50 MB is unpacked to the limit and no further."""

    bomb = zipped(b"0" * 50_000_000)

    async def main() -> None:
        (reply,), _server = await replies(answering(bomb))
        assert isinstance(reply, Answer)
        assert (reply.body, reply.cut) == (b"0" * ANSWER_BYTES, True)

    tracemalloc.start()
    try:
        run(main())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@given(members=st.lists(st.binary(max_size=50), min_size=1, max_size=4), limit=st.integers(1, 250))
def test_gunzip(members: list[bytes], limit: int) -> None:
    """Unpacking gives the beginning of what was packed, up to the limit, and says whether that was all."""
    whole = b"".join(members)
    body, complete = gunzip(b"".join(map(gzip.compress, members)), limit)
    assert body == whole[:limit]
    assert complete or len(whole) >= limit


def test_gzip_that_stops_early(run: Run) -> None:
    """A compressed body that has its whole length and yet stops early is lost, not an empty or shorter one."""

    async def main() -> None:
        whole = len(gzip.compress(b"{}" * 50))
        for stop in (1, 10, 15, whole - 1):
            answer = zipped(b"{}" * 50, stop=stop).replace(b"200 OK", b"500 OH")
            (reply,), _server = await replies(answering(answer))
            assert isinstance(reply, Lost)
            assert (reply.kind, reply.sent) == ("disconnected", True)

    run(main())


def test_timeout_in_the_answer(run: Run) -> None:
    """An answer that does not end in time is lost in doubt, whatever of it came, and its connection is closed."""

    async def main() -> None:
        for start in (b"", OK[:10], OK[:-1], DELETED[:-2]):

            async def script(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int, start: bytes = start
            ) -> None:
                await (answering(OK) if nth == 1 else then_silence(start))(reader, writer, nth)

            async with ScriptedServer(script) as server, wire_to(server.url) as wire:
                await ask(wire)  # so that the time is spent on the answer, and none of it on connecting
                reply = await ask(wire, timeout=0.1)
                assert isinstance(reply, Lost)
                assert (reply.kind, reply.sent) == ("timeout", True)
                await server.until(lambda it: it.ended == 1)

    run(main())


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_bytes(data: st.DataObject) -> None:
    """Whatever bytes a service sends, the reply is a value, one request was sent, and the next one is answered."""
    whole = data.draw(st.sampled_from([OK, DELETED, CHUNKED, zipped(b"{}")]))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    answer = whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:]

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> None:
            await (then_close(answer) if nth == 1 else answering(OK))(reader, writer, nth)

        async with ScriptedServer(script) as server, wire_to(server.url) as wire:
            assert isinstance(await ask(wire), Answer | Lost)
            await server.until(lambda it: it.ended == 1)
            await server.roundtrip()
            assert isinstance(await ask(wire), Answer)
            assert len(server.seen) == 2

    asyncio.run(main())
