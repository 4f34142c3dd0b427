"""One check for each promise that a part could break: a run against a service in memory, whose truth is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from bulkdel import Policy, Rate, Report, Run, events
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Reply
from tests.engine.world import DATASET, Service, targets
from tests.faults.parts import Parts
from tests.store.helpers import crashed_copy

Check = Callable[[Parts, Path], Awaitable[None]]
POLICY = Policy(attempts=4, backoff=0.1, indexing="delete")


def truth(service: Service, report: Report) -> None:
    """What the report says is what the service holds, and the account adds up (S1, S12, S14, S21)."""
    assert not report.bug
    assert report.listed == report.selected + report.skipped
    assert report.selected == report.deleted + report.already_gone + report.counts.rejected + report.not_attempted
    for settled in report.settled:
        if settled.status == "fulfilled":
            assert settled.target.document not in service.held, settled
        elif settled.outcome in ("archived", "refused", "invalid_id", "dataset_stopped"):
            assert settled.target.document in service.held, settled


async def a_purge_empties(parts: Parts, folder: Path) -> None:
    """Everything is gone, each document asked for once, in the listing's order, and the file says the same (S3, S4, S10, S16)."""
    service = Service()
    ids = service.fill(150)
    run = folder / "purge.run"
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, run=run, policy=POLICY)
        assert (report.status, report.deleted, report.remaining) == ("complete", 150, 0)
        truth(service, report)
        assert [settled.target.document for settled in report.settled] == ids[::-1]
    assert not service.held
    assert set(service.deletes.values()) == {1}


async def lost_answers_are_asked_again(parts: Parts, folder: Path) -> None:
    """A delete whose answer was lost is asked again, and what is gone then was deleted by us (S2)."""
    service = Service()
    for document in service.fill(3):
        service.script(document, ["lost done"])
    for document in service.fill(3):
        service.script(document, ["lost", "503", "ok"])
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, policy=POLICY)
        truth(service, report)
        assert (report.status, report.deleted, report.already_gone) == ("complete", 6, 0)


async def each_document_has_its_own_ending(parts: Parts, folder: Path) -> None:
    """Archived, refused and gone documents are distinguished, and nothing else is stopped by them (S8)."""
    service = Service()
    (archived,), (refused,), (gone,) = service.fill(1), service.fill(1), service.fill(1)
    service.script(archived, ["archived"] * 9)
    service.script(refused, ["400"] * 9)
    service.script(gone, ["404 document"])
    plain = service.fill(5)
    async with parts.client(service) as client:
        report = await client.delete(targets([archived, refused, gone, *plain]), policy=POLICY)
        truth(service, report)
        assert [s.outcome for s in report.settled] == ["archived", "refused", "already_gone"] + ["deleted"] * 5


async def a_rate_limit_fails_nothing(parts: Parts, folder: Path) -> None:
    """A refusal for the rate pauses all for as long as the service says, and costs no attempt (S7, S8)."""
    service = Service()
    ids = service.fill(12)
    service.script(ids[3], ["429 long"])
    async with parts.client(service) as client:
        report = await client.delete(targets(ids), policy=Policy(attempts=1, max_pause=100.0))
        truth(service, report)
        assert report.deleted == 12
        times = [sent.at for sent in service.sent if sent.method == "DELETE"]
        assert times[-1] - times[0] >= 100.0


async def no_window_holds_more(parts: Parts, folder: Path) -> None:
    """In any window of a second at most ten requests leave, and nearly ten do (S6)."""
    service = Service(latency=0.001)
    ids = service.fill(100)
    async with parts.client(service, rate=Rate(10)) as client:
        report = await client.delete(targets(ids), policy=POLICY)
        truth(service, report)
        assert report.deleted == 100
    times = [sent.at for sent in service.sent]
    assert all(last - first >= 1.0 - 1e-6 for first, last in zip(times, times[10:], strict=False))
    assert 99 / (times[-1] - times[0]) >= 9.5


async def what_is_no_dify_stops_all(parts: Parts, folder: Path) -> None:
    """A login page, a redirect, a refused key and a wrong route stop the provider; nothing is called gone (S12)."""
    for act in ("login page", "302", "401", "404 html"):
        service = Service()
        ids = service.fill(8)
        for document in ids:
            service.script(document, [act] * 9)
        async with parts.client(service) as client:
            report = await client.delete(targets(ids), policy=POLICY)
            truth(service, report)
            assert (report.status, report.not_attempted) == ("stopped", 8), act


async def a_lost_dataset_is_no_success(parts: Parts, folder: Path) -> None:
    """A dataset that is not there settles its documents as stopped, never as already gone (S12)."""
    service = Service()
    ids = service.fill(8)
    for document in ids:
        service.script(document, ["404 dataset"])
    async with parts.client(service) as client:
        report = await client.delete(targets(ids), policy=POLICY)
    assert {settled.outcome for settled in report.settled} == {"dataset_stopped"}


async def a_broken_listing_is_not_empty(parts: Parts, folder: Path) -> None:
    """A dataset that cannot be listed is not purged, and the run does not end well (S15)."""

    class Unlisted(Service):
        def read(self, request, document):  # type: ignore[no-untyped-def]
            if "/documents?" in request.path:
                from tests.engine.world import error

                return error(400, "invalid_param", "no")
            return super().read(request, document)

    service = Unlisted()
    service.fill(5)
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, policy=POLICY)
        assert not report.ok
    assert len(service.held) == 5


async def what_stays_is_said(parts: Parts, folder: Path) -> None:
    """A document that the service says is deleted and goes on listing is no success (S16)."""

    class Keeps(Service):
        def delete(self, document):  # type: ignore[no-untyped-def]
            row = self.held[document]
            reply = super().delete(document)
            self.held[document] = row
            return reply

    service = Keeps()
    service.fill(3)
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, policy=POLICY)
        assert (report.ok, report.remaining) == (False, 3)


async def a_dry_run_only_reads(parts: Parts, folder: Path) -> None:
    """Nothing but GET leaves (S17)."""
    service = Service()
    service.fill(5)
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, policy=POLICY, dry_run=True)
        assert report.selected == 5
    assert {sent.method for sent in service.sent} == {"GET"}


async def a_stop_ends_the_sends(parts: Parts, folder: Path) -> None:
    """After a stop nothing leaves; what is in flight ends, the rest is not attempted (S5, S11)."""
    service = Service(latency=0.5)
    ids = service.fill(40)
    async with parts.client(service) as client:
        call = asyncio.create_task(client.delete(targets(ids), policy=POLICY))
        await asyncio.sleep(1.2)
        stopped_at = asyncio.get_running_loop().time()
        client.stop()
        report = await call
        truth(service, report)
        assert report.status == "interrupted"
        assert report.deleted + report.not_attempted == 40
        assert report.not_attempted > 20
    assert all(sent.at <= stopped_at for sent in service.sent)


async def indexing_is_waited_for(parts: Parts, folder: Path) -> None:
    """A document that is being indexed is asked for only when the service shows it ready (S5)."""
    service = Service()
    (late,) = service.fill(1, indexing_status="indexing", display_status="indexing")
    service.fill(5)
    began = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(
        60.0, service.held[late].update, {"indexing_status": "completed", "display_status": "available"}
    )
    async with parts.client(service) as client:
        report = await client.purge("dify", DATASET, policy=Policy(indexing="wait"))
        truth(service, report)
        assert report.deleted == 6
    asked = [sent.at for sent in service.sent if (sent.method, sent.document) == ("DELETE", late)]
    assert len(asked) == 1
    assert asked[0] - began >= 60.0


async def a_resume_asks_only_for_the_rest(parts: Parts, folder: Path) -> None:
    """Nothing that settled is asked for again, nor a consent; both sessions together are whole (S4, S9, S10)."""
    service, run = Service(), folder / "stopped.run"
    service.fill(60)
    asked: list[int] = []

    async def confirm(plan: Plan) -> bool:
        asked.append(plan.selected)
        return True

    async with parts.client(service) as client:
        service.when[30] = client.stop
        stopped = await client.purge("dify", DATASET, run=run, policy=POLICY, confirm=confirm)
        truth(service, stopped)
        assert 0 < stopped.deleted < 60
        report = await client.resume(run, confirm=confirm)
        truth(service, report)
        assert (report.status, report.deleted, report.already_gone) == ("complete", 60, 0)
    assert set(service.deletes.values()) == {1}
    assert asked == [60]


async def what_is_shown_is_on_record(parts: Parts, folder: Path) -> None:
    """An ending is on the disk before a listener hears of it (S10)."""
    service, run = Service(), folder / "shown.run"
    service.fill(5)
    recorded: list[bool] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Settled):
            with Run.open(run) as read:
                recorded.append(event.settled.target in [settled.target for settled in read.settled()])

    async with parts.client(service) as client:
        await client.purge("dify", DATASET, run=run, policy=POLICY, on_event=listen)
    assert recorded == [True] * 5


async def a_killed_run_knows_its_doubt(parts: Parts, folder: Path) -> None:
    """What was asked for and not answered when a run was killed counts as deleted by it, not as already gone (S2, S14)."""
    run, copies = folder / "killed.run", []

    class Watched(Service):
        def delete(self, document: str) -> Reply:
            reply = super().delete(document)
            if self.deletes.total() == 3:
                copies.append(crashed_copy(run, folder / "killed"))
            return reply

    service = Watched()
    service.fill(6)
    async with parts.client(service) as client:
        await client.purge("dify", DATASET, run=run, policy=POLICY)
        report = await client.resume(copies[0])
        truth(service, report)
        assert (report.status, report.deleted, report.already_gone) == ("complete", 6, 0)


CHECKS: tuple[Check, ...] = (
    a_purge_empties,
    lost_answers_are_asked_again,
    each_document_has_its_own_ending,
    a_rate_limit_fails_nothing,
    no_window_holds_more,
    what_is_no_dify_stops_all,
    a_lost_dataset_is_no_success,
    a_broken_listing_is_not_empty,
    what_stays_is_said,
    a_dry_run_only_reads,
    a_stop_ends_the_sends,
    indexing_is_waited_for,
    a_resume_asks_only_for_the_rest,
    what_is_shown_is_on_record,
    a_killed_run_knows_its_doubt,
)
