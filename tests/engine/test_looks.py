"""Documents that are still being indexed: noticed soon when they are ready, for a bounded share of the requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from bulkdel import Dify, Limits, Policy, Rate
from bulkdel.providers.protocol import Answer, Asked, Lost, Reply, Request, Requeue, Verdict
from tests import virtual
from tests.engine.world import DATASET, Service, client, document_id, error, provider, targets


class Late(Service):
    """Refuses the late ones until they are ready, and shows nothing of it in a listing."""

    def fill_late(self, n: int, ready_at: Callable[[int], float]) -> list[str]:
        """``n`` documents, each ready so many seconds from now."""
        ids = self.fill(n)
        self.began = asyncio.get_running_loop().time()
        self.ready_at = {document: ready_at(place) for place, document in enumerate(ids)}
        self.refusals: list[float] = []
        return ids

    def delete(self, document: str) -> Reply:
        now = asyncio.get_running_loop().time() - self.began
        if now >= self.ready_at.get(document, 0.0):
            return super().delete(document)
        self.refusals.append(now)
        return error(400, "document_indexing", "Cannot delete document during indexing.")


def test_a_batch_that_gets_ready_together_is_deleted_together() -> None:
    """One document that turns out to be ready brings the others forward: 500 are gone 7 s after, at 100 a second."""

    async def main() -> None:
        service = Late(latency=0.04)
        ids = service.fill_late(500, lambda place: 120.0)
        async with client(service, providers=[provider(concurrency=4)]) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert report.elapsed_s <= 127.0

    virtual.run(main())


@pytest.mark.parametrize(("left", "share"), [(20_000, 0.1), (0, 0.25)])
def test_looks_take_a_bounded_share_of_a_known_rate(left: int, share: float) -> None:
    """300 documents that are never ready take a tenth of 10 requests a second from the others, a quarter of what is then idle."""

    async def main() -> None:
        service = Late(latency=0.01)
        ids = service.fill_late(300, lambda place: math.inf)
        others = service.fill(left)
        policy = Policy(deadline=600.0)
        async with client(service, policy=policy, providers=[provider(rate=Rate(10), concurrency=4)]) as c:
            report = await c.delete(targets([*ids, *others]))
        assert report.status == "deadline"
        # The first question of each is no look, and as soon as there is nothing else to do each is looked at within the cap.
        looks = [at for at in service.refusals if at > 90.0]
        assert 0.5 * share * 510 * 10 <= len(looks) <= 1.15 * share * 510 * 10

    virtual.run(main())


def test_a_service_that_refuses_fast_is_not_asked_all_the_time() -> None:
    """300 documents that are never ready cost 10 requests a second where no rate is known, however fast the answers are."""

    async def main() -> None:
        service = Late(latency=0.0001)
        ids = service.fill_late(300, lambda place: math.inf)
        async with client(service, policy=Policy(deadline=600.0)) as c:
            await c.delete(targets(ids))
        assert 0.5 * 600 * 10 <= len(service.refusals) - 300 <= 1.35 * 600 * 10  # the jitter is off the waits' end

    virtual.run(main())


def test_one_by_one_they_are_noticed_soon_after_they_are_ready() -> None:
    """30 documents that get ready one after another are each deleted within a 20th of the wait and four seconds."""

    async def main() -> None:
        service = Late(latency=0.01)
        ids = service.fill_late(30, lambda place: 10.0 + 10.0 * place)
        async with client(service) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        gone = {sent.document: sent.at - service.began for sent in service.sent}
        for document, ready in service.ready_at.items():
            # The service looks when the request has come, a latency after it left.
            assert ready - service.latency <= gone[document] <= 1.05 * ready + 4.0

    virtual.run(main())


class SaysWhen(Dify):
    """A service that says of one document when to ask again."""

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        verdict = super().read(asked, reply)
        if isinstance(verdict, Requeue) and asked.target.document == document_id(0):
            return replace(verdict, after=60.0)
        return verdict


def test_good_news_does_not_overrule_what_the_service_asked_for() -> None:
    """S7: a document that was refused with a time to wait is not brought forward by another one that was ready."""

    async def main() -> None:
        service = Late(latency=0.01)
        ids = service.fill_late(2, lambda place: 10.0)
        says = SaysWhen("dataset-key", "http://127.0.0.1/v1", limits=Limits(concurrency=4))
        async with client(service, providers=[says]) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        first, second = [sent.at for sent in service.sent if sent.document == ids[0]]
        assert second - first >= 60.0

    virtual.run(main())


class Stalls(Service):
    """Does not answer for a while, or answers 500, or is not reachable; twenty of its documents are being indexed."""

    def __init__(self, trouble: str, begins: float, lasts: float) -> None:
        super().__init__(latency=0.05)
        self.trouble = trouble
        self.began = asyncio.get_running_loop().time()
        self.stalled = (self.began + begins, self.began + begins + lasts)
        self.gone_at: dict[str, float] = {}

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        now = asyncio.get_running_loop().time()
        if self.stalled[0] <= now < self.stalled[1]:
            if self.trouble == "stall":
                await asyncio.sleep(self.stalled[1] - now)
            else:
                return error(500, "unknown", "no") if self.trouble == "500" else Lost("unreachable", False, "refused")
        reply = await super().send(request, timeout=timeout, connect_timeout=connect_timeout)
        if request.method == "DELETE" and isinstance(reply, Answer) and reply.status == 204:
            self.gone_at[request.path.rpartition("/")[2]] = asyncio.get_running_loop().time()
        return reply


@pytest.mark.parametrize("trouble", ["stall", "500", "restart"])
@pytest.mark.parametrize(("begins", "lasts"), [(2.0, 12.0), (5.0, 12.0), (8.0, 30.0)])
def test_what_is_ready_is_deleted_within_the_cap(trouble: str, begins: float, lasts: float) -> None:
    """580 ready and 20 indexing documents: each of the 20 is gone within 1.1 times the cap of when it was ready and all else was done."""

    async def main() -> None:
        service = Stalls(trouble, begins, lasts)
        service.fill(580)
        late = service.fill(20, display_status="indexing", indexing_status="indexing")
        loop = asyncio.get_running_loop()
        ready_at = service.began + begins + lasts + 20.0

        def ready() -> None:
            for document in late:
                service.held[document]["display_status"] = service.held[document]["indexing_status"] = "completed"

        loop.call_at(ready_at, ready)
        policy = Policy(indexing_backoff_cap=30.0)
        async with client(service, policy=policy, providers=[provider(concurrency=4)]) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        others = max(at for document, at in service.gone_at.items() if document not in late)
        assert max(service.gone_at[document] for document in late) <= max(others, ready_at) + 33.0

    virtual.run(main())


def test_a_dear_look_does_not_delay_the_next_when_all_else_is_done() -> None:
    """Looks at 20 documents that take a minute come minutes apart while 4,000 others are deleted, and then at once."""

    class Slow(Service):
        async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
            if request.method == "GET" and request.path.rpartition("/")[2] in late:
                await asyncio.sleep(3.0)
            return await super().send(request, timeout=timeout, connect_timeout=connect_timeout)

    service = Slow(latency=0.1)
    late = service.fill(20, display_status="indexing", indexing_status="indexing")
    others = service.fill(4_000)

    def ready() -> None:
        for document in late:
            service.held[document]["display_status"] = service.held[document]["indexing_status"] = "completed"

    async def main() -> None:
        asyncio.get_running_loop().call_later(100.0, ready)
        async with client(service, policy=Policy(indexing="wait"), providers=[provider(concurrency=4)]) as c:
            report = await c.delete(targets([*late, *others]))
        assert report.ok
        last = {sent.document: sent.at for sent in service.sent}
        # The look itself takes its minute.
        assert max(last[document] for document in late) <= max(last[document] for document in others) + 33.0 + 60.0

    virtual.run(main())
