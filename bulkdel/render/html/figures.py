"""A provider's timeline as inline SVG: drawn by pygal, colored by the page's style sheet, without script or style of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pygal

from bulkdel.engine.timeline import Sample
from bulkdel.render.html.timeline import ProviderTimeline
from bulkdel.render.wording import CAUSES

# pygal leaves an import hook for its plug-ins behind, of a kind that Python 3.11 warns of at every later import. There are
# no plug-ins here.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

Line = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing: ``svg`` is markup that holds no word from outside, ``legend`` has a color's class and its meaning."""

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def figures(timeline: ProviderTimeline) -> list[Figure]:
    """What there is to see of one provider; what did not happen is not drawn."""
    samples = timeline.samples
    if not samples:
        return []
    return list(_measured(samples) if timeline.measured else _settled(samples))


def _settled(samples: Sequence[Sample]) -> Iterator[Figure]:
    yield _figure("Documents settled", samples, "a second", {"settled": lambda s: s.settled / s.span_s})


def _measured(samples: Sequence[Sample]) -> Iterator[Figure]:
    yield from _settled(samples)
    if any(s.p50_s is not None for s in samples):
        answers: Mapping[str, Value] = {"median": lambda s: s.p50_s, "95th percentile": lambda s: s.p95_s}
        yield _figure("How long answers took", samples, "seconds", answers)
    requests: dict[str, Value] = {"sent": lambda s: s.requests / s.span_s}
    limited = any(s.rate is not None for s in samples)
    if limited:
        requests["allowed"] = lambda s: s.rate
    yield _figure("Requests", samples, "a second", requests, note="" if limited else "no limit known")
    concurrent: Mapping[str, Value] = {"in flight": lambda s: s.in_flight, "at most": lambda s: s.concurrency}
    most = "in flight: the most at once in each stretch"
    yield _figure("Requests at the same time", samples, "requests", concurrent, note=most)
    yield _waits(samples)
    if any(s.requeued for s in samples):
        yield _figure("Asked again", samples, "a second", {"asked again": lambda s: s.requeued / s.span_s})


Value = Callable[[Sample], float | None]


def _figure(title: str, samples: Sequence[Sample], unit: str, values: Mapping[str, Value], *, note: str = "") -> Figure:
    lines = {name: _steps(samples, [value(s) for s in samples]) for name, value in values.items()}
    legend = tuple((f"color-{n}", meaning) for n, meaning in enumerate(values)) if len(values) > 1 else ()
    return Figure(title, _svg(title, lines, samples, unit), legend, note)


def _waits(samples: Sequence[Sample]) -> Figure:
    """What it waited for, as shares of each stretch, one upon the other."""
    seen = [cause for cause in CAUSES if any(s.waited.get(cause, 0.0) > 0 for s in samples)]
    totals = [sum(s.waited.values()) or 1.0 for s in samples]
    below = [0.0] * len(samples)
    tops: dict[str, Line] = {}
    for cause in seen:
        shares = [100 * s.waited.get(cause, 0.0) / total for s, total in zip(samples, totals, strict=True)]
        below = [min(100.0, a + b) for a, b in zip(below, shares, strict=True)]
        tops[color_of(cause)] = _steps(samples, below)
    highest_first = dict(reversed(tops.items()))  # each next one is painted over it
    svg = _svg("What it waited for", highest_first, samples, "% of the time", stacked=True)
    return Figure("What it waited for", svg, tuple((color_of(cause), CAUSES[cause]) for cause in seen))


def color_of(cause: str) -> str:
    """The style sheet's class for a cause."""
    return f"cause-{list(CAUSES).index(cause)}"


def _time_unit(samples: Sequence[Sample]) -> tuple[float, str]:
    """In which unit the time is drawn: its length in seconds, and its name."""
    seconds = samples[-1].at + samples[-1].span_s
    if seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 6 * 3600 else (3600.0, "hours")


def _steps(samples: Sequence[Sample], values: Sequence[float | None]) -> Line:
    """Each value for all of its stretch, so that a lone one between two gaps is seen, too."""
    unit, _ = _time_unit(samples)
    return [((s.at + edge) / unit, y) for s, y in zip(samples, values, strict=True) for edge in (0.0, s.span_s)]


def _svg(title: str, lines: Mapping[str, Line], samples: Sequence[Sample], unit: str, *, stacked: bool = False) -> str:
    """The lines over time; ``stacked`` ones are areas up to 100 that are named by their color's class."""
    # A little air above the highest value: a line on the frame is taken for the frame.
    highest = max((y for line in lines.values() for _, y in line if y is not None), default=0.0)
    length, name = _time_unit(samples)
    chart: Any = pygal.XY(
        width=640, height=250, margin=6, x_title=f"{name} at work", y_title=unit,
        range=(0, 100.0 if stacked else 1.05 * highest or 1), xrange=(0, (samples[-1].at + samples[-1].span_s) / length),
        show_legend=False, show_dots=False, fill=stacked, include_x_axis=True, allow_interruptions=not stacked, max_scale=6,
        value_formatter=_number, x_value_formatter=_number, js=(), css=(), no_prefix=True,
    )  # fmt: skip
    for label, line in lines.items():
        chart.add(label, list(line))
    return _bare(chart.render(), title, list(lines) if stacked else [])


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _bare(drawn: bytes, title: str, colors: Sequence[str]) -> str:
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
                # Tenths of a pixel are enough, and halve the page.
                element.set(attribute, re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]):.1f}", value))
    for number, color in enumerate(colors):
        for element in root.iter("g"):
            if f"serie-{number}" in element.get("class", "").split():
                element.set("class", f"series {color}")
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).removeprefix("{http://www.w3.org/2000/svg}")
