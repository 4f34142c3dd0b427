"""An outage is no verdict on a dataset: what could not be asked is stopped, and can be resumed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bulkdel import Policy, Target
from bulkdel.model import PurgeRequest
from bulkdel.providers.protocol import Answer, Lost, Reply, Request
from bulkdel.store import Run
from tests import virtual
from tests.engine.world import DATASET, HTML, Service, client, error

OUTAGES: dict[str, Reply] = {
    "503": Answer(503, HTML, b"<html>503</html>"),
    "500": error(500, "unknown", "Internal Server Error"),
    "502": Answer(502, HTML, b"<html>Bad Gateway</html>"),
    "hangs": Lost("timeout", sent=True, detail="no answer in 60 s"),
    "refused": Lost("unreachable", sent=False, detail="connection refused"),
}


class Down(Service):
    """Answers every question with ``reply`` while it has one; ``what`` is a part of the paths that it is for."""

    reply: Reply | None = None
    what: str = ""

    def read(self, request: Request, document: str) -> Reply:
        if self.reply is not None and self.what in request.path:
            return self.reply
        return super().read(request, document)


@pytest.mark.parametrize("what", ["", "/documents?"])
@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_at_the_start_stops_and_can_be_resumed(kind: str, what: str, tmp_path: Path) -> None:
    """Preflight and listing: exit 4, nothing deleted; the same run goes on when the service is back."""
    service, path = Down(), tmp_path / "a.run"
    service.fill(150)
    service.reply, service.what = OUTAGES[kind], what

    async def main() -> None:
        async with client(service, policy=Policy(attempts=3, backoff=0.1)) as c:
            stopped = await c.purge("dify", DATASET, run=path)
            assert (stopped.status, stopped.exit_status) == ("stopped", 4)
            assert stopped.reason
            assert stopped.hint
            assert len(service.held) == 150
            service.reply = None
            done = await c.resume(path)
            assert (done.status, done.deleted, done.remaining) == ("complete", 150, 0)

    virtual.run(main())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_while_targets_are_looked_up_can_be_resumed(kind: str, kept: bool, tmp_path: Path) -> None:
    """Explicit targets: exit 4, nothing deleted and none rejected; the same run goes on when the service is back."""
    service, path = Down(), tmp_path / "a.run"
    targets = [Target("dify", DATASET, document) for document in service.fill(20)]
    service.reply = OUTAGES[kind]

    async def main() -> None:
        async with client(service, policy=Policy(attempts=3, backoff=0.1)) as c:
            stopped = await c.delete(targets, run=path if kept else None)
            assert (stopped.status, stopped.exit_status) == ("stopped", 4)
            assert (stopped.not_attempted, dict(stopped.reasons)) == (20, {"not_attempted": 20})
            assert stopped.reason
            assert stopped.hint
            assert len(service.held) == 20
            if not kept:
                return
            service.reply = None
            done = await c.resume(path)
            assert (done.status, done.deleted) == ("complete", 20)
            assert not service.held

    virtual.run(main())


@pytest.mark.parametrize("kind", OUTAGES)
@pytest.mark.parametrize("archived", [0, 1])
def test_an_outage_at_the_verification_can_be_resumed(kind: str, archived: int, tmp_path: Path) -> None:
    """Everything is deleted, or rejected, and nothing answers any more: exit 4; the resume lists again, and then it is exit 0 or 1."""
    service, path = Down(), tmp_path / "a.run"
    service.fill(archived, archived=True)
    service.fill(150)
    service.when[149] = lambda: setattr(service, "reply", OUTAGES[kind])
    service.what = "/documents?"

    async def main() -> None:
        async with client(service, policy=Policy(attempts=3, backoff=0.1)) as c:
            stopped = await c.purge("dify", DATASET, run=path)
            assert (stopped.status, stopped.deleted, stopped.not_attempted) == ("stopped", 150, 0)
            assert stopped.reason

    async def go_on() -> None:
        async with client(service) as c:
            done = await c.resume(path)
            assert (done.exit_status, done.deleted, done.remaining) == (archived, 150, archived)

    virtual.run(main)
    with Run.open(path) as run:
        assert run.resumable
    service.reply = None
    virtual.run(go_on)


def test_a_crash_behind_an_outage_at_the_verification_changes_nothing(tmp_path: Path) -> None:
    """Everything is deleted and nothing verified: a resume that is broken off leaves as much to do as there was before it."""
    service, path = Down(), tmp_path / "a.run"
    service.fill(3)
    service.when[5] = lambda: setattr(service, "reply", OUTAGES["503"])
    service.what = "/documents?"

    async def main() -> None:
        async with client(service, policy=Policy(attempts=3, backoff=0.1)) as c:
            assert (await c.purge("dify", DATASET, run=path)).status == "stopped"
            broken_off = asyncio.ensure_future(c.resume(path))
            service.when[len(service.sent) + 1] = broken_off.cancel
            with pytest.raises(asyncio.CancelledError):
                await broken_off

    async def go_on() -> None:
        async with client(service) as c:
            assert (await c.resume(path)).exit_status == 0

    virtual.run(main)
    with Run.open(path) as run:
        assert (run.state, run.resumable) == ("crashed", True)
    service.reply = None
    virtual.run(go_on)
    with Run.open(path) as run:
        assert not run.resumable


def test_a_crash_while_listing_loses_no_targets(tmp_path: Path) -> None:
    """A run that empties one dataset and deletes from another is killed at its first request: a resume carries out both."""
    service, path = Service(), tmp_path / "a.run"
    service.fill(150)
    other = "22222222-2222-4222-8222-222222222222"
    named = [Target("dify", other, "33333333-3333-4333-8333-333333333333")]

    async def main() -> None:
        async with client(service) as c:
            killed = asyncio.ensure_future(c.carry_out([PurgeRequest("dify", DATASET)], targets=named, run=path))
            service.when[1] = killed.cancel
            with pytest.raises(asyncio.CancelledError):
                await killed

    async def go_on() -> None:
        async with client(service) as c:
            done = await c.resume(path)
            assert (done.exit_status, done.deleted, done.already_gone) == (0, 150, 1)

    virtual.run(main)
    virtual.run(go_on)


@pytest.mark.parametrize("archived", [0, 1])
def test_what_was_not_verified_is_verified_later(archived: int, tmp_path: Path) -> None:
    """The verification met an outage, and a later one lists the dataset: nothing of the report says any more that it was not."""
    service, path = Down(), tmp_path / "a.run"
    service.fill(archived, archived=True)
    service.fill(3)
    service.when[5] = lambda: setattr(service, "reply", OUTAGES["503"])
    service.what = "/documents?"

    async def main() -> None:
        async with client(service, policy=Policy(attempts=3, backoff=0.1)) as c:
            stopped = await c.purge("dify", DATASET, run=path)
            assert stopped.datasets[0].reason.startswith("could not be verified: ")
            service.reply = None
            found = await c.verify(path)
        assert (found.exit_status, found.remaining) == (0, archived)

    virtual.run(main())
    with Run.open(path) as run:
        (dataset,) = run.account().datasets.values()
    assert (dataset.reason, dataset.remaining) == ("", archived)
    assert (dataset.status == "complete") == (not archived)


def test_one_dataset_in_trouble_leaves_the_others_alone() -> None:
    """Of two datasets one answers 500 for ever: the other one is emptied, and the run is stopped, not complete."""
    service = Down()
    service.fill(20)
    other = DATASET.replace("1", "2")
    service.reply, service.what = OUTAGES["500"], other

    async def main() -> None:
        async with client(service, policy=Policy(attempts=2, backoff=0.1)) as c:
            report = await c.purge("dify", DATASET, other)
        assert report.exit_status == 4
        assert [dataset.status for dataset in report.datasets] == ["complete", "stopped"]
        assert not service.held

    virtual.run(main())


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_no_list_of_datasets(kind: str) -> None:
    """Exit 4, as for a purge, and a hint."""
    service = Down()
    service.reply = OUTAGES[kind]

    async def main() -> None:
        async with client(service) as c:
            listing = await c.datasets("dify")
            assert (listing.datasets, listing.status) == ((), "stopped")
            assert listing.hint

    virtual.run(main)
