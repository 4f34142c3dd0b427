"""A process that works on a run file and says, line by line, what was acknowledged: to be killed at any moment.

``python -m tests.store.child work PATH COUNT JOURNAL`` goes on with the run at PATH, or plans COUNT documents first.
``python -m tests.store.child hold PATH`` opens it, says so, and waits for the end of its input.
``write_until_killed`` is for a forked process.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sys
from pathlib import Path

from bulkdel.model import PurgeRequest, Settled
from bulkdel.store import ClaimedRow, RunFile
from tests.store.helpers import JOURNALS, document, ending, header, listed, sqlite


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def settle(run: RunFile, batch: list[tuple[int, Settled]]) -> None:
    await run.settled(batch)
    say("settled", *(row for row, _ in batch))


async def work(path: Path, count: int) -> None:
    rng = random.Random(os.getpid())
    exists = await asyncio.to_thread(path.exists)
    run = (
        await RunFile.open(path)
        if exists
        else await RunFile.create(path, header(datasets=(PurgeRequest("dify", "ds"),)))
    )
    async with run:
        say("open")
        if await run.states("dify", "ds", [document(count).id]) == [None]:
            await run.begin_listing("dify", "ds", "Things")
            for first in range(1, count + 1, 50):
                await run.add_listed("dify", "ds", listed(50, first))
                say("listed", first + 49)
        await run.end_listing("dify", "ds", complete=True)
        say("whole")
        tasks: set[asyncio.Task[None]] = set()
        async for page in run.pages("dify", 32):
            say("claimed", *(row.row for row in page))
            left: list[ClaimedRow] = list(page)
            while left:
                size = rng.randrange(1, 9)
                batch, left = left[:size], left[size:]
                tasks.add(asyncio.create_task(settle(run, [ending(row) for row in batch])))
            while len(tasks) > 6:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*tasks)
        await run.close("complete", 0)
        say("closed")


async def hold(path: Path) -> None:
    async with await RunFile.open(path):
        say("open")
        await asyncio.to_thread(sys.stdin.read)


def write_until_killed(path: Path, count: int, journal: str, log: Path, *, after: int, largest: int) -> None:
    """Plan and settle ``count`` documents one by one; what is begun or acknowledged is a line of ``log``.

    From the line ``after`` on, the write that would go beyond the first ``largest`` bytes of any file kills the process: it
    brings what still fits, and SIGXFSZ, which Python ignores, ends a process as SIGKILL does.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    acknowledged = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines = 0

    def tell(words: str) -> None:
        nonlocal lines
        os.write(acknowledged, words.encode() + b"\n")
        lines += 1
        if lines == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    async def main() -> None:
        tell("begin")
        async with await RunFile.create(path, header(datasets=(PurgeRequest("dify", "ds"),))) as run:
            tell("begun")
            await run.begin_listing("dify", "ds", "Things")
            tell("dataset")
            await run.add_listed("dify", "ds", listed(count))
            tell("documents")
            await run.end_listing("dify", "ds", complete=True)
            tell("listed")
            async for page in run.pages("dify", 2):
                for row in page:
                    tell(f"claimed {row.row}")
                    await run.settled([ending(row)])
                    tell(f"settled {row.row}")
            await run.close("complete", 0)
            tell("closed")

    with sqlite(JOURNALS[journal]):
        asyncio.run(main())


if __name__ == "__main__":
    if sys.argv[1] == "work":
        with sqlite(JOURNALS[sys.argv[4]]):
            asyncio.run(work(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(hold(Path(sys.argv[2])))
