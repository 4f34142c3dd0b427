"""The simulated Langdock against its contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bulkdel.simulator import Faults, LangdockSimulator, Mishap
from tests import virtual
from tests.simulator.helpers import Answer, Client


def play(simulator: LangdockSimulator, scene: Callable[[Client, str], Awaitable[Any]]) -> Any:
    """Run a scene on a virtual clock; it is given a client and the first folder."""

    async def main() -> Any:
        async with simulator:
            return await scene(Client(simulator), next(iter(simulator.dataset_ids), ""))

    return virtual.run(main)


def test_folders_come_in_pages_by_cursor() -> None:
    """Every folder comes once, with name, role and count; the last page has no cursor."""

    async def scene(client: Client, _: str) -> list[dict[str, Any]]:
        folders: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await client.get(f"/knowledge?limit=100{cursor}")
            assert page["status"] == "success"
            assert len(page["result"]) <= 100
            folders += page["result"]
            if page["nextCursor"] is None:
                return folders
            cursor = f"&cursor={page['nextCursor']}"

    simulator = LangdockSimulator(documents=2, datasets=205)
    folders = play(simulator, scene)
    assert [folder["id"] for folder in folders] == simulator.dataset_ids
    assert {(folder["role"], folder["fileCount"]) for folder in folders} == {("EDITOR", 2)}


def test_one_listing_is_the_whole_folder() -> None:
    """A folder's 1,000 files come at once, each with the documented fields."""

    async def scene(client: Client, folder: str) -> Any:
        return await client.get(f"/knowledge/{folder}/list")

    simulator = LangdockSimulator(documents=1000, faults=Faults(indexing=3, indexing_for=60, failed=4, synced=2))
    listing = play(simulator, scene)
    assert listing["status"] == "success"
    files = listing["result"]
    assert len({file["id"] for file in files}) == 1000
    fields = "id name mimeType createdAt updatedAt url path syncStatus pageCount externalId syncParams"
    assert {tuple(file) for file in files} == {tuple(fields.split())}
    states = [file["syncStatus"] for file in files]
    assert (states.count("EMBEDDING"), states.count("SYNCED")) == (3, 993)
    assert set(states) <= {"EMBEDDING", "SYNCED", "EMBEDDING_FAILED", "EXTRACTION_FAILED", "ACTION_FAILED", "TIMEOUT"}
    assert sum(file["externalId"] is not None for file in files) == 2


def test_deleting_a_file() -> None:
    """A file is deleted once: 200 with its words, then 404; one that was being embedded leaves orphans."""

    async def scene(client: Client, folder: str) -> None:
        simulator = client.simulator
        file = simulator.documents(folder)[0].id
        answer = await client.delete(folder, file)
        assert (answer.status, answer.json) == (200, {"status": "success", "message": "Attachment deleted"})
        assert simulator.deleted == [file]
        assert simulator.orphans == 0
        again = await client.delete(folder, file)
        assert (again.status, again.json) == (404, {"message": "Attachment not found"})
        assert (await client.ask("GET", f"/knowledge/{folder}/{file}")).status == 404
        fresh = simulator.add_document(folder, indexing_for=30)
        assert (await client.get(f"/knowledge/{folder}/{fresh}"))["result"]["syncStatus"] == "EMBEDDING"
        assert (await client.delete(folder, fresh)).status == 200
        assert simulator.orphans > 0
        failed = simulator.add_document(folder, status="TIMEOUT")
        assert "syncMessage" in (await client.get(f"/knowledge/{folder}/{failed}"))["result"]
        simulator.set_faults(missing_as_500=True)
        assert (await client.delete(folder, file)).status == 500
        assert simulator.danger == 0

    play(LangdockSimulator(documents=2), scene)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("message", '{"message":"Attachment not found"}'),
        ("error", '{"error":"Attachment not found"}'),
        ("error-object", '{"error":{"type":"not_found","message":"Attachment not found"}}'),
        (
            "message-errors",
            '{"message":"Attachment not found","errors":[{"code":"not_found","message":"Attachment not found"}]}',
        ),
        ("text", "Attachment not found"),
    ],
)
def test_errors_have_every_documented_shape(shape: Any, text: str) -> None:
    """The shape of error bodies can be chosen."""

    async def scene(client: Client, folder: str) -> Answer:
        return await client.delete(folder, "att_nobody")

    answer = play(LangdockSimulator(documents=0, faults=Faults(error_shape=shape)), scene)
    assert (answer.status, answer.text) == (404, text)


def test_who_may_do_what() -> None:
    """Key, scope, sharing, role and a browser's origin are each refused with their status, and nothing is deleted."""

    async def scene(client: Client, folder: str) -> None:
        simulator = client.simulator
        file = simulator.documents(folder)[0].id
        path = f"/knowledge/{folder}/{file}"
        assert (await client.ask("DELETE", path, authorization=None)).status == 401
        assert (await client.ask("DELETE", path, authorization="Bearer other")).status == 401
        assert (await client.ask("DELETE", path, headers={"Origin": "http://127.0.0.1"})).status == 403
        assert (await client.ask("GET", "/knowledge", headers={"Referer": "http://127.0.0.1/"})).status == 403
        assert (await client.delete("00000000-0000-4000-8000-000000000000", file)).status == 404
        simulator.set_faults(no_scope=True)
        assert (await client.ask("GET", "/knowledge")).status == 403
        simulator.set_faults(Faults(personal_key=True))
        assert (await client.get("/knowledge"))["result"] == []
        simulator.set_faults(Faults())
        simulator.set_dataset(folder, role="USER")
        assert (await client.delete(folder, file)).status == 403
        assert (await client.ask("GET", f"/knowledge/{folder}/list")).status == 200
        simulator.set_dataset(folder, role=None)
        assert (await client.delete(folder, file)).status == 403
        assert (await client.get("/knowledge"))["result"] == []
        assert simulator.deleted == []
        assert simulator.danger == 0
        simulator.set_dataset(folder, role="EDITOR")
        simulator.revoke_key()
        assert (await client.delete(folder, file)).status == 401

    play(LangdockSimulator(documents=1), scene)


@pytest.mark.parametrize("id", ["access", "list", "search", "folder", "upload-async", ""])
def test_ids_that_reach_another_route_are_dangerous(id: str) -> None:
    """Such a DELETE is counted, no file goes, and ``access`` really ends the sharing."""

    async def scene(client: Client, folder: str) -> None:
        await client.delete(folder, id)
        assert client.simulator.danger == 1
        assert client.simulator.remaining == 1
        listing = await client.ask("GET", f"/knowledge/{folder}/list")
        assert listing.status == (403 if id == "access" else 200)

    play(LangdockSimulator(documents=1), scene)


def test_the_documented_id_characters_reach_the_file() -> None:
    """A percent-encoded slash stays inside the id, and does not lead anywhere else."""

    async def scene(client: Client, folder: str) -> None:
        client.simulator.add_document(folder, id="odd/id?x")
        assert (await client.delete(folder, "odd%2Fid%3Fx")).status == 200
        assert client.simulator.danger == 0

    play(LangdockSimulator(documents=0), scene)


def test_a_dedicated_deployment_has_a_prefix() -> None:
    """The base URL then ends in /api/public, and other paths lead nowhere."""

    async def scene(client: Client, folder: str) -> None:
        assert client.simulator.base_url.endswith("/api/public")
        assert (await client.ask("GET", f"/knowledge/{folder}/list")).status == 200
        assert (await client.ask("GET", "/knowledge", prefix="")).status == 404

    play(LangdockSimulator(documents=1, prefix="/api/public/"), scene)


@pytest.mark.parametrize(
    ("mishap", "status", "deleted"),
    [(Mishap.ERROR, 500, False), (Mishap.ERROR_DELETED, 500, True), (Mishap.LOST, 0, True), (Mishap.RESET, 0, False)],
)
def test_mishaps_of_a_file(mishap: Mishap, status: int, deleted: bool) -> None:
    """Each mishap has its answer, or none, and the file is gone or still there."""

    async def scene(client: Client, folder: str) -> None:
        file = client.simulator.documents(folder)[0].id
        assert (await client.delete(folder, file)).status == status
        assert (client.simulator.deleted == [file]) == deleted

    play(LangdockSimulator(documents=1, faults=Faults(mishaps_at={1: mishap})), scene)


def test_embedding_ends_after_its_time() -> None:
    """A file is EMBEDDING until its time has passed, and SYNCED from then on."""

    async def scene(client: Client, folder: str) -> None:
        file = client.simulator.add_document(folder, indexing_for=5)
        assert (await client.get(f"/knowledge/{folder}/{file}"))["result"]["syncStatus"] == "EMBEDDING"
        await asyncio.sleep(6)
        assert (await client.get(f"/knowledge/{folder}/{file}"))["result"]["syncStatus"] == "SYNCED"

    play(LangdockSimulator(documents=0), scene)
