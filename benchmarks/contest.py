"""Peer programs run against a sink in interleaved rounds: what each cost, and the ratios within a round."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sink import Sink

UVLOOP = find_spec("uvloop") is not None


@dataclass(frozen=True)
class Peer:
    """A program: its command, how many documents it deletes, and its further options."""

    name: str
    command: tuple[str, ...]
    documents: int
    options: tuple[str, ...] = ()


@dataclass
class Cost:
    """What one run cost; ``served`` is what the sink saw of it."""

    documents: int
    wall_s: float
    cpu_s: float
    peak_kib: int
    gone: int
    served: dict[str, Any]

    @property
    def per_second(self) -> float:
        return self.documents / self.wall_s

    @property
    def cpu_us(self) -> float:
        """CPU time for each document, in µs: user and system."""
        return self.cpu_s / self.documents * 1e6


Rounds = dict[str, list[Cost]]


def python(
    name: str, peer: str, documents: int, *options: str, loop: str = "asyncio", needs: str = "aiohttp"
) -> list[Peer]:
    """A peer of ``benchmarks.peers``, if the package that it needs is there."""
    if find_spec(needs) is None:
        say(f"{name} is left out: {needs} is not installed (pip install 'bulkdel[bench]')")
        return []
    return [Peer(name, (sys.executable, "-m", "benchmarks.peers", peer, "--loop", loop), documents, options)]


def node(name: str, script: str, documents: int, *options: str) -> list[Peer]:
    """A Node peer, if Node and its packages are there."""
    folder = node_folder()
    return [] if folder is None else [Peer(name, ("node", str(folder / f"{script}.mjs")), documents, options)]


@cache
def node_folder() -> Path | None:
    """A folder outside the checkout with the Node peers and their packages; None if Node or its registry is not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        say("no Node here: its peers are left out")
        return None
    folder = Path(tempfile.mkdtemp(prefix="bulkdel-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    peers = Path(__file__).parent / "peers"
    for file in [*peers.glob("*.mjs"), *peers.glob("package*.json")]:
        shutil.copy(file, folder)
    got = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
    if got.returncode:
        say("npm could not install the Node peers: they are left out")
        return None
    return folder


def run_once(peer: Peer, sink: Sink, connections: int) -> Cost:
    """One run of a peer in a process of its own.

    :raises RuntimeError: it ended without a result
    """
    sink.count(reset=True)
    arguments = ["--base-url", sink.base_url, "--documents", str(peer.documents), "--connections", str(connections)]
    with tempfile.TemporaryDirectory(prefix="bulkdel-run-") as folder:
        command = [*peer.command, *arguments, *(option.replace("FOLDER", folder) for option in peer.options)]
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONHASHSEED": "0"}
        got = subprocess.run(command, capture_output=True, text=True, env=environment)
    if got.returncode or not got.stdout.strip():
        raise RuntimeError(f"{peer.name} ended with {got.returncode}: {got.stderr.strip()[-500:]}")
    found = json.loads(got.stdout.strip().splitlines()[-1])
    known = {name: found[name] for name in ("wall_s", "cpu_s", "peak_kib", "gone")}
    return Cost(documents=peer.documents, served=sink.count(), **known)


def compete(peers: Sequence[Peer], sink: Sink, *, rounds: int, connections: int) -> Rounds:
    """Every peer once a round, so that what else the machine does meets all of them alike."""
    costs: Rounds = {peer.name: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            cost = run_once(peer, sink, connections)
            costs[peer.name].append(cost)
            say(f"round {number + 1}/{rounds}  {peer.name:<42} {cost.per_second:>9,.0f}/s  {cost.cpu_us:>7.0f} µs CPU")
    return costs


def duel(sink: Sink, connections: int, loop: str, documents: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Throughput and CPU to the bare pool (more is better), by turns in one process: medians over each contender's turns, each of
    them set against the bare pool's turns before and after it."""
    arguments = ["--base-url", sink.base_url, "--documents", str(documents), "--connections", str(connections)]
    command = [sys.executable, "-m", "benchmarks.peers.duel", *arguments, "--loop", loop, "--rounds", str(rounds)]
    turns = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    found: dict[str, list[tuple[float, float]]] = {}
    for (_, *before), (name, *one), (_, *after) in zip(turns[::2], turns[1::2], turns[2::2], strict=False):
        wall, cpu = ((a + b) / 2 / c for a, b, c in zip(before, after, one, strict=True))
        found.setdefault(name, []).append((wall, cpu))
    return {name: (median(w for w, _ in ratios), median(c for _, c in ratios)) for name, ratios in found.items()}


def ratio(costs: Rounds, name: str, to: str, what: str) -> float:
    """The median over the rounds of ``what`` of one peer to that of another in the same round."""
    pairs = zip(costs[name], costs[to], strict=True)
    return median(getattr(one, what) / getattr(other, what) for one, other in pairs)


def middle(costs: Rounds, name: str, what: str) -> float:
    return median(getattr(cost, what) for cost in costs[name])


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
