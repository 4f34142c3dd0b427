"""How the simulated Dify behaves beyond single answers: listings, indexing, archives, and what becomes of deletes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bulkdel.simulator import DifySimulator, Faults, Mishap
from tests import virtual
from tests.simulator.helpers import Client


def play(simulator: DifySimulator, scene: Callable[[Client, str], Awaitable[Any]]) -> Any:
    """Run a scene on a virtual clock; it is given a client and the first dataset."""

    async def main() -> Any:
        async with simulator:
            return await scene(Client(simulator), next(iter(simulator.dataset_ids), ""))

    return virtual.run(main)


async def ids(client: Client, dataset: str, page: int, limit: int = 100) -> list[str]:
    listing = await client.get(f"/datasets/{dataset}/documents?page={page}&limit={limit}")
    return [document["id"] for document in listing["data"]]


def test_pages_cover_everything_newest_first() -> None:
    """While nothing changes, the pages hold every document once, by creation time and position, both falling."""
    simulator = DifySimulator(documents=230)

    async def scene(client: Client, dataset: str) -> list[str]:
        return [each for page in (1, 2, 3, 4) for each in await ids(client, dataset, page)]

    held = simulator.documents(simulator.dataset_ids[0])
    assert play(simulator, scene) == [document.id for document in held]
    assert [document.created_at for document in held] == sorted(
        (document.created_at for document in held), reverse=True
    )


def test_pages_shift_while_documents_are_deleted() -> None:
    """A page is an offset into what is there now: after deleting page 1, page 2 leaves out what moved onto page 1."""

    async def scene(client: Client, dataset: str) -> tuple[list[str], list[str]]:
        second = await ids(client, dataset, 2, 10)
        for document in await ids(client, dataset, 1, 10):
            await client.delete(dataset, document)
        assert await ids(client, dataset, 1, 10) == second
        return second, await ids(client, dataset, 2, 10)

    before, after = play(DifySimulator(documents=30), scene)
    assert not set(before) & set(after)


def test_a_new_document_moves_the_others_down() -> None:
    """A document that is added while the listing is read puts the last one of a page onto the next page again."""

    async def scene(client: Client, dataset: str) -> None:
        first = await ids(client, dataset, 1, 10)
        new = client.simulator.add_document(dataset, name="new.md")
        assert (await ids(client, dataset, 1, 10))[0] == new
        assert (await ids(client, dataset, 2, 10))[0] == first[-1]

    play(DifySimulator(documents=30), scene)


@pytest.mark.parametrize(
    ("documents", "query", "shown", "has_more"),
    [
        (3, "page=1&limit=100", 3, False),
        (200, "page=1&limit=100", 100, True),
        (200, "page=2&limit=100", 100, True),  # wrong: there is no page 3
        (200, "page=3&limit=100", 0, False),
        (200, "page=1&limit=1000", 100, False),  # wrong: 100 more are left
        (25, "", 20, True),
        (25, "page=0&limit=0", 20, False),
        (25, "page=-1&limit=-1", 20, False),
    ],
)
def test_has_more_is_as_wrong_as_the_real_one(documents: int, query: str, shown: int, has_more: bool) -> None:
    """has_more only compares the length of the page with the limit that was asked for, which itself is capped at 100."""

    async def scene(client: Client, dataset: str) -> Any:
        return await client.get(f"/datasets/{dataset}/documents?{query}")

    listing = play(DifySimulator(documents=documents), scene)
    assert (len(listing["data"]), listing["has_more"], listing["total"]) == (shown, has_more, documents)


def test_ties_show_an_id_twice_and_hide_another() -> None:
    """Where many documents share one sort key, the pages of one listing overlap and leave some out, the same for one seed."""

    async def scene(client: Client, dataset: str) -> list[str]:
        return [each for page in (1, 2, 3) for each in await ids(client, dataset, page)]

    def seen(*, ties: bool, seed: int = 1) -> list[str]:
        listed: list[str] = play(DifySimulator(documents=256, faults=Faults(ties=ties), seed=seed), scene)
        assert len(listed) == 256
        return listed

    assert len(set(seen(ties=True))) < 256
    assert seen(ties=True) == seen(ties=True)
    assert len(set(seen(ties=False))) == 256


def test_the_status_filter_came_with_a_release() -> None:
    """A filter by status selects in new releases and is silently ignored in old ones."""

    async def scene(client: Client, dataset: str) -> int:
        return int((await client.get(f"/datasets/{dataset}/documents?status=archived"))["total"])

    faults = Faults(archived=4)
    assert play(DifySimulator(documents=10, faults=faults), scene) == 4
    assert play(DifySimulator(documents=10, faults=faults, version="1.9.2"), scene) == 10


@pytest.mark.parametrize(
    ("version", "status", "text"),
    [("1.14.2", 204, ""), ("1.12.1", 200, "204\n"), ("1.4.0", 200, "204\n"), ("1.3.0", 200, '{"result":"success"}\n')],
)
def test_each_release_says_success_its_own_way(version: str, status: int, text: str) -> None:
    """A deleted document is gone, whatever the release says of it."""

    async def scene(client: Client, dataset: str) -> tuple[int, str]:
        answer = await client.delete(dataset, client.simulator.documents(dataset)[0].id)
        assert answer.headers["X-Version"] == version
        return answer.status, answer.text

    simulator = DifySimulator(documents=3, version=version)
    assert play(simulator, scene) == (status, text)
    assert simulator.remaining == 2
    assert len(simulator.deleted) == 1


def test_indexing_ends_after_its_time() -> None:
    """A document is shown indexing until its time has passed, and completed from then on."""

    async def scene(client: Client, dataset: str) -> None:
        async def states() -> list[str]:
            listing = await client.get(f"/datasets/{dataset}/documents")
            return sorted(document["display_status"] for document in listing["data"])

        assert await states() == ["available"] * 6 + ["indexing"] * 4
        await asyncio.sleep(29)
        assert await states() == ["available"] * 6 + ["indexing"] * 4
        await asyncio.sleep(2)
        assert await states() == ["available"] * 9 + ["indexing"]
        await asyncio.sleep(86_400)
        assert await states() == ["available"] * 9 + ["indexing"]

    play(DifySimulator(documents=10, faults=Faults(indexing=3, indexing_for=30, stuck=1)), scene)


def test_deleting_while_indexing_leaves_orphans() -> None:
    """A modern release deletes a document in any state; its segments are left only when it was being indexed."""

    async def scene(client: Client, dataset: str) -> None:
        simulator = client.simulator
        simulator.set_faults(guard=False)
        early = simulator.add_document(dataset, indexing_for=10)
        late = simulator.add_document(dataset, indexing_for=10)
        assert (await client.delete(dataset, early)).status == 204
        assert simulator.orphans == 3
        await asyncio.sleep(11)
        assert (await client.delete(dataset, late)).status == 204
        assert simulator.orphans == 3

    play(DifySimulator(documents=0), scene)


def test_the_guard_refuses_until_indexing_is_over() -> None:
    """With the guard of old releases the answer is 400 document_indexing, and nothing is deleted, until the document is ready."""

    async def scene(client: Client, dataset: str) -> None:
        document = client.simulator.add_document(dataset, indexing_for=10)
        answer = await client.delete(dataset, document)
        assert (answer.status, answer.json["code"]) == (400, "document_indexing")
        assert client.simulator.deleted == []
        await asyncio.sleep(11)
        assert (await client.delete(dataset, document)).status == 204

    play(DifySimulator(documents=0, faults=Faults(guard=True)), scene)


async def patch(client: Client, dataset: str, action: str, *documents: str) -> int:
    body = json.dumps({"document_ids": documents})
    return (await client.ask("PATCH", f"/datasets/{dataset}/documents/status/{action}", body=body)).status


def test_unarchiving_the_safe_way_leaves_no_orphans() -> None:
    """Disable, un-archive once the lock is free, delete: a disabled document is not embedded again."""

    async def scene(client: Client, dataset: str) -> None:
        document = client.simulator.documents(dataset)[0].id
        assert (await client.delete(dataset, document)).status == 403
        assert await patch(client, dataset, "disable", document) == 200
        assert await patch(client, dataset, "un_archive", document) == 400
        await asyncio.sleep(3)
        assert await patch(client, dataset, "un_archive", document) == 200
        assert (await client.delete(dataset, document)).status == 204
        assert client.simulator.orphans == 0

    play(DifySimulator(documents=1, faults=Faults(archived=1, lock_for=2.5)), scene)


def test_unarchiving_an_enabled_document_races_its_embedding() -> None:
    """Deleted at once it leaves orphans; deleted when the worker is through it leaves none."""

    async def scene(client: Client, dataset: str) -> None:
        first, second = (held.id for held in client.simulator.documents(dataset))
        assert await patch(client, dataset, "un_archive", first, second) == 200
        assert (await client.delete(dataset, first)).status == 204
        assert client.simulator.orphans == 3
        await asyncio.sleep(3)
        assert (await client.delete(dataset, second)).status == 204
        assert client.simulator.orphans == 3

    play(DifySimulator(documents=2, faults=Faults(archived=2, lock_for=2.5)), scene)


def test_the_lock_ends_by_itself_after_ten_minutes() -> None:
    """Without a worker the lock lives 600 s, its life in Redis, and one locked document refuses the whole request."""

    async def scene(client: Client, dataset: str) -> None:
        first, second = (held.id for held in client.simulator.documents(dataset))
        assert await patch(client, dataset, "archive", first) == 200
        await asyncio.sleep(598)
        assert await patch(client, dataset, "archive", second, first) == 400
        assert [held.archived for held in client.simulator.documents(dataset)] == [True, False]
        await asyncio.sleep(3)
        assert await patch(client, dataset, "archive", second, first) == 200
        assert [held.archived for held in client.simulator.documents(dataset)] == [True, True]

    play(DifySimulator(documents=2, faults=Faults(lock_for=1e9)), scene)


@pytest.mark.parametrize(
    ("mishap", "status", "deleted"),
    [
        (Mishap.ERROR, 500, False),
        (Mishap.ERROR_DELETED, 500, True),
        (Mishap.LOST, 0, True),
        (Mishap.RESET, 0, False),
        (Mishap.BILLING, 400, False),
    ],
)
def test_mishaps_of_a_document(mishap: Mishap, status: int, deleted: bool) -> None:
    """Each mishap has its answer, or none, and the document is gone or still there; the next try meets none."""

    async def scene(client: Client, dataset: str) -> None:
        simulator = client.simulator
        document = simulator.documents(dataset)[0].id
        simulator.set_faults(mishaps_of={document: [mishap]})
        answer = await client.delete(dataset, document)
        assert answer.status == status
        assert (answer.text == "ConnectionResetError") == (mishap is Mishap.RESET)
        assert (simulator.deleted == [document]) == deleted
        assert (await client.delete(dataset, document)).status == (404 if deleted else 204)
        assert simulator.deleted == [document]
        assert [request.status for request in simulator.requests] == [status, 404 if deleted else 204]

    play(DifySimulator(documents=2), scene)


def test_a_vanished_dataset_takes_its_documents_along() -> None:
    """After the n-th delete the dataset is gone: mostly 404 "Dataset not found.", and now and then 400."""

    async def scene(client: Client, dataset: str) -> set[tuple[int, str]]:
        documents = [held.id for held in client.simulator.documents(dataset)]
        answers = [await client.delete(dataset, document) for document in documents]
        assert [answer.status for answer in answers[:5]] == [204] * 5
        assert client.simulator.dataset_ids == []
        assert client.simulator.documents(dataset) == []
        return {(answer.status, answer.json["message"]) for answer in answers[5:]}

    simulator = DifySimulator(documents=60, faults=Faults(vanish_after=5, vanished_400=0.2))
    assert play(simulator, scene) == {(404, "Dataset not found."), (400, "Dataset does not exist.")}
    assert len(simulator.deleted) == 5
    assert simulator.danger == 0


def test_a_revoked_key_is_refused_everywhere() -> None:
    """After the n-th delete every request is 401."""

    async def scene(client: Client, dataset: str) -> list[int]:
        documents = [held.id for held in client.simulator.documents(dataset)]
        statuses = [(await client.delete(dataset, document)).status for document in documents]
        return [*statuses, (await client.ask("GET", "/datasets")).status]

    assert play(DifySimulator(documents=4, faults=Faults(revoke_after=2)), scene) == [204, 204, 401, 401, 401]


def test_a_404_can_carry_the_routers_suffix() -> None:
    """The message then only starts with the known words."""

    async def scene(client: Client, dataset: str) -> str:
        return str((await client.delete(dataset, "00000000-0000-4000-8000-000000000000")).json["message"])

    message = play(DifySimulator(documents=0, faults=Faults(suffix_404=True)), scene)
    assert message.startswith("Document Not Exists. You have requested this URI")


def test_an_encoded_slash_is_a_slash() -> None:
    """An id that leads out of the documents reaches another route, and is counted as danger."""

    async def scene(client: Client, dataset: str) -> None:
        assert (await client.ask("DELETE", f"/datasets/{dataset}/documents/x%2Fy")).status == 404
        assert client.simulator.danger == 1
        assert (await client.ask("DELETE", f"/datasets/{dataset}")).status == 204
        assert client.simulator.danger == 2
        assert client.simulator.dataset_ids == []

    play(DifySimulator(documents=2), scene)


def test_other_members_datasets_are_listed_on_request() -> None:
    """A private dataset of another member comes with include_all only; both can be asked for by id."""

    async def scene(client: Client, _: str) -> None:
        simulator = client.simulator
        mine = simulator.add_dataset(name="mine", created_at=2)
        theirs = simulator.add_dataset(name="theirs", created_at=1, private=True, provider="external")
        listed = await client.get("/datasets?limit=100")
        everything = await client.get("/datasets?limit=100&include_all=true")
        assert [each["id"] for each in listed["data"]] == [mine]
        assert [each["id"] for each in everything["data"]] == [mine, theirs]
        assert (await client.get(f"/datasets/{theirs}"))["provider"] == "external"

    play(DifySimulator(documents=()), scene)
