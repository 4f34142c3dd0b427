"""The simulated Dify's delete route against the public page's OpenAPI text: path, parameters, key, answers, word for word."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from bulkdel import Dify
from bulkdel.model import Target
from bulkdel.providers.protocol import Answer, Asked, Deleted, Gone, Reject, Requeue, Verdict
from bulkdel.simulator import DifySimulator, Faults
from tests.proof import page
from tests.simulator.helpers import Answer as Came
from tests.simulator.helpers import Client

API = page.openapi()
((ROUTE, METHODS),) = API["paths"].items()
OPERATION: dict[str, Any] = METHODS["delete"]
EXAMPLES: dict[str, tuple[int, dict[str, Any]]] = {
    name: (int(status), example["value"])
    for status, answer in OPERATION["responses"].items()
    for name, example in (answer.get("content", {}).get("application/json", {}).get("examples", {})).items()
}


def test_the_page_was_read() -> None:
    """One route, one method, a bearer key, two UUIDs in the path, and the four answers that it documents."""
    assert ROUTE == "/datasets/{dataset_id}/documents/{document_id}"
    assert list(METHODS) == ["delete"]
    assert API["components"]["securitySchemes"]["ApiKeyAuth"]["scheme"] == "bearer"
    assert API["servers"][0]["variables"]["apiBaseUrl"]["default"] == Dify(api_key="dataset-x").base_url
    assert [(p["name"], p["in"], p["schema"]["format"]) for p in OPERATION["parameters"]] == [
        ("dataset_id", "path", "uuid"),
        ("document_id", "path", "uuid"),
    ]
    assert list(OPERATION["responses"]) == ["204", "400", "403", "404"]
    assert sorted(EXAMPLES) == ["archived_document_immutable", "document_indexing", "not_found"]


def test_we_ask_as_the_page_says() -> None:
    """Our DELETE is the documented route with both ids in their places, and no body."""
    dataset, document = str(uuid.uuid4()), str(uuid.uuid4())
    request = Dify(api_key="dataset-x").request(Target("dify", dataset, document), "delete")
    wanted = ROUTE.replace("{dataset_id}", dataset).replace("{document_id}", document)
    assert (request.method, request.path, request.json) == ("DELETE", wanted, None)


MEANING: dict[str, type[Verdict]] = {  # type: ignore[valid-type]
    "archived_document_immutable": Reject,
    "document_indexing": Requeue,
    "not_found": Gone,
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_we_understand_what_the_page_says(name: str) -> None:
    """Each documented answer, word for word, means to us what the page says; 204 is a delete."""
    status, body = EXAMPLES[name]
    asked = Asked(Target("dify", str(uuid.uuid4()), str(uuid.uuid4())))
    dify = Dify(api_key="dataset-x")
    headers = {"content-type": "application/json", "x-version": "1.14.2"}
    assert isinstance(dify.read(asked, Answer(status, headers, json.dumps(body).encode())), MEANING[name])
    assert isinstance(dify.read(asked, Answer(204, headers)), Deleted)


def ask(simulator: DifySimulator, dataset: str, document: str, **how: Any) -> Came:
    async def main() -> Came:
        async with simulator:
            path = ROUTE.replace("{dataset_id}", dataset).replace("{document_id}", document)
            return await Client(simulator).ask("DELETE", path, **how)

    return asyncio.run(main())


@pytest.mark.parametrize("version", ["1.14.2", "1.15.0"])
def test_the_simulator_answers_as_the_page_says(version: str) -> None:
    """204 without a body for a document that is there; each documented error with its status, code and message."""
    documented = {name: (status, body) for name, (status, body) in EXAMPLES.items()}
    simulator = DifySimulator(documents=0, version=version, faults=Faults(guard=True))
    dataset = simulator.add_dataset()
    there = simulator.add_document(dataset)
    archived = simulator.add_document(dataset, archived=True)
    indexing = simulator.add_document(dataset, indexing_for=1e6)
    came = ask(simulator, dataset, there)
    assert (came.status, came.text) == (204, "")
    for name, document in (
        ("archived_document_immutable", archived),
        ("document_indexing", indexing),
        ("not_found", there),
    ):
        came = ask(simulator, dataset, document)
        assert (came.status, came.json) == documented.pop(name)
        assert came.headers["Content-Type"].startswith("application/json")
    assert not documented
    assert {held.id for held in simulator.documents(dataset)} == {archived, indexing}


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic d3Jvbmc="])
def test_the_simulator_wants_the_key_as_the_page_says(authorization: str | None) -> None:
    """Without the bearer key nothing is deleted."""
    simulator = DifySimulator(documents=1)
    (dataset,) = simulator.dataset_ids
    document = simulator.documents(dataset)[0].id
    came = ask(simulator, dataset, document, authorization=authorization)
    assert came.status == 401
    assert len(simulator.documents(dataset)) == 1


@pytest.mark.parametrize("bad", ["1", "not-a-uuid", "9c8d750a97684" + "2c3a7dad45afc12781b", "%20", "..", "a%2Fb"])
@pytest.mark.parametrize("which", ["dataset", "document"])
def test_the_simulator_takes_uuids_alone(bad: str, which: str) -> None:
    """A path parameter that is not of the documented format reaches no document, whatever the rest of the path."""
    simulator = DifySimulator(documents=1)
    (dataset,) = simulator.dataset_ids
    document = simulator.documents(dataset)[0].id
    came = ask(simulator, bad if which == "dataset" else dataset, bad if which == "document" else document)
    assert came.status in (404, 405)
    assert len(simulator.documents(dataset)) == 1
