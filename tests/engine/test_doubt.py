"""Row after row of lost answers: what was carried out is found by evidence, and the run goes on in a healthy run's time (S2, S14)."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from bulkdel import Dify, Policy, events
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, KEY, Service, client, provider, targets


class Mute(Service):
    """Carries every delete out, or none, and never says so."""

    def __init__(self, how: str, *, does: bool = True) -> None:
        super().__init__(latency=0.05)
        self.how, self.does = how, does
        self.answers_deletes = False

    def delete(self, document: str) -> Reply:
        if self.answers_deletes:
            return super().delete(document)
        self.script(document, [f"{self.how} done" if self.does else self.how])
        return super().delete(document)


def test_many_in_doubt_are_looked_at_side_by_side() -> None:
    """Named documents have no listing to look at: 600 of them take a few times as long as a healthy run, and not 30 s."""

    async def main() -> None:
        service = Mute("lost")
        ids = service.fill(600)
        began = asyncio.get_running_loop().time()
        auto = Dify(api_key=KEY, base_url="http://dify.localhost/v1", name="dify")
        async with client(service, providers=[auto], rng=Random(3)) as c:
            report = await c.delete(targets(ids))
        assert (report.exit_status, report.deleted, len(service.held)) == (0, 600, 0)
        assert asyncio.get_running_loop().time() - began <= 20

    virtual.run(main)


def test_what_a_moving_listing_did_not_show_is_listed_again() -> None:
    """600 of a dataset: its rows shift while it is emptied, and are looked at once more when they hold still, not one by one."""

    async def main() -> None:
        took = []
        for healthy in (True, False):
            service = Mute("lost")
            service.answers_deletes = healthy
            service.fill(600)
            async with client(service, rng=Random(3)) as c:
                report = await c.purge("dify", DATASET)
            assert (report.exit_status, report.deleted, len(service.held)) == (0, 600, 0)
            took.append((report.elapsed_s, report.requests))
        (healthy_s, least), (lost_s, requests) = took
        assert lost_s <= 1.5 * healthy_s
        assert requests <= 1.2 * least

    virtual.run(main)


class Late(Mute):
    """Deletes whose clients were gone run later: thirty of them between two pages of the first listing since then."""

    def read(self, request: Request, document: str) -> Reply:
        if "documents?page=2" in request.path and self.deletes and not self.answers_deletes:
            self.answers_deletes = True
            for late in list(self.held)[-30:]:  # the newest, which the first page has shown
                del self.held[late]
        return super().read(request, document)


def test_what_late_deletes_moved_between_pages_is_not_gone() -> None:
    """A listing whose count falls from page to page hides as many rows, and shows as many as its last page counts (S14)."""

    async def main() -> None:
        service = Late("lost", does=False)
        service.fill(150)
        async with client(service, providers=[provider(concurrency=120)]) as c:
            report = await c.purge("dify", DATASET)
        assert (report.exit_status, report.deleted, len(service.held)) == (0, 150, 0)
        there = [settled.target.document for settled in report.settled if settled.reason.endswith("no longer listed")]
        assert 0 < len(there) <= 30

    virtual.run(main())


@pytest.mark.parametrize("act", ["purge", "delete"])
def test_a_service_that_carries_out_no_delete_is_failing(act: str) -> None:
    """It lists well, and every DELETE is a 500 that was not carried out: stopped after 600 s, not one verdict after the other."""

    async def main() -> None:
        service = Mute("500", does=False)
        ids = service.fill(300)
        began = asyncio.get_running_loop().time()
        async with client(service, rng=Random(3)) as c:
            report = await (c.purge("dify", DATASET) if act == "purge" else c.delete(targets(ids)))
        assert (report.status, report.deleted, len(service.held)) == ("stopped", 0, 300)
        assert "no delete has succeeded for 6" in report.reason
        assert report.not_attempted >= 290
        assert 600 <= asyncio.get_running_loop().time() - began <= 680

    virtual.run(main)


@pytest.mark.parametrize("how", ["lost", "500"])
@pytest.mark.parametrize("act", ["purge", "delete"])
def test_deletes_whose_answers_are_all_lost_are_found_done(how: str, act: str) -> None:
    """60 of 60 deleted, exit 0, in a few seconds, and hardly any document is asked for a second time."""

    async def main() -> None:
        service = Mute(how)
        ids = service.fill(60)
        began = asyncio.get_running_loop().time()
        # More workers than slots, as by default: some wait for a slot when the breaker opens.
        auto = Dify(api_key=KEY, base_url="http://dify.localhost/v1", name="dify")
        async with client(service, providers=[auto], rng=Random(3)) as c:
            report = await (c.purge("dify", DATASET) if act == "purge" else c.delete(targets(ids)))
        assert (report.exit_status, report.deleted, len(service.held)) == (0, 60, 0)
        reasons = [settled.reason for settled in report.settled]
        assert reasons.count("answer lost; no longer listed") >= 55
        assert all(reason.startswith("answer lost") for reason in reasons)
        assert sum(service.deletes.values()) <= 65  # a few were under way before it was known
        assert asyncio.get_running_loop().time() - began <= (
            3.0 if act == "purge" else 6.0
        )  # explicit targets are looked at one by one

    virtual.run(main())


class Forgetful(Service):
    """Carries every delete out; a share of the answers is lost, as the dice say."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(latency=0.02)
        self.share, self.dice = share, Random(seed)

    def delete(self, document: str) -> Reply:
        if self.dice.random() < self.share:
            self.script(document, ["lost done"])
        return super().delete(document)

    def answer(self, request: Request, document: str) -> Reply:
        return Answer(503, {}, b"") if self.down else super().answer(request, document)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_some_lost_answers_cost_little_more_than_none(share: float, seed: int) -> None:
    """200 of 200 deleted in seconds, though other answers do arrive: few pauses, and each document is accounted for as it was."""

    async def main() -> None:
        service, pauses = Forgetful(share, seed), list[events.Event]()
        service.fill(200)
        began = asyncio.get_running_loop().time()
        auto = Dify(api_key=KEY, base_url="http://dify.localhost/v1", name="dify")

        def hear(event: events.Event) -> None:
            if isinstance(event, events.Paused):
                pauses.append(event)

        async with client(service, providers=[auto], rng=Random(seed)) as c:
            report = await c.purge("dify", DATASET, on_event=hear)
        assert (report.exit_status, report.deleted, len(service.held)) == (0, 200, 0)
        lost = sum(settled.reason.startswith("answer lost") for settled in report.settled)
        assert lost == sum(count > 0 for count in service.lost.values())
        assert max(service.deletes.values()) <= Policy().attempts
        assert len(pauses) <= 3
        assert asyncio.get_running_loop().time() - began <= 7.0

    virtual.run(main())


def test_an_outage_after_lost_answers_is_one() -> None:
    """Lost answers are excused while the service shows that it does what it is asked: one that goes away then is left alone."""

    async def main() -> None:
        service = Forgetful(0.5, 1)
        service.fill(1_000)

        def away() -> None:
            service.down = True
            asyncio.get_running_loop().call_later(20.0, setattr, service, "down", False)

        asyncio.get_running_loop().call_later(3.0, away)
        async with client(service, providers=[provider(concurrency=4)], rng=Random(1)) as c:
            report = await c.purge("dify", DATASET)
        assert (report.exit_status, report.deleted, len(service.held)) == (0, 1_000, 0)
        since = virtual.START + 3.0
        assert sum(since <= sent.at < since + 20.0 for sent in service.sent) <= 20

    virtual.run(main())


def test_documents_in_doubt_that_are_there_are_asked_for_again() -> None:
    """A service that loses every answer and does nothing is not believed, and nothing is called deleted that is there."""

    async def main() -> None:
        service = Mute("lost", does=False)
        service.fill(20)
        asyncio.get_running_loop().call_later(60.0, setattr, service, "answers_deletes", True)
        async with client(service, policy=Policy(attempts=50), providers=[provider(concurrency=4)]) as c:
            report = await c.purge("dify", DATASET)
        assert (report.exit_status, report.deleted) == (0, 20)
        assert not service.held

    virtual.run(main())


def test_a_waiting_document_in_doubt_is_no_indexing() -> None:
    """What waits for evidence is counted as requeued, and not as being indexed."""

    async def main() -> None:
        service = Mute("lost")
        service.fill(60)
        async with client(service, providers=[provider(concurrency=4)]) as c:
            work = asyncio.ensure_future(c.purge("dify", DATASET))
            seen = []
            while not work.done():
                await asyncio.sleep(0.05)
                seen += c.progress()
            await work
        assert max(look.requeued for look in seen) > 10
        assert {look.indexing for look in seen} == {0}

    virtual.run(main())


class LateLoss(Service):
    """No DELETE gets there for ten minutes and a bit; from then on each is carried out, or none, and every answer is lost."""

    def __init__(self, *, does: bool) -> None:
        super().__init__(latency=0.05)
        self.does = does

    def delete(self, document: str) -> Reply:
        late = asyncio.get_running_loop().time() - virtual.START > 610.0
        self.script(document, ["unreachable" if not late else "lost done" if self.does else "lost"])
        return super().delete(document)


@pytest.mark.parametrize("does", [True, False])
def test_doubt_is_looked_at_before_a_provider_is_given_up(does: bool) -> None:
    """Nothing has succeeded for 600 s when the first answer is lost: the service is asked what became of that document first."""

    async def main() -> None:
        service = LateLoss(does=does)
        service.fill(3)
        async with client(service, rng=Random(3)) as c:
            report = await c.purge("dify", DATASET)
        asked = [sent.document for sent in service.sent if sent.method == "GET" and sent.document]
        if does:
            assert (report.exit_status, report.deleted, len(service.held)) == (0, 3, 0)
        else:
            assert (report.exit_status, report.status, len(service.held)) == (4, "stopped", 3)
            assert "no request has succeeded for" in report.reason
            assert sum(service.lost.values()) == 1
        assert len(asked) >= 1
        assert service.lost[asked[0]] == 1

    virtual.run(main())
