"""How a run's time went: every session's stretches one behind the other, cut into equal ones that can be drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bulkdel.engine.timeline import MOST, Sample
from bulkdel.store import Run, Session

STRETCHES = 120
"""Stretches of a drawing: one for about six pixels, so that a second's noise does not hide the shape."""

_FOREVER = 9e12  # Unix seconds that no ending has and that SQLite's integers hold as milliseconds


@dataclass(frozen=True, slots=True)
class Stretch:
    """As ``Sample``, with counts that are shared out by time and so need not be whole."""

    at: float
    span_s: float
    settled: float = 0.0
    requests: float = 0.0
    requeued: float = 0.0
    p50_s: float | None = None
    p95_s: float | None = None
    in_flight: int = 0
    concurrency: int = 0
    rate: float | None = None
    waited: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """One provider's time at work; the time between sessions is left out.

    ``measured`` counts the sessions that left samples, ``guessed`` those of which only the moments are known at which
    documents settled (they were killed, or still go). ``waited_s`` has seconds by cause over the measured ones.
    """

    provider: str
    stretches: tuple[Stretch, ...]
    measured: int = 0
    guessed: int = 0
    waited_s: Mapping[str, float] = field(default_factory=dict)


def stories(run: Run) -> list[Story]:
    """Every provider of the run that did something, in the order of its header."""
    kept, sessions = run.samples(), run.sessions()
    lines: defaultdict[str, list[Sample]] = defaultdict(list)
    measured: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    offset = 0.0
    for session, after in zip(sessions, [*sessions[1:], None], strict=True):
        here: Mapping[str, Sequence[Sample]] | None = kept.get(session.id)
        if here is not None:
            measured.update(here)
        else:
            here = _from_endings(run, session, _FOREVER if after is None else after.started_at)
            guessed.update(here)
        for name, samples in here.items():
            lines[name] += [replace(sample, at=sample.at + offset) for sample in samples]
        offset = max((s.at + s.span_s for samples in lines.values() for s in samples), default=0.0)
    return [
        Story(p.name, equal(lines[p.name]), measured[p.name], guessed[p.name], run.counters(p.name).waited_s)
        for p in run.header.providers
        if any(s.settled or s.requests for s in lines[p.name])
    ]


def _from_endings(run: Run, session: Session, until: float) -> dict[str, list[Sample]]:
    """A session of which only the moments are known at which documents settled."""
    width, found = run.endings_in(session.started_at, until, MOST)
    many = 1 + max((place for counts in found.values() for place in counts), default=0)
    return {
        name: [Sample(at=place * width, span_s=width, settled=counts.get(place, 0)) for place in range(many)]
        for name, counts in found.items()
    }


def equal(samples: Sequence[Sample], most: int = STRETCHES) -> tuple[Stretch, ...]:
    """The same time in at most ``most`` equal stretches, never finer than what was measured on average.

    Counts and waits are shared out by time, so that they add up; the median is weighed by requests, the slowest p95 and
    the most in flight stand, and the latest state holds.
    """
    end = max((s.at + s.span_s for s in samples), default=0.0)
    many = min(most, len(samples))
    if end <= 0:
        return ()
    width = end / many
    parts: list[list[tuple[Sample, float]]] = [[] for _ in range(many)]
    for sample in samples:
        first = min(many - 1, int(sample.at / width))
        last = min(many - 1, int((sample.at + sample.span_s) / width))
        for n in range(first, last + 1):
            # The first and the last stretch take what lies over their edge by a rounding error, so that nothing is lost.
            since = sample.at if n == first else n * width
            until = sample.at + sample.span_s if n == last else (n + 1) * width
            share = (until - since) / sample.span_s if sample.span_s > 0 else float(n == first)
            if share > 0:
                parts[n].append((sample, share))
    return tuple(_one(n * width, width, part) for n, part in enumerate(parts))


def _one(at: float, width: float, part: Sequence[tuple[Sample, float]]) -> Stretch:
    if not part:
        return Stretch(at, width)
    waited: defaultdict[str, float] = defaultdict(float)
    for sample, share in part:
        for cause, seconds in sample.waited.items():
            waited[cause] += seconds * share
    answers = [(s.p50_s, max(1.0, s.requests * share)) for s, share in part if s.p50_s is not None]
    latest = part[-1][0]
    return Stretch(
        at=at,
        span_s=width,
        settled=sum(s.settled * share for s, share in part),
        requests=sum(s.requests * share for s, share in part),
        requeued=sum(s.requeued * share for s, share in part),
        p50_s=sum(p50 * n for p50, n in answers) / sum(n for _, n in answers) if answers else None,
        p95_s=max((s.p95_s for s, _ in part if s.p95_s is not None), default=None),
        in_flight=max(s.in_flight for s, _ in part),
        concurrency=latest.concurrency,
        rate=latest.rate,
        waited=dict(waited),
    )
