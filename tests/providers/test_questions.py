"""Preflight, listing, document and datasets: what is asked, and what counts as an answer (S15)."""

from __future__ import annotations

from typing import Any

import pytest

from bulkdel.model import Dataset, Document
from bulkdel.providers.protocol import (
    LISTING_BYTES,
    Answer,
    Failure,
    Gone,
    Lost,
    Next,
    Page,
    Pause,
    Reply,
    Requeue,
    StopDataset,
    StopProvider,
)  # fmt: skip
from tests.providers.answers import (
    ATTACHMENT,
    DIFY,
    DOC,
    DS,
    FILE,
    FOLDER,
    HTML,
    LANGDOCK,
    TARGET,
    dify_answer,
    error,
    langdock_answer,
)  # fmt: skip


def dify_page(*rows: Any, page: int = 1, total: int = 3, **more: Any) -> Answer:
    return dify_answer(200, {"data": list(rows), "has_more": False, "limit": 100, "total": total, "page": page} | more)


def folders(*rows: Any, cursor: Any = None) -> Answer:
    return langdock_answer(200, {"status": "success", "result": list(rows), "nextCursor": cursor})


def one(**row: Any) -> Document:
    """A Dify row read, with an id."""
    found = DIFY.read_listing(DS, None, dify_page({"id": DOC, **row}))
    assert isinstance(found, Page)
    return found.items[0]


# ------------------------------------------------------------------ what goes wrong is the same for every question


NO_ANSWERS: list[tuple[Reply, type]] = [
    (Lost("unreachable", sent=False), Requeue),
    (Lost("timeout", sent=True), Requeue),
    (Lost("tls", sent=False), StopProvider),
    (Answer(401), StopProvider),
    (Answer(302, {"location": "/login"}), StopProvider),
    (Answer(200, {"content-type": "text/html"}, HTML), StopProvider),
    (Answer(200), StopProvider),
    (Answer(204), StopProvider),
    (Answer(404, {}, HTML), StopProvider),
    (Answer(429, {"retry-after": "3"}), Pause),
    (Answer(500), Requeue),
    (Answer(503), Requeue),
    (Answer(100), Requeue),
    (Answer(418), Requeue),
]


@pytest.mark.parametrize(("reply", "kind"), NO_ANSWERS)
def test_what_is_no_answer_is_a_failure_and_never_an_empty_one(reply: Reply, kind: type) -> None:
    """S15: whatever is asked, an outage, a login page, a wrong route or a limit is none of it read as nothing there."""
    found: list[object] = [
        DIFY.read_preflight(DS, None, reply),
        DIFY.read_listing(DS, None, reply),
        DIFY.read_document(TARGET, reply),
        DIFY.read_datasets(None, reply),
        LANGDOCK.read_preflight(FOLDER, None, reply),
        LANGDOCK.read_listing(FOLDER, None, reply),
        LANGDOCK.read_datasets(None, reply),
    ]
    for each in found:
        assert isinstance(each, kind), each
        assert isinstance(each, Failure)
        assert not (isinstance(each, Requeue) and (each.cause == "indexing" or each.doubt))


@pytest.mark.parametrize("body", [b'{"data":[', b'{"result":[{"id":"a"}', b'[{"id'])
def test_an_answer_that_broke_off_is_asked_again(body: bytes) -> None:
    """JSON that ends early is the service's own answer, cut short on its way."""
    answer = Answer(200, {"x-version": "1"}, body)
    for found in (DIFY.read_listing(DS, None, answer), LANGDOCK.read_listing(FOLDER, None, answer),
                  DIFY.read_datasets(None, answer), DIFY.read_preflight(DS, None, answer)):  # fmt: skip
        assert isinstance(found, Requeue)
        assert found.cause == "trouble"


def test_a_listing_that_was_cut_is_not_read() -> None:
    """A listing longer than what is read of it stops the dataset, even if its beginning is good JSON."""
    found = DIFY.read_listing(DS, None, dify_page()._replace(cut=True))
    assert isinstance(found, StopDataset)
    assert "longer" in found.reason
    assert isinstance(
        LANGDOCK.read_listing(FOLDER, None, langdock_answer(200, {"result": []})._replace(cut=True)), StopDataset
    )


SHAPES = [
    [], {}, "text", 7, None, {"data": None}, {"data": {}}, {"data": "rows"}, {"data": [7]}, {"data": [None]},
    {"data": [{}]}, {"data": [{"name": "no id"}]}, {"data": [{"id": None}]}, {"data": [{"id": 7}]}, {"data": [{"id": ""}]},
    {"data": [{"id": DOC}, []]}, {"data": [], "page": 2}, {"code": "x", "message": "y"},
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_json_of_another_shape_is_no_listing(shape: Any) -> None:
    """S15: a 200 with JSON that is not a page of rows, each with an id, stops the dataset and says why."""
    found = DIFY.read_listing(DS, None, dify_answer(200, shape))
    assert isinstance(found, StopDataset)
    assert found.reason.startswith("the listing could not be read: ")
    assert isinstance(DIFY.read_datasets(None, dify_answer(200, shape)), StopProvider)


@pytest.mark.parametrize(
    "shape",
    [
        {"status": "success"},
        {"result": None},
        {"result": {}},
        {"result": [1]},
        {"result": [{}]},
        {"result": [{"id": 7}]},
        {"status": "error", "result": []},
    ],
)
def test_json_of_another_shape_is_no_listing_at_langdock(shape: Any) -> None:
    """S15, at Langdock."""
    found = LANGDOCK.read_listing(FOLDER, None, langdock_answer(200, shape))
    assert isinstance(found, StopDataset)
    assert found.reason.startswith("the listing could not be read: ")
    assert isinstance(LANGDOCK.read_datasets(None, langdock_answer(200, shape)), StopProvider)


@pytest.mark.parametrize("shape", [[], {}, "x", 7, None, {"data": []}])
def test_json_without_a_result_is_not_langdock(shape: Any) -> None:
    """Langdock's answers carry no mark: what has nothing of a listing is another service's, and says nothing about the folder.

    A list of folders is taken in any envelope, because Langdock's page does not say what holds them.
    """
    found = LANGDOCK.read_listing(FOLDER, None, langdock_answer(200, shape))
    assert isinstance(found, StopProvider)
    assert found.reason.startswith("this is not Langdock's answer: ")
    assert found.hint == LANGDOCK.wrong_address
    if shape not in ([], {"data": []}):
        assert isinstance(LANGDOCK.read_datasets(None, langdock_answer(200, shape)), StopProvider)


# ------------------------------------------------------------------ Dify


def test_dify_asks_at_the_contracts_routes() -> None:
    """Pages of 100, room for a whole listing, and no body."""
    assert DIFY.preflight(DS, None).path == f"/datasets/{DS}"
    assert DIFY.listing(DS, None).path == f"/datasets/{DS}/documents?page=1&limit=100"
    assert DIFY.listing(DS, "7").path == f"/datasets/{DS}/documents?page=7&limit=100"
    assert DIFY.document(TARGET).path == f"/datasets/{DS}/documents/{DOC}"
    assert DIFY.datasets(None).path == "/datasets?page=1&limit=100&include_all=true"
    assert DIFY.listing(DS, "7:97").path == f"/datasets/{DS}/documents?page=7&limit=97"
    assert DIFY.datasets("2").path == "/datasets?page=2&limit=100&include_all=true"
    assert DIFY.page_size == 100
    for request in (DIFY.preflight(DS, None), DIFY.listing(DS, None), DIFY.document(TARGET), DIFY.datasets(None)):
        assert request.method == "GET"
        assert request.json is None
        assert request.max_body == LISTING_BYTES


@pytest.mark.parametrize("has_more", [True, False])
def test_a_dify_listing_ends_with_an_empty_page_and_nothing_else(has_more: bool) -> None:
    """``has_more`` is wrong both ways: a page with rows always has a next one, an empty page never."""
    full = DIFY.read_listing(DS, "3", dify_page({"id": DOC}, page=3, total=201, has_more=has_more))
    empty = DIFY.read_listing(DS, "4", dify_page(page=4, total=201, has_more=has_more))
    assert isinstance(full, Page)
    assert (full.next, full.total, len(full.items)) == ("4", 201, 1)
    assert empty == Page((), None, 201)


@pytest.mark.parametrize(
    ("start", "total", "ahead"),
    [
        (None, 1, ["2"]), (None, 100, ["2"]), (None, 101, ["2", "3"]), (None, 200, ["2", "3"]), (None, 250, ["2", "3", "4"]),
        ("1:97", 97, ["2:97"]), ("1:97", 195, ["2:97", "3:97", "4:97"]), ("3", 250, ["4"]), ("4", 250, []),
    ],
)  # fmt: skip
def test_the_pages_ahead_end_with_the_empty_one(start: str | None, total: int, ahead: list[str]) -> None:
    """They are those that one page after another would name; a service that names only the next page has none."""
    assert list(DIFY.pages_ahead(start, total)) == ahead
    assert list(LANGDOCK.pages_ahead(None, total)) == []
    page = DIFY.read_listing(DS, start, dify_page({"id": DOC}, page=int((start or "1")[0]), total=total))
    assert isinstance(page, Page)
    assert not ahead or page.next == ahead[0]


def test_a_listing_that_serves_the_wrong_page_is_not_read() -> None:
    """A proxy that drops the query would serve page 1 for ever."""
    found = DIFY.read_listing(DS, "2", dify_page({"id": DOC}, page=1))
    assert found == StopDataset("the listing could not be read: page 2 was asked for and page 1 came")


def test_a_listing_that_does_not_end_is_given_up() -> None:
    """Every page has a row, so there are not many more pages than the service counts rows."""
    found = DIFY.read_listing(DS, "1004", dify_page({"id": DOC}, page=1004, total=3))
    why = "page 1004 is not empty, and the service counts 3 in all"
    assert found == StopDataset(f"the listing could not be read: {why}")
    assert isinstance(DIFY.read_listing(DS, "1003", dify_page({"id": DOC}, page=1003, total=3)), Page)


def test_a_row_needs_only_an_id() -> None:
    """Any optional key may be missing, null or of another type."""
    assert one() == Document(DOC)
    row = one(name=None, created_at="soon", indexing_status=7, display_status=[], archived="yes", enabled=None)
    assert row == Document(DOC)
    assert (one(enabled=False).enabled, one(enabled=True).enabled) == (False, True)
    assert (one(archived=False).archived, one(archived=True).archived) == (False, True)


@pytest.mark.parametrize(
    ("state", "shown", "indexing", "ready"),
    [
        ("waiting", "queuing", True, False),
        ("parsing", "indexing", True, False),
        ("cleaning", "indexing", True, False),
        ("splitting", "indexing", True, False),
        ("indexing", "indexing", True, False),
        ("indexing", "archived", True, False),
        ("indexing", "paused", False, False),
        ("paused", "paused", False, False),
        ("error", "error", False, False),
        ("completed", "available", False, True),
        ("completed", "disabled", False, True),
        ("completed", "archived", False, True),
        ("completed", "indexing", False, True),
        ("waiting", None, True, False),
        ("parsing", None, True, False),
        ("cleaning", None, True, False),
        ("splitting", None, True, False),
        ("indexing", None, True, False),
        ("error", "indexing", False, False),
        ("completed", None, False, True),
        (None, "queuing", True, False),
        (None, "available", False, True),
        (None, "enabled", False, True),
        (None, "disabled", False, True),
        (None, "archived", False, True),
        (None, None, False, True),
        ("brand-new", "brand-new", False, False),
    ],
)
def test_a_documents_state_is_read_from_both_words(
    state: str | None, shown: str | None, indexing: bool, ready: bool
) -> None:
    """Still being indexed, completed, or neither, as the contract lists Dify's words."""
    row = one(indexing_status=state, display_status=shown)
    assert (row.indexing, row.ready, row.status) == (indexing, ready, shown or state or "")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1795283784, 1795283784.0), (1795283784.5, 1795283784.5), (0, 0.0), (1795283784000, 1795283784.0),
     ("2026-11-21T18:36:24Z", 1795286184.0), ("2026-11-21T18:36:24", 1795286184.0), (True, None), (-1, None),
     (10**400, None), (1e300, None), (None, None), ("", None), ({}, None)],
)  # fmt: skip
def test_a_creation_time_is_unix_seconds_or_unknown(value: Any, seconds: float | None) -> None:
    """Seconds, milliseconds and ISO 8601 are read; what is no time selects nothing by its age."""
    assert one(created_at=value).created_at == seconds


def test_half_a_character_in_a_name_becomes_a_question_mark() -> None:
    """JSON can hold lone surrogates, which no file, database or terminal can."""
    assert one(name="a\ud800b").name == "a?b"


def test_dify_preflight_tells_what_cannot_be_purged() -> None:
    """An external knowledge base and one with its API off are refused; counts and name are the service's own."""

    def read(**more: Any) -> object:
        return DIFY.read_preflight(DS, None, dify_answer(200, {"id": DS, "name": "docs", "document_count": 7} | more))

    assert read() == Dataset(DS, "docs", 7)
    assert "external" in getattr(read(provider="external"), "refusal", "")
    assert "not enabled" in getattr(read(enable_api=False), "refusal", "")
    assert read(document_count=None) == Dataset(DS, "docs", None)
    assert read(document_count=None, total_documents=5) == Dataset(DS, "docs", 5)
    assert isinstance(DIFY.read_preflight(DS, None, dify_answer(200, {"id": DOC})), StopDataset)
    assert isinstance(DIFY.read_preflight(DS, None, dify_answer(200, {"status": "ok"})), StopProvider)
    assert isinstance(DIFY.read_preflight(DS.upper(), None, dify_answer(200, {"id": DS})), Dataset)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "invalid_param", "Failed to request plugin daemon, url: x"),
        (400, "invalid_param", "Unable to retrieve billing information."),
        (400, "plugin_error", "Plugin Daemon Inner Error"),
        (500, "internal_server_error", "Failed to request plugin daemon"),
    ],
)
def test_the_documents_prove_a_dataset_that_cannot_be_asked(status: int, code: str, words: str) -> None:
    """Row 6: what a question about a dataset needs may be down while its documents can be listed and deleted."""
    down = error(status, code, words)
    following = DIFY.read_preflight(DS, None, down)
    assert isinstance(following, Next)
    assert DIFY.preflight(DS, following.cursor) == DIFY.listing(DS, None)
    assert DIFY.read_preflight(DS, following.cursor, dify_page({"id": DOC}, total=7)) == Dataset(DS, documents=7)
    gone = error(404, "not_found", "Dataset not found.")
    assert isinstance(DIFY.read_preflight(DS, following.cursor, gone), StopDataset)
    assert isinstance(DIFY.read_preflight(DS, following.cursor, Answer(503)), Requeue)
    if code != "plugin_error":
        assert isinstance(DIFY.read_datasets(None, down), Requeue)


@pytest.mark.parametrize("reply", [Answer(503), Answer(500), Answer(502, {}, HTML), Answer(503, {"retry-after": "5"}),
                                   Lost("timeout", sent=True), Lost("disconnected", sent=True), Lost("unreachable", sent=False)])  # fmt: skip
def test_an_outage_is_no_verdict_on_a_dataset(reply: Reply) -> None:
    """Asked again later, whatever was asked: nothing says that the dataset is not there."""
    for found in (DIFY.read_preflight(DS, None, reply), DIFY.read_preflight(DS, "documents", reply),
                  LANGDOCK.read_preflight(FOLDER, None, reply)):  # fmt: skip
        assert isinstance(found, Requeue)
        assert found.cause == "trouble"


def test_an_empty_list_says_what_answered() -> None:
    """A stand-in's {"data": []} is known by the missing X-Version; Langdock shows a personal key nothing."""
    stand_in = DIFY.read_datasets(None, Answer(200, {}, b'{"data":[]}'))
    assert isinstance(stand_in, Page)
    assert "X-Version" in stand_in.note
    assert DIFY.base_url in stand_in.note
    assert DIFY.read_datasets(None, dify_page(total=0)) == Page((), None, 0)
    personal = LANGDOCK.read_datasets(None, folders())
    assert isinstance(personal, Page)
    assert "personal key" in personal.note
    assert LANGDOCK.read_datasets(None, folders({"id": "a"})) == Page((Dataset("a"),))


def test_a_missing_dify_dataset_stops_only_itself() -> None:
    """404 "Dataset…", the two 400s, API access off and a forbidden one."""
    for answer in (
        error(404, "not_found", "Dataset not found."),
        error(400, "invalid_param", "Dataset does not exist."),
        error(403, "forbidden", "Dataset api access is not enabled."),
        error(403, "forbidden", "You do not have permission."),
        error(400, "invalid_param", "1 validation error"),
    ):
        assert isinstance(DIFY.read_listing(DS, None, answer), StopDataset)
        assert isinstance(DIFY.read_preflight(DS, None, answer), StopDataset)
        assert isinstance(DIFY.read_datasets(None, answer), StopProvider)


def test_dify_passes_and_blocks_are_no_refusals() -> None:
    """The cloud's rate limit pauses; a proxy's 403 pauses and stops after a few; a bad request of a proxy stops."""
    assert DIFY.read_listing(DS, None, error(403, "forbidden", "… request rate limit …")) == Pause(
        "… request rate limit …", 60.0
    )
    blocked = DIFY.read_listing(DS, None, Answer(403, {}, HTML))
    assert isinstance(blocked, Pause)
    assert (blocked.slower, blocked.stop_after) == (False, 3)
    assert isinstance(DIFY.read_preflight(DS, None, Answer(400, {}, HTML)), StopProvider)


def test_one_dify_document_is_read_or_gone() -> None:
    """Its state, gone in Dify's own words, or a failure that asks again; the dataset's 404 stops the dataset."""
    assert DIFY.read_document(TARGET, dify_answer(200, {"id": DOC, "name": "a"})) == Document(DOC, "a")
    assert isinstance(DIFY.read_document(TARGET, error(404, "not_found", "Document not found.")), Gone)
    assert isinstance(DIFY.read_document(TARGET, error(404, "not_found", "Dataset not found.")), StopDataset)
    for odd in (error(404, "not_found", "?"), dify_answer(200, {"id": DS}), dify_answer(200, {}), error(400, "x", "y")):
        assert isinstance(DIFY.read_document(TARGET, odd), Requeue)


def test_ids_are_read_in_their_one_spelling() -> None:
    """Whatever a release writes: what was listed and what was named are compared by their ids."""
    page = DIFY.read_listing(DS, None, dify_page({"id": DOC.upper()}))
    assert isinstance(page, Page)
    assert page.items[0].id == DOC
    assert DIFY.read_document(TARGET, dify_answer(200, {"id": DOC.upper()})) == Document(DOC)
    assert DIFY.read_preflight(DS, None, dify_answer(200, {"id": DS.upper()})) == Dataset(DS)


def test_dify_datasets_are_read_page_by_page() -> None:
    """Id, name, count and refusal of each; the empty page is the last."""
    rows = ({"id": DS, "name": "a", "document_count": 3}, {"id": DOC, "provider": "external"})
    found = DIFY.read_datasets(None, dify_page(*rows, total=2))
    assert isinstance(found, Page)
    assert (found.next, found.total) == ("2", 2)
    assert found.items[0] == Dataset(DS, "a", 3)
    assert found.items[1].refusal
    assert DIFY.read_datasets("2", dify_page(page=2, total=2)) == Page((), None, 2)


# ------------------------------------------------------------------ Langdock


def test_langdock_asks_at_the_contracts_routes() -> None:
    """Folders by cursor, a folder's files in one call."""
    assert LANGDOCK.preflight(FOLDER, None).path == "/knowledge?limit=100"
    assert LANGDOCK.datasets("a/b").path == "/knowledge?limit=100&cursor=a%2Fb"
    assert LANGDOCK.listing(FOLDER, None).path == f"/knowledge/{FOLDER}/list"
    assert LANGDOCK.listing(FOLDER, None).max_body == LISTING_BYTES
    assert LANGDOCK.document(ATTACHMENT).path == f"/knowledge/{FOLDER}/{FILE}"
    assert {name.lower() for name in LANGDOCK.headers()}.isdisjoint({"origin", "referer"})


def test_langdock_preflight_reads_pages_to_the_folder() -> None:
    """The folder with its count and role; not on this page: the next; on none: not shared with this key."""
    row = {"id": FOLDER, "name": "docs", "role": "EDITOR", "fileCount": 7}
    assert LANGDOCK.read_preflight(FOLDER, None, folders(row)) == Dataset(FOLDER, "docs", 7)
    following = LANGDOCK.read_preflight(FOLDER, None, folders({"id": "other"}, cursor="c1"))
    assert isinstance(following, Next)
    assert LANGDOCK.preflight(FOLDER, following.cursor).path == "/knowledge?limit=100&cursor=c1"
    assert LANGDOCK.read_preflight(FOLDER, following.cursor, folders(row)) == Dataset(FOLDER, "docs", 7)
    missing = LANGDOCK.read_preflight(FOLDER, following.cursor, folders({"id": "other"}))
    assert isinstance(missing, StopDataset)
    assert "shared with this key" in missing.reason
    assert isinstance(LANGDOCK.read_preflight(FOLDER, None, folders()), StopDataset)


@pytest.mark.parametrize(
    ("role", "refused"), [("USER", True), ("user", True), ("EDITOR", False), ("OWNER", False), (None, False)]
)
def test_a_user_of_a_folder_cannot_purge_it(role: str | None, refused: bool) -> None:
    """The role is said before anything is sent, in words that say what is needed."""
    found = LANGDOCK.read_preflight(FOLDER, None, folders({"id": FOLDER, "role": role}))
    assert isinstance(found, Dataset)
    assert ("Editor" in found.refusal) == refused


def test_a_cursor_that_is_refused_says_nothing_of_the_address() -> None:
    """The list is read anew; refused without a cursor, it is the provider that stops."""
    refused = langdock_answer(400, {"message": "Invalid cursor"})
    assert LANGDOCK.read_preflight(FOLDER, "c1", refused) == StopDataset("Invalid cursor")
    assert isinstance(LANGDOCK.read_preflight(FOLDER, None, refused), StopProvider)
    forgotten = error(400, "invalid_param", "no such page")
    assert DIFY.read_datasets("2", forgotten) == StopDataset("no such page")
    assert isinstance(DIFY.read_datasets(None, forgotten), StopProvider)


def test_a_cursor_that_comes_again_is_the_end() -> None:
    """Asked for a page, the service names this very page as the next: there is none."""
    again = LANGDOCK.read_datasets("c9", folders({"id": "a"}, cursor="c9"))
    assert again == Page((Dataset("a"),))


@pytest.mark.parametrize("body", [
    [{"id": "a"}],
    {"result": [{"id": "a"}]},
    {"status": "success", "data": [{"id": "a"}]},
    {"folders": [{"id": "a"}], "nextCursor": None},
    {"status": "success", "result": {"folders": [{"id": "a"}]}},
    {"data": {"items": [{"id": "a"}]}},
    {"knowledgeFolders": [{"id": "a"}]},
    {"knowledgeBases": [{"id": "a"}]},
    {"items": [{"id": "a"}]},
])  # fmt: skip
def test_folders_are_found_in_any_usual_envelope(body: Any) -> None:
    """The public page names the rows and the cursor, not what holds them."""
    assert LANGDOCK.read_datasets(None, langdock_answer(200, body)) == Page((Dataset("a"),))


@pytest.mark.parametrize("body", [
    {"folders": [{"id": "a"}], "nextCursor": "c1"},
    {"result": {"folders": [{"id": "a"}], "nextCursor": "c1"}},
    {"result": {"folders": [{"id": "a"}]}, "nextCursor": "c1"},
])  # fmt: skip
def test_the_next_page_is_found_in_any_usual_envelope(body: Any) -> None:
    """A cursor beside the rows or beside what holds them is followed: a page that was taken for the last would hide folders."""
    found = LANGDOCK.read_datasets(None, langdock_answer(200, body))
    assert isinstance(found, Page)
    assert found.next is not None
    assert LANGDOCK.datasets(found.next).path.endswith("cursor=c1")


def test_a_langdock_folder_is_found_in_any_spelling() -> None:
    """A UUID in capitals is the folder that the list writes in small letters, and so are its files."""
    assert LANGDOCK.read_preflight(DS.upper(), None, folders({"id": DS})) == Dataset(DS)
    page = LANGDOCK.read_listing(DS, None, langdock_answer(200, {"result": [{"id": DOC.upper()}]}))
    assert page == Page((Document(DOC),), None, 1)


def test_a_key_without_the_scope_stops_the_provider() -> None:
    """A 403 to the list of folders is about the key, not about a folder."""
    found = LANGDOCK.read_preflight(FOLDER, None, langdock_answer(403, {"error": "INSUFFICIENT_SCOPES"}))
    assert isinstance(found, StopProvider)
    assert "KNOWLEDGE_FOLDER_API" in found.hint
    wrong = LANGDOCK.read_preflight(FOLDER, None, langdock_answer(404, {"message": "Not Found"}))
    assert isinstance(wrong, StopProvider)
    assert "/api/public" in wrong.hint


def test_a_langdock_folder_is_listed_in_one_call() -> None:
    """Status, creation time and where it comes from; the list is the whole snapshot."""
    rows = [
        {"id": "a", "name": "a.pdf", "createdAt": "2024-01-15T10:30:00.000Z", "syncStatus": "SYNCED"},
        {"id": "b", "syncStatus": "EMBEDDING", "externalId": "drive-7"},
        {"id": "c", "syncStatus": "TIMEOUT", "syncParams": {"source": "drive"}},
        {"id": "d"},
    ]
    found = LANGDOCK.read_listing(FOLDER, None, langdock_answer(200, {"status": "success", "result": rows}))
    assert found == Page(
        (
            Document("a", "a.pdf", 1705314600.0, "SYNCED"),
            Document("b", status="EMBEDDING", indexing=True, ready=False, synced=True),
            Document("c", status="TIMEOUT", ready=False, synced=True),
            Document("d"),
        ),
        None,
        4,
    )


@pytest.mark.parametrize(
    ("status", "indexing"),
    [("UPLOADING", True), ("UPLOADED", True), ("EXTRACTING", True), ("EMBEDDING", True), ("SYNCED", False),
     ("ACTION_FAILED", False), ("EXTRACTION_FAILED", False), ("EMBEDDING_FAILED", False), ("TIMEOUT", False)],
)  # fmt: skip
def test_a_files_sync_status_tells_whether_it_is_in_flight(status: str, indexing: bool) -> None:
    """Four words are in flight; only SYNCED is ready; the failed ones are neither."""
    found = LANGDOCK.read_document(ATTACHMENT, langdock_answer(200, {"result": {"id": FILE, "syncStatus": status}}))
    assert isinstance(found, Document)
    assert (found.indexing, found.ready) == (indexing, status == "SYNCED")


def test_a_missing_langdock_folder_stops_only_itself() -> None:
    """404 and 403 to the folder's list; a page in its place is another service."""
    assert isinstance(
        LANGDOCK.read_listing(FOLDER, None, langdock_answer(404, {"message": "Folder not found"})), StopDataset
    )
    assert isinstance(LANGDOCK.read_listing(FOLDER, None, langdock_answer(403, {"message": "Not shared"})), StopDataset)
    assert isinstance(LANGDOCK.read_listing(FOLDER, None, langdock_answer(404, HTML)), StopProvider)


def test_one_langdock_file_is_read_or_gone() -> None:
    """Its state, gone in words about the attachment, or a failure that asks again."""
    assert LANGDOCK.read_document(ATTACHMENT, langdock_answer(200, {"id": FILE})) == Document(FILE)
    assert isinstance(
        LANGDOCK.read_document(ATTACHMENT, langdock_answer(404, {"message": "Attachment not found"})), Gone
    )
    assert isinstance(
        LANGDOCK.read_document(ATTACHMENT, langdock_answer(500, {"message": "Attachment not found"})), Gone
    )
    for odd in (langdock_answer(404, {"message": "Folder not found"}), langdock_answer(404, HTML),
                langdock_answer(200, {"id": "x"}), langdock_answer(400, {"message": "?"})):  # fmt: skip
        assert isinstance(LANGDOCK.read_document(ATTACHMENT, odd), Requeue)
    assert isinstance(LANGDOCK.read_document(ATTACHMENT, langdock_answer(200, HTML)), StopProvider)
