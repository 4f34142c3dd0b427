"""Runs of more and more documents, measured once for the memory and the scaling part."""

from __future__ import annotations

from functools import lru_cache

from benchmarks import sink
from benchmarks.contest import Rounds, compete, ours
from benchmarks.report import Options

MODES = {"settle": "streamed", "run": "run file"}


def sizes(options: Options) -> list[int]:
    return [1_000, 10_000, 100_000, 1_000_000] if options.full else [1_000, 10_000, 50_000]


@lru_cache
def measured(options: Options) -> Rounds:
    """Costs by ``MODE N``; N = 1 is what a call costs before its first document."""
    peers = [ours(f"{mode} {n}", mode, n) for n in (1, *sizes(options)) for mode in MODES]
    few = [peer for peer in peers if peer.documents <= 10_000]
    with sink.running() as service:
        # A thousand documents take a tenth of a second: more rounds of the small ones.
        costs = compete(few, service, rounds=3 * options.rounds, connections=options.connections)
        large = [peer for peer in peers if peer not in few]
        return costs | compete(
            large, service, rounds=1 if options.full else options.rounds, connections=options.connections
        )
