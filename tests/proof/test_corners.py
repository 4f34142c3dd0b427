"""Corners that a planted bug once got through: each of these tests is here because a mutant survived without it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from bulkdel import Policy, Target, events
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, HTML, Service, client, provider, targets
from tests.proof.test_purges import SHAPES, Base


def test_pauses_are_free_however_many() -> None:
    """S2, S8: a document that has to wait twenty times is deleted with attempts to spare."""

    async def main() -> None:
        service = Service()
        ids = service.fill(3)
        for document in ids:
            service.script(document, [*["429"] * 20, "500"])
        async with client(service, policy=Policy(attempts=2)) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert not service.held

    virtual.run(main())


def test_waits_for_indexing_are_free_however_many() -> None:
    """S2: a document that the service is still indexing at every look costs no attempt."""

    async def main() -> None:
        service = Service()
        (document,) = service.fill(1)
        service.script(document, [*["indexing"] * 8, "500"])
        async with client(service, policy=Policy(attempts=2, indexing_backoff=1.0, indexing_backoff_cap=2.0)) as c:
            report = await c.delete(targets([document]))
        assert report.ok

    virtual.run(main())


def test_a_duplicate_of_one_in_flight_joins_it() -> None:
    """S4: two occurrences that come at different times are one request where the first has not been answered."""

    async def main() -> None:
        service = Service(latency=1.0)
        (document,) = service.fill(1)
        (target,) = targets([document])

        async def stream() -> AsyncIterator[Target]:
            for _ in range(3):
                yield target
                await asyncio.sleep(0.2)

        async with client(service, policy=Policy(indexing="delete")) as c:
            report = await c.delete(stream())
        assert [settled.outcome for settled in report.settled] == ["deleted"] * 3
        assert service.deletes[document] == 1
        assert not service.doubled

    virtual.run(main())


def test_a_duplicate_far_behind_the_first_is_not_asked_for() -> None:
    """S4: in a list, all occurrences of a target settle with the first, however far apart they stand."""

    async def main() -> None:
        service = Service(latency=0.0)
        ids = service.fill(3_000)
        async with client(service) as c:
            report = await c.delete(targets([*ids, ids[0]]))
        assert report.deleted == 3_001
        assert service.deletes[ids[0]] == 1

    virtual.run(main())


class Unwell(Service):
    """Answers 503 to everything while it is down, as a proxy before a service that restarts."""

    def answer(self, request: Request, document: str) -> Reply:
        if self.down:
            if request.method == "DELETE":
                self.deletes[document] += 1
            return Answer(503, HTML, b"<html>503</html>")
        return super().answer(request, document)


def test_an_outage_of_answers_is_charged_to_nobody() -> None:
    """S8: ten minutes less a little of 503 cost at most what was in flight when it began; then all is deleted."""

    async def main() -> None:
        service = Unwell(latency=0.1)
        ids = service.fill(60)
        loop = asyncio.get_running_loop()
        loop.call_later(0.55, setattr, service, "down", True)
        loop.call_later(500.0, setattr, service, "down", False)
        async with client(service, policy=Policy(attempts=3)) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert not service.held
        assert sum(service.deletes.values()) < 60 + 12
        assert max(service.deletes.values()) <= 3

    virtual.run(main())


def test_a_lost_answer_is_remembered_through_other_troubles() -> None:
    """S2: gone after an attempt whose answer was lost is deleted, whatever else was said in between."""

    async def main() -> None:
        service = Service()
        ids = service.fill(3)
        for document, between in zip(ids, ("unreachable", "429", "indexing"), strict=True):
            service.script(document, ["lost done", between])
        async with client(service, policy=Policy(attempts=4, indexing_backoff=1.0)) as c:
            report = await c.delete(targets(ids))
        assert [settled.outcome for settled in report.settled] == ["deleted"] * 3

    virtual.run(main())


class Gate(Service):
    """Behind a proxy that blocks what comes in the first two seconds, and then lets everything through."""

    def answer(self, request: Request, document: str) -> Reply:
        if asyncio.get_running_loop().time() < self.opens:
            return Answer(403, HTML, b"<html>blocked</html>")
        return super().answer(request, document)

    opens = 0.0


def test_all_that_were_in_flight_complain_of_the_same() -> None:
    """S8: ten requests that a proxy blocks at once are one block of the few in a row that end a run."""

    async def main() -> None:
        service = Gate(latency=1.0)
        ids = service.fill(30)
        service.opens = asyncio.get_running_loop().time() + 2.0
        paused: list[float] = []

        def hear(event: object) -> None:
            if isinstance(event, events.Paused):
                paused.append(event.seconds)

        async with client(service, providers=[provider(concurrency=10)]) as c:
            report = await c.delete(targets(ids), on_event=hear)
        assert report.ok
        assert service.most_in_flight == 10
        assert len(paused) == report.pauses <= 2

    virtual.run(main())


def test_a_row_that_a_listing_look_did_not_show_is_not_gone() -> None:
    """S12: rows shift while others are deleted, so a document that is waited for is asked for by its id."""

    async def main() -> None:
        service = Base(gets=deque(["ok", "ok", "ok", "short", "short", "short"]))
        for _ in range(4):
            service.fill(1, **SHAPES["indexing"])
        asyncio.get_running_loop().call_later(40.0, service.ready)
        async with client(service, policy=Policy(indexing_backoff=2.0)) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert report.deleted == 4
        assert not service.too_early

    virtual.run(main())


def test_a_dataset_that_vanishes_lets_go_of_what_was_waited_for() -> None:
    """S1, S12: documents that were being indexed settle when their dataset is found gone, not when their time is over."""

    async def main() -> None:
        service = Service()
        service.fill(5, **SHAPES["indexing"])
        asyncio.get_running_loop().call_later(10.0, setattr, service, "dataset_gone", True)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.reasons == {"dataset_stopped": 5}
        assert report.exit_status == 1
        assert report.elapsed_s < 120.0

    virtual.run(main())
