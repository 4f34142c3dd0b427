"""How near to a service's rate limit a run comes, and how seldom it is refused: ``python -m benchmarks.pacing [GROUP ...]``.

Groups: ``known`` limits in real time, ``unknown`` limits and ``cloud`` plans on a virtual clock, and documents that are still
being ``indexing``. ``--plots DIR`` draws the adaptive traces.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import models, table
from benchmarks.models import DATASET, JSON, KEY, Limited, Model, Trace, http_date, now, targets
from benchmarks.services import DIFY, Dataset
from benchmarks.table import Row
from bulkdel import Dify, Langdock, Limits, Policy, Rate
from bulkdel.exchange import Answer
from bulkdel.model import Target
from bulkdel.pacing import Pacing
from bulkdel.providers.base import Provider
from tests import virtual

# ---------------------------------------------------------------------- known limits


@dataclass
class Kept:
    """What a paced run did against a limit."""

    refused: int
    share: float  # of what the limit allows
    cpu: float  # of a core


def worst(times: list[float], n: int, per: float) -> int:
    """How many departures a sliding window would have refused."""
    return sum(last - first < per for first, last in zip(times, times[n:], strict=False))


async def departures(rate: Rate, workers: int, seconds: float) -> list[float]:
    pacing, times = Pacing(rate), list[float]()
    clock = asyncio.get_running_loop().time
    end = clock() + seconds

    async def worker() -> None:
        while clock() < end:
            if not pacing.try_acquire():
                await pacing.acquire()
            times.append(clock())

    await asyncio.gather(*(worker() for _ in range(workers)))
    return times


def kept(rate: Rate, workers: int, seconds: float, factory: Callable[[], asyncio.AbstractEventLoop] | None) -> Kept:
    with asyncio.Runner(loop_factory=factory) as runner:
        cpu, began = time.process_time(), time.monotonic()
        times = runner.run(departures(rate, workers, seconds))
        spent = (time.process_time() - cpu) / (time.monotonic() - began)
    lasted = max(seconds, times[-1] - times[0])
    return Kept(worst(times, math.floor(rate.n), rate.per), len(times) / lasted / rate.per_second, spent)


def known() -> Iterator[Row]:
    """In real time, the two slow ones on a virtual clock: their CPU is nothing, and a minute is long."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed: its rows are left out")
    else:
        loops["uvloop"] = uvloop.new_event_loop
    target = "0 refused, >= 0.95, <= 10 % of a core"
    for rate in (Rate(8, per=60), Rate(100, per=60)):
        for workers in (1, 8):
            times = virtual.run(departures(rate, workers, 3_600.0))
            share = len(times) / 3_600.0 / rate.per_second
            refused = worst(times, math.floor(rate.n), rate.per)
            yield Row(
                f"known {rate}, {workers} workers, virtual clock",
                target,
                f"{refused} refused, {share:.3f}",
                refused == 0 and share >= 0.95,
            )
    for rate in (Rate(10), Rate(100), Rate(2_000)):
        for name, factory in loops.items():
            for workers in (1, 8):
                k = kept(rate, workers, 6.0, factory)
                yield Row(
                    f"known {rate}, {workers} workers, {name}",
                    target,
                    f"{k.refused} refused, {k.share:.3f}, {k.cpu:.1%} of a core",
                    k.refused == 0 and k.share >= 0.95 and k.cpu <= 0.10,
                )


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
            report = await client.delete(asked, keep=False)
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


PLOTS = None


def unknown() -> Iterator[Row]:
    styles: list[tuple[str, Callable[[float], Answer], Policy | None]] = [
        ("429, Retry-After in seconds", seconds, None),
        ("429, Retry-After as a date", date, None),
        ("429, no Retry-After", silent, None),
        ("429, Retry-After: 1 always", always_one, None),
        ("429, Retry-After of a day, max_pause 60 s", absurd, Policy(max_pause=60.0)),
        ("429, Cloudflare's page", page, None),
        ("403 as Dify Cloud", dify_cloud, None),
    ]
    for n, per in ((100, 60.0), (100, 1.0)):
        for words, refuse, policy in styles:
            if per == 1.0 and refuse in (dify_cloud, absurd):
                continue  # nobody says 60 s or a day where the limit is a second's
            if per == 1.0:
                model = Limited(n, per, refuse)
                trace = run(dify(), model, targets(20_000), policy)
            else:
                model = Limited(n, per, refuse)
                trace = run(dify(), model, targets(2_000), policy)
            yield unknown_row(f"unknown {Rate(n, per)}: {words}", trace, n / per)
            if (refuse, per) == (seconds, 60.0):
                table.draw(PLOTS, "rate-unknown", trace, "A limit of 100 a minute that nobody knew", 10.0)
    for words, refuse in (("x-ratelimit-reset", langdock_reset), ("429 alone, to the next minute", silent)):
        langdock = Langdock(KEY, limits=Limits())
        for fixed in (False, True):
            model = Limited(100, 60.0, refuse, deleted=LANGDOCK_DELETED, fixed=fixed)
            trace = run(langdock, model, targets(2_000, "langdock"))
            kind = "a minute of the clock" if fixed else "any minute"
            yield unknown_row(f"unknown 100/min in {kind}: Langdock, {words}", trace, 100 / 60)
    model = Limited(100, 60.0, seconds, fixed=True)
    trace = run(dify(), model, targets(2_000))
    yield unknown_row("unknown 100 in a minute of the clock: 429, Retry-After in seconds", trace, 100 / 60)


def unknown_row(situation: str, trace: Trace, per_second: float) -> Row:
    u = Unknown.of(trace, per_second)
    return Row(
        situation,
        ">= 0.8 of the ideal time after the first refusal, <= 5 % refused",
        f"{u.share:.2f}, {u.refused:.1%} refused",
        u.share >= 0.8 and u.refused <= 0.05,
    )


# ---------------------------------------------------------------------- Dify Cloud, the plan unknown


def cloud() -> Iterator[Row]:
    """The customer's own app lives on the same limit; nobody said which plan it is."""
    for plan, n, every, documents in (("Sandbox", 10, 60.0, 400), ("Team", 1_000, 2.0, 8_000)):
        model = Limited(n, 60.0, dify_cloud)

        async def main(model: Limited = model, every: float = every, documents: int = documents) -> None:
            async with models.client(dify(cloud=True), model, beside=model.app(every)) as client:
                report = await client.delete(targets(documents), keep=False)
            assert report.counts.deleted == documents, report

        virtual.run(main())
        trace = model.trace
        refused, of_app = trace.count(403), sum(refused for _, refused in model.live)
        minutes = trace.lasted / 60
        table.draw(PLOTS, f"rate-cloud-{plan.lower()}", trace, f"Dify Cloud, {plan} ({n} a minute), plan unknown", 10.0)
        yield Row(
            f"Dify Cloud, plan unknown: {plan}, {n}/min, an app asks every {every:g} s",
            "never locked out",
            f"{documents} in {minutes:.0f} min ({documents / 8:.0f} at 8/min), {refused} refused; the app: {of_app} of"
            f" {len(model.live)} refused, locked out for {model.locked_out_s():.0f} s at most",
            model.locked_out_s() <= 60.0 and refused <= 0.01 * len(trace.seen),
        )


# ---------------------------------------------------------------------- documents that are still being indexed


def indexing() -> Iterator[Row]:
    """The bound is of one who knows when each is ready: all others meanwhile, and the late ones at full speed then."""
    for seconds in (60.0, 300.0):
        for words, refuses in (("listed as indexing", False), ("refused with document_indexing", True)):
            model = Dataset(1_000, lambda n, _: DIFY(n), every=3, until=seconds, refuses=refuses)
            late = len(model.late)

            async def main(model: Dataset = model) -> None:
                async with models.client(dify(), model) as client:
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
    global PLOTS
    groups = {"known": known, "unknown": unknown, "cloud": cloud, "indexing": indexing}
    given = table.arguments(__doc__ or "", groups, "benchmarks/results/pacing.json")
    PLOTS = given.plots
    return table.run("Pacing", groups, given)


if __name__ == "__main__":
    sys.exit(main())
