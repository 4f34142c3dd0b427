"""How a run's time went: every session's samples one behind the other, few enough to draw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from bulkdel.engine.timeline import Sample, merge
from bulkdel.store import Run, Session


@dataclass(frozen=True, slots=True)
class ProviderTimeline:
    """One provider's time at work; the time between sessions is left out.

    ``measured`` counts the sessions that left samples, ``estimated`` those of which only the moments are known at which
    documents settled (they were killed, or still run). ``waited_s`` has seconds by cause over the measured ones.
    """

    provider: str
    samples: tuple[Sample, ...]
    measured: int = 0
    estimated: int = 0
    waited_s: Mapping[str, float] = field(default_factory=dict)


def timelines(run: Run) -> list[ProviderTimeline]:
    """Every provider of the run that did something, in the order of its header."""
    kept, sessions = run.samples(), run.sessions()
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    measured: Counter[str] = Counter()
    estimated: Counter[str] = Counter()
    offset = 0.0
    for session, after in zip(sessions, [*sessions[1:], None], strict=True):
        samples: Mapping[str, Sequence[Sample]] | None = kept.get(session.id)
        if samples is None:
            samples = _from_endings(run, session, until=after.started_at if after else 9e12)
            estimated.update(samples)
        else:
            measured.update(samples)
        for name, ones in samples.items():
            found[name] += [replace(one, at=one.at + offset) for one in ones]
        offset = max((one.at + one.span_s for ones in found.values() for one in ones), default=0.0)
    costs = run.account().providers
    return [
        ProviderTimeline(p.name, coarser(found[p.name]), measured[p.name], estimated[p.name], costs[p.name].waited_s)
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
