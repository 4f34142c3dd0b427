"""How near to a service's limits a run comes, and how seldom it is refused: ``python -m benchmarks.pacing [PART ...]``.

``known`` limits (permits in real time, the rest on a virtual clock), ``unknown`` limits and ``cloud`` plans on a virtual clock,
limits ``shared`` by processes (``benchmarks.shared``), the ``capacity`` of a service, and documents that are still being ``indexing``.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import models, shared
from benchmarks.contest import UVLOOP
from benchmarks.models import DATASET, JSON, KEY, Limited, Model, Trace, http_date, now, targets
from benchmarks.report import Options, Part, main
from benchmarks.services import DIFY, Dataset, Shared, Shedding, Slots
from bulkdel import Dify, Langdock, Limits, Policy, Rate
from bulkdel.limits import Limiter, MemoryStore
from bulkdel.model import Target
from bulkdel.providers.protocol import Answer, Provider
from tests import virtual
from tests.limits.departures import worst

# ---------------------------------------------------------------------- known limits


async def departures(rate: Rate, workers: int, seconds: float) -> list[float]:
    """When permits are got, by workers that always want another."""
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


def known(options: Options) -> Part:
    """Permits in real time, the two slow limits on a virtual clock, and whole runs against a service that counts, on one too."""
    part = Part("known", "Limits that are known")
    part.notes.append("target: 0 refused; >= 0.95 of the allowed rate; <= 10 % of a core")
    for rate in (Rate(8, per=60), Rate(100, per=60)):
        for workers in (1, 8):
            permits(
                part,
                f"{rate}, {workers} workers, virtual clock",
                rate,
                virtual.run(departures(rate, workers, 3_600.0)),
                3_600.0,
            )
    for rate in (Rate(10), Rate(100), Rate(2_000)):
        for loop in ("asyncio", "uvloop") if UVLOOP else ("asyncio",):
            real(part, rate, loop, 6.0 if options.full else 3.0)
    for rate, documents in (
        (Rate(8, per=60), 500),
        (Rate(100, per=60), 3_000),
        (Rate(100), 6_000),
        (Rate(2_000), 20_000),
    ):
        whole(part, rate, documents, 0.04, 128)
    whole(part, Rate(1_000, per=60), 5_000, 0.4, None)
    return part


def permits(
    part: Part, situation: str, rate: Rate, times: list[float], seconds: float, cpu: float | None = None
) -> None:
    over = max(0, worst(times, rate.per) - math.floor(rate.n))
    share = len(times) / max(seconds, times[-1] - times[0]) / rate.per_second
    measured = f"{over} refused, {share:.3f}" + ("" if cpu is None else f", {cpu:.1%} of a core")
    part.judge(situation, measured, not over and share >= 0.95 and (cpu or 0.0) <= 0.10)


def real(part: Part, rate: Rate, loop: str, seconds: float) -> None:
    from benchmarks.peers.common import runner

    with runner(loop) as running:
        cpu, began = time.process_time(), time.monotonic()
        times = running.run(departures(rate, 8, seconds))
        spent = (time.process_time() - cpu) / (time.monotonic() - began)
    permits(part, f"{rate}, 8 workers, {loop}", rate, times, seconds, spent)


def whole(part: Part, rate: Rate, documents: int, takes: float, concurrency: int | None) -> None:
    """A whole run against a service with this limit, whose answers take so many seconds."""
    limits = Limits(rate=rate, concurrency=concurrency)
    trace = run(dify(limits), Limited(math.floor(rate.n), rate.per, seconds, takes=takes), targets(documents))
    share, refused = documents / trace.lasted / rate.per_second, trace.count(429)
    words = "auto" if concurrency is None else str(concurrency)
    situation = f"{rate}, a whole run of {documents:,}, answers take {takes:g} s, concurrency {words}, virtual clock"
    part.judge(situation, f"{refused} refused, {share:.3f}", not refused and share >= 0.95)


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


def dify(limits: Limits | None = None, *, cloud: bool = False) -> Dify:
    return Dify(KEY, None if cloud else "http://localhost/v1", limits=limits)


def run(provider: Provider, model: Model, asked: list[Target], policy: Policy | None = None) -> Trace:
    """Delete them all, on a virtual clock; everything must have been deleted."""

    async def main() -> None:
        async with models.client(provider, model, policy) as client:
            report = await client.delete(asked, policy=replace(policy or Policy(), indexing="delete"), keep=False)
        assert report.counts.deleted == len(asked), report

    virtual.run(main())
    return model.trace


def unknown(options: Options) -> Part:
    part = Part("unknown", "Limits that are not known")
    part.notes.append("target: >= 0.8 of the ideal time after the first refusal; <= 5 % refused; refused calls count")
    styles: dict[str, tuple[Callable[[float], Answer], Policy | None]] = {
        "429, Retry-After in seconds": (seconds, None),
        "429, Retry-After as a date": (date, None),
        "429, no Retry-After": (silent, None),
        "429, Retry-After: 1 always": (always_one, None),
        "429, Retry-After of a day, max_pause 60 s": (absurd, Policy(max_pause=60.0)),
        "429, Cloudflare's page": (page, None),
        "403 as Dify Cloud": (dify_cloud, None),
    }
    for rate, documents in ((Rate(100, per=60), 2_000), (Rate(100), 20_000 if options.full else 5_000)):
        for words, (refuse, policy) in styles.items():
            if rate.per == 1.0 and refuse in (dify_cloud, absurd):
                continue  # no service says 60 s or a day if its limit is a second's
            trace = run(dify(), Limited(math.floor(rate.n), rate.per, refuse), targets(documents), policy)
            after(part, f"{rate}: {words}", trace, rate.per_second)
    langdock = Langdock(KEY, limits=Limits())
    for words, refuse in (("x-ratelimit-reset", langdock_reset), ("429 alone", silent)):
        for fixed, kind in ((False, "any minute"), (True, "a minute of the clock")):
            model = Limited(100, 60.0, refuse, deleted=LANGDOCK_DELETED, fixed=fixed)
            trace = run(langdock, model, targets(2_000, "langdock"))
            after(part, f"100 in {kind}: Langdock, {words}", trace, 100 / 60)
    trace = run(dify(), Limited(100, 60.0, seconds, fixed=True), targets(2_000))
    after(part, "100 in a minute of the clock: 429, Retry-After in seconds", trace, 100 / 60)
    return part


def after(part: Part, situation: str, trace: Trace, per_second: float) -> None:
    """How a run went after its first refusal: of the ideal time, what was left at the limit without a pause."""
    first = min((one.ended_at for one in trace.seen if one.answer in (403, 429)), default=trace.ended)
    left = sum(one.ended_at > first and one.answer in (200, 204) for one in trace.seen)
    share = left / per_second / (trace.ended - first) if trace.ended > first else 1.0
    refused = trace.count(403, 429) / len(trace.seen)
    part.judge(situation, f"{share:.2f}, {refused:.1%} refused", share >= 0.8 and refused <= 0.05)


# ---------------------------------------------------------------------- Dify Cloud, the plan unknown


def cloud(options: Options) -> Part:
    """The customer's own app lives on the same limit; it is not known which plan it is. Then a second run with the same key."""
    part = Part("cloud", "Dify Cloud, the plan unknown")
    part.notes.append("target: the app is never locked out for a minute; the second run begins at the learned rate")
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
                part.judge(
                    f"{plan}, {n}/min, an app asks every {every:g} s: {which}",
                    f"{began_at:.0f}/min at first, {ended_at:.0f}/min at last, {documents:,} in {trace.lasted / 60:.0f} min,"
                    f" {refused} refused; the app: {of_app} of {len(model.live)} refused, locked out for"
                    f" {model.locked_out_s():.0f} s at most",
                    good and (not before or math.isclose(began_at, before, rel_tol=0.01)),
                )
    return part


async def _beside_an_app(model: Limited, every: float, documents: int, state: Path) -> None:
    async with models.client(dify(cloud=True), model, beside=model.app(every), state=state) as client:
        report = await client.delete(targets(documents), policy=Policy(indexing="delete"), keep=False)
    assert report.counts.deleted == documents, report


# ---------------------------------------------------------------------- documents that are still being indexed


def indexing(options: Options) -> Part:
    """The bound is of a client that knows when each is ready: all others meanwhile, and the late ones at full speed then."""
    part = Part("indexing", "Documents that are still being indexed")
    part.notes.append("target: makespan <= 1.05 of the clairvoyant bound")
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
            part.judge(
                f"{late} of 1,000 documents indexing for {seconds:g} s: {words}",
                f"{lost:.3f}: {model.trace.lasted:.1f} s of {bound:.1f} s, {gets} looks and listings, {model.trace.count(400)} refusals",
                lost <= 1.05,
            )
    return part


# ---------------------------------------------------------------------- a service's capacity


@dataclass(frozen=True)
class Situation:
    """A model, how many documents it is asked for, what is said of it, and the share of requests that may fail in it."""

    words: str
    make: Callable[[int], Model]
    documents: int = 1_500
    failures: float = 0.0


SITUATIONS = (
    Situation("10 slots, works on 8 at a time", lambda seed: Slots(10, 8, seed=seed)),
    Situation("10 slots, works on 3 at a time", lambda seed: Slots(10, 3, seed=seed)),
    Situation("CPU-bound at 100/s, as a Dify was measured", lambda seed: Shared(lambda n, _: DIFY(n), seed=seed)),
    Situation(
        "CPU-bound, its capacity halves after 20 s",
        lambda seed: Shared(lambda n, t: DIFY(n) if t < 20 else 0.5 * DIFY(2 * n), seed=seed),
        3_000,
    ),
    Situation("100/s, 300 ms away", lambda seed: Shared(lambda n, _: min(100.0, 100.0 * n), away=0.3, seed=seed)),
    Situation(
        "answers 503 beyond 5 at once", lambda seed: Shedding(5, lambda n, _: 20.0 * n, seed=seed), 3_000, failures=0.01
    ),
)


def failing(trace: Trace) -> float:
    """Failed requests, as a share of all."""
    return sum(one.answer >= 500 or not one.answer for one in trace.seen) / len(trace.seen)


def capacity(options: Options) -> Part:
    """``auto``, which begins at 4 and knows nothing, against each concurrency that it may use; the whole run counts."""
    part = Part("capacity", "A service's own capacity")
    part.notes.append(
        "target: >= 0.85 of the best fixed concurrency over the whole run; at most 8 in flight; no failure"
    )
    seeds = range(1, 6 if options.full else 3)
    for situation in SITUATIONS:

        def deleted(concurrency: int | None, seed: int, situation: Situation = situation) -> Trace:
            limits = None if concurrency is None else Limits(concurrency=concurrency)
            return run(dify(limits), situation.make(seed), targets(situation.documents), Policy(attempts=100))

        fixed = {concurrency: deleted(concurrency, 1) for concurrency in range(1, 9)}
        # What fails is no choice for a user who fixes it.
        speeds = {n: trace.done_per_second() for n, trace in fixed.items() if failing(trace) <= situation.failures}
        best = max(speeds, key=speeds.__getitem__)
        found = [deleted(None, seed) for seed in seeds]
        shares = [trace.done_per_second() / speeds[best] for trace in found]
        most = max(max(one.in_flight for one in trace.seen) for trace in found)
        failures = max(failing(trace) for trace in found)
        allowed = f", <= {situation.failures:.0%} allowed here" if situation.failures else ""
        part.judge(
            f"{situation.words}, {situation.documents:,} documents",
            f"{median(shares):.2f}, at worst {min(shares):.2f}, of {speeds[best]:.0f}/s at {best}; at most {most} in flight;"
            f" failed: {failures:.1%}{allowed}",
            min(shares) >= 0.85 and most <= 8 and failures <= situation.failures,
        )
    return part


if __name__ == "__main__":
    main("benchmarks.pacing", __doc__, {
        "known": known, "unknown": unknown, "cloud": cloud, "shared": shared.files, "capacity": capacity, "indexing": indexing,
    })  # fmt: skip
