"""A base whose listing never shows all is emptied in rounds; with a selection or a plan one more word is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Policy, Run, Selection
from bulkdel.engine.session import ProviderSession
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.report import Report
from tests import virtual
from tests.engine.world import DATASET, JSON, Service, client


class Hiding(Service):
    """A listing that leaves out every ``nth`` document of those that it holds, in every pass, and counts them."""

    nth: int = 10
    off: int = 0  # what the listing's count says too many; the dataset's own count is right

    def read(self, request: Request, document: str) -> Reply:
        path, _, query = request.path.partition("?")
        if not path.endswith("/documents"):
            return super().read(request, document)
        parameters = dict(pair.split("=") for pair in query.split("&"))
        page, size = int(parameters["page"]), int(parameters["limit"])
        rows = sorted(self.held.values(), key=lambda row: str(row["created_at"]))
        shown = [row for place, row in enumerate(rows, 1) if place % self.nth]
        part = shown[(page - 1) * size : page * size]
        body = {"data": part, "has_more": False, "limit": size, "total": len(rows) + self.off, "page": page}
        return Answer(200, JSON, json.dumps(body).encode())


def purge(service: Service, **how: Any) -> Report:
    async def main() -> Report:
        async with client(service) as c:
            return await c.purge("dify", DATASET, **how)

    return virtual.run(main)


@pytest.mark.parametrize("n", [101, 250])
def test_a_purge_of_everything_goes_on_in_rounds(n: int) -> None:
    """What was seen is deleted, then what shows then, until the listing is empty: every document is gone, exit 0."""
    service = Hiding()
    service.fill(n)
    report = purge(service)
    assert (report.status, report.listed, report.deleted, report.remaining) == ("complete", n, n, 0)
    assert not service.held
    assert set(service.deletes.values()) == {1}


def test_rounds_come_to_their_end_with_shards() -> None:
    """Workers that take a hundred at a time, as those behind a broker do, take what is left of a round, too."""
    service = Hiding()
    service.fill(250)

    class Shards:
        async def run(self, session: ProviderSession) -> None:
            while page := await session.next_page(100, 100):
                for job in page:
                    service.delete(job.target.document)
                    session.settle(job, "deleted", "")

    async def main() -> Report:
        async with client(service, workers=Shards()) as c:
            return await c.purge("dify", DATASET)

    report = virtual.run(main, limit=60)
    assert (report.status, report.deleted, report.remaining, service.held) == ("complete", 250, 0, {})


def test_a_count_that_is_off_for_good_keeps_nothing() -> None:
    """The listing counts one too many and is empty in the end, and the dataset itself says so: exit 0."""
    service = Hiding()
    service.nth, service.off = 1_000, 1
    service.fill(101)
    report = purge(service)
    assert (report.status, report.deleted, report.remaining) == ("complete", 101, 0)


def test_a_plan_with_a_wrong_count_can_be_carried_out(tmp_path: Path) -> None:
    """One more word, and then the dataset itself says that nothing is left: exit 0."""
    service, path = Hiding(), tmp_path / "a.run"
    service.nth, service.off = 1_000, 1
    service.fill(101)

    async def main() -> None:
        async with client(service) as c:
            assert (await c.plan("dify", DATASET, run=path)).exit_status == 1
            done = await c.resume(path, policy=Policy(accept_incomplete=True))
            assert (done.status, done.deleted, done.remaining) == ("complete", 101, 0)

    virtual.run(main)


def test_what_came_newly_is_left_alone_in_rounds() -> None:
    """S16: a document created after all that was seen first is not deleted by a later round, and it is named."""
    service = Hiding()
    service.fill(100)
    newer = {"created_at": 1_800_000_000, "name": "new.md"}
    service.when[40] = lambda: service.fill(1, **newer)
    report = purge(service)
    assert [row["name"] for row in service.held.values()] == ["new.md"]
    assert (report.deleted, report.remaining, report.datasets[0].new_count) == (100, 1, 1)
    assert report.status == "complete"


@pytest.mark.parametrize("guard", [Policy(max_delete=95), Policy(expect=90)])
def test_guards_hold_in_every_round(guard: Policy) -> None:
    """A round that would delete more than was allowed ends the rounds; the rest is there, and it is no success."""
    service = Hiding()
    service.fill(100)
    report = purge(service, policy=guard)
    assert report.exit_status == 1
    assert (report.deleted, report.not_attempted) == (90, report.selected - 90)
    assert len(service.held) == 10
    assert "the selection has" in report.datasets[0].reason
    assert "--max-delete" in report.hint


@pytest.mark.parametrize("how", [{"select": Selection(names=("doc-*",))}, {"policy": Policy(indexing="skip")}])
def test_a_selection_of_what_was_seen_needs_one_more_word(how: dict[str, Any]) -> None:
    """Refused, exit 3, with how much was seen; with ``accept_incomplete`` what was seen is deleted, and it is not exit 0."""
    service = Hiding()
    service.fill(100)
    refused = purge(service, **how)
    assert (refused.exit_status, refused.deleted) == (3, 0)
    assert "90 of 100 documents" in refused.reason
    assert "accept_incomplete" in refused.hint
    policy = Policy(indexing="skip" if "policy" in how else None, accept_incomplete=True)
    accepted = purge(service, **how | {"policy": policy})
    assert (accepted.exit_status, accepted.deleted, len(service.held)) == (1, 90, 10)


def test_a_plan_of_what_was_seen_says_so(tmp_path: Path) -> None:
    """The plan says "N of M seen" and is not complete; carrying it out is refused without one more word, and so is exit 0."""
    service, path = Hiding(), tmp_path / "a.run"
    service.fill(100)
    plans: list[Plan] = []

    async def main() -> None:
        async with client(service) as c:
            planned = await c.plan("dify", DATASET, run=path, on_plan=plans.append)
            assert (planned.status, planned.exit_status, planned.listed) == ("incomplete", 1, 90)
            assert "90 of 100 documents" in planned.reason
            refused = await c.resume(path)
            assert (refused.exit_status, len(service.held)) == (3, 100)
            accepted = await c.resume(path, policy=Policy(accept_incomplete=True))
            assert (accepted.exit_status, accepted.deleted, len(service.held)) == (1, 90, 10)

    virtual.run(main)
    assert (plans[0].datasets[0].listed, plans[0].datasets[0].counted) == (90, 100)
    assert {sent.method for sent in service.sent[:4]} == {"GET"}


def test_rounds_go_on_after_an_interruption(tmp_path: Path) -> None:
    """A run that was stopped in its first round deletes what its listing did not show when it is resumed."""
    service, path = Hiding(), tmp_path / "a.run"
    service.fill(100)

    async def main() -> None:
        async with client(service) as c:
            service.when[40] = c.stop
            stopped = await c.purge("dify", DATASET, run=path)
            assert stopped.status == "interrupted"
            done = await c.resume(path)
            assert (done.status, done.deleted, done.remaining) == ("complete", 100, 0)

    virtual.run(main)
    assert not service.held
    with Run.open(path) as run:
        assert (run.state, run.counts().deleted) == ("complete", 100)


class Stopping(Hiding):
    """The run is stopped when it lists the ten that were hidden at first."""

    stop: Callable[[], None] | None = None

    def read(self, request: Request, document: str) -> Reply:
        if self.stop is not None and len(self.held) == 10:
            self.stop()
        return super().read(request, document)


def test_a_round_that_was_broken_off_is_listed_again(tmp_path: Path) -> None:
    """A stop while the second round is listed: what is hidden still is neither left nor called new by the resume (S15, S16)."""
    service, path = Stopping(), tmp_path / "a.run"
    service.fill(100)

    async def main() -> None:
        async with client(service) as c:
            service.stop = c.stop
            stopped = await c.purge("dify", DATASET, run=path)
            assert (stopped.status, len(service.held)) == ("interrupted", 10)
            service.stop = None
            done = await c.resume(path)
            assert (done.status, done.deleted, done.remaining) == ("complete", 100, 0)

    virtual.run(main)
    assert not service.held


@pytest.mark.parametrize(
    ("policy", "status", "left"),
    [
        (Policy(), "complete", 0),
        (Policy(expect=120), "complete", 0),
        (Policy(expect=121), "refused", 120),
        (Policy(max_delete=119), "refused", 120),
        (Policy(indexing="skip"), "refused", 120),
        (Policy(indexing="skip", accept_incomplete=True), "complete", 0),
    ],
)
def test_a_count_that_is_off_and_the_guards(policy: Policy, status: str, left: int) -> None:
    """The service counts one more than it ever lists: guards count what was seen, and only a purge of everything goes on unasked."""
    service = Hiding()
    service.nth, service.off = 10**6, 1
    service.fill(120)
    report = purge(service, policy=policy)
    assert (report.status, len(service.held)) == (status, left)


def test_looks_come_within_the_cap_in_rounds() -> None:
    """A round that only waits for indexing is no busy time: what is ready is deleted within 1.1 times the cap, however dear a look is."""
    service = Hiding(latency=8.0)
    service.fill(60)
    service.fill(12, display_status="indexing", indexing_status="indexing")
    ended: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ready() -> None:
            for row in service.held.values():
                row["display_status"] = row["indexing_status"] = "completed"

        loop.call_later(300.0, ready)
        async with client(service, policy=Policy(indexing_backoff_cap=30.0)) as c:
            assert (await c.purge("dify", DATASET)).ok
        ended.append(max(sent.at for sent in service.sent if sent.method == "DELETE") - virtual.START)

    virtual.run(main())
    # A look within 33 s, and then a round of listing and deleting at 8 s an answer.
    assert 300.0 < ended[0] <= 400.0
