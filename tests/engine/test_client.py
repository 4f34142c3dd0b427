"""What a client itself promises: it is opened whole or not at all, says what is wrong, and lists what its key sees."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bulkdel import Client, Dify, Report, Target
from bulkdel.errors import ConfigurationError
from bulkdel.listing import DatasetListing
from bulkdel.providers.protocol import Answer, Page, Provider, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, JSON, KEY, Service, client, document_id, error, provider


class Workspace(Service):
    """Lists ``datasets`` datasets, 100 to a page; ``broken`` is what the page of that number answers."""

    datasets = 250
    broken: dict[int, Callable[[], Reply]]

    def read(self, request: Request, document: str) -> Reply:
        path, _, query = request.path.partition("?")
        if path != "/datasets":
            return super().read(request, document)
        page = int(dict(pair.split("=") for pair in query.split("&"))["page"])
        if page in self.broken:
            return self.broken[page]()
        rows = [{"id": document_id(n), "name": f"base {n}", "document_count": n} for n in range(self.datasets)]
        part = rows[(page - 1) * 100 : page * 100]
        body = {"data": part, "has_more": page * 100 < len(rows), "limit": 100, "total": len(rows), "page": page}
        return Answer(200, JSON, json.dumps(body).encode())


def listed(dify: Dify | None = None, **broken: Callable[[], Reply]) -> DatasetListing:
    """What `datasets` finds where ``page2=…`` answers otherwise."""
    found: list[DatasetListing] = []

    async def main() -> None:
        service = Workspace()
        service.broken = {int(page.removeprefix("page")): reply for page, reply in broken.items()}
        async with client(service, providers=[dify or provider()]) as c:
            found.append(await c.datasets("dify"))
        assert {sent.method for sent in service.sent} == {"GET"}

    virtual.run(main())
    return found[0]


def test_every_dataset_of_every_page_is_listed() -> None:
    """A workspace of three pages is listed whole, in the service's order, and the list says that it is whole."""
    found = listed()
    assert (found.status, found.failure) == ("complete", "")
    assert [dataset.id for dataset in found.datasets] == [document_id(n) for n in range(250)]
    assert found.datasets[249].documents == 249


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (lambda: error(500, "unknown", "Internal Server Error"), "stopped", "Internal Server Error"),
        (lambda: Answer(200, JSON, b'{"data": 7}'), "stopped", "the list of datasets"),
        (lambda: error(401, "unauthorized", "Access token is invalid"), "stopped", "Access token is invalid"),
    ],
)
def test_a_list_of_datasets_that_breaks_off_is_not_whole(reply: Any, status: str, words: str) -> None:
    """S15: what was read before is there, and the list says that it is not whole, and why."""
    found = listed(page2=reply)
    assert found.status == status
    assert words in found.failure
    assert [dataset.id for dataset in found.datasets] == [document_id(n) for n in range(100)]


def test_a_list_of_datasets_in_a_circle_is_not_whole() -> None:
    """S15: cursors that come again end the list, and it does not pass for a whole one."""

    class Round(Dify):
        def read_datasets(self, cursor: str | None, reply: Reply) -> Any:
            page = super().read_datasets(None, reply)
            assert isinstance(page, Page)
            return Page(page.items, "2" if cursor == "1" else "1", page.total)

        def datasets(self, cursor: str | None) -> Request:
            return super().datasets(None)

    found = listed(Round(api_key=KEY, base_url="http://dify.localhost/v1"))
    assert (found.status, len(found.datasets)) == ("incomplete", 100)
    assert "no end" in found.failure


def test_a_stop_ends_the_list_of_datasets() -> None:
    """A client that is asked to stop asks for no further page, and says that the list is not whole."""

    async def main() -> None:
        service = Workspace()
        service.broken = {}
        async with client(service) as c:
            service.when[2] = c.stop
            found = await c.datasets("dify")
        assert (found.status, len(found.datasets), len(service.sent)) == ("interrupted", 200, 2)

    virtual.run(main())


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.purge("dify", DATASET),
        lambda c: c.delete([Target("dify", DATASET, DATASET)]),
        lambda c: c.datasets("dify"),
        lambda c: c.resume("there-is-none.run"),
    ],
)
def test_a_client_that_is_not_open_says_so(ask: Callable[[Client], Awaitable[Any]]) -> None:
    """Before it is entered and after it was left, a call is a programming error with what to write instead."""

    async def main() -> None:
        c = client(Service())
        for _ in range(2):
            with pytest.raises(RuntimeError, match="async with Client"):
                await ask(c)
            async with c:
                pass

    virtual.run(main())


def test_what_makes_no_sense_is_refused_before_anything_is_sent() -> None:
    """No provider, two of one name, an unknown one, no dataset, and an id that is no string are each named."""
    with pytest.raises(ConfigurationError, match="no provider was given"):
        Client()
    with pytest.raises(ConfigurationError, match="two providers have one name: 'dify'") as twice:
        Client(provider(), provider())
    assert "name=" in twice.value.hint

    async def main() -> None:
        service = Service()
        async with client(service) as c:
            calls: list[tuple[Callable[[], Awaitable[Any]], str]] = [
                (lambda: c.purge("dify"), "no dataset was given"),
                (lambda: c.plan("dify", run="never.run"), "no dataset was given"),
                (lambda: c.purge("notion", DATASET), "no provider of this client is named: 'notion'"),
                (lambda: c.datasets("notion"), "no provider of this client is named: 'notion'"),
                (lambda: c.purge("dify", 7), "a dataset's id must be a string: 7"),  # type: ignore[arg-type]
            ]
            for call, words in calls:
                with pytest.raises(ConfigurationError, match=words):
                    await call()
        assert service.sent == []

    virtual.run(main())


def test_a_client_is_opened_whole_or_not_at_all() -> None:
    """It raises what the connecting raised, holds nothing open, and is not open itself."""
    open_now: set[str] = set()

    @asynccontextmanager
    async def connect(of: Provider) -> AsyncIterator[Service]:
        if of.name == "second":
            raise ConfigurationError("the CA file holds no PEM certificates: ca.pem")
        open_now.add(of.name)
        yield Service()
        open_now.discard(of.name)

    async def main() -> None:
        c = Client(provider("first"), provider("second"), connect=connect)
        with pytest.raises(ConfigurationError, match="PEM"):
            async with c:
                pass
        assert open_now == set()

    virtual.run(main())


@pytest.mark.parametrize("gracefully", [True, False])
def test_a_stopped_stream_has_a_report_a_left_one_has_none(gracefully: bool) -> None:
    """``client.stop()`` and reading on: every target settles, and the account comes; ``break``: there is none to print."""
    service = Service(latency=0.1)
    ids = service.fill(30)

    async def main() -> tuple[int, Report | None]:
        seen = 0
        async with client(service, providers=[provider(concurrency=2)]) as opened:
            async with opened.settle([Target("dify", DATASET, one) for one in ids]) as outcomes:
                async for _ in outcomes:
                    seen += 1
                    if seen == 5:
                        if not gracefully:
                            break
                        opened.stop()
            return seen, outcomes.report

    seen, report = virtual.run(main())
    if gracefully:
        assert report is not None
        assert (seen, report.status, report.selected) == (30, "interrupted", 30)
        assert report.deleted == 30 - len(service.held)
    else:
        assert (seen, report) == (5, None)
