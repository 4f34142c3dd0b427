"""Explicit targets that are being indexed are found out first, in as few requests as possible."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Policy, Report, Target
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Reply, Request
from tests import virtual
from tests.engine.world import DATASET, Service, client, document_id, error, targets

INDEXING = {"display_status": "indexing", "indexing_status": "indexing"}


class Indexing(Service):
    """Documents become ready at 20 s; a DELETE before that is a broken promise."""

    def read(self, request: Request, document: str) -> Reply:
        if asyncio.get_running_loop().time() >= virtual.START + 20.0:
            for row in self.held.values():
                row["display_status"] = row["indexing_status"] = "completed"
        return super().read(request, document)

    def delete(self, document: str) -> Reply:
        if document in self.held:
            assert self.held[document]["display_status"] != "indexing", "deleted while it was being indexed"
        return super().delete(document)


def asked(service: Service) -> Counter[str]:
    """How many listing pages and single questions there were before the first DELETE."""
    first = next(place for place, sent in enumerate(service.sent) if sent.method == "DELETE")
    return Counter("page" if "/documents?" in sent.path else "one" for sent in service.sent[:first])


async def one_by_one(given: Iterable[Target]) -> AsyncIterator[Target]:
    for target in given:
        yield target


SOURCES = {"sequence": list, "iterable": iter, "asynchronous": one_by_one}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("ready", [0, 5, 300])
def test_what_is_being_indexed_is_waited_for(source: str, ready: int) -> None:
    """Whatever the targets come from, and without an option: nothing is deleted before the service shows it ready."""

    async def main() -> Report:
        service = Indexing()
        ids = [*service.fill(6, **INDEXING), *service.fill(ready)]
        async with client(service) as c:
            report = await c.delete(SOURCES[source](targets(ids)))  # type: ignore[operator]
        assert not service.held
        return report

    report = virtual.run(main)
    assert (report.status, report.deleted) == ("complete", 6 + ready)
    assert report.elapsed_s >= 20.0
    assert report.requeued["document_indexing"] >= 6


@pytest.mark.parametrize(
    ("held", "wanted", "most"),
    [
        (1, 1, {"one": 1}),
        (1_000, 1, {"one": 1}),
        (1_000, 3, {"page": 1, "one": 3}),
        (1_000, 300, {"page": 11}),
        (60, 60, {"page": 2}),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_whichever_is_fewer_requests(
    held: int, wanted: int, most: dict[str, int], recorded: bool, tmp_path: Path
) -> None:
    """A question for each of a few targets, a listing for many of them, whether they are streamed or kept."""

    async def main() -> None:
        service = Service()
        ids = service.fill(held)
        async with client(service) as c:
            report = await c.delete(targets(ids[:wanted]), run=tmp_path / "a.run" if recorded else None)
        assert report.deleted == wanted
        assert asked(service) <= Counter(most)

    virtual.run(main())


@pytest.mark.parametrize("indexing", ["delete", "skip"])
def test_the_other_ways(indexing: Any) -> None:
    """``delete`` asks for nothing first; ``skip`` rejects what is being indexed and sends nothing for it."""

    async def main() -> None:
        service = Service()
        ids = [*service.fill(3, **INDEXING), *service.fill(3)]
        async with client(service, policy=Policy(indexing=indexing)) as c:
            report = await c.delete(targets(ids))
        if indexing == "delete":
            assert asked(service) == {}
            assert (report.deleted, len(service.held)) == (6, 0)
        else:
            assert (report.deleted, report.reasons) == (3, {"stuck_indexing": 3})
            assert set(service.held) == set(ids[:3])

    virtual.run(main())


@pytest.mark.parametrize("named", [3, 40])
def test_the_plan_says_what_the_service_shows(named: int, tmp_path: Path) -> None:
    """What is archived or being indexed is in the plan that is agreed to, whether it was asked for or listed."""

    async def main() -> None:
        service, plans = Service(), list[Plan]()
        ids = [*service.fill(1, archived=True), *service.fill(2, **INDEXING), *service.fill(37)]
        async with client(service) as c:
            await c.delete(targets(ids[:named]), run=tmp_path / "a.run", dry_run=True, on_plan=plans.append)
        (planned,) = plans[0].datasets
        assert (planned.selected, planned.archived, planned.indexing) == (named, 1, 2)

    virtual.run(main())


@pytest.mark.parametrize("wanted", [1, 20])
def test_a_dataset_that_is_not_there_is_named(wanted: int) -> None:
    """Its targets end as ``dataset_stopped``, and no DELETE is sent for them."""

    async def main() -> None:
        service = Service(dataset_gone=True)
        async with client(service) as c:
            report = await c.delete(targets([document_id(n) for n in range(wanted)]))
        assert report.reasons == {"dataset_stopped": wanted}
        assert {sent.method for sent in service.sent} == {"GET"}

    virtual.run(main())


@pytest.mark.parametrize("recorded", [False, True])
def test_a_document_that_cannot_be_asked_about_is_not_deleted_blindly(recorded: bool, tmp_path: Path) -> None:
    """Its question is answered 500 for a while: it waits as if it were being indexed, and is deleted when it is shown."""

    class Failing(Service):
        def read(self, request: Request, document: str) -> Reply:
            if document and asyncio.get_running_loop().time() < virtual.START + 30.0:
                return error(500, "unknown", "Internal Server Error")
            return super().read(request, document)

    async def main() -> None:
        service = Failing()
        ids = service.fill(1)
        async with client(service, policy=Policy(attempts=2, backoff=0.5)) as c:
            report = await c.delete(targets(ids), run=tmp_path / "a.run" if recorded else None)
        assert (report.status, report.deleted) == ("complete", 1)
        assert report.elapsed_s >= 29.0
        assert all(sent.at >= virtual.START + 30.0 for sent in service.sent if sent.method == "DELETE")

    virtual.run(main())


def test_one_document_is_asked_about_once_however_often_it_comes() -> None:
    """S4: three lines of one document are one DELETE, and it is looked for once."""

    async def main() -> None:
        service = Service()
        ids = service.fill(1)
        async with client(service) as c:
            report = await c.delete([Target("dify", DATASET, ids[0])] * 3)
        assert (report.deleted, sum(service.deletes.values())) == (3, 1)
        assert asked(service).total() <= 2

    virtual.run(main())
