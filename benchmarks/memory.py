"""Whether memory stays flat as the documents grow: ``python -m benchmarks.memory`` (``--full``: up to a million)."""

from __future__ import annotations

from benchmarks.report import Options, Part, main
from benchmarks.sizes import MODES, measured, sizes


def measure(options: Options) -> Part:
    costs = measured(options)
    counts = [n for n in sizes(options) if n >= 10_000]
    part = Part("memory", "Memory", ("peak MB of the process", *[f"{n:,} documents" for n in counts], "growth MB"))
    for mode, words in MODES.items():
        peaks = [max(cost.peak_kib for cost in costs[f"{mode} {n}"]) / 1024 for n in counts]
        growth = peaks[-1] - peaks[0]
        part.rows.append((f"bulkdel, {words}", *[f"{peak:.1f}" for peak in peaks], f"{growth:.1f}"))
        part.want(f"growth from {counts[0]:,} to {counts[-1]:,}, {words}", "≤ 20 MB", f"{growth:.1f} MB", growth <= 20)
        part.numbers[mode] = dict(zip(map(str, counts), peaks, strict=True))
        part.bars |= {f"bulkdel, {words}, {n:,}": round(peak, 1) for n, peak in zip(counts, peaks, strict=True)}
        if mode == "run":
            part.want(f"{counts[-1]:,} documents with a run file", "≤ 150 MB", f"{peaks[-1]:.0f} MB", peaks[-1] <= 150)
    part.unit = "peak resident memory, MB"
    if not options.full:
        part.notes.append("up to a million documents: `python -m benchmarks.memory --full`")
    return part


if __name__ == "__main__":
    main("benchmarks.memory", __doc__, measure)
