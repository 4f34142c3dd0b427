"""How long it takes under a rate limit, and how many requests are refused: ``python -m benchmarks.makespan``.

600 documents at 100 a second in real time against the sink; 1,000 at 100 a minute on a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from statistics import median

from aiolimiter import AsyncLimiter

from benchmarks import sink
from benchmarks.contest import Peer, compete, node, python
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
    rate = ("--rate", f"{RATE_REAL}")
    limiter, aiometer = "aiohttp + gather + AsyncLimiter(100, 1)", "aiometer + httpx, max_per_second=100"
    peers: list[Peer] = []
    peers += python(OURS, "bulkdel", N_REAL, *rate)
    peers += python("aiohttp + gather", "aiohttp_gather", N_REAL, "--connections", "100")
    peers += python(limiter, "aiohttp_gather", N_REAL, *rate, "--connections", "100")
    peers += python(aiometer, "aiometer_httpx", N_REAL, *rate, needs="aiometer")
    peers += node("p-queue + undici, intervalCap 100", "pqueue", N_REAL, "--rate", f"{RATE_REAL}/1")
    with sink.running("--window", f"{RATE_REAL}/1") as service:
        costs = compete(peers, service, rounds=options.rounds if options.full else 1, connections=options.connections)
    ideal = (N_REAL - 1) // RATE_REAL
    for peer in peers:
        found = costs[peer.name]
        gone, refused = (int(median(cost.served[what] for cost in found)) for what in ("deleted", "refused"))
        add(part, peer.name, REAL, median(cost.wall_s for cost in found), ideal, gone, refused)


def add(part: Part, name: str, limit: str, took: float, ideal: float, gone: int, refused: int) -> None:
    part.rows.append((name, limit, f"{took:.2f}", f"{took / ideal:.2f} ×", str(gone), str(refused)))
    if name == OURS:
        good = (gone, refused) == (int(limit.split()[0].replace(",", "")), 0)
        part.want(f"bulkdel, {limit}", "all deleted, none refused", f"{gone}, {refused} refused", good)


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
        add(part, name, VIRTUAL, took, ideal, gone, refused)


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
    import aiometer

    async def one(place: int) -> None:
        await delete(model, place)

    await aiometer.run_on_each(one, list(range(N_VIRTUAL)), max_per_second=RATE_VIRTUAL / 60)


if __name__ == "__main__":
    main("benchmarks.makespan", __doc__, {"makespan": measure})
