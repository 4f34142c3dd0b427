"""A benchmark's rows as a table for people, as JSON for comparing, and as tables of the README, each in its place there."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MET = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Row:
    """One situation: what is wanted, what was measured, and whether that is good; None where nothing is wanted."""

    situation: str
    target: str
    measured: str
    ok: bool | None


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table; a target that all of them have stands above it."""
    wanted = {row.target for row in rows}
    heads = ["situation", *(["target"] if len(wanted) > 1 else []), "measured", "met"]
    cells = [[row.situation, *([row.target] if len(wanted) > 1 else []), row.measured, MET[row.ok]] for row in rows]
    lines = [f"Target: {wanted.pop()}.", ""] if len(wanted) == 1 else []
    widths = [max(len(line[k]) for line in [heads, *cells]) for k in range(len(heads))]

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"

    lines += [line(heads), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, cells)]
    return "\n".join(lines)


def put(path: Path, name: str, text: str) -> None:
    """Replace what stands in a Markdown file between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    :raises SystemExit: where the file has no such place
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = path.read_text("utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise SystemExit(f"error: the file has no place for this table ({begin}): {path}")
    before, _, rest = whole.partition(begin)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", "utf-8")


def arguments(doc: str, groups: Iterable[str]) -> argparse.Namespace:
    """The options of a benchmark: which groups of rows, and where to write."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help="only these groups of rows; all where none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="put each group's table into its place in this file"
    )
    return parser.parse_args()


def run(title: str, groups: Mapping[str, Callable[[], Iterable[Row]]], given: argparse.Namespace) -> int:
    """Run the groups, print and write their rows; 1 where one is not good."""
    found: dict[str, list[Row]] = {}
    for name, group in groups.items():
        if given.groups and name not in given.groups:
            continue
        rows = found[name] = []
        for row in group():
            print(f"{'NO ' if row.ok is False else '   '}{row.situation}: {row.measured}", flush=True)
            rows.append(row)
        if given.readme is not None:
            put(given.readme, f"{title}: {name}", markdown(rows))
    for name, rows in found.items():
        print(f"\n## {title}: {name}\n\n{markdown(rows)}")
    if given.json is not None:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
        whole = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        given.json.write_text(json.dumps({"title": title, **machine, "groups": whole}, indent=2) + "\n")
    return int(any(row.ok is False for rows in found.values() for row in rows))
