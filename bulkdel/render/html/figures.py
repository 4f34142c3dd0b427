"""How a run's time went, drawn: every session's samples one behind the other as inline SVG, without script or style of its own."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pygal
from markupsafe import Markup

from bulkdel.engine.timeline import Sample, merge
from bulkdel.render.wording import CAUSES
from bulkdel.store import Run, Session

# pygal leaves an import hook for its plug-ins behind, of a kind that Python 3.11 warns of at every later import. There are
# no plug-ins here.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

Value = Callable[[Sample], float | None]
Line = Sequence[tuple[float, float | None]]

COLORS = {cause: f"cause-{place}" for place, cause in enumerate(CAUSES)}
"""The style sheet's class for each cause."""


@dataclass(frozen=True, slots=True)
class ProviderTimeline:
    """One provider's time at work; the time between sessions is left out.

    ``measured``: a session left samples. ``estimated``: of a session only the moments are known at which documents settled (it
    was killed, or still runs). ``waited_s`` has seconds by cause over the measured ones.
    """

    provider: str
    samples: tuple[Sample, ...]
    measured: bool
    estimated: bool
    waited_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing: ``svg`` holds no word from outside, ``legend`` has a color's class and its meaning."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def timelines(run: Run) -> list[ProviderTimeline]:
    """Every provider of the run that did something, in the order of its header."""
    kept, sessions = run.samples(), run.sessions()
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    measured, estimated = set[str](), set[str]()
    offset = 0.0
    for session, after in zip(sessions, [*sessions[1:], None], strict=True):
        until = after.started_at if after else 9e12
        samples = kept[session.id] if session.id in kept else _from_endings(run, session, until)
        (measured if session.id in kept else estimated).update(samples)
        for name, ones in samples.items():
            found[name] += [replace(one, at=one.at + offset) for one in ones]
        offset = max((one.at + one.span_s for ones in found.values() for one in ones), default=0.0)
    costs = run.account().providers
    return [
        ProviderTimeline(
            p.name, coarser(found[p.name]), p.name in measured, p.name in estimated, costs[p.name].waited_s
        )
        for p in run.header.providers
        if any(one.settled or one.requests for one in found[p.name])
    ]


def _from_endings(run: Run, session: Session, until: float) -> dict[str, list[Sample]]:
    """A session of which only the moments are known at which documents settled, up to ``until`` in Unix seconds."""
    width, found = run.endings_in(session.started_at, until, 120)
    count = 1 + max((place for counts in found.values() for place in counts), default=0)
    return {
        name: [Sample(at=place * width, span_s=width, settled=counts.get(place, 0)) for place in range(count)]
        for name, counts in found.items()
    }


def coarser(samples: Sequence[Sample], most: int = 120) -> tuple[Sample, ...]:
    """At most ``most`` samples, each merged from as many neighbors: one for about six pixels, so that noise does not hide the shape."""
    lasting = [sample for sample in samples if sample.span_s > 0]
    size = max(1, -(-len(lasting) // most))
    return tuple(reduce(merge, lasting[start : start + size]) for start in range(0, len(lasting), size))


# ------------------------------------------------------------------ drawing


def figures(timeline: ProviderTimeline) -> Iterator[Figure]:
    """What there is to see of one provider; what did not happen is not drawn."""
    samples = timeline.samples
    if not samples:
        return
    yield _figure("Documents settled", samples, "a second", {"settled": lambda s: s.settled / s.span_s})
    if not timeline.measured:
        return
    if any(s.p50_s is not None for s in samples):
        answers: Mapping[str, Value] = {"median": lambda s: s.p50_s, "95th percentile": lambda s: s.p95_s}
        yield _figure("How long answers took", samples, "seconds", answers)
    limited = any(s.rate is not None for s in samples)
    requests: dict[str, Value] = {"sent": lambda s: s.requests / s.span_s}
    requests |= {"allowed": lambda s: s.rate} if limited else {}
    yield _figure("Requests", samples, "a second", requests, note="" if limited else "no limit known")
    concurrent: Mapping[str, Value] = {"in flight": lambda s: s.in_flight, "at most": lambda s: s.concurrency}
    most = "in flight: the most at once in each stretch"
    yield _figure("Requests at the same time", samples, "requests", concurrent, note=most)
    yield _waits(samples)
    if any(s.requeued for s in samples):
        yield _figure("Asked again", samples, "a second", {"asked again": lambda s: s.requeued / s.span_s})


def _figure(title: str, samples: Sequence[Sample], unit: str, values: Mapping[str, Value], *, note: str = "") -> Figure:
    lines = {f"color-{n}": _steps(samples, map(value, samples)) for n, value in enumerate(values.values())}
    legend = tuple(zip(lines, values, strict=True)) if len(values) > 1 else ()
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
        tops[COLORS[cause]] = _steps(samples, below)
    highest_first = dict(reversed(tops.items()))  # each next one is painted over it
    svg = _svg("What it waited for", highest_first, samples, "% of the time", stacked=True)
    return Figure("What it waited for", svg, tuple((COLORS[cause], CAUSES[cause]) for cause in seen))


def _time_unit(samples: Sequence[Sample]) -> tuple[float, str]:
    """In which unit the time is drawn: its length in seconds, and its name."""
    seconds = samples[-1].at + samples[-1].span_s
    if seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 6 * 3600 else (3600.0, "hours")


def _steps(samples: Sequence[Sample], values: Iterable[float | None]) -> Line:
    """Each value for all of its stretch, so that a lone one between two gaps is seen, too."""
    unit, _ = _time_unit(samples)
    return [((s.at + edge) / unit, y) for s, y in zip(samples, values, strict=True) for edge in (0.0, s.span_s)]


def _svg(
    title: str, lines: Mapping[str, Line], samples: Sequence[Sample], unit: str, *, stacked: bool = False
) -> Markup:
    """The lines over time by their colors' classes; ``stacked`` ones are areas up to 100."""
    # A little air above the highest value: a line on the frame is taken for the frame.
    highest = max((y for line in lines.values() for _, y in line if y is not None), default=0.0)
    length, name = _time_unit(samples)
    chart: Any = pygal.XY(
        width=640, height=250, margin=6, x_title=f"{name} at work", y_title=unit,
        range=(0, 100.0 if stacked else 1.05 * highest or 1), xrange=(0, (samples[-1].at + samples[-1].span_s) / length),
        show_legend=False, show_dots=False, fill=stacked, include_x_axis=True, allow_interruptions=not stacked, max_scale=6,
        value_formatter="{:,.6g}".format, x_value_formatter="{:,.6g}".format, js=(), css=(), no_prefix=True, disable_xml_declaration=True,
    )  # fmt: skip
    for color, line in lines.items():
        chart.add(color, list(line))
    chart.add_xml_filter(lambda root: _bare(root, title, list(lines)))
    return Markup(chart.render(is_unicode=True))


def _bare(root: Any, title: str, colors: Sequence[str]) -> Any:
    """pygal's drawing without its script and style, which the page's content-security policy forbids, in our colors."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag in ("script", "defs", "title", "desc"):
                parent.remove(child)
    for element in root.iter():
        for attribute, value in list(element.attrib.items()):
            if attribute in ("style", "id", "xmlns"):
                del element.attrib[attribute]
            elif attribute in ("d", "x", "y", "transform", "width", "height"):
                # Tenths of a pixel are enough, and halve the page.
                element.set(attribute, re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]):.1f}", value))
        if (series := re.search(r"\bserie-(\d+)", element.get("class", ""))) is not None:
            element.set("class", f"series {colors[int(series[1])]}")
    root.set("role", "img")
    root.set("aria-label", title)
    return root
