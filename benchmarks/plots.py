"""Plots as small SVG files that come out the same, byte by byte, where the numbers are the same."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any


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
