"""A default self-hosted Dify, 1,000 documents: what is reported, what is true, and how long: ``python -m benchmarks.collapse``.

The sink accepts ten connections and leaves further ones in the kernel's queue, as gunicorn's one gevent worker does. A kept-alive
connection keeps its slot until it was idle for 2 s. What was asked is carried out, whether or not the client still waits.
"""

from __future__ import annotations

import time

from benchmarks import sink
from benchmarks.contest import Peer, node, node_folder, ours, python, run_once, say
from benchmarks.report import Options, Part, main

N = 1_000
SLOTS, SERVICE_S, IDLE_S = 10, 0.09, 2.0
TIMEOUT = ("--timeout", "30")


def measure(options: Options) -> Part:
    heads = ("", "seconds", "said to be deleted", "said to have failed", "deleted in truth", "false reports")
    part = Part("collapse", "Collapse of a default self-hosted Dify", heads)
    peers = [
        ours("bulkdel, as it comes", "delete", N, *TIMEOUT, "--connections", "0"),
        python("aiohttp + gather, 100 connections", "aiohttp_gather", N, *TIMEOUT, "--connections", "100"),
    ]
    peers += node("axios + Promise.allSettled", node_folder(), "allsettled", N, *TIMEOUT)
    for peer in peers:
        row(part, peer, options)
    part.notes += [
        f"{SLOTS} slots, {SERVICE_S * 1000:.0f} ms a delete, so at best {N * SERVICE_S / SLOTS:.0f} s; a client's timeout of 30 s",
        "false reports: documents that were called failed and are deleted all the same, or the other way round",
    ]
    return part


def row(part: Part, peer: Peer, options: Options) -> None:
    slow = ("--slots", str(SLOTS), "--service", str(SERVICE_S), "--keep-idle", str(IDLE_S), "--remember")
    with sink.running(*slow) as service:
        cost = run_once(peer, service, options.connections)
        seen, deleted = -1, cost.served["deleted"]
        while seen != deleted:  # what is queued still runs
            seen = deleted
            time.sleep(3 * IDLE_S)
            deleted = service.count()["deleted"]
    wrong = abs(deleted - cost.gone)
    say(f"{peer.name}: {cost.wall_s:.0f} s, {cost.gone} said, {deleted} in truth")
    part.rows.append((peer.name, f"{cost.wall_s:.0f}", str(cost.gone), str(cost.failed), str(deleted), str(wrong)))
    part.numbers[peer.name] = {**vars(cost), "deleted": deleted}
    if peer.name.startswith("bulkdel"):
        good = (cost.gone, deleted) == (N, N)
        part.want("bulkdel's report", "true, all deleted", f"{cost.gone} said, {deleted} in truth", good)


if __name__ == "__main__":
    main("benchmarks.collapse", __doc__, measure)
