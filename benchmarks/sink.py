"""A service that is never the bottleneck: a raw asyncio protocol in a process of its own, answering as Dify does.

    python -m benchmarks.sink                     every DELETE is answered 204 at once
    python -m benchmarks.sink --window 100/1      at most 100 in any second, else 429

It prints its port and a second one, then serves until it is killed. On the second one ``GET /count`` returns what it saw, and
``GET /reset`` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

HEADERS = (
    b"Server: gunicorn\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n"
    b"Content-Type: application/json\r\nX-Version: 1.14.2\r\nX-Env: PRODUCTION\r\n"
)
DELETED = b"HTTP/1.1 204 NO CONTENT\r\n" + HEADERS + b"\r\n"


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), HEADERS, len(body), body)


REFUSED = answer("429 TOO MANY REQUESTS", b'{"code":"too_many_requests","message":"slow down","status":429}')


class Service:
    """What all connections share: the limit, and what was counted."""

    def __init__(self, window: tuple[int, float] | None) -> None:
        self.window = window
        self.reset()

    def reset(self) -> None:
        self.requests = self.deleted = self.refused = 0
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
                return REFUSED
            self.times.append(now)
        self.deleted += 1
        return DELETED

    def count(self, head: bytes) -> bytes:
        if head.startswith(b"GET /reset"):
            self.reset()
        counted = {name: getattr(self, name) for name in ("requests", "deleted", "refused", "first_at")}
        return answer("200 OK", json.dumps({**counted, "cpu_s": time.process_time() - self.cpu}).encode())


class Connection(asyncio.Protocol):
    """One connection: heads are cut at the empty line (no client here sends a body) and answered in their order."""

    def __init__(self, service: Service, control: bool) -> None:
        self.reply = service.count if control else service.delete
        self.control = control
        self.rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        heads = (self.rest + data).split(b"\r\n\r\n")
        self.rest = heads.pop()
        self.transport.write(b"".join(map(self.reply, heads)))
        if self.control:
            self.transport.close()


async def serve(service: Service) -> None:
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda control=control: Connection(service, control), "127.0.0.1", 0, backlog=4096)  # type: ignore[misc]
        for control in (False, True)
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await servers[0].serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    parser.add_argument("--window", default="", help="N/SECONDS: at most N DELETEs in any SECONDS, else 429")
    n, _, per = parser.parse_args().window.partition("/")
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Service((int(n), float(per)) if n else None)))


class Sink:
    """A sink that runs, seen from the benchmark."""

    def __init__(self, port: int, control: int) -> None:
        self._control = control
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def count(self, *, reset: bool = False) -> dict[str, Any]:
        """What it saw since the last reset; its CPU time shows that it was no bottleneck."""
        url = f"http://127.0.0.1:{self._control}/{'reset' if reset else 'count'}"
        with urllib.request.urlopen(url, timeout=30) as got:
            found: dict[str, Any] = json.loads(got.read())
            return found


@contextmanager
def running(*options: str) -> Iterator[Sink]:
    """A sink in its own process, for a while."""
    command = [sys.executable, "-m", "benchmarks.sink", *options]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield Sink(*map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main()
