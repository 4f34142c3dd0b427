"""Each fault that a simulator can be given, as a client meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator, Simulator
from bulkdel.simulator.documents import Document, one_page
from tests import virtual
from tests.simulator.helpers import Client

Scene = Callable[[Client, str], Awaitable[Any]]
BOTH = pytest.mark.parametrize("make", [DifySimulator, LangdockSimulator])


def play(simulator: Simulator, scene: Scene) -> Any:
    """Run a scene on a virtual clock; it is given a client and the first dataset."""

    async def main() -> Any:
        async with simulator:
            return await scene(Client(simulator), simulator.dataset_ids[0])

    return virtual.run(main)


async def listed(client: Client, dataset: str, size: int = 100) -> list[str]:
    """Every id that the pages of a listing show, in order; Langdock has one page."""
    if isinstance(client.simulator, LangdockSimulator):
        return [file["id"] for file in (await client.get(f"/knowledge/{dataset}/list"))["result"]]
    found: list[str] = []
    number = 1
    while rows := (await client.get(f"/datasets/{dataset}/documents?page={number}&limit={size}"))["data"]:
        found += [row["id"] for row in rows]
        number += 1
    return found


async def empty(client: Client, dataset: str) -> None:
    """Delete all that a dataset holds."""
    for held in client.simulator.documents(dataset):
        await client.delete(dataset, held.id)


def test_ties_hide_the_same_row_in_every_pass() -> None:
    """101 documents in pages of 100: one comes twice and one never; pages of 97 show that one."""

    async def scene(client: Client, dataset: str) -> None:
        first, second, other = [await listed(client, dataset, size) for size in (100, 100, 97)]
        assert first == second
        assert len(first) == 101
        assert len(set(first)) == len(set(other)) == 100
        assert len({*first, *other}) == 101

    play(DifySimulator(documents=101, faults=Faults(ties=True)), scene)


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.integers(1, 3), max_size=700), size=st.integers(2, 100))
def test_two_page_sizes_show_all_ties(keys: list[int], size: int) -> None:
    """Pages have the length that they should, and what pages of 100 never show any other size shows."""
    keys.sort(reverse=True)
    rows = [
        Document(id=str(place), name="", position=1, created_at=key, phase="", outcome="")
        for place, key in enumerate(keys)
    ]

    def seen(size: int) -> set[str]:
        pages = [one_page(rows, number, size, ties=True) for number in range(1, len(rows) // size + 2)]
        assert sum(map(len, pages)) == len(rows)
        return {row.id for page in pages for row in page}

    if size < 100:
        assert seen(100) | seen(size) == {row.id for row in rows}


def test_total_can_be_off_for_good() -> None:
    """The total is wrong while there are documents and when there are none."""

    async def scene(client: Client, dataset: str) -> None:
        assert (await client.get(f"/datasets/{dataset}/documents"))["total"] == 4
        await empty(client, dataset)
        page = await client.get(f"/datasets/{dataset}/documents")
        assert (page["data"], page["total"]) == ([], 1)
        client.simulator.set_faults(total_off=-1)
        assert (await client.get(f"/datasets/{dataset}/documents"))["total"] == 0

    play(DifySimulator(documents=3, faults=Faults(total_off=1)), scene)


@BOTH
def test_listing_can_lag(make: type[Simulator]) -> None:
    """A deleted document is listed for so long, in its place, though it is gone."""

    async def scene(client: Client, dataset: str) -> None:
        before = await listed(client, dataset)
        assert (await client.delete(dataset, before[1])).status < 300
        assert (await client.delete(dataset, before[1])).status == 404
        assert await listed(client, dataset) == before
        await asyncio.sleep(31)
        assert await listed(client, dataset) == [before[0], before[2]]

    play(make(documents=3, faults=Faults(stale=30)), scene)


@BOTH
def test_documents_can_come_back(make: type[Simulator]) -> None:
    """So long after a listing showed the dataset empty, and not before, the deleted documents are there again."""

    async def scene(client: Client, dataset: str) -> None:
        before = await listed(client, dataset)
        await empty(client, dataset)
        await asyncio.sleep(60)
        assert await listed(client, dataset) == []
        await asyncio.sleep(1)
        assert await listed(client, dataset) == []
        await asyncio.sleep(2)
        assert await listed(client, dataset) == before
        assert client.simulator.remaining == 3

    play(make(documents=3, faults=Faults(comes_back=2)), scene)


def test_version_can_be_stripped() -> None:
    """From the n-th answer on X-Version and X-Env are missing, and the answers are the same."""

    async def scene(client: Client, dataset: str) -> list[bool]:
        answers = [await client.ask("GET", f"/datasets/{dataset}") for _ in range(4)]
        assert len({answer.text for answer in answers}) == 1
        assert all(("X-Env" in answer.headers) == ("X-Version" in answer.headers) for answer in answers)
        return ["X-Version" in answer.headers for answer in answers]

    assert play(DifySimulator(documents=1, faults=Faults(strip_version=3)), scene) == [True, True, False, False]
    assert play(DifySimulator(documents=1, faults=Faults(strip_version=1)), scene) == [False] * 4


@BOTH
def test_headers_can_be_long(make: type[Simulator]) -> None:
    """Each answer then has a header of 20 KiB."""

    async def scene(client: Client, dataset: str) -> None:
        document = client.simulator.documents(dataset)[0].id
        assert len((await client.delete(dataset, document)).headers["X-Long"]) == 20 * 1024

    play(make(documents=1, faults=Faults(long_headers=True)), scene)


@pytest.mark.parametrize(("behind", "tail"), [("chunk", b"0\r\n\r\n"), ("garbage", b"\x00garbage\r\n\r\n")])
def test_bytes_can_follow_a_204(behind: Any, tail: bytes) -> None:
    """They come on the same connection, which stays open, and the document is deleted."""

    async def scene(client: Client, dataset: str) -> None:
        simulator = client.simulator
        document = simulator.documents(dataset)[0].id
        url = urlsplit(simulator.base_url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        lines = f"DELETE /v1/datasets/{dataset}/documents/{document} HTTP/1.1", "Host: x", "Authorization: Bearer "
        writer.write(("\r\n".join(lines) + f"{simulator.key}\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"\r\nX-Version: 1.14.2\r\n" in head
        assert await reader.readexactly(len(tail)) == tail
        assert simulator.deleted == [document]
        writer.write(b"GET /v1/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    play(DifySimulator(documents=2, faults=Faults(behind_204=behind)), scene)


@BOTH
def test_one_pause_without_a_limit(make: type[Simulator]) -> None:
    """The first delete is answered 429 with its Retry-After and deletes nothing; all that follows passes."""

    async def scene(client: Client, dataset: str) -> None:
        await listed(client, dataset)
        document = client.simulator.documents(dataset)[0].id
        answer = await client.delete(dataset, document)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
        assert client.simulator.deleted == []
        assert (await client.delete(dataset, document)).status < 300

    play(make(documents=1, faults=Faults(pause_once=60)), scene)


@BOTH
@pytest.mark.parametrize("status", ["500", "502", "503"])
def test_preflight_can_fail(make: type[Simulator], status: Any) -> None:
    """What asks about datasets fails; listings of documents and deletes do not."""

    async def scene(client: Client, dataset: str) -> None:
        dify = isinstance(client.simulator, DifySimulator)
        for path in ("/datasets?page=1", f"/datasets/{dataset}") if dify else ("/knowledge?limit=100",):
            assert (await client.ask("GET", path)).status == int(status)
        assert len(await listed(client, dataset)) == 2
        assert (await client.delete(dataset, client.simulator.documents(dataset)[0].id)).status < 300

    play(make(documents=2, faults=Faults(preflight=status)), scene)


def test_preflight_can_hang() -> None:
    """No answer comes to a preflight; everything else is answered, and the simulator stops at once."""

    async def scene(client: Client, dataset: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await client.ask("GET", f"/datasets/{dataset}")
        assert len(await listed(client, dataset)) == 2

    play(DifySimulator(documents=2, faults=Faults(preflight="hang")), scene)


def test_plugin_daemon_can_be_away() -> None:
    """Dify then answers a preflight 400 as it does, and lists and deletes documents as ever."""

    async def scene(client: Client, dataset: str) -> None:
        answer = await client.ask("GET", f"/datasets/{dataset}")
        assert (answer.status, answer.json["code"]) == (400, "invalid_param")
        assert answer.json["message"].startswith("Failed to request plugin daemon")
        assert "X-Version" in answer.headers
        assert len(await listed(client, dataset)) == 2

    play(DifySimulator(documents=2, faults=Faults(preflight="plugin-daemon")), scene)


def test_lock_can_outlive_its_task() -> None:
    """The first documents keep their lock for longer than the worker needs; the others do not."""

    async def scene(client: Client, dataset: str) -> list[bool]:
        ids = [held.id for held in client.simulator.documents(dataset)]

        async def patch(action: str, document: str) -> bool:
            body = f'{{"document_ids": ["{document}"]}}'
            path = f"/datasets/{dataset}/documents/status/{action}"
            return (await client.ask("PATCH", path, body=body)).status == 200

        assert all([await patch("disable", document) for document in ids])
        await asyncio.sleep(5)
        soon = [await patch("un_archive", document) for document in ids]
        await asyncio.sleep(300)
        assert await patch("un_archive", ids[0])
        return soon

    faults = Faults(archived=3, lock_for=2, locks_left=1, lock_left_for=300)
    assert play(DifySimulator(documents=3, faults=faults), scene) == [False, True, True]


def test_pages_can_be_slow() -> None:
    """A page of a listing takes longer than a delete."""

    async def scene(client: Client, dataset: str) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await listed(client, dataset)
        between = loop.time()
        await client.delete(dataset, client.simulator.documents(dataset)[0].id)
        return between - begun, loop.time() - between

    pages, delete = play(DifySimulator(documents=200, faults=Faults(latency=0.1, page_latency=3)), scene)
    assert pages == pytest.approx(3 * 3.1, abs=0.2)
    assert delete == pytest.approx(0.1, abs=0.05)


@BOTH
def test_stand_in_answers_with_no_data(make: type[Simulator]) -> None:
    """Whatever is asked is answered with an empty list that is not the service's."""

    async def scene(client: Client, dataset: str) -> None:
        for method in ("GET", "DELETE"):
            answer = await client.ask(method, "/anything")
            assert (answer.status, answer.text) == (200, '{"data":[]}')
            assert "X-Version" not in answer.headers
        assert client.simulator.danger == 0

    play(make(documents=1, faults=Faults(intercept="stand-in")), scene)


def test_console_api_knows_no_dataset_key() -> None:
    """The API of Dify's own pages answers a dataset key with 401 and its version."""

    async def scene(client: Client, dataset: str) -> None:
        answer = await client.ask("GET", f"/datasets/{dataset}", prefix="/console/api")
        assert (answer.status, answer.json["message"]) == (401, "Invalid token.")
        assert "X-Version" in answer.headers

    play(DifySimulator(documents=1), scene)
