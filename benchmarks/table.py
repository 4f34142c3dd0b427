"""A benchmark's rows as a table for people, as JSON for comparing, and its traces as pictures where matplotlib is there."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.models import Trace, binned


@dataclass(frozen=True)
class Row:
    """One situation: what is wanted, what was measured, and whether that is good; None where nothing is wanted."""

    situation: str
    target: str
    measured: str
    ok: bool | None


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows as a table (Markdown, so that it can be pasted into the README)."""
    lines = [(row.situation, row.target, row.measured, {True: "yes", False: "NO", None: ""}[row.ok]) for row in rows]
    heads = ("situation", "target", "measured", "ok")
    widths = [max(len(line[k]) for line in [heads, *lines]) for k in range(4)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    print(f"\n## {title}\n")
    print(line(heads))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for cells in lines:
        print(line(cells))


def arguments(doc: str, groups: Iterable[str], default: str) -> argparse.Namespace:
    """The options of both benchmarks: which groups of rows, where to write, where to draw."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help="only these groups of rows; all where none")
    parser.add_argument("--json", type=Path, default=Path(default), metavar="FILE", help=f"the rows ({default})")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the adaptive traces (needs matplotlib)")
    return parser.parse_args()


def run(title: str, groups: Mapping[str, Callable[[], Iterable[Row]]], given: argparse.Namespace) -> int:
    """Run the groups, print and write their rows; 1 where one is not good."""
    rows: list[Row] = []
    for name, group in groups.items():
        if not given.groups or name in given.groups:
            for row in group():
                print(f"{'NO ' if row.ok is False else '   '}{row.situation}: {row.measured}", flush=True)
                rows.append(row)
    show(title, rows)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"title": title, **machine, "rows": [asdict(row) for row in rows]}, indent=2))
    return int(any(row.ok is False for row in rows))


def draw(directory: Path | None, name: str, trace: Trace, title: str, width: float = 1.0) -> None:
    """Concurrency and rate, throughput, latency and refusals over time, below each other."""
    if directory is None:
        return
    try:
        import matplotlib
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'bulkdel[bench]')")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    directory.mkdir(parents=True, exist_ok=True)
    figure, (limits, done, slow, bad) = pyplot.subplots(4, 1, sharex=True, figsize=(9, 9), layout="constrained")
    figure.suptitle(title)
    looks = [(at - trace.started, concurrency, rate) for at, concurrency, rate in trace.looks]
    limits.step([look[0] for look in looks], [look[1] for look in looks], where="post", label="concurrency")
    limits.set_ylabel("concurrency")
    limits.set_ylim(bottom=0)
    if any(look[2] for look in looks):
        rates = limits.twinx()
        rates.step([look[0] for look in looks], [look[2] * 60 or None for look in looks], where="post", color="tab:red")
        rates.set_ylabel("rate, a minute", color="tab:red")
        rates.set_ylim(bottom=0)
    bins = list(binned(trace, width))
    times = [at for at, _ in bins]
    done.plot(times, [sum(one.answer in (200, 204) for one in seen) / width for _, seen in bins])
    done.set_ylabel("deleted a second")
    done.set_ylim(bottom=0)
    latencies = [sorted(one.ended_at - one.sent_at for one in seen) for _, seen in bins]
    slow.plot(times, [taken[len(taken) // 2] for taken in latencies], label="median")
    slow.plot(times, [taken[min(len(taken) - 1, int(0.95 * len(taken)))] for taken in latencies], label="p95")
    slow.set_ylabel("seconds")
    slow.set_yscale("log")
    slow.legend(loc="upper right")
    bad.bar(times, [sum(one.answer in (403, 429) for one in seen) for _, seen in bins], width, label="refused")
    bad.bar(
        times, [sum(one.answer >= 500 or not one.answer for one in seen) for _, seen in bins], width, label="failed"
    )
    bad.set_ylabel("refused, failed")
    bad.legend(loc="upper right")
    bad.set_xlabel("seconds")
    figure.savefig(directory / f"{name}.png", dpi=100)
    pyplot.close(figure)
