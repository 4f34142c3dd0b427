"""Runs of more and more documents, measured once for the memory and the scaling part."""

from __future__ import annotations

import sys
from functools import lru_cache

from benchmarks import sink
from benchmarks.contest import Peer, Rounds, compete
from benchmarks.report import Options

MODES = {"settle": "streamed", "run": "run file"}


def sizes(options: Options) -> list[int]:
    return [1_000, 10_000, 100_000, 1_000_000] if options.full else [1_000, 10_000, 50_000]


@lru_cache
def measured(options: Options) -> Rounds:
    """Costs by ``MODE N``; N = the number of connections is what a call costs before they are all at work."""
    command = (sys.executable, "-m", "benchmarks.peers.beside", "--mode")
    peers = [Peer(f"{mode} {n}", (*command, mode), n) for n in (options.connections, *sizes(options)) for mode in MODES]
    with sink.running() as service:
        costs: Rounds = {}
        # A thousand documents take a tenth of a second, of which a third is the call's own: more rounds of the small ones.
        for least, most, times in ((0, 1_000, 15), (1_001, 10_000, 5), (10_001, 10**6, 1)):
            some = [peer for peer in peers if least <= peer.documents <= most]
            rounds = 1 if options.full and times == 1 else times * options.rounds
            costs |= compete(some, service, rounds=rounds, connections=options.connections)
        return costs
