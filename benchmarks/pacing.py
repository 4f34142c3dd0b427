"""How near to a service's limits a run comes, and how seldom it is refused: ``python -m benchmarks.pacing [GROUP ...]``.

Groups: ``known`` limits (permits in real time, the rest on a virtual clock), ``unknown`` limits and ``cloud`` plans on a virtual
clock, limits ``shared`` by processes (``benchmarks.shared``), the ``capacity`` of a service (``benchmarks.capacity``), and documents
that are still being ``indexing``. ``--readme FILE`` puts the tables into their places.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import capacity, models, shared, table
from benchmarks.models import DATASET, JSON, KEY, Limited, Model, Trace, http_date, now, targets
from benchmarks.services import DIFY, Dataset
from benchmarks.table import Row
from bulkdel import Dify, Langdock, Limits, Policy, Rate
from bulkdel.limits import Limiter, MemoryStore
from bulkdel.model import Target
from bulkdel.providers.protocol import Answer, Provider
from tests import virtual

# ---------------------------------------------------------------------- known limits


@dataclass
class Kept:
    """What a paced run did against a limit."""

    refused: int
    share: float  # of what the limit allows
    cpu: float  # of a core
    kept_waiting: float  # for a core that other processes had, as a share of the time


def worst(times: list[float], n: int, per: float) -> int:
    """How many departures a sliding window would have refused."""
    return sum(last - first < per for first, last in zip(times, times[n:], strict=False))


async def departures(rate: Rate, workers: int, seconds: float) -> list[float]:
    limiter, times = Limiter(MemoryStore(), rate), list[float]()
    clock = asyncio.get_running_loop().time
    end = clock() + seconds

    async def worker() -> None:
        while clock() < end:
            if not limiter.try_acquire():
                await limiter.acquire()
            times.append(clock())

    await asyncio.gather(*(worker() for _ in range(workers)))
    return times


def kept(rate: Rate, workers: int, seconds: float, factory: Callable[[], asyncio.AbstractEventLoop] | None) -> Kept:
    with asyncio.Runner(loop_factory=factory) as runner:
        cpu, queued, began = time.process_time(), waited_for_a_core(), time.monotonic()
        times = runner.run(departures(rate, workers, seconds))
        took = time.monotonic() - began
        spent, waited = (time.process_time() - cpu) / took, (waited_for_a_core() - queued) / took
    lasted = max(seconds, times[-1] - times[0])
    return Kept(worst(times, math.floor(rate.n), rate.per), len(times) / lasted / rate.per_second, spent, waited)


def waited_for_a_core() -> float:
    """Seconds that this thread was ready to run and another had the core, since it began; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


KEPT = "0 refused; >= 0.95 of the allowed rate; <= 10 % of a core"


def known() -> Iterator[Row]:
    """Permits in real time, the two slow limits on a virtual clock, and whole runs against a service that counts, on one too."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed: its rows are left out")
    else:
        loops["uvloop"] = uvloop.new_event_loop
    for rate in (Rate(8, per=60), Rate(100, per=60)):
        for workers in (1, 8):
            times = virtual.run(departures(rate, workers, 3_600.0))
            share = len(times) / 3_600.0 / rate.per_second
            refused = worst(times, math.floor(rate.n), rate.per)
            yield kept_row(f"{rate}, {_workers(workers)}, virtual clock", refused, share)
    for rate in (Rate(10), Rate(100), Rate(2_000)):
        for name, factory in loops.items():
            for workers in (1, 8):
                k = kept(rate, workers, 6.0, factory)
                yield kept_row(f"{rate}, {_workers(workers)}, {name}", k.refused, k.share, k)
    for rate, documents in (
        (Rate(8, per=60), 500),
        (Rate(100, per=60), 3_000),
        (Rate(100), 6_000),
        (Rate(2_000), 40_000),
    ):
        model = Limited(math.floor(rate.n), rate.per, seconds)
        trace = run(dify(Limits(rate=rate, concurrency=128)), model, targets(documents))
        share = documents / trace.lasted / rate.per_second
        yield kept_row(f"{rate}, a whole run of {documents:,}, virtual clock", trace.count(429), share)
    slow = run(dify(Limits(rate=Rate(1_000, per=60))), Limited(1_000, 60.0, seconds, takes=0.4), targets(5_000))
    share = 5_000 / slow.lasted / (1_000 / 60)
    words = "1000/min, a whole run of 5,000, answers take 0.4 s, concurrency auto, virtual clock"
    yield kept_row(words, slow.count(429), share)


def kept_row(situation: str, refused: int, share: float, real: Kept | None = None) -> Row:
    said = f"{refused} refused, {share:.3f}"
    if real is not None:
        said += f", {real.cpu:.1%} of a core (waited for one {real.kept_waiting:.1%} of the time)"
    return Row(situation, KEPT, said, refused == 0 and share >= 0.95 and (real is None or real.cpu <= 0.10))


def _workers(n: int) -> str:
    return f"{n} worker" + "s" * (n > 1)


# ---------------------------------------------------------------------- unknown limits


def said(status: int, code: str, message: str, **headers: str) -> Answer:
    body = json.dumps({"code": code, "message": message, "status": status}).encode()
    return Answer(status, {**JSON, "date": http_date(now()), **headers}, body)


def seconds(wait: float) -> Answer:
    return said(429, "too_many_requests", "slow down", **{"retry-after": str(math.ceil(wait))})


def date(wait: float) -> Answer:
    return said(429, "too_many_requests", "slow down", **{"retry-after": http_date(now() + math.ceil(wait))})


def silent(wait: float) -> Answer:
    return said(429, "too_many_requests", "slow down")


def always_one(wait: float) -> Answer:
    return said(429, "too_many_requests", "slow down", **{"retry-after": "1"})


def absurd(wait: float) -> Answer:
    return said(429, "too_many_requests", "slow down", **{"retry-after": "86400"})


def page(wait: float) -> Answer:
    return Answer(429, {"content-type": "text/html"}, b"<html>error code: 1015</html>")


def dify_cloud(wait: float) -> Answer:
    return said(403, "forbidden", "Sorry, you have reached the knowledge base request rate limit of your subscription.")


def langdock_reset(wait: float) -> Answer:
    return said(429, "", "slow down", **{"x-ratelimit-reset-requests": f"{math.ceil(wait)}s"})


LANGDOCK_DELETED = Answer(200, JSON, b'{"status":"success","message":"Attachment deleted"}')


def dify(limits: Limits | None = None, cloud: bool = False) -> Dify:
    return Dify(KEY, None if cloud else "http://localhost/v1", limits=limits)


def run(provider: Provider, model: Model, asked: list[Target], policy: Policy | None = None) -> Trace:
    """Delete them all, on a virtual clock; everything must have been deleted."""

    async def main() -> None:
        async with models.client(provider, model, policy) as client:
            report = await client.delete(asked, policy=replace(policy or Policy(), indexing="delete"), keep=False)
        assert report.counts.deleted == len(asked), report

    virtual.run(main())
    return model.trace


@dataclass
class Unknown:
    """How a run went after its first refusal."""

    share: float  # of the ideal time, what was left at the limit without a pause
    refused: float  # share of all requests

    @classmethod
    def of(cls, trace: Trace, per_second: float) -> Unknown:
        first = min((one.ended_at for one in trace.seen if one.answer in (403, 429)), default=trace.ended)
        left = sum(one.ended_at > first and one.answer in (200, 204) for one in trace.seen)
        share = left / per_second / (trace.ended - first) if trace.ended > first else 1.0
        return cls(share, trace.count(403, 429) / len(trace.seen))


AFTER = ">= 0.8 of the ideal time after the first refusal; <= 5 % refused; refused calls count"


def unknown() -> Iterator[Row]:
    styles: dict[str, tuple[Callable[[float], Answer], Policy | None]] = {
        "429, Retry-After in seconds": (seconds, None),
        "429, Retry-After as a date": (date, None),
        "429, no Retry-After": (silent, None),
        "429, Retry-After: 1 always": (always_one, None),
        "429, Retry-After of a day, max_pause 60 s": (absurd, Policy(max_pause=60.0)),
        "429, Cloudflare's page": (page, None),
        "403 as Dify Cloud": (dify_cloud, None),
    }
    for rate, documents in ((Rate(100, per=60), 2_000), (Rate(100), 20_000)):
        for words, (refuse, policy) in styles.items():
            if rate.per == 1.0 and refuse in (dify_cloud, absurd):
                continue  # nobody says 60 s or a day where the limit is a second's
            trace = run(dify(), Limited(math.floor(rate.n), rate.per, refuse), targets(documents), policy)
            yield unknown_row(f"{rate}: {words}", trace, rate.per_second)
    langdock = Langdock(KEY, limits=Limits())
    for words, refuse in (("x-ratelimit-reset", langdock_reset), ("429 alone", silent)):
        for fixed, kind in ((False, "any minute"), (True, "a minute of the clock")):
            model = Limited(100, 60.0, refuse, deleted=LANGDOCK_DELETED, fixed=fixed)
            trace = run(langdock, model, targets(2_000, "langdock"))
            yield unknown_row(f"100 in {kind}: Langdock, {words}", trace, 100 / 60)
    trace = run(dify(), Limited(100, 60.0, seconds, fixed=True), targets(2_000))
    yield unknown_row("100 in a minute of the clock: 429, Retry-After in seconds", trace, 100 / 60)


def unknown_row(situation: str, trace: Trace, per_second: float) -> Row:
    u = Unknown.of(trace, per_second)
    return Row(situation, AFTER, f"{u.share:.2f}, {u.refused:.1%} refused", u.share >= 0.8 and u.refused <= 0.05)


# ---------------------------------------------------------------------- Dify Cloud, the plan unknown


def cloud() -> Iterator[Row]:
    """The customer's own app lives on the same limit; nobody said which plan it is. Then a second run with the same key."""
    for plan, n, every, documents in (("Sandbox", 10, 60.0, 400), ("Team", 1_000, 2.0, 8_000)):
        ended_at = 0.0
        with tempfile.TemporaryDirectory() as state:
            for which in ("first run", "second run"):
                model = Limited(n, 60.0, dify_cloud)
                virtual.run(_beside_an_app(model, every, documents, Path(state)))
                trace = model.trace
                refused, of_app = trace.count(403), sum(refused for _, refused in model.live)
                began_at, before = 60 * trace.looks[0][2], ended_at
                ended_at = 60 * trace.looks[-1][2]
                good = model.locked_out_s() <= 60.0 and refused <= 0.01 * len(trace.seen)
                yield Row(
                    f"{plan}, {n}/min, an app asks every {every:g} s: {which}",
                    "never locked out; the second run begins at the learned rate",
                    f"{began_at:.0f}/min at first, {ended_at:.0f}/min at last, {documents:,} in {trace.lasted / 60:.0f} min,"
                    f" {refused} refused; the app: {of_app} of {len(model.live)} refused, locked out for"
                    f" {model.locked_out_s():.0f} s at most",
                    good and (not before or math.isclose(began_at, before, rel_tol=0.01)),
                )


async def _beside_an_app(model: Limited, every: float, documents: int, state: Path) -> None:
    async with models.client(dify(cloud=True), model, beside=model.app(every), state=state) as client:
        report = await client.delete(targets(documents), policy=Policy(indexing="delete"), keep=False)
    assert report.counts.deleted == documents, report


# ---------------------------------------------------------------------- documents that are still being indexed


def indexing() -> Iterator[Row]:
    """The bound is of one who knows when each is ready: all others meanwhile, and the late ones at full speed then."""
    for seconds in (60.0, 300.0):
        for words, refuses in (("listed as indexing", False), ("refused with document_indexing", True)):
            model = Dataset(1_000, lambda n, _: DIFY(n), every=3, until=seconds, refuses=refuses)
            late = len(model.late)

            async def main(model: Dataset = model) -> None:
                async with models.client(dify(), model, Policy(indexing="wait")) as client:
                    report = await client.purge("dify", DATASET, keep=False)
                assert report.ok, report

            virtual.run(main())
            bound = seconds + late / DIFY(4) + model.PAGE_S
            gets = len(model.trace.seen) - model.trace.count(204) - model.trace.count(400)
            lost = model.trace.lasted / bound
            yield Row(
                f"{late} of 1,000 documents indexing for {seconds:g} s: {words}",
                "makespan <= 1.05 of the clairvoyant bound",
                f"{lost:.3f}: {model.trace.lasted:.1f} s of {bound:.1f} s, {gets} looks and listings, {model.trace.count(400)} refusals",
                lost <= 1.05,
            )


# ---------------------------------------------------------------------- the whole


def main() -> int:
    groups = {
        "known": known,
        "unknown": unknown,
        "cloud": cloud,
        "shared": shared.rows,
        "capacity": capacity.capacity,
        "indexing": indexing,
    }
    given = table.arguments(__doc__ or "", groups)
    return table.run("Pacing", groups, given)


if __name__ == "__main__":
    sys.exit(main())
