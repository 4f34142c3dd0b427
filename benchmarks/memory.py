"""Whether memory stays flat as the documents grow: ``python -m benchmarks.memory`` (``--full``: up to a million)."""

from __future__ import annotations

from benchmarks import sink
from benchmarks.contest import compete, ours
from benchmarks.report import Options, Part, main

MODES = {"settle": "streamed", "run": "run file"}


def measure(options: Options) -> Part:
    sizes = [10_000, 100_000, 1_000_000] if options.full else [10_000, 50_000]
    peers = [ours(f"{mode} {n}", mode, n) for n in sizes for mode in MODES]
    with sink.running() as service:
        costs = compete(peers, service, rounds=1, connections=options.connections)
    part = Part("memory", "Memory", ("peak MB of the process", *[f"{n:,} documents" for n in sizes], "growth MB"))
    for mode, words in MODES.items():
        peaks = [costs[f"{mode} {n}"][0].peak_kib / 1024 for n in sizes]
        growth = peaks[-1] - peaks[0]
        part.rows.append((f"bulkdel, {words}", *[f"{peak:.1f}" for peak in peaks], f"{growth:.1f}"))
        if mode == "settle":
            part.want(
                f"growth from {sizes[0]:,} to {sizes[-1]:,}, {words}", "≤ 20 MB", f"{growth:.1f} MB", growth <= 20
            )
        else:
            part.want(f"{sizes[-1]:,} documents with a {words}", "≤ 150 MB", f"{peaks[-1]:.0f} MB", peaks[-1] <= 150)
        part.numbers[mode] = dict(zip(map(str, sizes), peaks, strict=True))
    return part


if __name__ == "__main__":
    main("benchmarks.memory", __doc__, measure)
