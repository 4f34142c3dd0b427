"""How near ``--concurrency auto`` comes to the best fixed concurrency: ``python -m benchmarks.capacity [GROUP ...]``.

Each model of a service is asked for the same documents with every concurrency that ``auto`` may use and then with ``auto``, which
begins at 4 and knows nothing, with five seeds, all on a virtual clock. The whole run counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import models, table
from benchmarks.models import KEY, Model, Trace, targets
from benchmarks.services import DIFY, Shared, Shedding, Slots
from benchmarks.table import Row
from bulkdel import Dify, Limits, Policy
from tests import virtual

SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Situation:
    """A model, how many documents it is asked for, what is said of it, and the share of requests that may fail in it."""

    words: str
    make: Callable[[int], Model]
    documents: int = 1_500
    failures: float = 0.0


SITUATIONS = {
    "knee-8": Situation("10 slots, works on 8 at a time", lambda seed: Slots(10, 8, seed=seed)),
    "knee-3": Situation("10 slots, works on 3 at a time", lambda seed: Slots(10, 3, seed=seed)),
    "cpu": Situation(
        "CPU-bound at 100/s, as a Dify was measured", lambda seed: Shared(lambda n, _: DIFY(n), seed=seed)
    ),
    "halving": Situation(
        "CPU-bound, its capacity halves after 20 s",
        lambda seed: Shared(lambda n, t: DIFY(n) if t < 20 else 0.5 * DIFY(2 * n), seed=seed),
        3_000,
    ),
    "away": Situation(
        "100/s, 300 ms away", lambda seed: Shared(lambda n, _: min(100.0, 100.0 * n), away=0.3, seed=seed)
    ),
    "shedding": Situation(
        "answers 503 beyond 5 at once", lambda seed: Shedding(5, lambda n, _: 20.0 * n, seed=seed), 3_000, failures=0.01
    ),
}


def run(situation: Situation, concurrency: int | None, seed: int) -> Trace:
    """Delete all documents with this concurrency, ``auto`` for None."""
    limits = None if concurrency is None else Limits(concurrency=concurrency)
    provider = Dify(KEY, "http://localhost/v1", limits=limits)
    model = situation.make(seed)

    async def main() -> None:
        async with models.client(provider, model, Policy(attempts=100)) as client:
            report = await client.delete(targets(situation.documents), keep=False)
        assert report.counts.deleted == situation.documents, report

    virtual.run(main())
    return model.trace


def failed(trace: Trace) -> float:
    """Failed requests, as a share of all."""
    return sum(one.answer >= 500 or not one.answer for one in trace.seen) / len(trace.seen)


def row(name: str) -> Row:
    """One situation's row."""
    situation = SITUATIONS[name]
    fixed = {concurrency: run(situation, concurrency, SEEDS[0]) for concurrency in range(1, 9)}
    # What fails is no choice for anybody who fixes it.
    speeds = {n: trace.done_per_second() for n, trace in fixed.items() if failed(trace) <= situation.failures}
    best = max(speeds, key=speeds.__getitem__)
    print(f"   {name}, fixed:", ", ".join(f"{n}: {speed:.0f}/s" for n, speed in speeds.items()), flush=True)
    found = [run(situation, None, seed) for seed in SEEDS]
    shares = [trace.done_per_second() / speeds[best] for trace in found]
    most = max(max(one.in_flight for one in trace.seen) for trace in found)
    failures = max(failed(trace) for trace in found)
    allowed = f", <= {situation.failures:.0%} allowed here" if situation.failures else ""
    return Row(
        f"{situation.words}, {situation.documents:,} documents",
        ">= 0.85 of the best fixed concurrency over the whole run; at most 8 in flight; no failure",
        f"{median(shares):.2f}, at worst {min(shares):.2f}, of {speeds[best]:.0f}/s at {best}; at most {most} in flight;"
        f" failed: {failures:.1%}{allowed}",
        min(shares) >= 0.85 and most <= 8 and failures <= situation.failures,
    )


def capacity(names: Sequence[str] = tuple(SITUATIONS)) -> Iterator[Row]:
    return map(row, names)


def main() -> int:
    given = table.arguments(__doc__ or "", SITUATIONS)
    names, given.groups = given.groups or tuple(SITUATIONS), []
    if len(names) < len(SITUATIONS):
        given.readme = None  # its table has all of them
    return table.run("Pacing", {"capacity": lambda: capacity(names)}, given)


if __name__ == "__main__":
    sys.exit(main())
