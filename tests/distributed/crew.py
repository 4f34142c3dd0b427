"""Workers as processes of their own, a simulated service in this one, and jobs that go from one to the other through a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
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


@dataclass
class Worker:
    """One ``bulkdel worker`` with its children, in a process group of its own."""

    running: Running

    @property
    def said(self) -> str:
        """What it logged so far."""
        return self.running.stderr

    async def ready(self) -> None:
        await until(lambda: " ready." in self.said)

    def kill(self) -> None:
        """SIGKILL for all of them at once, as when a machine is lost."""
        self.running.kill_group()

    def kill_children(self) -> None:
        """SIGKILL for the processes that carry out shards, as when they run out of memory."""
        pid = self.running.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self.running.send(signal.SIGTERM)
        return (await self.running.end()).status


@dataclass
class Crew:
    """What a test has: a service, a broker, and a folder for jobs, runs and what each process writes."""

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
            "PYTHONPATH": os.getcwd(),
        }
        return clean() | own | self.more

    def worker(self, *, concurrency: int = 1, fresh: bool = False, **environ: str) -> Worker:
        """Start a worker, ``fresh`` in an interpreter of its own; its key may be left out with ``PROD_KEY=""``."""
        argv = ("worker", "--broker", self.broker, "--concurrency", str(concurrency))
        return self._start(argv, "bulkdel" if fresh else "", environ)

    def celery(self, **environ: str) -> Worker:
        """Start one with Celery's own command."""
        argv = ("-A", "bulkdel.distributed.worker", "worker", "--loglevel", "info", "--concurrency", "1")
        return self._start(argv, "celery", {"BULKDEL_BROKER_URL": self.broker, **environ})

    def _start(self, argv: tuple[str, ...], module: str, environ: dict[str, str]) -> Worker:
        running = fork(argv, self.environ | environ, self._folder(), group=True, module=module)
        self.workers.append(Worker(running))
        return self.workers[-1]

    def _folder(self) -> Path:
        """For what the next process writes."""
        self.count += 1
        folder = self.folder / f"said-{self.count}"
        folder.mkdir()
        return folder

    def job(self, *datasets: str, provider: str = "", policy: str = "") -> Path:
        """A job file that empties these datasets; all if none is named."""
        path = self.folder / "job.toml"
        names = json.dumps(list(datasets or self.simulator.dataset_ids))
        path.write_text(
            f'[policy]\n{policy}\n[[provider]]\nname = "prod"\nkind = "dify"\nbase_url = "{self.simulator.base_url}"\n'
            f'api_key_env = "{KEY_NAME}"\n{provider}\n[[purge]]\nprovider = "prod"\ndatasets = {names}\n'
        )
        return path

    def start(self, *argv: str, **environ: str) -> Running:
        """The command, while everything else runs."""
        self.jobs.append(fork(argv, self.environ | environ, self._folder()))
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
