"""What each answer of an OpenAI-compatible service means to the plug-in, and what it asks."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.model import Dataset, Document, Limits, Rate, Target
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Asked,
    Deleted,
    Failure,
    Gone,
    Lost,
    Page,
    Pause,
    Reject,
    Reply,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)
from bulkdel.text import sanitize
from tests.plugin.simulator import KEY
from tests.plugin.vectorstores.bulkdel_openai import VectorStores

OPENAI = VectorStores(KEY)
TARGET = Target("openai", "vs_abc123", "file-abc123")
STEPS = ("delete", "file", "check")

NOT_IN_STORE = "No file found with id 'file-abc123' in vector store 'vs_abc123'."
NO_FILE = "No such File object: file-abc123"
NO_STORE = "Vector store with id 'vs_abc123' not found."
LOCK = "Timed out while waiting for the lock."
HTML = b"<!doctype html><title>Sign in</title>"
ADDRESS = "check the base URL, which ends in /v1"
ACCESS = "give a key that may write vector stores and files"


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def refusal(
    status: int, message: str, kind: str = "invalid_request_error", code: str | None = None, **more: str
) -> Answer:
    return answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, **more)


def deleted(object: str, **changed: Any) -> Answer:
    return answer(200, {"id": "file-abc123", "object": object, "deleted": True} | changed)


OUT = deleted("vector_store.file.deleted")
FILE_ROW = {"id": "file-abc123", "object": "file"}

VERDICTS = [
    ("out of the store", "delete", OUT, Ask("file")),
    ("deleted", "file", deleted("file"), Deleted()),
    ("not in the store", "delete", refusal(404, NOT_IN_STORE), Ask("file", NOT_IN_STORE)),
    ("no such file", "file", refusal(404, NO_FILE), Gone(NO_FILE)),
    ("no such file", "check", refusal(404, NO_FILE), Gone(NO_FILE)),
    ("there", "check", answer(200, FILE_ROW), Requeue("unclear", "still there", step="delete")),
    ("no such store", "delete", refusal(404, NO_STORE), StopDataset(NO_STORE)),
    ("a page", "check", answer(200, HTML), StopProvider("this is not OpenAI's answer: HTTP 200: Sign in", ADDRESS)),
]  # fmt: skip
"""Where the step decides."""

for step in ("delete", "file"):
    unsure = Requeue("unclear", "the service does not say that it is deleted")
    broken = StopProvider("this is not OpenAI's answer: HTTP 200: Sign in", ADDRESS)
    VERDICTS += [
        ("deleted: false", step, deleted("file", deleted=False), unsure),
        ("deleted: 1", step, deleted("file", deleted=1), unsure),
        ("deleted: \"true\"", step, deleted("file", deleted="true"), unsure),
        ("only the row", step, answer(200, FILE_ROW), unsure),
        ("a login page", step, answer(200, HTML), broken),
        ("nothing", step, answer(200), StopProvider("this is not OpenAI's answer: HTTP 200", ADDRESS)),
        ("no content", step, answer(204), StopProvider("this is not OpenAI's answer: HTTP 204", ADDRESS)),
        ("accepted", step, answer(202, {"id": "file-abc123", "deleted": True}),
         StopProvider("this is not OpenAI's answer: HTTP 202: " + '{"id": "file-abc123", "deleted": true}', ADDRESS)),
        ("a number", step, answer(200, b"204"), StopProvider("this is not OpenAI's answer: HTTP 200: 204", ADDRESS)),
        ("broken off", step, answer(200, b'{"id": "fi'), Requeue("trouble", 'the answer broke off: HTTP 200: {"id": "fi', doubt=True)),
        ("another file", step, deleted("file", id="file-x"),
         unsure),
        ("refused", step, refusal(400, "The file is in use."), Reject("refused", "The file is in use.")),
        ("refused", step, refusal(422, "No."), Reject("refused", "No.")),
        ("lost", step, Lost("disconnected", True), Requeue("trouble", "the connection was lost before the whole answer came", doubt=True)),
        ("not sent", step, Lost("unreachable", False), Requeue("trouble", "cannot connect")),
        ("500", step, refusal(500, "Oops."), Requeue("trouble", "Oops.", doubt=True)),
        ("502 page", step, answer(502, HTML), Requeue("trouble", "HTTP 502: Sign in", doubt=True)),
    ]  # fmt: skip

for step in STEPS:
    again = "delete" if step == "check" else None
    VERDICTS += [
        ("key refused", step, refusal(401, f"Incorrect API key provided: {KEY}."),
         StopProvider("Incorrect API key provided: (key).", ACCESS)),
        ("scope missing", step, refusal(403, "Missing scopes: api.files.write"), StopProvider("Missing scopes: api.files.write", ACCESS)),
        ("lock", step, refusal(409, LOCK), Requeue("unclear", LOCK, step=again)),
        ("lock without words", step, answer(409), Requeue("unclear", "HTTP 409", step=again)),
        ("request timeout", step, answer(408), Pause("HTTP 408", slower=False, stop_after=10)),
        ("rate", step, refusal(429, "Slow.", "requests", "rate_limit_exceeded"), Pause("Slow.")),
        ("rate, seconds", step, refusal(429, "Slow.", retry_after="7", x_ratelimit_reset_requests="6m0s"), Pause("Slow.", 7.0)),
        ("rate, reset", step, refusal(429, "Slow.", x_ratelimit_reset_requests="6m0s"), Pause("Slow.", 360.0)),
        ("rate, reset", step, refusal(429, "Slow.", x_ratelimit_reset_requests="1s", x_ratelimit_reset_tokens="9s"), Pause("Slow.", 1.0)),
        ("rate, unreadable", step, refusal(429, "Slow.", retry_after="soon", x_ratelimit_reset_requests="soon"), Pause("Slow.")),
        ("rate, proxy's", step, answer(429, HTML, retry_after="3"), Pause("HTTP 429: Sign in", 3.0)),
        ("quota", step, refusal(429, "Pay.", "insufficient_quota", "credit_balance_exhausted"),
         StopProvider("Pay.", "waiting does not help: see to the account's credit and limits")),
        ("quota", step, refusal(429, "Pay.", "billing", "insufficient_quota", retry_after="1"),
         StopProvider("Pay.", "waiting does not help: see to the account's credit and limits")),
        ("no such route", step, refusal(404, "Invalid URL (DELETE /v1/v1/vector_stores/vs_abc123/files/file-abc123)"),
         Requeue("unclear", "Invalid URL (DELETE /v1/v1/vector_stores/vs_abc123/files/file-abc123)")),
        ("another's 404", step, answer(404, {"detail": "Not Found"}),
         StopProvider('no such route: HTTP 404: {"detail": "Not Found"}', ADDRESS)),
        ("a 404 of nothing", step, refusal(404, "Not found"),
         Requeue("unclear", "Not found", step="delete") if again else Ask("check", "Not found")),
        ("a 404 of another", step, refusal(404, "No such File object: file-x"), Requeue("unclear", "No such File object: file-x")),
        ("redirect", step, answer(302, location="https://sso.example.com"), StopProvider("redirected, HTTP 302: https://sso.example.com", ADDRESS)),
        ("teapot", step, refusal(418, "No."), Requeue("unclear", "No.", step=again)),
        ("tls", step, Lost("tls", False, "self-signed"),
         StopProvider("no trusted TLS connection: self-signed",
                      "name the authority that signed it with --ca-file; checking cannot be switched off")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "reply", "verdict"), [pytest.param(*row[1:], id=f"{row[1]}-{row[0]}") for row in VERDICTS]
)
def test_an_answer_means(step: str, reply: Reply, verdict: Verdict) -> None:
    """Named by how far it reaches; deleted only for the service's own success, gone only for its own "no such file"."""
    assert OPENAI.read(Asked(TARGET, step, listed=True), reply) == verdict


@pytest.mark.parametrize(
    "asked",
    [Asked(TARGET), Asked(TARGET, dataset_found=True), Asked(TARGET, doubt=True), Asked(TARGET, listed=True)],
)
def test_a_file_of_the_store_goes_on_to_its_second_step(asked: Asked) -> None:
    """Listed there, or perhaps taken out by an attempt whose answer was lost; else the file is left to its other stores."""
    verdict = OPENAI.read(asked, refusal(404, NOT_IN_STORE))
    assert verdict == (Ask("file", NOT_IN_STORE) if asked.doubt or asked.listed else Gone(NOT_IN_STORE))


def test_each_step_is_asked_at_its_route() -> None:
    """Method and path, without a body; a step that does not exist is a bug."""
    routes = {step: (OPENAI.request(TARGET, step).method, OPENAI.request(TARGET, step).path) for step in STEPS}
    assert routes == {
        "delete": ("DELETE", "/vector_stores/vs_abc123/files/file-abc123"),
        "file": ("DELETE", "/files/file-abc123"),
        "check": ("GET", "/files/file-abc123"),
    }
    assert OPENAI.start(Document("file-abc123", archived=True), unarchive=True) == "delete"
    for wrong in ("disable", ""):
        with pytest.raises(ValueError, match="no such step"):
            OPENAI.request(TARGET, wrong)
        with pytest.raises(ValueError, match="no such step"):
            OPENAI.read(Asked(TARGET, wrong), OUT)


@pytest.mark.parametrize(
    "bad",
    ["", "file-", "vs_", "abc", "file-a/b", "vs_a/b", "../files", "file-a?b", "file-a#b", "file-a b", "file-a\n", "file-..",
     "file-é", "file-" + "x" * 101, "FILE-a", None, 7, b"file-a"],
)  # fmt: skip
def test_an_id_that_could_reach_another_route_is_never_sent(bad: Any) -> None:
    """Neither as a store nor as a file, nor one in the other's place."""
    assert OPENAI.invalid(bad)
    assert bad is None or OPENAI.invalid("vs_abc123", bad)
    assert OPENAI.invalid("file-abc123", "vs_abc123")
    assert OPENAI.invalid("vs_abc123", "file-abc123") == OPENAI.invalid("vs_a-b_C9") == ""


# ---------------------------------------------------------------------- questions


def rows(*items: dict[str, Any], more: Any = False) -> Answer:
    return answer(200, {"object": "list", "data": list(items), "first_id": "x", "last_id": "y", "has_more": more})


ROW = {"id": "file-1", "object": "vector_store.file", "created_at": 1_700_000_000, "status": "completed"}
STORE_ROW = {"id": "vs_abc123", "name": "Manuals", "status": "expired", "file_counts": {"completed": 2, "total": 7}}


def test_a_page_is_read_row_by_row() -> None:
    """The last row's id is the next cursor; in_progress is still being indexed, failed and cancelled are not ready."""
    more = [
        ROW | {"id": f"file-{n}", "status": status}
        for n, status in enumerate(("in_progress", "failed", "cancelled", "?"))
    ]
    assert OPENAI.read_listing("vs_abc123", None, rows(ROW, *more, more=True)) == Page(
        (
            Document("file-1", "", 1_700_000_000.0, "completed"),
            Document("file-0", "", 1_700_000_000.0, "in_progress", indexing=True, ready=False),
            Document("file-1", "", 1_700_000_000.0, "failed", ready=False),
            Document("file-2", "", 1_700_000_000.0, "cancelled", ready=False),
            Document("file-3", "", 1_700_000_000.0, "?", ready=False),
        ),
        next="file-3",
    )  # fmt: skip
    assert OPENAI.read_listing("vs_abc123", "file-3", rows()) == Page(())
    assert OPENAI.read_datasets(None, rows(STORE_ROW, {"id": "vs_2"}, more=True)) == Page(
        (Dataset("vs_abc123", "Manuals", 7), Dataset("vs_2")), next="vs_2"
    )


def test_questions_are_asked_by_hundreds_oldest_first() -> None:
    """What comes while the listing is read comes at its end; a cursor is one part of the query, whatever it holds."""
    assert OPENAI.listing("vs_abc123", None).path == "/vector_stores/vs_abc123/files?limit=100&order=asc"
    assert OPENAI.listing("vs_abc123", "file-9").path.endswith("/files?limit=100&order=asc&after=file-9")
    assert OPENAI.datasets("vs&x=/?").path == "/vector_stores?limit=100&order=asc&after=vs%26x%3D%2F%3F"
    assert OPENAI.preflight("vs_abc123", None).path == "/vector_stores/vs_abc123"
    assert OPENAI.document(TARGET).path == "/vector_stores/vs_abc123/files/file-abc123"
    assert {OPENAI.document(TARGET).method, OPENAI.listing("vs_abc123", None).method} == {"GET"}


@pytest.mark.parametrize(
    "body",
    [
        {}, {"data": []}, {"data": None, "has_more": False}, {"data": {}, "has_more": False}, {"data": [], "has_more": None},
        {"data": [], "has_more": True}, {"data": ["file-1"], "has_more": False}, {"data": [{"name": "x"}], "has_more": False},
        {"data": [ROW, {"id": 7}], "has_more": False},
    ],
)  # fmt: skip
def test_a_page_that_is_not_whole_is_a_failure(body: Any) -> None:
    """S15: never a page with fewer rows, nor the last page if nothing says that it is."""
    listing = OPENAI.read_listing("vs_abc123", None, answer(200, body))
    assert isinstance(listing, StopDataset)
    assert listing.reason.startswith("the listing could not be read: ")
    stores = OPENAI.read_datasets(None, answer(200, body))
    assert isinstance(stores, StopProvider)
    assert stores.reason.startswith("the list of datasets could not be read: ")


def test_a_cursor_that_died_is_no_store_that_is_gone() -> None:
    """A cursor is a file, which may be deleted while waiting ones are looked at: that is asked again, and stops nothing."""
    dead = refusal(404, "No file found with id 'file-99' in vector store 'vs_abc123'.")
    found = OPENAI.read_listing("vs_abc123", "file-99", dead)
    assert found == Requeue("unclear", "No file found with id 'file-99' in vector store 'vs_abc123'.")
    assert OPENAI.read_listing("vs_abc123", None, refusal(404, NO_STORE)) == StopDataset(NO_STORE)


def test_one_store_and_one_file_are_known_by_their_ids() -> None:
    """What was asked for, gone in the service's own words, or a failure."""
    assert OPENAI.read_preflight("vs_abc123", None, answer(200, STORE_ROW)) == Dataset("vs_abc123", "Manuals", 7)
    assert isinstance(OPENAI.read_preflight("vs_x", None, answer(200, STORE_ROW)), StopDataset)
    assert OPENAI.read_preflight("vs_abc123", None, refusal(404, NO_STORE)) == StopDataset(NO_STORE)
    there = answer(200, ROW | {"id": "file-abc123", "status": "in_progress"})
    assert OPENAI.read_document(TARGET, there) == Document(
        "file-abc123", "", 1_700_000_000.0, "in_progress", indexing=True, ready=False
    )
    assert OPENAI.read_document(TARGET, refusal(404, NOT_IN_STORE)) == Gone(NOT_IN_STORE)
    assert isinstance(OPENAI.read_document(TARGET, answer(200, ROW)), Requeue)


def test_its_limits_are_those_of_its_cloud_alone() -> None:
    """300 a minute at api.openai.com, none known elsewhere; the key is sent in one header and never shown."""
    assert OPENAI.limits == Limits(rate=Rate(300, per=60), concurrency=4)
    assert VectorStores(KEY, "http://localhost:8321/v1/").limits == Limits(concurrency=4)
    assert OPENAI.headers()["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(OPENAI)


# ---------------------------------------------------------------------- whatever else comes

WORDS = st.sampled_from([NOT_IN_STORE, NO_FILE, NO_STORE, LOCK, "Invalid URL (GET /v1/files/file-abc123)", f"bad {KEY}",
                         "a\x1b[31m\nb\u202e", "", "file-abc123", "vs_abc123"])  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "deleted", "error", "message", "type", "code", "data", "has_more", "status", "file_counts"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
NEARLY = st.one_of(
    st.fixed_dictionaries({"error": st.fixed_dictionaries({"message": WORDS | JSON, "type": WORDS, "code": JSON})}),
    st.fixed_dictionaries({"id": st.sampled_from(["file-abc123", "vs_abc123"]), "deleted": st.sampled_from([True, False, 1, "true"])}),
    st.fixed_dictionaries({"data": st.lists(st.fixed_dictionaries({"id": WORDS}) | JSON, max_size=2), "has_more": st.booleans()}),
)  # fmt: skip
REPLIES: st.SearchStrategy[Reply] = st.builds(
    Answer,
    st.sampled_from([200, 200, 200, 202, 204, 302, 400, 401, 403, 404, 404, 404, 408, 409, 418, 422, 429, 500, 503]) | st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "date", "x-ratelimit-reset-requests"]), st.sampled_from(["1", "nan", "-5", "6m0s", "x"])),
    (NEARLY | JSON).map(lambda value: json.dumps(value).encode()) | st.sampled_from([b"", HTML, b'{"id"', b"\xff"]),
    st.sampled_from([False, False, False, True]),
) | st.builds(Lost, st.sampled_from(["unreachable", "tls", "timeout", "disconnected", "garbled"]), st.booleans(), st.just("detail"))  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(reply=REPLIES, step=st.sampled_from(STEPS), listed=st.booleans(), doubt=st.booleans())
def test_whatever_comes_has_a_meaning(reply: Reply, step: str, listed: bool, doubt: bool) -> None:
    """No exception, no key, no escapes; deleted and gone only if the service says so, a page only from a whole 200."""
    verdict = OPENAI.read(Asked(TARGET, step, doubt, listed=listed), reply)
    pages = [OPENAI.read_listing("vs_abc123", None, reply), OPENAI.read_datasets(None, reply)]
    ones = [OPENAI.read_preflight("vs_abc123", None, reply), OPENAI.read_document(TARGET, reply)]
    assert isinstance(verdict, get_args(Verdict))
    assert not isinstance(pages[1], StopDataset)
    for found in (verdict, *pages, *ones):
        assert KEY not in repr(found)
        if isinstance(found, get_args(Failure)):
            assert found.reason == sanitize(found.reason, 1_000)
        elif isinstance(found, Deleted | Page | Dataset | Document):
            assert isinstance(reply, Answer)
            assert (reply.status, reply.cut) == (200, False)
        elif isinstance(found, Gone):
            assert isinstance(reply, Answer)
            message = json.loads(reply.body)["error"]["message"]
            assert "file-abc123" in message
            assert "URL" not in message
    if isinstance(verdict, Deleted):
        assert isinstance(reply, Answer)
        said = json.loads(reply.body)
        assert (step, said["id"], said["deleted"] is True) == ("file", "file-abc123", True)
