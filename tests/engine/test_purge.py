"""A purge's promises, on a virtual clock with a service in memory: list whole, guard, delete, prove."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from random import Random

import pytest

from bulkdel import Policy, Selection
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, HTML, JSON, Service, client, error, targets


def methods(service: Service) -> Counter[str]:
    return Counter(sent.method for sent in service.sent)


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 250, 1230])
def test_a_purge_empties_and_proves_it(n: int) -> None:
    """S16: every document is listed once, deleted once, and the listing is empty afterwards."""

    async def main() -> None:
        service = Service()
        ids = service.fill(n)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert not service.held
        assert (report.listed, report.selected, report.deleted, report.remaining) == (n, n, n, 0)
        assert sorted(s.target.document for s in report.settled) == sorted(ids)
        assert methods(service)["DELETE"] == n
        assert report.requests == len(service.sent)

    virtual.run(main())


def test_a_dry_run_sends_nothing_but_get() -> None:
    """S17: it lists, selects and deletes nothing."""

    async def main() -> None:
        service = Service()
        service.fill(150)
        async with client(service) as c:
            report = await c.purge("dify", DATASET, dry_run=True)
        assert set(methods(service)) == {"GET"}
        assert report.exit_status == 0
        assert (report.selected, report.not_attempted, report.remaining) == (150, 150, None)
        assert len(service.held) == 150

    virtual.run(main())


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        (Policy(max_delete=149), True),
        (Policy(max_delete=150), False),
        (Policy(expect=149), True),
        (Policy(expect=151), True),
        (Policy(expect=150), False),
    ],
)
def test_guards_refuse_before_anything_is_deleted(policy: Policy, refused: bool) -> None:
    """`max_delete` and `expect` look at what was selected, and refuse the whole run."""

    async def main() -> None:
        service = Service()
        service.fill(150)
        async with client(service, policy=policy) as c:
            report = await c.purge("dify", DATASET)
        assert (report.status == "refused") is refused
        assert report.exit_status == (3 if refused else 0)
        assert len(service.held) == (150 if refused else 0)
        if refused:
            assert "the selection has 150 documents" in report.reason
            assert set(methods(service)) == {"GET"}

    virtual.run(main())


@pytest.mark.parametrize("yes", [True, False])
def test_a_purge_asks_before_the_first_delete(yes: bool) -> None:
    """`confirm` sees names, counts, ages and what is left; a no deletes nothing."""

    async def main() -> None:
        service = Service()
        service.fill(10)
        service.fill(5, archived=True)
        service.fill(5, display_status="indexing", indexing_status="indexing")
        plans: list[Plan] = []

        async def confirm(plan: Plan) -> bool:
            plans.append(plan)
            assert set(methods(service)) == {"GET"}
            return yes

        policy = Policy(indexing="skip")
        async with client(service, policy=policy) as c:
            report = await c.purge("dify", DATASET, confirm=confirm)
        (planned,) = plans[0].datasets
        assert (planned.name, planned.listed, planned.selected, planned.archived) == ("Support", 20, 15, 5)
        assert planned.skipped == {"still being indexed": 5}
        assert planned.oldest == 1_700_000_000
        assert planned.newest == 1_700_000_014
        assert report.status == ("incomplete" if yes else "refused")
        assert len(service.held) == (10 if yes else 20)

    virtual.run(main())


def test_selection_deletes_only_what_matches() -> None:
    """Name, age and status select; what is left is skipped, counted and no failure."""

    async def main() -> None:
        service = Service()
        service.fill(30)
        service.fill(10, name="tmp-old", created_at=1_600_000_000)
        service.fill(10, name="tmp-failed", created_at=1_600_000_000, display_status="error")
        select = Selection(names=("TMP-*",), created_before=1_650_000_000, statuses=("Error",))
        async with client(service) as c:
            report = await c.purge("dify", DATASET, select=select)
        assert report.ok
        assert (report.listed, report.selected, report.skipped, report.remaining) == (50, 10, 40, 40)
        assert all(row["name"] != "tmp-failed" for row in service.held.values())
        assert sum(report.datasets[0].skipped_reasons.values()) == 40

    virtual.run(main())


def test_archived_documents_are_rejected_without_a_request() -> None:
    """Without `unarchive` they are named as archived, and still there at the end."""

    async def main() -> None:
        service = Service()
        service.fill(5)
        archived = service.fill(3, archived=True)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.exit_status == 1
        assert report.reasons == {"archived": 3}
        assert report.remaining == 3
        assert set(service.held) == set(archived)
        assert not any(sent.document in archived for sent in service.sent)

    virtual.run(main())


def test_unarchive_goes_the_safe_way() -> None:
    """With `unarchive`: disable, un-archive, delete, in this order for each."""

    async def main() -> None:
        service = Service()
        archived = service.fill(3, archived=True)
        async with client(service, policy=Policy(unarchive=True)) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert not service.held
        ways = [sent.path.rpartition("/")[2] if sent.method == "PATCH" else sent.method for sent in service.sent]
        assert ways.count("disable") == ways.count("un_archive") == ways.count("DELETE") == len(archived)
        assert ways.index("disable") < ways.index("un_archive") < ways.index("DELETE")

    virtual.run(main())


class Indexing(Service):
    """Documents become ready at a time; a DELETE before that is a broken promise of the client."""

    ready_at: float = 0.0

    def read(self, request: Request, document: str) -> Reply:
        if asyncio.get_running_loop().time() >= self.ready_at:
            for row in self.held.values():
                row["display_status"] = row["indexing_status"] = "completed"
        return super().read(request, document)

    def delete(self, document: str) -> Reply:
        if document in self.held:
            assert self.held[document]["display_status"] != "indexing", "deleted while it was being indexed"
        return super().delete(document)


@pytest.mark.parametrize(("waiting", "ready"), [(1, 50), (3, 500), (150, 300)])
def test_wait_sends_no_delete_before_the_service_shows_it_ready(waiting: int, ready: int) -> None:
    """S5 and the safe default: indexing documents are looked at in few requests, and deleted when they are ready."""

    async def main() -> None:
        service = Indexing()
        service.fill(ready)
        service.fill(waiting, display_status="indexing", indexing_status="indexing")
        service.ready_at = asyncio.get_running_loop().time() + 60.0
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert not service.held
        assert 60.0 <= report.elapsed_s < 63.0
        assert report.requeued["document_indexing"] == waiting
        gets = methods(service)["GET"]
        # preflight, listing and verification, then at most 60 looks of a pass each over what is left: one a second for half a
        # minute, then one each time that the wait has grown by a 30th
        assert gets <= 1 + ((waiting + ready) // 100 + 2) + 1 + 60 * min(waiting, waiting // 100 + 1)

    virtual.run(main())


def test_wait_gives_up_on_a_document_that_never_becomes_ready() -> None:
    """A crashed worker leaves a document indexing for ever: it is `stuck_indexing`, named, and still there."""

    async def main() -> None:
        service = Indexing()
        service.fill(5)
        service.fill(2, display_status="indexing", indexing_status="indexing")
        service.ready_at = float("inf")
        async with client(service, policy=Policy(indexing_timeout=120.0)) as c:
            report = await c.purge("dify", DATASET)
        assert report.exit_status == 1
        assert report.reasons == {"stuck_indexing": 2}
        assert report.remaining == 2
        assert 120.0 <= report.elapsed_s < 125.0

    virtual.run(main())


@pytest.mark.parametrize("choice", ["delete", "skip"])
def test_indexing_delete_sends_at_once_and_skip_never(choice: str) -> None:
    """`delete` asks at once whatever the state, `skip` leaves the document and is no failure."""

    async def main() -> None:
        service = Service()
        service.fill(5)
        waiting = service.fill(5, display_status="indexing", indexing_status="indexing")
        async with client(service, policy=Policy(indexing=choice)) as c:  # type: ignore[arg-type]
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert set(service.held) == (set(waiting) if choice == "skip" else set())
        assert report.skipped == (5 if choice == "skip" else 0)

    virtual.run(main())


def test_a_stop_while_documents_wait_settles_them() -> None:
    """S5: what waits at the end is not attempted, never dropped."""

    async def main() -> None:
        service = Indexing()
        service.fill(5)
        service.fill(7, display_status="indexing", indexing_status="indexing")
        service.ready_at = float("inf")
        async with client(service) as c:
            asyncio.get_running_loop().call_later(30.0, c.stop, "interrupted", 15)
            report = await c.purge("dify", DATASET)
        assert report.exit_status == 143
        assert (report.deleted, report.not_attempted, report.remaining) == (5, 7, None)
        assert report.elapsed_s < 31

    virtual.run(main())


class Listing(Service):
    """A service whose listing can be made to fail or to lie."""

    broken: Reply | None = None
    page_two_repeats: int = 0
    hides: str = ""

    def read(self, request: Request, document: str) -> Reply:
        reply = super().read(request, document)
        if "/documents?" not in request.path:
            return reply
        assert isinstance(reply, Answer)
        body = json.loads(reply.body)
        if self.broken is not None and "page=2" in request.path:
            return self.broken
        if self.page_two_repeats and "page=2" in request.path:
            self.page_two_repeats -= 1
            first = sorted(self.held.values(), key=lambda row: str(row["created_at"]), reverse=True)
            body["data"] = [first[99], *body["data"][1:]]
        body["data"] = [row for row in body["data"] if row["id"] != self.hides]
        return reply._replace(body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "broken",
    [
        Answer(200, JSON, b'{"data": [{"id": "', cut=True),
        Answer(200, JSON, b"[]"),
        Answer(200, JSON, b'{"data": null}'),
        error(400, "invalid_param", "no"),
        error(500, "unknown", "Internal Server Error"),
        Answer(200, HTML, b"<html>please log in</html>"),
        Answer(404, HTML, b"<html>nothing here</html>"),
    ],
)
def test_a_failed_listing_is_not_an_empty_one(broken: Answer) -> None:
    """S15: a listing that fails on its second page ends the dataset's purge before any delete."""

    async def main() -> None:
        service = Listing()
        service.fill(250)
        service.broken = broken
        async with client(service, policy=Policy(backoff=0.1)) as c:
            report = await c.purge("dify", DATASET)
        assert report.exit_status in (1, 4)
        assert set(methods(service)) == {"GET"}
        assert len(service.held) == 250
        assert report.counts.listed == 0
        assert report.remaining is None

    virtual.run(main())


def test_a_document_that_comes_twice_hides_another() -> None:
    """A listing with ties repeats one document and misses another: a second pass finds it."""

    async def main() -> None:
        service = Listing()
        service.fill(250)
        service.page_two_repeats = 1
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert report.listed == 250
        assert not service.held

    virtual.run(main())


def test_what_a_listing_never_shows_is_never_called_gone() -> None:
    """S15: what was seen is deleted in rounds; a document that the service counts and never shows makes it exit 1."""

    async def main() -> None:
        service = Listing()
        ids = service.fill(250)
        service.hides = ids[3]
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.exit_status == 1
        assert "not complete" in report.datasets[0].reason
        assert (report.deleted, set(service.held)) == (249, {ids[3]})

    virtual.run(main())


class Liar(Service):
    """Says 204 and keeps the document for a while, or for ever."""

    keeps_for: float = float("inf")

    def delete(self, document: str) -> Reply:
        row = self.held.get(document)
        reply = super().delete(document)
        if row is not None and row["name"] == "doc-3.md":
            until = asyncio.get_running_loop().time() + self.keeps_for
            self.kept = (document, row, until)
            self.held[document] = row
        return reply

    def read(self, request: Request, document: str) -> Reply:
        kept = getattr(self, "kept", None)
        if kept and asyncio.get_running_loop().time() >= kept[2]:
            self.held.pop(kept[0], None)
        return super().read(request, document)


@pytest.mark.parametrize("keeps_for", [2.0, float("inf")])
def test_what_is_deleted_and_still_listed_is_named(keeps_for: float) -> None:
    """S16: the verification looks a few times; what the service called deleted and still lists makes exit 1."""

    async def main() -> None:
        service = Liar()
        service.fill(10)
        service.keeps_for = keeps_for
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        if keeps_for == 2.0:
            assert report.ok
            assert report.remaining == 0
        else:
            assert report.exit_status == 1
            assert report.remaining == 1
            assert "doc-3.md" in report.datasets[0].still_there[0]

    virtual.run(main())


def test_what_came_newly_is_named_and_left_alone() -> None:
    """S16: a document added while the purge runs is not deleted, is named, and is no failure."""

    async def main() -> None:
        service = Service(latency=0.1)
        service.fill(50)
        asyncio.get_running_loop().call_later(1.0, service.fill, 2)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert report.remaining == 2
        assert report.datasets[0].new_count == 2
        assert "doc-" in report.datasets[0].new[0]
        assert len(service.held) == 2

    virtual.run(main())


def test_a_verification_that_fails_never_exits_zero() -> None:
    """S15: all is deleted, but the listing cannot be read again: exit 1, and the report says why."""

    async def main() -> None:
        class Late(Listing):
            def delete(self, document: str) -> Reply:
                if not self.held or len(self.held) == 1:
                    self.all_broken = True
                return super().delete(document)

            all_broken = False

            def read(self, request: Request, document: str) -> Reply:
                if self.all_broken:
                    return error(500, "unknown", "Internal Server Error")
                return super().read(request, document)

        late = Late()
        late.fill(150)
        async with client(late, policy=Policy(backoff=0.1, attempts=3)) as c:
            report = await c.purge("dify", DATASET)
        assert report.deleted == 150
        assert report.exit_status == 4
        assert report.remaining is None
        assert "could not be verified" in report.datasets[0].reason

    virtual.run(main())


def test_a_dataset_that_is_not_there_leaves_the_others() -> None:
    """A stopped dataset makes exit 1, not 4."""

    async def main() -> None:
        service = Service()
        service.fill(20)
        async with client(service) as c:
            report = await c.purge("dify", "not-an-id", DATASET)
        assert report.exit_status == 1
        assert [d.status for d in report.datasets] == ["stopped", "complete"]
        assert not service.held

    virtual.run(main())


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (error(401, "unauthorized", "Access token is invalid"), "stopped"),
        (Answer(404, HTML, b"<html>nothing here</html>"), "stopped"),
        (error(404, "not_found", "Dataset not found."), "incomplete"),
        (error(403, "forbidden", "Dataset api access is not enabled."), "incomplete"),
    ],
)
def test_preflight_stops_before_anything_is_listed(reply: Answer, status: str) -> None:
    """A refused key and a wrong address stop the provider (4), a dataset out of reach stops alone (1)."""

    class Closed(Service):
        def answer(self, request: Request, document: str) -> Reply:
            return reply

    async def main() -> None:
        service = Closed()
        service.fill(20)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.status == status
        assert report.reason
        assert len(service.sent) <= 2

    virtual.run(main())


@pytest.mark.parametrize("wait", [True, False])
def test_explicit_targets_wait_by_default(wait: bool) -> None:
    """`delete` looks first and leaves what is being indexed until it is ready; with `delete` it sends at once."""

    async def main() -> None:
        service = Indexing() if wait else Service()
        ids = service.fill(20)
        waiting = service.fill(3, display_status="indexing", indexing_status="indexing")
        if isinstance(service, Indexing):
            service.ready_at = asyncio.get_running_loop().time() + 20.0
        policy = Policy(indexing=None if wait else "delete")
        async with client(service, policy=policy) as c:
            report = await c.delete(targets([*waiting, *ids]))
        assert report.ok
        assert not service.held
        assert (methods(service)["GET"] > 0) is wait
        assert report.remaining is None

    virtual.run(main())


def test_a_deadline_in_a_pause_says_what_the_pause_was_for() -> None:
    """At three in the morning "the deadline came" is no answer: the service could not be reached, and nothing was listed."""

    async def main() -> None:
        service = Service()
        service.fill(5)
        service.down = True
        async with client(service, policy=Policy(deadline=3.0), rng=Random(5)) as c:
            report = await c.purge("dify", DATASET)
        assert report.status == "deadline"
        assert report.reason == (
            "the deadline of 3 s came in a pause: the service is failing (cannot connect: connection refused)"
        )
        assert report.datasets[0].reason == "not listed: the run ended before that"

    virtual.run(main())
