"""Workers as processes of their own, a simulated service in this one, and jobs that go from one to the other through a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkdel.model import Settled
from bulkdel.simulator import DifySimulator
from bulkdel.store import Run
from tests.cli.forked import Running, fork
from tests.cli.service import Ended, clean, until

KEY_NAME = "PROD_KEY"
REDELIVER_S = 6.0
"""Seconds until a lost worker's message is delivered again in these tests; a shard's time box is a third of it."""


@dataclass
class Worker:
    """One ``bulkdel worker`` with its children, in a process group of its own."""

    process: subprocess.Popen[bytes]
    said_in: Path

    @property
    def said(self) -> str:
        return self.said_in.read_text()

    async def ready(self) -> None:
        await until(lambda: " ready." in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said

    def kill(self) -> None:
        """SIGKILL for all of them at once, as when a machine is lost."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_children(self) -> None:
        """SIGKILL for the processes that carry out shards, as when they run out of memory."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def terminate(self) -> None:
        self.process.terminate()

    async def end(self) -> int:
        return await asyncio.to_thread(self.process.wait)


@dataclass
class Crew:
    """What a test has: a service, a broker, and a folder for jobs, runs and what everybody says."""

    simulator: DifySimulator
    broker: str
    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    count: int = 0
    jobs: list[Running] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        own = {
            KEY_NAME: self.simulator.key,
            "NO_PROXY": "127.0.0.1",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "BULKDEL_REDELIVER_S": str(REDELIVER_S),
            "PYTHONPATH": os.getcwd(),
        }
        return clean() | own | self.more

    def worker(self, *, concurrency: int = 1, **environ: str) -> Worker:
        """Start a worker; its key may be left out with ``PROD_KEY=""``."""
        return self._start("bulkdel", "worker", "--broker", self.broker, "--concurrency", str(concurrency), **environ)

    def celery(self, **environ: str) -> Worker:
        """Start one with Celery's own command."""
        words = ("celery", "-A", "bulkdel.distributed.worker", "worker", "--loglevel", "info", "--concurrency", "1")
        return self._start(*words, BULKDEL_BROKER_URL=self.broker, **environ)

    def _start(self, *argv: str, **environ: str) -> Worker:
        said = self.folder / f"worker-{len(self.workers)}"
        with said.open("wb") as into:
            process = subprocess.Popen(
                [sys.executable, "-m", *argv],
                env=self.environ | environ, stdin=subprocess.DEVNULL, stdout=into, stderr=into, start_new_session=True,
            )  # fmt: skip
        self.workers.append(Worker(process, said))
        return self.workers[-1]

    def job(self, *datasets: str, provider: str = "", policy: str = "") -> Path:
        """A job file that empties these datasets; all where none are named."""
        path = self.folder / "job.toml"
        names = json.dumps(list(datasets or self.simulator.dataset_ids))
        path.write_text(
            f'[policy]\n{policy}\n[[provider]]\nname = "prod"\nkind = "dify"\nbase_url = "{self.simulator.base_url}"\n'
            f'api_key_env = "{KEY_NAME}"\n{provider}\n[[purge]]\nprovider = "prod"\ndatasets = {names}\n'
        )
        return path

    def start(self, *argv: str, **environ: str) -> Running:
        """The command, beside everything that goes."""
        self.count += 1
        folder = self.folder / f"said-{self.count}"
        folder.mkdir()
        self.jobs.append(fork(argv, self.environ | environ, folder))
        return self.jobs[-1]

    async def run(self, *argv: str, **environ: str) -> Ended:
        return await self.start(*argv, **environ).end()

    def submit(self, *more: str, **environ: str) -> Running:
        """``bulkdel job`` with the job file, through the broker."""
        run = str(self.folder / "job.run")
        return self.start(
            "job", str(self.folder / "job.toml"), "--yes", "--json", "--broker", self.broker, "--run", run, *more, **environ
        )  # fmt: skip

    def resume(self, *more: str) -> Running:
        return self.start("resume", str(self.folder / "job.run"), "--yes", "--json", *more)

    @property
    def asked(self) -> Counter[str]:
        """How often each document was asked to be deleted."""
        return Counter(one.path for one in self.simulator.requests if one.method == "DELETE")

    async def settled(self) -> list[Settled]:
        """What the run file holds."""

        def read() -> list[Settled]:
            with Run.open(self.folder / "job.run") as run:
                return list(run.settled())

        return await asyncio.to_thread(read)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        for job in self.jobs:  # what a failed test waits for would be waited for without an end
            job.kill()


def account(ended: Ended) -> dict[str, Any]:
    """The JSON object that it ended with."""
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def with_crew(
    work: Callable[[Crew], Awaitable[None]],
    broker: str,
    folder: Path,
    more: dict[str, str] | None = None,
    **simulated: Any,
) -> None:
    """Run ``work`` beside a simulated Dify; workers that it started are killed in the end."""

    async def main() -> None:
        async with DifySimulator(**simulated) as simulator:
            crew = Crew(simulator, broker, folder, more or {})
            try:
                async with asyncio.timeout(60):  # what hangs says where
                    await work(crew)
            finally:
                crew.close()

    asyncio.run(main())
