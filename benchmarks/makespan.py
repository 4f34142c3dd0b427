"""How long it takes under a rate limit, and how many requests are refused: ``python -m benchmarks.makespan``.

600 documents at 100 a second in real time against the sink; 1,000 at 100 a minute on a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from statistics import median

from aiolimiter import AsyncLimiter

from benchmarks import sink
from benchmarks.contest import Peer, compete, node, node_folder, ours, python
from benchmarks.models import KEY, Limited, client, failed, now, targets
from benchmarks.report import Options, Part, main
from bulkdel import Dify, Limits, Policy, Rate
from bulkdel.providers.protocol import Answer, Request
from tests import virtual

OURS = "bulkdel"
N_REAL, RATE_REAL = 600, 100
N_VIRTUAL, RATE_VIRTUAL = 1_000, 100
REAL, VIRTUAL = "600 at 100/s", "1,000 at 100/min"


def measure(options: Options) -> Part:
    part = Part("makespan", "Makespan under a limit", ("", "limit", "seconds", "of the ideal", "deleted", "refused"))
    real(part, options)
    on_a_virtual_clock(part)
    part.notes += [
        "ideal: all that is allowed in each window at its first instant, on a clock that is exactly the service's: 5 s, and 540 s. "
        "bulkdel spreads its requests evenly at 98 % of the limit, so that jitter on the way refuses none: 6.1 s, and 612 s",
        "refused requests count against the limit, as they do at Dify Cloud, in the virtual rows; not in the real ones",
        "only bulkdel and p-queue ask again for what was refused; the others report it as failed",
    ]
    return part


def real(part: Part, options: Options) -> None:
    rate = ("--rate", f"{RATE_REAL}/1")
    wide = ("--connections", "100")
    peers = [
        Peer(OURS, ours("", "delete", 0).command, N_REAL, rate),
        python("aiohttp + gather", "aiohttp_gather", N_REAL, *wide),
        python("aiohttp + gather + AsyncLimiter(100, 1)", "aiohttp_gather", N_REAL, *rate, *wide),
    ]
    if find_spec("httpx") is not None and find_spec("aiometer") is not None:
        peers.append(python("aiometer + httpx, max_per_second=100", "aiometer_httpx", N_REAL, *rate))
    with sink.running("--window", f"{RATE_REAL}/1") as service:
        peers += node("p-queue + undici, intervalCap 100", node_folder(), "pqueue", N_REAL, *rate)
        costs = compete(peers, service, rounds=options.rounds, connections=options.connections)
    ideal = (N_REAL - 1) // RATE_REAL
    for peer in peers:
        found = costs[peer.name]
        took = median(cost.wall_s for cost in found)
        gone = int(median(cost.gone for cost in found))
        refused = int(median(cost.served["refused"] for cost in found))
        part.rows.append((peer.name, REAL, f"{took:.2f}", f"{took / ideal:.2f} ×", str(gone), str(refused)))
        part.numbers[f"{peer.name}, {REAL}"] = [vars(cost) for cost in found]
        if peer.name == OURS:
            part.want(
                f"bulkdel, {REAL}",
                "all deleted, none refused",
                f"{gone}, {refused} refused",
                (gone, refused) == (N_REAL, 0),
            )


def on_a_virtual_clock(part: Part) -> None:
    ideal = (N_VIRTUAL - 1) // RATE_VIRTUAL * 60
    peers: dict[str, Callable[[Limited], Awaitable[object]]] = {OURS: by_us, "gather": gather}
    peers["gather + AsyncLimiter(100, 60)"] = gather_limited
    if find_spec("aiometer") is not None:
        peers["aiometer, max_per_second=100/60"] = by_aiometer
    for name, work in peers.items():
        model = Limited(RATE_VIRTUAL, 60.0, refuse)

        async def run(model: Limited = model, work: Callable[[Limited], Awaitable[object]] = work) -> float:
            began = now()
            await work(model)
            return now() - began

        took = virtual.run(run())
        gone, refused = model.trace.count(204), model.trace.count(429)
        part.rows.append((name, VIRTUAL, f"{took:.0f}", f"{took / ideal:.2f} ×", str(gone), str(refused)))
        part.numbers[f"{name}, {VIRTUAL}"] = {"seconds": took, "gone": gone, "refused": refused}
        if name == OURS:
            good = (gone, refused) == (N_VIRTUAL, 0)
            part.want(f"bulkdel, {VIRTUAL}", "all deleted, none refused", f"{gone}, {refused} refused", good)


def refuse(seconds: float) -> Answer:
    answer = failed(429)
    return answer._replace(headers={**answer.headers, "retry-after": str(int(seconds) + 1)})


async def by_us(model: Limited) -> None:
    async with client(Dify(KEY, "http://127.0.0.1/v1", limits=Limits(rate=Rate(RATE_VIRTUAL, per=60))), model) as c:
        await c.delete(targets(N_VIRTUAL), policy=Policy(indexing="delete"), keep=False)


async def delete(model: Limited, place: int) -> None:
    await model.send(Request("DELETE", f"/documents/{place}"), timeout=60.0, connect_timeout=10.0)


async def gather(model: Limited) -> None:
    await asyncio.gather(*(delete(model, place) for place in range(N_VIRTUAL)))


async def gather_limited(model: Limited) -> None:
    limiter = AsyncLimiter(RATE_VIRTUAL, 60)

    async def one(place: int) -> None:
        async with limiter:
            await delete(model, place)

    await asyncio.gather(*map(one, range(N_VIRTUAL)))


async def by_aiometer(model: Limited) -> None:
    with suppress(ImportError):
        import aiometer

        async def one(place: int) -> None:
            await delete(model, place)

        await aiometer.run_on_each(one, list(range(N_VIRTUAL)), max_per_second=RATE_VIRTUAL / 60)


if __name__ == "__main__":
    main("benchmarks.makespan", __doc__, measure)
