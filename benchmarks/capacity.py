"""How near ``--concurrency auto`` comes to the best fixed concurrency: ``python -m benchmarks.capacity [GROUP ...]``.

Each model of a service is asked for the same documents with every concurrency of a sweep and then with ``auto``, which begins
at 4 and knows nothing, with five seeds, all on a virtual clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import models, table
from benchmarks.models import KEY, Model, Trace, targets
from benchmarks.services import DIFY, Pool, Shared, Shedding, Slots
from benchmarks.table import Row
from bulkdel import Dify, Limits, Policy
from tests import virtual

SWEEP = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 40, 48, 64)
SEEDS = (1, 2, 3, 4, 5)
SHIFT_S = 100.0  # when the capacity halves


@dataclass(frozen=True)
class Situation:
    """A model, how many documents it is asked for (about 200 s at its best), and what is said of it."""

    words: str
    make: Callable[[int], Model]
    documents: int
    after: float = (
        0.0  # share of requests that may fail after the first probe: it ends in none where one more is one too many
    )


SITUATIONS = {
    "slots": Situation("10 slots with keep-alive starvation", lambda seed: Slots(lambda _: 10, seed=seed), 20_000),
    "pool": Situation("pool of 40 that answers 500 after 30 s", lambda seed: Pool(lambda _: 40, seed=seed), 40_000),
    "cpu": Situation(
        "CPU-bound at 100/s, as a Dify was measured", lambda seed: Shared(lambda n, _: DIFY(n), seed=seed), 20_000
    ),
    "halving": Situation(
        "CPU-bound, capacity halves mid-run",
        lambda seed: Shared(lambda n, t: DIFY(n) if t < SHIFT_S else 0.5 * DIFY(2 * n), seed=seed),
        15_000,
    ),
    "pool-halving": Situation(
        "pool of 40, 20 from mid-run on", lambda seed: Pool(lambda t: 40 if t < SHIFT_S else 20, seed=seed), 30_000
    ),
    "away": Situation(
        "100/s, 300 ms away", lambda seed: Shared(lambda n, _: min(100.0, 100.0 * n), away=0.3, seed=seed), 20_000
    ),
    "shedding": Situation(
        "200/s, answers 503 beyond 20 at once",
        lambda seed: Shedding(20, lambda n, _: min(200.0, 20.0 * n), away=0.03, seed=seed),
        40_000,
        after=0.005,
    ),
}


def run(situation: Situation, concurrency: int | None, seed: int) -> Trace:
    """Delete all documents with this concurrency, ``auto`` where it is None."""
    limits = None if concurrency is None else Limits(concurrency=concurrency)
    provider = Dify(KEY, "http://localhost/v1", limits=limits)
    model = situation.make(seed)

    async def main() -> None:
        # A starved document may need many attempts; what is measured is the service, not who gives up first.
        async with models.client(provider, model, Policy(attempts=100, indexing="delete")) as client:
            report = await client.delete(targets(situation.documents), keep=False)
        assert report.counts.deleted == situation.documents, report

    virtual.run(main())
    return model.trace


def failures(trace: Trace) -> tuple[int, int]:
    """Failed requests: all, and those that were sent a second or more after the first failure was known."""
    failed = [one for one in trace.seen if one.answer >= 500 or not one.answer]
    first = min((one.ended_at for one in failed), default=0.0)
    return len(failed), sum(one.sent_at > first + 1.0 for one in failed)


def row(name: str) -> Row:
    """One situation's row."""
    situation = SITUATIONS[name]
    speeds = {concurrency: run(situation, concurrency, SEEDS[0]).done_per_second() for concurrency in SWEEP}
    best = max(speeds, key=speeds.__getitem__)
    print(f"   {name}, fixed:", ", ".join(f"{n}: {speed:.0f}/s" for n, speed in speeds.items()), flush=True)
    found = [run(situation, None, seed) for seed in SEEDS]
    shares = [trace.done_per_second() / speeds[best] for trace in found]
    failed = [failures(trace) for trace in found]
    most = max(later / len(trace.seen) for (_, later), trace in zip(failed, found, strict=True))
    after = max(later for _, later in failed)
    allowed = f", <= {situation.after:.1%} allowed here" if situation.after else ""
    return Row(
        situation.words,
        ">= 0.9 of the best fixed concurrency of the same run's sweep; no failure caused after the first probe",
        f"{median(shares):.2f}, at worst {min(shares):.2f}, of {speeds[best]:.0f}/s at {best} (64: {speeds[64] / speeds[best]:.2f});"
        f" failed: {max(all_ for all_, _ in failed)}, after the first probe: {after}{allowed}",
        min(shares) >= 0.9 and most <= situation.after,
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
