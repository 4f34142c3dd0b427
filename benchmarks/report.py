"""What the benchmarks found, as Markdown tables (of the README, too), a JSON file and plots, with notes on the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.table import put


@dataclass
class Part:
    """One part's result: a table, what was wanted and whether it is so, further numbers for the JSON file, and bars to draw."""

    name: str
    title: str
    heads: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    targets: list[tuple[str, str, str, bool]] = field(default_factory=list)  # what, wanted, found, met
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    bars: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    took_s: float = 0.0

    def want(self, what: str, wanted: str, found: str, met: bool) -> None:
        self.targets.append((what, wanted, found, met))


@dataclass(frozen=True)
class Options:
    """How much is run."""

    full: bool = False
    rounds: int = 3
    connections: int = 32


Measure = Callable[[Options], Part]


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=(doc or "").partition("\n")[0])
    parser.add_argument(
        "--full", action="store_true", help="100,000 documents in each run, and 1,000,000 for memory and scaling"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown (default 3)")
    parser.add_argument("--connections", type=int, default=32, help="connections of every peer (default 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the bars as SVG, where matplotlib is installed")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="all tables and notes in a new file")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put each table into its place in this file")
    return parser


def main(name: str, doc: str | None, *measures: Measure, given: Sequence[str] | None = None) -> None:
    """Run one part or several, and show what came of it."""
    arguments = parser(name, doc).parse_args(given)
    options = Options(arguments.full, arguments.rounds, arguments.connections)
    before = machine()
    parts = []
    for measure in measures:
        began = time.perf_counter()
        part = measure(options)
        part.took_s = time.perf_counter() - began
        parts.append(part)
        print(markdown(part), flush=True)
    took = ", ".join(f"{part.name} {part.took_s:.0f} s" for part in parts)
    notes = f"{before['words']}; load {before['load']} before, {load()} after. It took {took}."
    print(f"\n{notes}")
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join([*map(markdown, parts), "", notes, ""]).lstrip(), "utf-8")
    if arguments.readme is not None:
        for part in parts:
            put(arguments.readme, f"benchmarks: {part.name}", markdown(part).strip())
        put(arguments.readme, "benchmarks: machine", notes)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(parts, before), indent=1) + "\n")
    if arguments.plots is not None:
        draw(parts, arguments.plots)
    missed = [f"{part.name}: {what}" for part in parts for what, _, _, met in part.targets if not met]
    if missed:
        print(f"targets missed: {'; '.join(missed)}")


def markdown(part: Part) -> str:
    lines = [f"\n### {part.title}\n", *table(part.heads, part.rows)]
    if part.targets:
        met = [(what, wanted, found, "yes" if met else "**no**") for what, wanted, found, met in part.targets]
        lines += ["", *table(("target", "wanted", "measured", "met"), met)]
    lines += ["", *[f"- {note}" for note in part.notes]] if part.notes else []
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|" + "|".join("-" * (width + 2) if not k else "-" * (width + 1) + ":" for k, width in enumerate(widths)) + "|"
    )
    return [line(heads), rule, *map(line, rows)]


def as_json(parts: Sequence[Part], found: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": found,
        "parts": [
            {
                "name": part.name,
                "took_s": round(part.took_s, 1),
                "rows": [dict(zip(part.heads, row, strict=True)) for row in part.rows],
                "targets": [
                    {"target": what, "wanted": wanted, "measured": got, "met": met}
                    for what, wanted, got, met in part.targets
                ],
                "notes": part.notes,
                "numbers": part.numbers,
            }
            for part in parts
        ],
    }


def draw(parts: Sequence[Part], folder: Path) -> None:
    """A bar chart for each part that has bars."""
    pyplot = plots.pyplot()
    if pyplot is None:
        return
    for part in parts:
        if not part.bars:
            continue
        names = list(part.bars)[::-1]
        figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.22 * len(names)), layout="constrained")
        colours = ["#1f6f5c" if name.startswith("bulkdel") else "#b8b8b8" for name in names]
        drawn = axes.barh(names, [part.bars[name] for name in names], color=colours)
        axes.bar_label(drawn, fmt="{:,.4g}", padding=3)
        axes.set_title(part.title, loc="left")
        axes.set_xlabel(part.unit)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        plots.save(figure, folder / f"{part.name}.svg")
        pyplot.close(figure)


# ---------------------------------------------------------------------- the machine


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def machine() -> dict[str, Any]:
    """What it ran on, in numbers and in words."""
    versions = {name: _version(name) for name in ("bulkdel", "aiohttp", "uvloop", "httpx", "aiometer", "aiolimiter")}
    versions = {name: found for name, found in versions.items() if found}
    for command in ("node", "curl"):
        if shutil.which(command) is not None:
            said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout.split()
            versions[command] = said[0].lstrip("v") if command == "node" else said[1]
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": load(),
        "versions": versions,
    }
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    found["words"] = (
        f"{found['cores']} cores, {found['system']}, Python {found['python']}, SQLite {found['sqlite']}, {named}; the sink is "
        "the raw asyncio protocol of `benchmarks/sink.py` in its own process"
    )
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
