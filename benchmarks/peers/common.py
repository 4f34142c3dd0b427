"""What every peer program has in common: its arguments, the documents to delete, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

DATASET = "11111111-1111-4111-8111-111111111111"
KEY = "dataset-0123456789abcdef0123456789abcdef"


def document(k: int) -> str:
    """The k-th id: a UUID that is as good as random in its first half, so that an index of them is no sorted list."""
    return f"{k * 2654435761 & 0xFFFFFFFF:08x}-0000-4000-8000-{k:012x}"


def documents(n: int) -> Iterator[str]:
    return map(document, range(n))


@dataclass
class Options:
    """What a peer is told."""

    base_url: str
    documents: int
    connections: int
    loop: str
    timeout: float
    rate: tuple[int, float] | None
    mode: str
    run: str


@dataclass
class Told:
    """What a peer says became of its documents; ``gone`` are those that it calls deleted."""

    gone: int = 0
    failed: int = 0
    words: dict[str, Any] = field(default_factory=dict)


def options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--rate", help="N/SECONDS")
    parser.add_argument("--mode", default="")
    parser.add_argument("--run", default="")
    given = parser.parse_args()
    rate = None
    if given.rate:
        n, _, per = given.rate.partition("/")
        rate = (int(n), float(per))
    return Options(
        given.base_url.rstrip("/"),
        given.documents,
        given.connections,
        given.loop,
        given.timeout,
        rate,
        given.mode,
        given.run,
    )


def peak_kib() -> int:
    """The most memory that this process ever had, in KiB (resident)."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def url_of(given: Options, document: str) -> str:
    return f"{given.base_url}/datasets/{DATASET}/documents/{document}"


def run(work: Callable[[Options], Awaitable[Told]]) -> None:
    """Do the work in the event loop that was asked for, measure it alone (no imports), and print one JSON line."""
    given = options()
    before = peak_kib()

    async def measured() -> dict[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        told = await work(given)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        out = {"gone": told.gone, "failed": told.failed, **told.words}
        return {"wall_s": wall, "cpu_s": cpu, "before_kib": before, "peak_kib": peak_kib(), **out}

    if given.loop == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(measured())))
    else:
        print(json.dumps(asyncio.run(measured())))
