"""What a document costs in a small run and in a large one: ``python -m benchmarks.scaling`` (``--full``: up to a million)."""

from __future__ import annotations

from statistics import median

from benchmarks.contest import Rounds
from benchmarks.report import Options, Part, main
from benchmarks.sizes import MODES, measured, sizes


def measure(options: Options) -> Part:
    costs = measured(options)
    counts = sizes(options)
    heads = ("CPU µs for each document", *[f"{n:,}" for n in counts], "largest to smallest")
    part = Part("scaling", "Scaling", heads)
    pools = [cost.told["pool_us"] for found in costs.values() for cost in found]
    usual, first = median(pools), options.connections
    for mode, words in MODES.items():
        fixed = _steady(costs, f"{mode} {first}", usual)
        each = [(_steady(costs, f"{mode} {n}", usual) - fixed) / (n - first) * 1e6 for n in counts]
        spread = max(each) / min(each)
        part.rows.append((f"bulkdel, {words}", *[f"{us:.0f}" for us in each], f"{spread:.2f}"))
        part.want(f"cost for each document, {words}", "flat within 10 %", f"{spread - 1:.0%}", spread <= 1.10)
        part.numbers[mode] = {"fixed_s": fixed, **dict(zip(map(str, counts), each, strict=True))}
        part.notes.append(
            f"{words}: {fixed * 1000:.0f} ms of a call with {first} documents are taken off (session, pool, connections, file)"
        )
    part.notes.append(
        "by turns with a bare pool in the same process, 5,000 documents and 1,000 of the pool's: CPU time is given as if those had"
        f" cost what they usually did, {usual:.0f} µs a document ({min(pools):.0f} to {max(pools):.0f} in single runs), for the machine's"
        " speed changes while a million are deleted"
    )
    if not options.full:
        part.notes.append("up to a million documents: `python -m benchmarks.scaling --full`")
    return part


def _steady(costs: Rounds, name: str, usual: float) -> float:
    """CPU seconds of the runs of ``name`` (their median) on a machine as fast as it usually was."""
    return median(usual * cost.told["ours_s"] / cost.told["pool_us"] for cost in costs[name])


if __name__ == "__main__":
    main("benchmarks.scaling", __doc__, measure)
