"""A simulated service in this process, and the installed command as a process of its own beside it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from bulkdel.cli.runner import ECHO_S
from bulkdel.simulator import DifySimulator, LangdockSimulator, Simulator

COMMAND = (sys.executable, "-m", "bulkdel")


@dataclass
class Ended:
    """What a process left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return self.stderr.splitlines()[-1] if self.stderr else ""


@dataclass
class Beside:
    """Runs the command against ``simulator``, with its key and address in the environment."""

    simulator: Simulator
    name: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        own = {
            f"{self.name.upper()}_API_KEY": self.simulator.key,
            f"{self.name.upper()}_BASE_URL": self.simulator.base_url,
            "NO_PROXY": "127.0.0.1",
        }
        return clean() | own | self.more

    async def start(self, *argv: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *COMMAND, *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self.environ
        )

    async def run(self, *argv: str, stdin: str = "") -> Ended:
        """The command from its beginning to its end; without the time that a fresh interpreter takes for its imports."""
        from tests.cli.forked import fork

        with tempfile.TemporaryDirectory() as folder:
            return await fork(argv, self.environ, Path(folder), stdin=stdin).end()


def clean() -> dict[str, str]:
    """This process's environment without anything that the command would obey."""
    obeyed = ("DIFY_", "LANGDOCK_", "HTTP", "http", "ALL_PROXY", "all_proxy", "NO_", "no_proxy", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(obeyed)}


async def finish(process: Process, stdin: str = "") -> Ended:
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Ended(process.returncode, (out or b"").decode(), (err or b"").decode())


async def plain(*argv: str, stdin: str = "") -> Ended:
    """The command with no service beside it and no key."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=clean())
    return await finish(process, stdin)


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds: what happens in another process wakes no task here."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def with_dify(work: Callable[[DifySimulator, Beside], Awaitable[None]], **simulated: Any) -> None:
    """Run ``work`` beside a simulated Dify."""

    async def main() -> None:
        async with DifySimulator(**simulated) as simulator:
            await work(simulator, Beside(simulator, "dify"))

    together(main())


def with_langdock(work: Callable[[LangdockSimulator, Beside], Awaitable[None]], **simulated: Any) -> None:
    """Run ``work`` beside a simulated Langdock."""

    async def main() -> None:
        async with LangdockSimulator(**simulated) as simulator:
            await work(simulator, Beside(simulator, "langdock"))

    together(main())


async def no_echo() -> None:
    """Until a second signal is no longer taken for the first one, passed on twice."""
    then = monotonic() + ECHO_S
    await until(lambda: monotonic() > then)


async def line(stream: asyncio.StreamReader) -> bytes:
    """The next line; fails where there will be none, so that a command that ended early ends its test."""
    words = await stream.readline()
    assert words, "the command ended before it said that"
    return words


STUCK_S = 300.0
"""What has not come by then never will: a command that ended early would hold the suite for ever. It measures nothing."""


def together(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, STUCK_S))
