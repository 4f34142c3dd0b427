"""Whether memory stays flat as the documents grow: ``python -m benchmarks.memory`` (``--full``: up to a million)."""

from __future__ import annotations

from benchmarks import sink
from benchmarks.contest import compete, python
from benchmarks.report import Options, Part, main

MODES = {"streamed": (), "run file": ("--run", "FOLDER/run.db")}


def measure(options: Options) -> Part:
    sizes = [10_000, 1_000_000] if options.full else [2_000, 20_000]
    peers = [peer for n in sizes for mode in MODES for peer in python(f"{mode} {n}", "bulkdel", n, *MODES[mode])]
    with sink.running() as service:
        costs = compete(peers, service, rounds=1, connections=options.connections)
    part = Part("memory", "Memory", ("peak MB of the process", *[f"{n:,} documents" for n in sizes], "growth MB"))
    for mode in MODES:
        peaks = [costs[f"{mode} {n}"][0].peak_kib / 1024 for n in sizes]
        growth = peaks[-1] - peaks[0]
        part.rows.append((f"bulkdel, {mode}", *[f"{peak:.1f}" for peak in peaks], f"{growth:.1f}"))
        if mode == "streamed":
            what = f"growth from {sizes[0]:,} to {sizes[-1]:,}, streamed"
            part.want(what, "≤ 20 MB", f"{growth:.1f} MB", growth <= 20)
        else:
            part.want(f"{sizes[-1]:,} documents with a run file", "≤ 150 MB", f"{peaks[-1]:.0f} MB", peaks[-1] <= 150)
    return part


if __name__ == "__main__":
    main("benchmarks.memory", __doc__, {"memory": measure})
