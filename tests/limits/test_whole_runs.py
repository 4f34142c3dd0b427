"""Whole runs against models of a service, on a virtual clock: unknown limits, bogus refusals, and how many are in flight."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks import models
from benchmarks.models import DATASET, JSON, KEY, Limited, http_date, now, targets
from benchmarks.services import Slots
from bulkdel import Dify, Limits, Policy, events
from bulkdel.limits import Known, RateMemory
from bulkdel.providers.protocol import Answer, Request
from tests import virtual


def refusal(**headers: str) -> Answer:
    body = json.dumps({"code": "too_many_requests", "message": "slow down", "status": 429}).encode()
    return Answer(429, {**JSON, "date": http_date(now()), **headers}, body)


SAYS: dict[str, Callable[[float], Answer]] = {
    "seconds": lambda wait: refusal(**{"retry-after": str(math.ceil(wait))}),
    "a date": lambda wait: refusal(**{"retry-after": http_date(now() + math.ceil(wait))}),
    "nothing": lambda wait: refusal(),
}


def dify() -> Dify:
    return Dify(KEY, "http://localhost/v1")


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("fixed", [False, True], ids=["any window", "fixed window"])
@pytest.mark.parametrize(("n", "per"), [(10, 1.0), (60, 6.0), (100, 10.0), (60, 60.0), (100, 60.0)])
def test_an_unknown_limit_costs_little(n: int, per: float, fixed: bool, says: str) -> None:
    """600 documents take at most 1.25 of the ideal time behind the first refusal, and one request in twenty is refused at most."""
    model = Limited(n, per, SAYS[says], fixed=fixed)

    async def main() -> None:
        async with models.client(dify(), model) as client:
            report = await client.delete(targets(600), keep=False)
        assert report.counts.deleted == 600

    virtual.run(main())
    trace = model.trace
    first = min(one.ended_at for one in trace.seen if one.answer == 429)
    left = sum(one.ended_at > first and one.answer == 204 for one in trace.seen)
    assert left / (n / per) >= 0.8 * (trace.ended - first)
    assert trace.count(429) <= 0.05 * len(trace.seen)


class RefusedOnce(models.Model):
    """A service without a limit that refuses the fourth request, for a minute; its listing has ``n`` documents."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.held = {target.document for target in targets(n)}
        self.asked = 0

    def refuses(self) -> bool:
        self.asked += 1
        return self.asked == 4

    async def serve(self, request: Request) -> Answer:
        if self.refuses():
            return refusal(**{"retry-after": "60"})
        self.held.discard(request.path.rpartition("/")[2])
        return models.DELETED

    async def read(self, request: Request) -> Answer:
        if self.refuses():
            return refusal(**{"retry-after": "60"})
        if "/documents" not in request.path:
            return await super().read(request)
        rows = [{"id": document, "name": "a", "display_status": "available"} for document in sorted(self.held)]
        asked = parse_qs(urlsplit(request.path).query)
        number, limit = int(asked.get("page", ["1"])[0]), int(asked.get("limit", ["100"])[0])
        data = rows[(number - 1) * limit : number * limit]
        page = {
            "data": data,
            "has_more": number * limit < len(rows),
            "total": len(rows),
            "limit": limit,
            "page": number,
        }
        return Answer(200, JSON, json.dumps(page).encode())


def test_a_refusal_behind_three_questions_is_only_obeyed(tmp_path: Path) -> None:
    """Three GETs, "wait 60 s", no limit: 60 documents are gone right behind the pause, and the next run begins without a limit."""
    model, heard = RefusedOnce(60), list[events.Event]()

    async def main() -> float:
        async with models.client(dify(), model, state=tmp_path) as client:
            report = await client.purge("dify", DATASET, policy=Policy(), on_event=heard.append)
        assert report.ok
        return model.trace.lasted

    assert 60 <= virtual.run(main()) <= 70
    assert RateMemory(tmp_path, dify().fingerprint).recall(time.time()) is None
    assert not [event for event in heard if isinstance(event, events.RateLearned)]


def test_what_was_found_is_said_and_forgotten_if_it_holds_no_more(tmp_path: Path) -> None:
    """A run that begins with a limit of an earlier one says how well it is known; a clean minute above it forgets it."""
    memory = RateMemory(tmp_path, dify().fingerprint)
    memory.remember(Known(0.8, 0.88, 60.0), time.time())
    heard = list[events.Event]()
    model = Limited(10**6, 1.0, SAYS["seconds"])

    async def main() -> float:
        async with models.client(dify(), model, state=tmp_path) as client:
            report = await client.delete(targets(2_000), keep=False, on_event=heard.append)
        assert report.counts.deleted == 2_000
        return model.trace.lasted

    assert virtual.run(main()) <= 300
    (learned,) = [event for event in heard if isinstance(event, events.RateLearned)]
    assert learned.rate.per_second == pytest.approx(0.8)
    assert learned.refused is not None
    assert learned.refused.per_second == pytest.approx(0.88)
    assert RateMemory(tmp_path, dify().fingerprint).recall(time.time()) is None


@pytest.mark.parametrize("knee", [8, 3])
def test_auto_is_a_good_neighbour(knee: int) -> None:
    """1,500 documents at a service of ten slots: at most 8 are in flight, nothing fails, and the whole run takes 1.18 of the best."""

    def lasted(concurrency: int | None) -> float:
        model = Slots(10, knee)
        limits = None if concurrency is None else Limits(concurrency=concurrency)

        async def main() -> None:
            async with models.client(Dify(KEY, "http://localhost/v1", limits=limits), model) as client:
                report = await client.delete(targets(1_500), keep=False)
            assert report.counts.deleted == 1_500

        virtual.run(main())
        assert max(one.in_flight for one in model.trace.seen) <= 8
        assert model.trace.count(204) == 1_500 == len(model.trace.seen)
        return model.trace.lasted

    best = min(lasted(n) for n in range(1, 9))
    assert lasted(None) <= best / 0.85


class Failing(models.Model):
    """A service that takes 30 ms; after 200 deletes it is away for so many seconds, and a share of the deletes is a 500."""

    def __init__(self, away: float = 0.0, errors: float = 0.0) -> None:
        super().__init__()
        self.away, self.errors = away, errors
        self.back = math.inf

    async def serve(self, request: Request) -> Answer:
        await asyncio.sleep(0.03)
        if self.trace.count(204) >= 200 and self.back == math.inf:
            self.back = now() + self.away
        if now() < self.back < math.inf:
            return models.failed(503)
        return models.failed(500) if self.random.random() < self.errors else models.DELETED


@pytest.mark.parametrize(("model", "documents", "most"), [
    (Failing(away=3.0), 2_500, 25.0), (Failing(away=6.0), 2_500, 30.0), (Failing(errors=0.05), 800, 7.0),
])  # fmt: skip
def test_after_trouble_a_run_is_as_fast_as_before(model: Failing, documents: int, most: float) -> None:
    """Beside an outage and the pauses for it, all is done in about the time of a service that never failed."""

    async def main() -> None:
        async with models.client(Dify(KEY, "http://localhost/v1"), model) as client:
            report = await client.delete(targets(documents), keep=False)
        assert report.counts.deleted == documents

    virtual.run(main())
    assert model.trace.lasted <= most
