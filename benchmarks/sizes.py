"""Runs of more and more documents, measured once for the memory and the scaling part."""

from __future__ import annotations

from functools import lru_cache

from benchmarks import sink
from benchmarks.contest import Peer, Rounds, compete, ours, python
from benchmarks.report import Options

MODES = {"settle": "streamed", "run": "run file"}


def sizes(options: Options) -> list[int]:
    return [1_000, 10_000, 100_000, 1_000_000] if options.full else [1_000, 10_000, 50_000]


YARDSTICK = "yardstick"
"""A bare pool's run before and after each: how fast the machine's CPU is at that moment. A million documents take two minutes, in
which what else the machine does changes, and a run that is measured then is not to be blamed for it."""


@lru_cache
def measured(options: Options) -> Rounds:
    """Costs by ``MODE N``, and by ``yardstick MODE N`` and ``MODE N yardstick`` what a bare pool cost before and after; N = 1 is
    what a call costs before its first document."""
    peers = [ours(f"{mode} {n}", mode, n) for n in (1, *sizes(options)) for mode in MODES]
    few = [peer for peer in peers if peer.documents <= 10_000]
    large = [peer for peer in peers if peer not in few]
    with sink.running() as service:
        # A thousand documents take a tenth of a second: more rounds of the small ones.
        costs = compete(_between(few), service, rounds=3 * options.rounds, connections=options.connections)
        return costs | compete(
            _between(large), service, rounds=1 if options.full else options.rounds, connections=options.connections
        )


def _between(peers: list[Peer]) -> list[Peer]:
    found = []
    for peer in peers:
        before, after = (
            python(name, "aiohttp_pool", 5_000) for name in (f"{YARDSTICK} {peer.name}", f"{peer.name} {YARDSTICK}")
        )
        found += [before, peer, after]
    return found
