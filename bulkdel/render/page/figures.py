"""A run's timeline as inline SVG: drawn by pygal, coloured by the page's style sheet, without script or style of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pygal

from bulkdel.render.story import Story, Stretch
from bulkdel.render.summary import CAUSES

# pygal leaves an import hook for its plug-ins behind, of a kind that Python 3.11 warns of at every later import. There are
# no plug-ins here.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

_SVG = "http://www.w3.org/2000/svg"
_LONG_NUMBER = re.compile(r"\d+\.\d+")

Line = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing: ``svg`` is markup that holds no word from outside, ``legend`` has a colour's class and its meaning."""

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]
    note: str = ""


def figures(story: Story) -> list[Figure]:
    """What there is to see of one provider; what did not happen is not drawn."""
    if not story.stretches:
        return []
    end = story.stretches[-1].at + story.stretches[-1].span_s
    unit, word = _unit(end)

    def draw(title: str, unit_y: str, lines: dict[str, Line], *, note: str = "") -> Figure:
        legend = tuple((f"color-{n}", meaning) for n, meaning in enumerate(lines)) if len(lines) > 1 else ()
        return Figure(title, _svg(title, lines, end / unit, f"{word} at work", unit_y), legend, note)

    def line(value: Callable[[Stretch], float | None]) -> Line:
        # The value of a stretch stands at its middle: a line through the edges would be half a stretch early.
        return [((s.at + s.span_s / 2) / unit, value(s)) for s in story.stretches]

    drawn = [draw("Documents settled", "a second", {"settled": line(lambda s: s.settled / s.span_s)})]
    if not story.measured:
        return drawn
    if any(s.p50_s is not None for s in story.stretches):
        lines = {
            "median": _steps(story.stretches, unit, [s.p50_s for s in story.stretches]),
            "95th percentile": _steps(story.stretches, unit, [s.p95_s for s in story.stretches]),
        }
        drawn.append(draw("How long answers took", "seconds", lines))
    rates = {"sent": line(lambda s: s.requests / s.span_s)}
    if any(s.rate is not None for s in story.stretches):
        rates["allowed"] = line(lambda s: s.rate)
    drawn.append(draw("Requests", "a second", rates, note="" if len(rates) > 1 else "no limit known"))
    lines = {"in flight": line(lambda s: s.in_flight), "at most": line(lambda s: s.concurrency)}
    most = "in flight: the most at once in each stretch"
    drawn.append(draw("Requests at the same time", "requests", lines, note=most))
    drawn.append(_waits(story.stretches, unit, word))
    if any(s.requeued for s in story.stretches):
        drawn.append(draw("Asked again", "a second", {"asked again": line(lambda s: s.requeued / s.span_s)}))
    return drawn


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 6 * 3600 else (3600.0, "hours")


def _waits(stretches: Sequence[Stretch], unit: float, word: str) -> Figure:
    """What it waited for, as shares of each stretch, one upon the other."""
    seen = {cause for s in stretches for cause, seconds in s.waited.items() if seconds > 0}
    causes = [cause for cause in CAUSES if cause in seen]
    totals = [sum(s.waited.values()) for s in stretches]
    below = [0.0] * len(stretches)
    tops: list[tuple[str, Line]] = []
    for cause in causes:
        shares = [100 * s.waited.get(cause, 0.0) / (total or 1.0) for s, total in zip(stretches, totals, strict=True)]
        below = [min(100.0, a + b) for a, b in zip(below, shares, strict=True)]
        tops.append((colour_of(cause), _steps(stretches, unit, below)))
    title, end = "What it waited for", (stretches[-1].at + stretches[-1].span_s) / unit
    lines = dict(reversed(tops))  # the highest first: each next one is painted over it
    drawn = _svg(title, lines, end, f"{word} at work", "% of the time", fill=True, colours=list(lines), top=100.0)
    return Figure(title, drawn, tuple((colour_of(cause), CAUSES[cause]) for cause in causes))


def _steps(stretches: Sequence[Stretch], unit: float, values: Sequence[float | None]) -> Line:
    """Each value for all of its stretch, so that a lone one between two gaps is seen too."""
    return [((s.at + edge) / unit, y) for s, y in zip(stretches, values, strict=True) for edge in (0.0, s.span_s)]


def colour_of(cause: str) -> str:
    """The style sheet's class for a cause."""
    return f"cause-{list(CAUSES).index(cause)}"


def _svg(
    title: str,
    lines: dict[str, Line],
    end: float,
    x_title: str,
    y_title: str,
    *,
    fill: bool = False,
    colours: Sequence[str] = (),
    top: float | None = None,
) -> str:
    # A little air above the highest value: a line on the frame is taken for the frame.
    highest = top or 1.05 * max((y for line in lines.values() for _, y in line if y is not None), default=0.0)
    chart: Any = pygal.XY(
        width=640, height=250, margin=6, x_title=x_title, y_title=y_title, range=(0, highest or 1), xrange=(0, end),
        show_legend=False, show_dots=False, fill=fill, include_x_axis=True, allow_interruptions=not fill, max_scale=6,
        value_formatter=_number, x_value_formatter=_number, js=(), css=(), no_prefix=True,
    )  # fmt: skip
    for name, line in lines.items():
        chart.add(name, list(line))
    return _bare(chart.render(), title, colours)


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _bare(drawn: bytes, title: str, colours: Sequence[str]) -> str:
    """pygal's drawing without its script and style, which the page's content-security policy forbids."""
    root = ElementTree.fromstring(drawn)
    for parent in list(root.iter()):
        for child in list(parent):
            if _name(child) in ("script", "style", "defs", "title", "desc"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _name(element)
        for attribute, value in list(element.attrib.items()):
            if attribute in ("style", "id") or attribute.startswith("{"):
                del element.attrib[attribute]
            elif attribute in ("d", "x", "y", "transform", "width", "height"):
                element.set(attribute, _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.1f}", value))
    for number, colour in enumerate(colours):
        for element in root.iter("g"):
            if f"serie-{number}" in element.get("class", "").split():
                element.set("class", f"series {colour}")
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).removeprefix(f"{{{_SVG}}}")
