"""A listing is whole or not at all: passes of other page sizes are united, pages are asked for side by side."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from bulkdel import DatasetListing
from bulkdel.providers.dify import Dify
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.report import Report
from tests import virtual
from tests.engine.world import DATASET, JSON, Service, client, error, provider
from tests.proof.folder import FOLDER, Folder, langdock, said


class Ties(Service):
    """Every row shares one sort key: pages of 100 show the row before again in place of their own first one, every time."""

    def read(self, request: Request, document: str) -> Reply:
        path, _, query = request.path.partition("?")
        if not path.endswith("/documents"):
            return super().read(request, document)
        parameters = dict(pair.split("=") for pair in query.split("&"))
        page, size = int(parameters["page"]), int(parameters["limit"])
        rows = self.page(list(self.held.values()), page, size)
        body = {"data": rows, "has_more": False, "limit": size, "total": len(self.held), "page": page}
        return Answer(200, JSON, json.dumps(body).encode())

    def page(self, rows: list[dict[str, Any]], page: int, size: int) -> Sequence[dict[str, Any]]:
        begin = (page - 1) * size
        shown = rows[begin : begin + size]
        if page > 1 and shown and size == 100:
            shown[0] = rows[begin - 1]
        return shown


def sizes(service: Service) -> Counter[str]:
    """How many pages of each size were asked for."""
    return Counter(sent.path.rpartition("limit=")[2] for sent in service.sent if "limit=" in sent.path)


@pytest.mark.parametrize("n", [101, 250, 1230])
def test_what_one_page_size_hides_another_shows(n: int) -> None:
    """Rows with one sort key: pages of 100 show some twice and some never, the same in every pass; 97 shows them."""

    async def main() -> None:
        service = Ties()
        service.fill(n)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert (report.status, report.listed, report.deleted, report.remaining) == ("complete", n, n, 0)
        assert not service.held
        assert sizes(service)["97"] > 0

    virtual.run(main())


def test_a_good_listing_is_one_pass_of_the_usual_size() -> None:
    """Other page sizes are asked for only if something is missing."""

    async def main() -> None:
        service = Service()
        service.fill(250)
        async with client(service) as c:
            assert (await c.purge("dify", DATASET)).ok
        assert sizes(service) == {"100": 4 + 1}  # three pages and the empty one, and the verification's

    virtual.run(main())


class Shared(Service):
    """Another client deletes ten documents of the first page before the second one is answered."""

    def read(self, request: Request, document: str) -> Reply:
        if "documents?page=2" in request.path and len(self.held) == 250:
            for shown in list(self.held)[-10:]:
                del self.held[shown]
        return super().read(request, document)


def test_what_another_client_moved_between_pages_is_seen() -> None:
    """A count that falls from page to page hides as many rows: they are listed by another pass, not left and called new."""

    async def main() -> None:
        service = Shared()
        service.fill(250)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert (report.exit_status, report.listed, report.already_gone, service.held) == (0, 250, 10, {})

    virtual.run(main())


class SlowPages(Service):
    """Listing takes 0.3 s a page, everything else 15 ms; it counts how many pages are under way."""

    latency = 0.0
    pages = 0
    most_pages = 0

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        listing = "/documents?" in request.path
        self.pages += listing
        self.most_pages = max(self.most_pages, self.pages)
        await asyncio.sleep(0.3 if listing else 0.015)
        self.pages -= listing
        return await super().send(request, timeout=timeout, connect_timeout=connect_timeout)


class OneByOne(Dify):
    """A Dify that names only the next page."""

    def pages_ahead(self, cursor: str | None, total: int) -> Any:
        return ()


def purge_of_a_thousand(dify: Dify) -> tuple[Report, SlowPages]:
    async def main() -> tuple[Report, SlowPages]:
        service = SlowPages(latency=0.0)
        service.fill(1000)
        async with client(service, providers=[dify]) as c:
            return await c.purge("dify", DATASET), service

    return virtual.run(main())


def test_pages_are_asked_for_side_by_side() -> None:
    """1,000 documents at 0.3 s a page and 15 ms a delete: a sixth shorter than page after page, within the concurrency."""
    given = provider(concurrency=4)
    one_by_one = OneByOne(given.api_key, given.base_url, name="dify", limits=given.limits)
    slow, _ = purge_of_a_thousand(one_by_one)
    fast, service = purge_of_a_thousand(given)
    assert slow.ok
    assert fast.ok
    assert fast.elapsed_s < slow.elapsed_s * 5 / 6
    assert service.most_pages == 4
    assert fast.requests == slow.requests


def test_an_empty_page_ends_the_listing() -> None:
    """A count that is far too high asks for no pages behind the empty one."""

    class Boastful(Service):
        def read(self, request: Request, document: str) -> Reply:
            reply = super().read(request, document)
            if "/documents?" not in request.path or not isinstance(reply, Answer):
                return reply
            body = json.loads(reply.body)
            return Answer(200, JSON, json.dumps(body | {"total": body["total"] + 100_000}).encode())

    async def main() -> None:
        service = Boastful()
        service.fill(250)
        async with client(service, providers=[provider(concurrency=4)]) as c:
            await c.purge("dify", DATASET, dry_run=True)
        assert max(map(int, pages(service))) <= 5 + 1

    virtual.run(main())


def pages(service: Service) -> list[str]:
    return [sent.path.partition("page=")[2].partition("&")[0] for sent in service.sent if "page=" in sent.path]


@pytest.mark.parametrize("broken", range(2, 6))
def test_any_page_that_fails_fails_the_listing(broken: int) -> None:
    """S15: of pages that are asked for side by side each one counts."""

    class Broken(Service):
        def read(self, request: Request, document: str) -> Reply:
            if f"page={broken}&" in request.path:
                return error(400, "invalid_param", "no")
            return super().read(request, document)

    async def main() -> None:
        service = Broken()
        service.fill(450)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert (report.listed, len(service.held)) == (0, 450)
        assert report.exit_status in (1, 4)

    virtual.run(main())


# ---------------------------------------------------------------------- a cursor that is not valid any more


class Forgetful(Service):
    """The second page of a listing is refused, so many times."""

    refuses = 1

    def read(self, request: Request, document: str) -> Reply:
        if "page=2&" in request.path and self.refuses:
            self.refuses -= 1
            return error(400, "invalid_param", "Invalid cursor")
        return super().read(request, document)


def test_a_pass_that_is_refused_on_its_way_is_void() -> None:
    """The listing begins anew, and is whole all the same; one that is refused every time deletes nothing (S15)."""

    async def main(refuses: int) -> tuple[Report, int]:
        service = Forgetful()
        service.refuses = refuses
        service.fill(250)
        async with client(service) as c:
            return await c.purge("dify", DATASET), len(service.held)

    report, held = virtual.run(lambda: main(1))
    assert (report.status, report.listed, report.deleted, held) == ("complete", 250, 250, 0)
    report, held = virtual.run(lambda: main(99))
    assert (report.status, report.listed, held) == ("incomplete", 0, 250)
    assert "Invalid cursor" in report.datasets[0].reason


class ManyFolders(Folder):
    """Three pages of folders, the purged one on the last; a cursor is refused so many times."""

    refuses = 0

    def read(self, request: Request, document: str) -> Reply:
        if document or request.path.endswith("/list"):
            return super().read(request, document)
        page = int(request.path.partition("cursor=c")[2] or 1)
        if page == 2 and self.refuses:
            self.refuses -= 1
            return said(400, "Invalid cursor")
        row = {
            "id": FOLDER if page == 3 else f"other-{page}",
            "name": "",
            "role": "EDITOR",
            "fileCount": len(self.held),
        }
        following = {"nextCursor": f"c{page + 1}"} if page < 3 else {}
        return Answer(200, JSON, json.dumps({"result": [row], **following}).encode())


@pytest.mark.parametrize("refuses", [1, 2, 99])
def test_a_forgotten_cursor_begins_the_folders_anew(refuses: int) -> None:
    """Langdock answers 400 "Invalid cursor" in the middle of its list of folders: it is read again, three times at most."""

    async def main() -> tuple[DatasetListing, Report]:
        service = ManyFolders()
        service.fill(3)
        async with client(service, providers=[langdock()]) as c:
            service.refuses = refuses
            datasets = await c.datasets("langdock")
            service.refuses = refuses
            return datasets, await c.purge("langdock", FOLDER)

    datasets, report = virtual.run(main)
    if refuses < 3:
        assert [one.id for one in datasets.datasets] == ["other-1", "other-2", FOLDER]
        assert (datasets.status, report.status, report.deleted) == ("complete", "complete", 3)
    else:
        assert (datasets.status, datasets.failure) == ("incomplete", "Invalid cursor")
        assert (report.status, report.datasets[0].reason) == ("incomplete", "Invalid cursor")
