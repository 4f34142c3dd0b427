"""What a document costs in a small run and in a large one: ``python -m benchmarks.scaling`` (``--full``: up to a million)."""

from __future__ import annotations

from statistics import median

from benchmarks.contest import Rounds
from benchmarks.report import Options, Part, main
from benchmarks.sizes import MODES, YARDSTICK, measured, sizes


def measure(options: Options) -> Part:
    costs = measured(options)
    counts = sizes(options)
    heads = ("CPU µs for each document", *[f"{n:,}" for n in counts], "largest to smallest")
    part = Part("scaling", "Scaling", heads)
    usual = median(cost.cpu_us for name, found in costs.items() if YARDSTICK in name for cost in found)
    for mode, words in MODES.items():
        fixed = _steady(costs, f"{mode} 1", usual)
        each = [(_steady(costs, f"{mode} {n}", usual) - fixed) / n * 1e6 for n in counts]
        spread = max(each) / min(each)
        part.rows.append((f"bulkdel, {words}", *[f"{us:.0f}" for us in each], f"{spread:.2f}"))
        part.want(f"cost for each document, {words}", "flat within 10 %", f"{spread - 1:.0%}", spread <= 1.10)
        part.numbers[mode] = {"fixed_s": fixed, **dict(zip(map(str, counts), each, strict=True))}
        part.notes.append(
            f"{words}: {fixed * 1000:.0f} ms of a call with one document are taken off (session, pool, file)"
        )
    part.notes.append(
        f"each run lies between two runs of the bare pool, and its CPU time is given as if those had cost what they usually did, {usual:.0f} µs"
        " a document: the machine's speed changes while a million are deleted"
    )
    if not options.full:
        part.notes.append("up to a million documents: `python -m benchmarks.scaling --full`")
    return part


def _steady(costs: Rounds, name: str, usual: float) -> float:
    """CPU seconds of the runs of ``name`` (their median) on a machine as fast as it usually was."""
    runs = zip(costs[f"{YARDSTICK} {name}"], costs[name], costs[f"{name} {YARDSTICK}"], strict=True)
    return median(2 * usual * run.cpu_s / (before.cpu_us + after.cpu_us) for before, run, after in runs)


if __name__ == "__main__":
    main("benchmarks.scaling", __doc__, measure)
