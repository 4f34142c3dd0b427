"""What bulkdel costs over the library it stands on, and against what people use: ``python -m benchmarks.overhead``.

Every peer deletes at the same sink over the same number of connections, in a process of its own. Imports are not counted. The
slow ones delete fewer documents; costs are for each document.
"""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks import sink
from benchmarks.contest import Peer, Rounds, compete, duel, middle, node, node_folder, ours, python, ratio, say
from benchmarks.report import Options, Part, main

BARE = "bare aiohttp worker pool"
SETTLE = "bulkdel: settle(), streamed"
RUN = "bulkdel: delete(), run file"
ALL = "axios + Promise.allSettled"
PQUEUE = "p-queue + undici, retries"
UVLOOP = " (uvloop)"


def measure(options: Options) -> Part:
    many = 100_000 if options.full else 20_000
    peers = [python(BARE, "aiohttp_pool", many), ours(SETTLE, "settle", many), ours(RUN, "run", many)]
    peers += [ours("bulkdel: delete(), report in memory", "delete", many)]
    if find_spec("uvloop") is not None:
        peers += [
            python(BARE + UVLOOP, "aiohttp_pool", many, loop="uvloop"),
            ours(SETTLE + UVLOOP, "settle", many, loop="uvloop"),
            ours(RUN + UVLOOP, "run", many, loop="uvloop"),
        ]
    peers += [python("aiohttp + gather", "aiohttp_gather", many)]
    missing = [name for name in ("uvloop", "httpx", "aiometer") if find_spec(name) is None]
    if missing:
        say(f"left out, because not installed (pip install 'bulkdel[bench]'): {', '.join(missing)}")
    if find_spec("httpx") is not None:
        peers += [python("httpx + gather", "httpx_gather", 1_000)]
        if find_spec("aiometer") is not None:
            peers += [python("aiometer + httpx", "aiometer_httpx", 1_000)]
    folder = node_folder()
    with sink.running() as service:
        # Ten thousand sockets are about what an unbounded client gets from one address before the system refuses more.
        peers += node(ALL, folder, "allsettled", 10_000)
        peers += node("axios + allSettled, 32 sockets", folder, "allsettled", 10_000, "--mode", "pooled")
        peers += node(PQUEUE, folder, "pqueue", many)
        loops = ["asyncio", "uvloop"] if find_spec("uvloop") is not None else ["asyncio"]
        duels = {loop: duel(service, options.connections, loop) for loop in loops}
        costs = compete(peers, service, rounds=options.rounds, connections=options.connections)
    part = read(peers, costs, options)
    by_turns(part, duels)
    return part


def by_turns(part: Part, duels: dict[str, dict[str, tuple[float, float]]]) -> None:
    """The two close targets, where a run after another tells more of the machine than of the programs."""
    names = {"wire": "the wire alone", "settle": SETTLE, "run": RUN}
    for loop, found in duels.items():
        for name, words in names.items():
            wall, cpu = found[name]
            if name == "wire":
                part.notes.append(f"the wire alone, by turns, {loop}: {wall:.2f} × the bare pool (by CPU {cpu:.2f} ×)")
                continue
            wanted = 0.80 if name == "settle" else 0.50
            part.want(
                f"{words} to bare, by turns in one process, {loop}",
                f"≥ {wanted:.2f} ×",
                f"{wall:.2f} × (by CPU {cpu:.2f} ×)",
                wall >= wanted,
            )


def read(peers: list[Peer], costs: Rounds, options: Options) -> Part:
    part = Part(
        "overhead",
        "Overhead",
        ("", "documents", "deletes/s", "CPU µs each", "peak MB", "throughput to bare", "CPU to bare"),
        unit="deletes a second (median)",
    )
    for peer in peers:
        name = peer.name
        bare = BARE + UVLOOP if name.endswith(UVLOOP) else BARE
        part.rows.append(
            (
                name,
                f"{peer.documents:,}",
                f"{middle(costs, name, 'per_second'):,.0f}",
                f"{middle(costs, name, 'cpu_us'):,.0f}",
                f"{middle(costs, name, 'peak_kib') / 1024:.0f}",
                f"{ratio(costs, name, bare, 'per_second'):.2f}",
                f"{ratio(costs, name, bare, 'cpu_us'):.2f}",
            )
        )
        part.bars[name] = round(middle(costs, name, "per_second"))
    part.numbers |= {name: [vars(cost) for cost in found] for name, found in costs.items()}
    targets(part, costs)
    busy = max(cost.served["cpu_s"] / cost.wall_s for found in costs.values() for cost in found)
    part.notes += [
        f"{options.connections} connections each, medians of {options.rounds} interleaved rounds; throughput and CPU to the bare "
        "pool of the same loop and round",
        f"the sink was busy for at most {busy:.0%} of a run's time, so it was not what was measured",
        "peak MB is the whole process, interpreter included",
    ]
    return part


def targets(part: Part, costs: Rounds) -> None:
    def over(name: str, to: str, wanted: float, sign: str = "≥") -> None:
        if name in costs and to in costs:
            found = ratio(costs, name, to, "per_second")
            cpu = 1 / ratio(costs, name, to, "cpu_us")
            part.want(
                f"{name} to {to}", f"{sign} {wanted:.2f} ×", f"{found:.2f} × (by CPU {cpu:.2f} ×)", found >= wanted
            )

    over(SETTLE, ALL, 2)
    over(SETTLE, "httpx + gather", 20)
    if ALL in costs:
        memory = ratio(costs, SETTLE, ALL, "peak_kib")
        part.want("memory of settle() to that of allSettled", "≤ 0.25", f"{memory:.2f}", memory <= 0.25)
    if PQUEUE in costs:
        found = ratio(costs, SETTLE, PQUEUE, "per_second")
        part.notes.append(
            f"to {PQUEUE} it is {found:.2f} × (uvloop: {uvloop_to_pqueue(costs)}): the rest is aiohttp's own cost"
        )


def uvloop_to_pqueue(costs: Rounds) -> str:
    name = SETTLE + UVLOOP
    return f"{ratio(costs, name, PQUEUE, 'per_second'):.2f} ×" if name in costs else "not installed"


if __name__ == "__main__":
    main("benchmarks.overhead", __doc__, measure)
