"""What every peer program has in common: its arguments, the documents to delete, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

DATASET = "11111111-1111-4111-8111-111111111111"
KEY = "dataset-0123456789abcdef0123456789abcdef"

Work = Callable[[argparse.Namespace], Awaitable[Any]]


def document(k: int) -> str:
    """The k-th id: a UUID that is as good as random in its first half, so that an index of them is no sorted list."""
    return f"{k * 2654435761 & 0xFFFFFFFF:08x}-0000-4000-8000-{k:012x}"


def documents(n: int) -> Iterator[str]:
    return map(document, range(n))


def url_of(given: argparse.Namespace, document: str) -> str:
    return f"{given.base_url}/datasets/{DATASET}/documents/{document}"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument("--run", default="")
    return parser


def peak_kib() -> int:
    """The most memory that this process ever had, in KiB (resident)."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def runner(loop: str) -> asyncio.Runner:
    if loop == "asyncio":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def measured(work: Work, given: argparse.Namespace) -> None:
    """Do the work, which returns how many documents are deleted, measure it alone (no imports), and print one JSON line."""

    async def main() -> dict[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        gone = await work(given)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"wall_s": wall, "cpu_s": cpu, "peak_kib": peak_kib(), "gone": gone}

    with runner(given.loop) as loop:
        print(json.dumps(loop.run(main())))
