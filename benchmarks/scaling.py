"""What a document costs in a small run and in a large one: ``python -m benchmarks.scaling`` (``--full``: up to a million)."""

from __future__ import annotations

from statistics import median

from benchmarks.report import Options, Part, main
from benchmarks.sizes import MODES, measured, sizes


def measure(options: Options) -> Part:
    costs = measured(options)
    counts = sizes(options)
    heads = ("CPU µs for each document", *[f"{n:,}" for n in counts], "largest to smallest")
    part = Part("scaling", "Scaling", heads)
    for mode, words in MODES.items():
        fixed = median(cost.cpu_s for cost in costs[f"{mode} 1"])
        each = [(median(cost.cpu_s for cost in costs[f"{mode} {n}"]) - fixed) / n * 1e6 for n in counts]
        spread = max(each) / min(each)
        part.rows.append((f"bulkdel, {words}", *[f"{us:.0f}" for us in each], f"{spread:.2f}"))
        part.want(f"cost for each document, {words}", "flat within 10 %", f"{spread - 1:.0%}", spread <= 1.10)
        part.numbers[mode] = {"fixed_s": fixed, **dict(zip(map(str, counts), each, strict=True))}
        part.notes.append(
            f"{words}: {fixed * 1000:.0f} ms of a call with one document are taken off (session, pool, file)"
        )
    if not options.full:
        part.notes.append("up to a million documents: `python -m benchmarks.scaling --full`")
    return part


if __name__ == "__main__":
    main("benchmarks.scaling", __doc__, measure)
