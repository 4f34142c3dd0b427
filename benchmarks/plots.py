"""Plots as small SVG files that come out the same, byte by byte, where the numbers are the same."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.models import Trace, binned

T = TypeVar("T")

POINTS = 80
"""Points of a line at most: more are hardly seen at this width, and a plot should stay below 60 kB."""
WIDE = 4
"""Traces beside each other in one file."""
HEIGHTS = (1.2, 1.0, 1.0, 0.8)


def pyplot() -> Any | None:
    """``matplotlib.pyplot``, set so that a file depends on nothing but what is drawn; None where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'bulkdel[bench]')")
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Text as text is a tenth of the size of its outlines; the salt makes the ids of clip paths the same each time.
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "bulkdel",
            "svg.fonttype": "none",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 8,
            "lines.linewidth": 1.0,
        }
    )
    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write ``figure`` as SVG: without a date, to a tenth of a point, without indentation and names that nothing refers to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r' (d|x|y|transform)="[^"]*"', _rounded, drawn.getvalue())
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"<g>\s*((?:<use [^>]*/>\s*)*)</g>", r"\1", text)
    text = re.sub(r"<metadata>.*</metadata>\s*", "", text, flags=re.DOTALL)
    text = text.replace("font-size: 8px; font-family: 'DejaVu Sans', sans-serif", "font: 8px 'DejaVu Sans', sans-serif")
    text = text.replace("stroke: #000000; stroke-width: 0.8", "stroke: #000")
    path.write_text("".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip()))


def _rounded(attribute: re.Match[str]) -> str:
    """Coordinates to a tenth of a point."""
    return re.sub(r"(?<=\d\.\d)\d+", "", attribute[0])


def draw(folder: Path | None, name: str, title: str, seen: Mapping[str, Trace]) -> None:
    """Traces beside each other, each with its concurrency and rate, throughput, latency and refusals over time.

    More than ``WIDE`` of them become several files: ``name.svg``, ``name-2.svg`` ...
    """
    if folder is None or (plot := pyplot()) is None:
        return
    files = -(-len(seen) // WIDE)
    each = -(-len(seen) // files)
    for number, part in enumerate(batched(seen.items(), each), 1):
        figure, axes = plot.subplots(
            4, each, figsize=(3.1 * each, 5.4), height_ratios=HEIGHTS, layout="constrained", squeeze=False
        )
        figure.suptitle(title)
        for column, panels in enumerate(zip(*axes, strict=True)):
            if column < len(part):
                words, trace = part[column]
                panels[0].set_title(words, fontsize=8)
                _column(panels, trace, first=not column)
            else:
                for panel in panels:
                    panel.set_visible(False)
        save(figure, folder / (f"{name}.svg" if number == 1 else f"{name}-{number}.svg"))
        plot.close(figure)


def batched(items: Iterable[T], n: int) -> Iterator[list[T]]:
    """``itertools.batched`` of Python 3.12, as lists."""
    rest = iter(items)
    while page := list(islice(rest, n)):
        yield page


def _column(panels: Sequence[Any], trace: Trace, *, first: bool) -> None:
    limits, done, slow, bad = panels
    width = trace.lasted / POINTS
    _limits(limits, trace)
    bins = list(binned(trace, width))
    times = [at for at, _ in bins]
    deleted = {at: sum(one.answer in (200, 204) for one in seen) / width for at, seen in bins}
    every = [(place + 0.5) * width for place in range(POINTS)]
    done.plot(every, [deleted.get(at, 0.0) for at in every])
    latencies = [sorted(one.ended_at - one.sent_at for one in seen) for _, seen in bins]
    slow.plot(times, [taken[len(taken) // 2] for taken in latencies], label="median")
    slow.plot(times, [taken[min(len(taken) - 1, int(0.95 * len(taken)))] for taken in latencies], label="p95")
    if max(max(taken) for taken in latencies) > 20 * min(min(taken) for taken in latencies):
        slow.set_yscale("log")
        slow.minorticks_off()
    else:
        slow.set_ylim(bottom=0)
    refused = [sum(one.answer in (403, 429) for one in seen) for _, seen in bins]
    broken = [sum(one.answer >= 500 or not one.answer for one in seen) for _, seen in bins]
    for counts, label, colour in ((refused, "refused", "tab:red"), (broken, "failed", "tab:purple")):
        there = [(at, n) for at, n in zip(times, counts, strict=True) if n]
        bad.vlines([at for at, _ in there], 0, [n for _, n in there], color=colour, label=f"{label}: {sum(counts)}")
    bad.set_ylim(0, max(1, *refused, *broken) * 1.1)
    bad.set_xlabel("seconds")
    for panel in panels:
        panel.set_xlim(0, trace.lasted)
        panel.locator_params("x", nbins=4)
        if panel is not slow or panel.get_yscale() == "linear":
            panel.locator_params("y", nbins=3)
        if panel is not bad:
            panel.set_xticks([])
    done.set_ylim(bottom=0)
    for panel, name in zip(panels, ("in flight", "deleted/s", "latency, s", "refused, failed"), strict=True):
        if first:
            panel.set_ylabel(name)
    slow.legend(loc="upper right", fontsize=7, frameon=False)
    bad.legend(loc="upper right", fontsize=7, frameon=False)


def _limits(panel: Any, trace: Trace) -> None:
    """Concurrency, and the rate where there is one."""
    steps = changes([(at - trace.started, float(n)) for at, n, _ in trace.looks], trace.lasted)
    panel.step(*zip(*steps, strict=True), where="post", label="concurrency")
    panel.set_ylim(0, 1.15 * max(n for _, n in steps))
    if not any(rate for *_, rate in trace.looks):
        return
    rates = panel.twinx()
    found = [(at - trace.started, 60.0 * rate if rate else float("nan")) for at, _, rate in trace.looks]
    rates.step(*zip(*changes(found, trace.lasted), strict=True), where="post", color="tab:red")
    # A guess that stood for a moment would press the rest of the line onto the axis.
    lasting = [rate for at, rate in found if at >= 0.2 * trace.lasted and rate == rate]
    rates.set_ylim(0, 1.3 * max(lasting, default=1.0))
    rates.locator_params("y", nbins=3)
    rates.tick_params(colors="tab:red")
    rates.set_xticks([])
    rates.text(0.98, 0.06, "rate/min", color="tab:red", transform=rates.transAxes, ha="right", fontsize=7)


def changes(looks: Sequence[tuple[float, float]], lasted: float) -> list[tuple[float, float]]:
    """The looks at which something was another than before, and the end."""
    kept = list(looks[:1]) + [look for before, look in pairwise(looks) if look[1] != before[1] and look[1] == look[1]]
    return [*kept, (lasted, kept[-1][1])] if kept else [(0.0, 0.0), (lasted, 0.0)]
