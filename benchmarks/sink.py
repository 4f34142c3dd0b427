"""A service that is never the bottleneck: a raw asyncio protocol in a process of its own, answering as Dify does.

    python -m benchmarks.sink                                     every DELETE is answered 204 at once
    python -m benchmarks.sink --window 100/1                      at most 100 in any second, else 429
    python -m benchmarks.sink --slots 10 --service 0.09           10 connections in all, as a default self-hosted Dify

It prints its port and a second one, then serves until it is killed. On the second one ``GET /count`` tells what it saw, and
``GET /reset`` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

HEADERS = (
    b"Server: gunicorn\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n"
    b"Content-Type: application/json\r\nX-Version: 1.14.2\r\nX-Env: PRODUCTION\r\n"
)
DELETED = b"HTTP/1.1 204 NO CONTENT\r\n" + HEADERS + b"\r\n"


def answer(status: str, body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status.encode(), HEADERS, more, len(body), body)


REFUSED = answer("429 TOO MANY REQUESTS", b'{"code":"too_many_requests","message":"slow down","status":429}')
REFUSED_UNTIL = answer(
    "429 TOO MANY REQUESTS",
    b'{"code":"too_many_requests","message":"slow down","status":429}',
    b"Retry-After: 1\r\n",
)
GONE = answer("404 NOT FOUND", b'{"code":"not_found","message":"Document not found.","status":404}')


class Service:
    """What all connections share: the limit, the documents that were deleted, and what was counted."""

    def __init__(self, window: tuple[int, float] | None, service: float, remember: bool, retry_after: bool) -> None:
        self.window, self.service, self.remember = window, service, remember
        self.refusal = REFUSED_UNTIL if retry_after else REFUSED
        self.open = 0
        self.slots: asyncio.Semaphore | None = None
        self.reset()

    def reset(self) -> None:
        self.requests = self.deleted = self.refused = self.again = self.connections = 0
        self.gone: set[bytes] = set()
        self.times: deque[float] = deque()
        self.cpu = time.process_time()
        self.first_at = 0.0  # when the first DELETE came, in Unix seconds

    def delete(self, head: bytes) -> bytes:
        """The answer to one DELETE."""
        self.requests += 1
        if self.requests == 1:
            self.first_at = time.time()
        if self.window is not None:
            most, per = self.window
            now = time.monotonic()
            while self.times and self.times[0] <= now - per:
                self.times.popleft()
            if len(self.times) >= most:
                self.refused += 1
                return self.refusal
            self.times.append(now)
        if self.remember:
            path = head[7 : head.index(b" ", 7)]
            if path in self.gone:
                self.again += 1
                return GONE
            self.gone.add(path)
        self.deleted += 1
        return DELETED

    def control(self, head: bytes) -> bytes:
        if head.startswith(b"GET /reset"):
            self.reset()
        counted = {
            "requests": self.requests,
            "deleted": self.deleted,
            "refused": self.refused,
            "again": self.again,
            "connections": self.connections,
            "first_at": self.first_at,
            "cpu_s": time.process_time() - self.cpu,
        }
        return answer("200 OK", json.dumps(counted).encode())


class Connection(asyncio.Protocol):
    """One connection: heads are cut at the empty line (nobody here sends a body) and answered in their order."""

    def __init__(self, service: Service, keep_idle: float | None) -> None:
        self.service, self.keep_idle = service, keep_idle
        self.rest = b""
        self.busy = 0
        self.over = False
        self.transport: asyncio.Transport
        self.idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self.service.connections += 1

    def data_received(self, data: bytes) -> None:
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None
        if self.rest:
            data = self.rest + data
        heads = data.split(b"\r\n\r\n")
        self.rest = heads.pop()
        service = self.service
        if service.service:
            for head in heads:
                self.busy += 1
                asyncio.get_running_loop().call_later(service.service, self.later, head)
            return
        self.transport.write(b"".join(map(service.delete, heads)))

    def later(self, head: bytes) -> None:
        # The work is done whether or not the client is still there, as in a real worker.
        self.busy -= 1
        reply = self.service.delete(head)
        if self.transport.is_closing():
            self.free()
            return
        self.transport.write(reply)
        if self.over:
            self.transport.close()
        elif self.keep_idle is not None and not self.busy:
            self.idle = asyncio.get_running_loop().call_later(self.keep_idle, self.transport.close)

    def eof_received(self) -> bool:
        self.over = True
        return bool(self.busy)  # what was asked is done, then the slot is free

    def connection_lost(self, error: Exception | None) -> None:
        if self.idle is not None:
            self.idle.cancel()
        if not self.busy:
            self.free()

    def free(self) -> None:
        if self.service.slots is not None:
            self.service.slots.release()


class Control(asyncio.Protocol):
    """A connection to the second port, where the benchmark asks what was seen; no slot is needed for it."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.service.control(data))
        self.transport.close()


async def accept(listening: socket.socket, slots: int, make: Callable[[], Connection], service: Service) -> None:
    """Accept a connection only while a slot is free; the others wait in the kernel's queue, their requests with them."""
    loop = asyncio.get_running_loop()
    service.slots = asyncio.Semaphore(slots)
    while True:
        await service.slots.acquire()
        taken, _ = await loop.sock_accept(listening)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.connect_accepted_socket(make, taken)


def listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(4096)
    listening.setblocking(False)
    return listening


async def serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    service = Service(options.window, options.service, options.remember, options.retry_after)

    def make() -> Connection:
        return Connection(service, options.keep_idle)

    def ask() -> Control:
        return Control(service)

    listening = listen(options.port)
    control = listen(0)
    await loop.create_server(ask, sock=control)
    print(listening.getsockname()[1], control.getsockname()[1], flush=True)
    if options.slots:
        await accept(listening, options.slots, make, service)
    server = await loop.create_server(make, sock=listening, backlog=4096)
    await server.serve_forever()


def window(text: str) -> tuple[int, float]:
    n, _, per = text.partition("/")
    return int(n), float(per or 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--window", type=window, help="N/SECONDS: at most N DELETEs in any SECONDS, else 429")
    parser.add_argument("--retry-after", action="store_true", help="a 429 says Retry-After: 1")
    parser.add_argument("--slots", type=int, default=0, help="connections that are served at once")
    parser.add_argument("--service", type=float, default=0.0, help="seconds that one DELETE takes")
    parser.add_argument("--keep-idle", type=float, help="close an idle connection after so many seconds")
    parser.add_argument("--remember", action="store_true", help="a second DELETE of a document is answered 404")
    options = parser.parse_args()
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options))


# ---------------------------------------------------------------------- for the benchmarks


class Sink:
    """A sink that runs, seen from the benchmark."""

    def __init__(self, port: int, control: int) -> None:
        self._control = control
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def count(self, *, reset: bool = False) -> dict[str, Any]:
        """What it saw since the last reset; its CPU time is how one knows that it was no bottleneck."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._control}/{'reset' if reset else 'count'}", timeout=30
        ) as got:
            found: dict[str, Any] = json.loads(got.read())
            return found


@contextmanager
def running(*options: str) -> Iterator[Sink]:
    """A sink in its own process, for a while."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink", *options], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        yield Sink(*map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    main()
