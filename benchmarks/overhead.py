"""What bulkdel costs over the library it stands on, and against what people use: ``python -m benchmarks.overhead``.

Every peer deletes at the same sink over the same number of connections, in a process of its own. Imports are not counted. The
slow ones delete fewer documents; costs are for each document.
"""

from __future__ import annotations

from benchmarks import sink
from benchmarks.contest import UVLOOP, Peer, Rounds, compete, duel, middle, node, python, ratio
from benchmarks.report import Options, Part, main

BARE = "bare aiohttp worker pool"
SETTLE = "bulkdel: settle(), streamed"
RUN = "bulkdel: delete(), run file"
HTTPX = "httpx + gather"
ALL = "axios + Promise.allSettled"
PQUEUE = "p-queue + undici, retries"
LOOPS = ("asyncio", "uvloop") if UVLOOP else ("asyncio",)


def measure(options: Options) -> Part:
    many = 20_000 if options.full else 5_000
    peers: list[Peer] = []
    for loop in LOOPS:
        peers += python(on(BARE, loop), "aiohttp_pool", many, loop=loop)
        peers += python(on(SETTLE, loop), "bulkdel", many, loop=loop)
        peers += python(on(RUN, loop), "bulkdel", many, "--run", "FOLDER/run.db", loop=loop)
    peers += python("aiohttp + gather", "aiohttp_gather", many)
    peers += python(HTTPX, "httpx_gather", 1_000, needs="httpx")
    peers += python("aiometer + httpx", "aiometer_httpx", 1_000, needs="aiometer")
    # Ten thousand sockets are about what an unbounded client gets from one address before the system refuses more.
    peers += node(ALL, "allsettled", 10_000)
    peers += node(PQUEUE, "pqueue", many)
    with sink.running() as service:
        turns = {loop: duel(service, options.connections, loop, many // 2, 3 * options.rounds) for loop in LOOPS}
        costs = compete(peers, service, rounds=options.rounds, connections=options.connections)
    heads = ("", "documents", "deletes/s", "CPU µs each", "peak MB", "throughput to bare", "CPU to bare")
    part = Part("overhead", "Overhead", heads)
    for peer in peers:
        add(part, peer, costs)
    by_turns(part, turns)
    targets(part, costs)
    busy = max(cost.served["cpu_s"] / cost.wall_s for found in costs.values() for cost in found)
    part.notes += [
        f"{options.connections} connections each, medians of {options.rounds} interleaved rounds; throughput and CPU to the bare "
        "pool of the same loop and round",
        f"the sink was busy for at most {busy:.0%} of a run's time, so it was not what was measured",
        "peak MB is the whole process, interpreter included",
    ]
    return part


def on(name: str, loop: str) -> str:
    return name if loop == "asyncio" else f"{name} ({loop})"


def add(part: Part, peer: Peer, costs: Rounds) -> None:
    name = peer.name
    bare = on(BARE, "uvloop") if name.endswith("(uvloop)") else BARE
    part.rows.append((
        name, f"{peer.documents:,}", f"{middle(costs, name, 'per_second'):,.0f}", f"{middle(costs, name, 'cpu_us'):,.0f}",
        f"{middle(costs, name, 'peak_kib') / 1024:.0f}", f"{ratio(costs, name, bare, 'per_second'):.2f}",
        f"{ratio(costs, name, bare, 'cpu_us'):.2f}",
    ))  # fmt: skip
    part.bars[name] = round(middle(costs, name, "per_second"))


def by_turns(part: Part, turns: dict[str, dict[str, tuple[float, float]]]) -> None:
    """The two close targets: a run after another would show more of the machine than of the programs."""
    for loop, found in turns.items():
        wall, cpu = found["wire"]
        part.notes.append(f"the wire alone, by turns, {loop}: {wall:.2f} × the bare pool (by CPU {cpu:.2f} ×)")
        for name, words, wanted in (("settle", SETTLE, 0.80), ("run", RUN, 0.50)):
            wall, cpu = found[name]
            what = f"{words} to bare, by turns in one process, {loop}"
            part.want(what, f"≥ {wanted:.2f} ×", f"{wall:.2f} × (by CPU {cpu:.2f} ×)", wall >= wanted)


def targets(part: Part, costs: Rounds) -> None:
    for to, wanted in ((ALL, 2), (HTTPX, 20)):
        if to in costs:
            found, cpu = ratio(costs, SETTLE, to, "per_second"), 1 / ratio(costs, SETTLE, to, "cpu_us")
            part.want(f"{SETTLE} to {to}", f"≥ {wanted} ×", f"{found:.2f} × (by CPU {cpu:.2f} ×)", found >= wanted)
    if ALL in costs:
        memory = ratio(costs, SETTLE, ALL, "peak_kib")
        part.want("memory of settle() to that of allSettled", "≤ 0.25", f"{memory:.2f}", memory <= 0.25)
    if PQUEUE in costs:
        part.notes.append(
            f"to {PQUEUE} it is {ratio(costs, SETTLE, PQUEUE, 'per_second'):.2f} ×: the rest is aiohttp's cost"
        )


if __name__ == "__main__":
    main("benchmarks.overhead", __doc__, {"overhead": measure})
