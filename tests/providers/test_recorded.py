"""Every answer recorded from a real Dify is read as the contract's table says."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from bulkdel.model import Dataset, Document, Target
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Asked,
    Deleted,
    Gone,
    Page,
    Reject,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)  # fmt: skip
from tests import recorded
from tests.providers.answers import DIFY, DOC, DS
from tests.recorded import Row

UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
ROUTES = {
    "document": re.compile(rf"/datasets/({UUID})/documents/({UUID})"),
    "listing": re.compile(rf"/datasets/({UUID})/documents"),
    "status": re.compile(rf"/datasets/({UUID})/documents/status/(\w+)"),
    "dataset": re.compile(rf"/datasets/({UUID})"),
    "datasets": re.compile("/datasets"),
}
ALL = recorded.rows()


def on(route: str, *methods: str) -> list[Any]:
    """The rows on a route of the contract, by the methods given."""
    found = [row for row in ALL if row.method in methods and ROUTES[route].fullmatch(row.path.partition("?")[0])]
    assert found
    return [pytest.param(row, id=str(row)) for row in found]


def answer(row: Row) -> Answer:
    return Answer(row.status, row.headers, row.body)


def ids(row: Row) -> tuple[str, ...]:
    for route in ROUTES.values():
        if found := route.fullmatch(row.path.partition("?")[0]):
            return found.groups()
    return ()


def broke_off(row: Row) -> bool:
    """Whether the recording itself has only the beginning of the body."""
    return row.body.startswith(b"{") and not row.body.rstrip().endswith(b"}")


DELETES = {
    (204, ""): Deleted,
    (200, ""): Deleted,
    (400, "document_indexing"): Requeue,
    (401, "unauthorized"): StopProvider,
    (403, "archived_document_immutable"): Reject,
    (403, "forbidden"): StopDataset,
    (404, "Document"): Gone,
    (404, "Dataset"): Ask,
    (500, "unknown"): Requeue,
}


def telling(row: Row) -> tuple[int, str]:
    """What tells the rows of the table apart: the status, with the code, or with whose 404 it is."""
    code = re.search(rb'"code":"(\w+)"', row.body)
    whose = re.search(rb'"message":"(\w+)', row.body)
    if row.status == 404 and whose:
        return row.status, whose[1].decode()
    return row.status, code[1].decode() if code else ""


@pytest.mark.parametrize("row", on("document", "DELETE"))
def test_a_recorded_delete_has_the_verdict_of_its_row(row: Row) -> None:
    """Each recorded answer to DELETE document leads where the contract's table leads."""
    dataset, document = ids(row)
    verdict = DIFY.read(Asked(Target("dify", dataset, document)), answer(row))
    assert type(verdict) is DELETES[telling(row)]
    match verdict:
        case Requeue():
            assert verdict.cause == ("indexing" if row.status == 400 else "trouble")
            assert verdict.doubt == (row.status == 500)
        case Reject():
            assert verdict.outcome == "archived"
        case Ask():
            assert verdict.step == "dataset"


@pytest.mark.parametrize("row", on("document", "GET"))
def test_a_recorded_document_is_read(row: Row) -> None:
    """GET document: its state, or gone; never anything else in these recordings."""
    dataset, document = ids(row)
    target = Target("dify", dataset, document)
    found = DIFY.read_document(target, answer(row))
    if row.status == 404:
        assert isinstance(found, Gone)
        assert isinstance(DIFY.read(Asked(target, "check"), answer(row)), Gone)
    else:
        assert isinstance(found, Document)
        assert found.id == document
        assert found.indexing == (b'"indexing_status":"indexing"' in row.body)
        assert found.name.endswith(".txt")
        verdict = DIFY.read(Asked(target, "check"), answer(row))
        assert isinstance(verdict, Requeue)
        assert verdict.step == "delete"


@pytest.mark.parametrize("row", on("listing", "GET"))
def test_a_recorded_listing_is_read_whole_or_not_at_all(row: Row) -> None:
    """GET documents: all rows of the page, or a failure; the recordings that break off are no empty listings."""
    page = re.search(r"[?&]page=(\d+)", row.path)
    found = DIFY.read_listing(ids(row)[0], page[1] if page else None, answer(row))
    match row.status:
        case 200 if broke_off(row):
            assert isinstance(found, Requeue)
            assert found.cause == "trouble"
        case 200:
            assert isinstance(found, Page)
            assert len(found.items) == len(re.findall(rb'"position"', row.body))
            assert (found.next is None) == (not found.items)
            assert found.total == int(re.search(rb'"total":(\d+)', row.body)[1])  # type: ignore[index]
        case 401:
            assert isinstance(found, StopProvider)
        case 500:
            assert isinstance(found, Requeue)
        case _:
            assert isinstance(found, StopDataset)


def test_the_recorded_page_is_read_field_by_field() -> None:
    """The full page of three: what is archived, indexing and ready, when it was made, and what it is called."""
    row = next(row for row in ALL if row.case.startswith("list documents, page 1 of 3"))
    found = DIFY.read_listing(ids(row)[0], None, answer(row))
    assert isinstance(found, Page)
    assert (found.total, found.next) == (3, "2")
    assert [(d.name, d.status, d.indexing, d.ready, d.archived) for d in found.items] == [
        ("doc-00002.txt", "archived", False, True, True),
        ("doc-00001.txt", "indexing", True, False, False),
        ("doc-00000.txt", "available", False, True, False),
    ]
    assert {d.created_at for d in found.items} == {1795283784.0}


@pytest.mark.parametrize("row", on("dataset", "GET"))
def test_a_recorded_preflight_is_read(row: Row) -> None:
    """GET dataset: what the service says of it, or that it is not there."""
    (dataset,) = ids(row)
    found = DIFY.read_preflight(dataset, None, answer(row))
    confirmed = DIFY.read(Asked(Target("dify", dataset, DOC), "dataset"), answer(row))
    if row.status == 404:
        assert found == confirmed == StopDataset("Dataset not found.")
    else:
        assert found == Dataset(dataset, "Support articles", 3)
        assert isinstance(confirmed, Requeue)


@pytest.mark.parametrize("row", on("datasets", "GET"))
def test_recorded_datasets_are_read(row: Row) -> None:
    """GET datasets: id, name and count of each."""
    found = DIFY.read_datasets(None, answer(row))
    assert isinstance(found, Page)
    assert len(found.items) == 2
    assert all(DIFY.invalid(dataset.id) == "" and dataset.documents is not None for dataset in found.items)


@pytest.mark.parametrize("row", on("status", "PATCH"))
def test_a_recorded_status_change_goes_on_or_waits(row: Row) -> None:
    """PATCH status: accepted goes on, a lock waits, "not completed" cannot be disabled and goes on; never an ending."""
    dataset, action = ids(row)
    step = action if action in ("disable", "un_archive") else "un_archive"
    verdict = DIFY.read(Asked(Target("dify", dataset, DOC), step, unarchive=True), answer(row))
    following = "un_archive" if step == "disable" else "delete"
    if row.status == 200 or b"not completed" in row.body:
        assert verdict == Ask(following)
    elif b"being indexed" in row.body:
        assert isinstance(verdict, Requeue)
        assert verdict.cause == "locked"
        assert verdict.blocked_by.endswith(".txt")
    else:
        assert isinstance(verdict, Reject if row.status in (400, 415) else Requeue)


@pytest.mark.parametrize("row", [pytest.param(row, id=str(row)) for row in ALL])
def test_no_recorded_answer_is_taken_for_another(row: Row) -> None:
    """Read as the answer to any step, every recording gives a verdict; deleted and gone only for their own forms."""
    for step in ("delete", "check", "dataset", "disable", "un_archive"):
        verdict = DIFY.read(Asked(Target("dify", DS, DOC), step, unarchive=True), answer(row))
        assert isinstance(verdict, get_args(Verdict))
        if isinstance(verdict, Deleted):
            assert step == "delete"
            assert row.status == 204 or row.body in (b"204", b'{"result":"success"}')
        if isinstance(verdict, Gone):
            assert row.status == 404
            assert b'"message":"Document ' in row.body
        if b"<!doctype html>" in row.body and step == "delete":
            assert isinstance(verdict, StopProvider)


def test_the_recordings_are_all_there() -> None:
    """An empty folder would let every test above pass."""
    assert len(ALL) >= 80
