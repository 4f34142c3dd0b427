"""What the benchmarks found: Markdown tables, also in their places of a README, a JSON file and plots, with notes on the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass
class Part:
    """One table, the targets and whether they were met, notes below, and bars to draw."""

    name: str
    title: str
    heads: Sequence[str] = ("situation", "measured", "met")
    rows: list[Sequence[str]] = field(default_factory=list)
    targets: list[Sequence[str]] = field(default_factory=list)  # what, wanted, measured, met
    notes: list[str] = field(default_factory=list)
    bars: dict[str, float] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def want(self, what: str, wanted: str, measured: str, met: bool) -> None:
        """Add a target of its own."""
        self.targets.append((what, wanted, measured, self._met(what, met)))

    def judge(self, situation: str, measured: str, met: bool) -> None:
        """Add a row that is held against the target which all rows have."""
        self.rows.append((situation, measured, self._met(situation, met)))
        print(f"   {situation}: {measured}", flush=True)

    def _met(self, what: str, met: bool) -> str:
        if not met:
            self.missed.append(f"{self.name}: {what}")
        return "yes" if met else "**no**"


@dataclass(frozen=True)
class Options:
    """How much is run."""

    full: bool = False
    rounds: int = 3
    connections: int = 32


Measure = Callable[[Options], Part]


def main(name: str, doc: str | None, measures: Mapping[str, Measure], given: Sequence[str] | None = None) -> None:
    """Run the parts, or those that the command line names, and show what came of them."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=(doc or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(measures)}")
    parser.add_argument("--full", action="store_true", help="a million documents for memory, more time for the others")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown (default 3)")
    parser.add_argument("--connections", type=int, default=32, help="connections of every peer (default 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the tables as JSON")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the bars as SVG, if matplotlib is installed")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put each table into its place in this file")
    options = parser.parse_args(given)
    if unknown := set(options.parts) - set(measures):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    before, parts = load(), list[Part]()
    for measure in [measures[one] for one in options.parts or measures]:
        began = time.perf_counter()
        part = measure(Options(options.full, options.rounds, options.connections))
        part.took_s = time.perf_counter() - began
        parts.append(part)
        print(markdown(part), flush=True)
        if options.readme is not None:
            put(options.readme, part.name, markdown(part).strip())
    took = ", ".join(f"{part.name} {part.took_s:.0f} s" for part in parts)
    notes = f"{machine()}; load {before} before, {load()} after. It took {took}."
    print(f"\n{notes}")
    if options.readme is not None:
        put(options.readme, f"machine of {name}", notes)
    if options.json is not None:
        found = {"machine": notes, "parts": [asdict(part) for part in parts]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plots is not None:
        draw(parts, options.plots)
    if missed := [what for part in parts for what in part.missed]:
        print(f"targets missed: {'; '.join(missed)}")


def markdown(part: Part) -> str:
    lines = [f"\n### {part.title}\n", *table(part.heads, part.rows)]
    if part.targets:
        lines += ["", *table(("target", "wanted", "measured", "met"), part.targets)]
    if part.notes:
        lines += ["", *[f"- {note}" for note in part.notes]]
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(heads), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]


def put(path: Path, name: str, text: str) -> None:
    """Replace what stands in a Markdown file between ``<!-- benchmarks: NAME -->`` and ``<!-- end of benchmarks: NAME -->``.

    :raises SystemExit: the file has no such place
    """
    begin, end = f"<!-- benchmarks: {name} -->", f"<!-- end of benchmarks: {name} -->"
    whole = path.read_text("utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise SystemExit(f"error: the file has no place for this table ({begin}): {path}")
    before, _, rest = whole.partition(begin)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", "utf-8")


def draw(parts: Sequence[Part], folder: Path) -> None:
    """A bar chart for each part that has bars."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'bulkdel[bench]')")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Text as text is a tenth of the size of its outlines; the salt makes the ids of clip paths the same each time.
    matplotlib.rcParams.update({"svg.hashsalt": "bulkdel", "svg.fonttype": "none", "font.size": 8})
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if not part.bars:
            continue
        names = list(part.bars)[::-1]
        figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.22 * len(names)), layout="constrained")
        colours = ["#1f6f5c" if name.startswith("bulkdel") else "#b8b8b8" for name in names]
        drawn = axes.barh(names, [part.bars[name] for name in names], color=colours)
        axes.bar_label(drawn, fmt="{:,.4g}", padding=3)
        axes.set_title(part.title, loc="left")
        axes.set_xlabel("deletes a second (median)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        figure.savefig(folder / f"{part.name}.svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def machine() -> str:
    """What it ran on."""
    versions: dict[str, Any] = {"Python": platform.python_version()}
    for name in ("bulkdel", "aiohttp", "uvloop", "httpx", "aiometer", "aiolimiter"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if shutil.which("node") is not None:
        versions["node"] = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip("v\n")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {named}"
