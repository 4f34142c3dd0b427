"""Every row of the table in Dify's delete contract, and the walk through its other steps."""

from __future__ import annotations

from typing import Any

import pytest

from bulkdel import Dify, Langdock
from bulkdel.model import Document
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Deleted,
    Gone,
    Lost,
    Pause,
    Reject,
    Reply,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)  # fmt: skip
from tests.providers.answers import (
    DIFY,
    DOC,
    DS,
    FILE,
    FOLDER,
    HTML,
    KEY,
    LANGDOCK,
    TARGET,
    asked,
    dify_answer,
    error,
    langdock_answer,
)  # fmt: skip
from tests.test_text import HIDDEN

DOCUMENT_404 = error(404, "not_found", "Document Not Exists.")
DATASET_404 = error(404, "not_found", "Dataset not found.")
ARCHIVED = error(403, "archived_document_immutable", "The archived document is not editable.")
RATE = error(403, "forbidden", "Sorry, you have reached the knowledge base request rate limit of your subscription.")
API_OFF = error(403, "forbidden", "Dataset api access is not enabled.")
LOCKED = error(400, "invalid_action", "Document:a.txt is being indexed, please try again later")
UNFINISHED = error(400, "invalid_action", "Document: a.txt is not completed.")
PLUGIN_DAEMON = error(400, "invalid_param", "Failed to request plugin daemon, url: plugin/x")
SUCCESS = dify_answer(200, {"result": "success"})
THE_DOCUMENT = dify_answer(200, {"id": DOC, "name": "a.txt", "indexing_status": "completed"})
THE_DATASET = dify_answer(200, {"id": DS, "name": "docs"})
FRI = "Fri, 31 Dec 1999 23:59:29 GMT"


def is_like(verdict: Verdict, kind: type, **fields: Any) -> None:
    """Assert the verdict's kind, the fields named, and that a reason is given in words."""
    assert isinstance(verdict, kind), verdict
    for name, value in fields.items():
        assert getattr(verdict, name) == value, (name, verdict)


ROWS: list[tuple[str, Reply, type, dict[str, Any]]] = [
    ("1: 204", dify_answer(204), Deleted, {}),
    ("1: 204, whatever its body is", dify_answer(204, HTML), Deleted, {}),
    ("1: 204 without headers", Answer(204), Deleted, {}),
    ("2: up to 1.3.0", SUCCESS, Deleted, {}),
    ("2: 1.4.0 to 1.12.1", dify_answer(200, 204), Deleted, {}),
    ("2: with a line end", dify_answer(200, b"204\n"), Deleted, {}),
    ("2: with another content type", dify_answer(200, b"204", content_type="text/html"), Deleted, {}),
    ("3: a login page", dify_answer(200, HTML, own=False), StopProvider, {}),
    ("3: nothing", dify_answer(200, b""), StopProvider, {}),
    ("3: other JSON", dify_answer(200, {"result": "failed"}), StopProvider, {}),
    ("3: more than success", dify_answer(200, {"result": "success", "next": "/login"}), StopProvider, {}),
    ("3: 204 as text", dify_answer(200, "204"), StopProvider, {}),
    ("3: 204 as another number", dify_answer(200, b"204.0"), StopProvider, {}),
    ("3: true", dify_answer(200, True), StopProvider, {}),
    ("3: another 2xx with the right words", dify_answer(202, {"result": "success"}), StopProvider, {}),
    ("2: broken", dify_answer(200, b"2")._replace(broken=True), Deleted, {}),
    ("1: broken", dify_answer(204, own=False)._replace(broken=True), Deleted, {}),
    ("21: broken, not Dify's", dify_answer(200, b"2", own=False)._replace(broken=True), Requeue, {"doubt": True}),
    ("3: cut", Answer(200, {}, b'{"result":"success"}', cut=True), StopProvider, {}),
    ("4", error(400, "document_indexing", "Cannot delete document during indexing."), Requeue, {"cause": "indexing"}),
    ("5", error(400, "invalid_param", "Dataset does not exist."), StopDataset, {"reason": "Dataset does not exist."}),
    ("5: up to 1.8.1", error(400, "invalid_param", "Dataset is not exist."), StopDataset, {"gone": True}),
    (
        "6",
        error(400, "invalid_param", "Unable to retrieve billing information. Please try again later."),
        Requeue,
        {"cause": "trouble", "doubt": False},
    ),
    (
        "6: the plugin daemon",
        error(400, "invalid_param", "Failed to request plugin daemon, url: plugin/x/management/models"),
        Requeue,
        {"cause": "trouble", "doubt": False},
    ),
    ("7: 400", error(400, "invalid_param", "something else"), Reject, {"outcome": "refused"}),
    ("7: 400 HTML", dify_answer(400, HTML, own=False), Reject, {"outcome": "refused", "reason": "HTTP 400: Sign in"}),
    ("7: 405", error(405, "method_not_allowed", "no"), Reject, {"outcome": "refused"}),
    ("7: 415", error(415, "unsupported_media_type", "no"), Reject, {"outcome": "refused"}),
    ("7: 422", dify_answer(422, b""), Reject, {"outcome": "refused", "reason": "HTTP 422"}),
    ("8", error(401, "unauthorized", "Access token is invalid"), StopProvider, {"reason": "Access token is invalid"}),
    ("8: HTML", dify_answer(401, HTML, own=False), StopProvider, {}),
    ("9", ARCHIVED, Reject, {"outcome": "archived", "reason": "The archived document is not editable."}),
    ("10", RATE, Pause, {"after": 60.0, "slower": True, "stop_after": None}),
    ("10: behind a proxy that drops X-Version", RATE._replace(headers={}), Pause, {"after": 60.0, "slower": True}),
    ("11", API_OFF, StopDataset, {"reason": "Dataset api access is not enabled.", "gone": False}),
    ("12: JSON", error(403, "forbidden", "No."), Reject, {"outcome": "refused", "reason": "No."}),
    ("12: HTML", dify_answer(403, HTML), Pause, {"after": None, "slower": False, "stop_after": 3}),
    ("12: no X-Version", error(403, "forbidden", "No.", own=False), Pause, {"slower": False, "stop_after": 3}),
    ("12: empty", dify_answer(403, b"", own=False), Pause, {"slower": False, "stop_after": 3}),
    ("13", DOCUMENT_404, Gone, {"reason": "Document Not Exists."}),
    ("13: with a suffix", error(404, "not_found", "Document not found. You have requested this URI [/v1]"), Gone, {}),
    ("14", DATASET_404, Ask, {"step": "dataset"}),
    ("14: with a suffix", error(404, "not_found", "Dataset not found. You have requested"), Ask, {"step": "dataset"}),
    ("15: other words", error(404, "not_found", "Nothing here."), Ask, {"step": "check"}),
    ("15: other code", error(404, "no_such_thing", "Document not found."), Ask, {"step": "check"}),
    ("15: no words", dify_answer(404, {"code": "not_found"}), Ask, {"step": "check"}),
    ("16: HTML", dify_answer(404, HTML), StopProvider, {}),
    ("16: JSON without code", dify_answer(404, {"message": "Document not found."}), StopProvider, {}),
    ("16: code is no text", dify_answer(404, {"code": 404, "message": "Document not found."}), StopProvider, {}),
    ("16: JSON, but no object", dify_answer(404, ["not_found"]), StopProvider, {}),
    ("16: empty", dify_answer(404), StopProvider, {}),
    (
        "16: the router, in JSON",
        error(404, "not_found", "The requested URL was not found on the server."),
        StopProvider,
        {},
    ),
    ("16: broken off", dify_answer(404, b'{"code":"not_found","message":"Document'), StopProvider, {}),
    ("17: seconds", dify_answer(429, HTML, own=False, retry_after="7"), Pause, {"after": 7.0, "slower": True}),
    (
        "17: an HTTP date",
        dify_answer(429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT", date=FRI),
        Pause,
        {"after": 30.0, "slower": True},
    ),
    ("17: nothing", dify_answer(429, b"error code: 1015", own=False), Pause, {"after": None, "stop_after": None}),
    ("17: 408", dify_answer(408), Pause, {"after": None, "slower": False}),
    ("17: 425", dify_answer(425, retry_after="1"), Pause, {"after": 1.0, "slower": False}),
    ("18", error(500, "unknown", "Internal Server Error"), Requeue, {"cause": "trouble", "doubt": True, "after": None}),
    ("19: 502", dify_answer(502, HTML, own=False), Requeue, {"cause": "trouble", "doubt": True}),
    ("19: 503", dify_answer(503, retry_after="9"), Requeue, {"cause": "trouble", "doubt": True, "after": 9.0}),
    (
        "19: 503, an HTTP date",
        dify_answer(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT", date=FRI),
        Requeue,
        {"after": 30.0},
    ),
    ("19: 503, much later", dify_answer(503, retry_after="86400"), Requeue, {"after": 300.0}),
    ("19: 504", dify_answer(504), Requeue, {"cause": "trouble", "doubt": True}),
    ("20", Lost("unreachable", sent=False, detail="no such host"), Requeue, {"cause": "trouble", "doubt": False}),
    ("20: TLS", Lost("tls", sent=False, detail="self-signed"), StopProvider, {}),
    ("21: timeout", Lost("timeout", sent=True), Requeue, {"cause": "trouble", "doubt": True}),
    ("21: disconnected", Lost("disconnected", sent=True), Requeue, {"cause": "trouble", "doubt": True}),
    ("21: before it was sent", Lost("timeout", sent=False), Requeue, {"cause": "trouble", "doubt": False}),
    ("21: garbled", Lost("garbled", sent=True), Requeue, {"cause": "trouble", "doubt": True}),
    ("22", dify_answer(302, location="https://sso.example.com/login"), StopProvider, {}),
    ("22: 304", dify_answer(304), StopProvider, {}),
    ("unknown 4xx", dify_answer(418), Requeue, {"cause": "unclear", "doubt": False}),
    ("unknown 4xx", dify_answer(451, HTML), Requeue, {"cause": "unclear"}),
    ("unknown 5xx", dify_answer(522, own=False), Requeue, {"cause": "trouble", "doubt": True}),
    ("1xx", dify_answer(100), Requeue, {"cause": "trouble", "doubt": True}),
    ("no status", dify_answer(0), Requeue, {"cause": "trouble", "doubt": True}),
    ("no status", dify_answer(1000), Requeue, {"cause": "trouble", "doubt": True}),
]


@pytest.mark.parametrize(("reply", "kind", "fields"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_an_answer_to_a_delete_means_what_its_row_says(reply: Reply, kind: type, fields: dict[str, Any]) -> None:
    """Each row of the contract's table, first match wins."""
    verdict = DIFY.read(asked(TARGET), reply)
    is_like(verdict, kind, **fields)
    assert isinstance(verdict, Deleted) or verdict.reason
    assert "\n" not in verdict.reason


def test_a_404_is_gone_also_where_an_earlier_attempt_is_in_doubt() -> None:
    """Row 13 says deleted then; the engine, which counts the attempts, makes it so."""
    is_like(DIFY.read(asked(TARGET, doubt=True), DOCUMENT_404), Gone)


def test_what_stops_a_provider_says_what_to_do() -> None:
    """A wrong key, a wrong address and a certificate each come with a hint."""
    assert "key" in DIFY.read(asked(TARGET), error(401, "unauthorized", "no")).hint
    assert "/v1" in DIFY.read(asked(TARGET), dify_answer(404, HTML)).hint
    assert "/v1" in DIFY.read(asked(TARGET), dify_answer(200, HTML)).hint
    assert "--ca-file" in DIFY.read(asked(TARGET), Lost("tls", sent=False)).hint
    assert DIFY.read(asked(TARGET), Lost("tls", False, hint="write http:// instead")).hint == "write http:// instead"


def test_words_through_a_proxy_name_it() -> None:
    """A page that came through a proxy may be the proxy's own; the service's own words are not."""
    page = dify_answer(502, b"<title>Bad Gateway</title>", own=False)._replace(proxy="proxy.test:3128")
    reason = DIFY.read(asked(TARGET), page).reason
    assert reason == "HTTP 502: from the proxy proxy.test:3128, or through it: Bad Gateway"
    own = error(500, "unknown", "Internal Server Error")._replace(proxy="proxy.test:3128")
    assert DIFY.read(asked(TARGET), own).reason == "Internal Server Error"


@pytest.mark.parametrize(
    ("provider", "answer", "says"),
    [
        (DIFY, error(401, "unauthorized", "Access token is invalid"), "dataset API key"),
        (Dify(KEY), error(401, "unauthorized", "Access token is invalid"), "dataset API key"),
        (Dify(KEY, "http://localhost/console/api"), error(401, "unauthorized", "Invalid token"), "ends in /v1"),
        (Dify(KEY, "http://localhost/console/api/v1"), error(401, "unauthorized", "Invalid token."), "without /console/api"),
        (Dify(KEY, "http://localhost"), error(401, "unauthorized", "Invalid token"), "ends in /v1"),
        (Dify(KEY, "http://localhost/v1/datasets"), error(401, "unauthorized", "Invalid token"), "ends in /v1"),
        (DIFY, dify_answer(401, HTML, own=False), "no login page"),
        (LANGDOCK, langdock_answer(401, {"error": "Invalid API key"}), "KNOWLEDGE_FOLDER_API"),
        (Langdock(KEY, "https://ai.example.com"), langdock_answer(401, {"error": "no"}), "ends in /api/public"),
        (Langdock(KEY, "https://ai.example.com/api/public"), langdock_answer(401, {"error": "no"}), "KNOWLEDGE_FOLDER"),
    ],
)  # fmt: skip
def test_a_refused_key_hints_at_the_address(provider: Any, answer: Answer, says: str) -> None:
    """Another path of the same host asks for other keys: the hint is at the address first if it looks wrong."""
    for found in (provider.read(asked(TARGET), answer), provider.read_datasets(None, answer)):
        is_like(found, StopProvider)
        assert says in found.hint
        assert found.hint.startswith(provider.wrong_key) == (says in provider.wrong_key)


def test_a_redirect_is_named_and_never_followed() -> None:
    """Where a redirect leads is said, so that a login page is recognised."""
    assert (
        "https://sso.example.com"
        in DIFY.read(asked(TARGET), dify_answer(302, location="https://sso.example.com")).reason
    )


STEPS: list[tuple[str, str, Reply, type, dict[str, Any]]] = [
    ("14: confirmed", "dataset", DATASET_404, StopDataset, {"reason": "Dataset not found.", "gone": True}),
    ("14: it is there", "dataset", THE_DATASET, Requeue, {"cause": "unclear", "step": "delete"}),
    ("14: a login page", "dataset", dify_answer(200, HTML), StopProvider, {}),
    ("14: another dataset", "dataset", dify_answer(200, {"id": DOC}), Requeue, {"cause": "unclear", "step": "delete"}),
    ("14: wrong route", "dataset", dify_answer(404, HTML), StopProvider, {}),
    ("14: API off", "dataset", API_OFF, StopDataset, {}),
    ("14: forbidden", "dataset", error(403, "forbidden", "No."), StopDataset, {"gone": False}),
    ("14: 6", "dataset", PLUGIN_DAEMON, Requeue, {"cause": "unclear", "step": "delete"}),
    ("14: unwell", "dataset", dify_answer(500), Requeue, {"cause": "trouble", "doubt": False, "step": None}),
    ("14: unclear", "dataset", error(404, "not_found", "?"), Requeue, {"cause": "unclear", "step": "delete"}),
    ("15: gone", "check", DOCUMENT_404, Gone, {}),
    (
        "15: still there",
        "check",
        THE_DOCUMENT,
        Requeue,
        {"cause": "unclear", "reason": "still there", "step": "delete"},
    ),
    ("15: id in capitals", "check", dify_answer(200, {"id": DOC.upper()}), Requeue, {"reason": "still there"}),
    ("15: another document", "check", dify_answer(200, {"id": DS}), Requeue, {"cause": "unclear", "step": "delete"}),
    ("15: a login page", "check", dify_answer(200, HTML), StopProvider, {}),
    ("15: no dataset", "check", DATASET_404, Ask, {"step": "dataset"}),
    ("15: other 404", "check", error(404, "not_found", "?"), Requeue, {"cause": "unclear", "step": "delete"}),
    ("15: wrong route", "check", dify_answer(404, HTML), StopProvider, {}),
    ("15: rate", "check", RATE, Pause, {"after": 60.0}),
    ("15: key", "check", error(401, "unauthorized", "no"), StopProvider, {}),
    ("15: lost", "check", Lost("timeout", sent=True), Requeue, {"cause": "trouble", "doubt": False}),
    ("15: empty 204", "check", dify_answer(204), StopProvider, {}),
    ("disabled", "disable", SUCCESS, Ask, {"step": "un_archive"}),
    ("not completed", "disable", UNFINISHED, Ask, {"step": "un_archive"}),
    ("locked", "disable", LOCKED, Requeue, {"cause": "locked", "step": None, "at_most": 600.0, "blocked_by": "a.txt"}),
    (
        "locked, without a name",
        "disable",
        error(400, "invalid_action", "it is being indexed"),
        Requeue,
        {"blocked_by": ""},
    ),
    (
        "locked, a name in two lines",
        "disable",
        error(400, "invalid_action", "Document:a\nb is being indexed, please"),
        Requeue,
        {"blocked_by": "a b"},
    ),
    ("refused", "disable", error(403, "forbidden", "No."), Reject, {"outcome": "archived", "reason": "No."}),
    ("un-archived", "un_archive", SUCCESS, Ask, {"step": "delete"}),
    ("un-archived, newer style", "un_archive", dify_answer(204), Ask, {"step": "delete"}),
    (
        "locked",
        "un_archive",
        LOCKED,
        Requeue,
        {"cause": "locked", "step": None, "at_most": 600.0, "blocked_by": "a.txt"},
    ),
    ("not completed", "un_archive", UNFINISHED, Reject, {"outcome": "archived"}),
    ("no such route in old releases", "un_archive", dify_answer(404, HTML), Reject, {"outcome": "archived"}),
    ("no such route, no Dify", "un_archive", dify_answer(404, HTML, own=False), StopProvider, {}),
    ("no such dataset", "un_archive", DATASET_404, Ask, {"step": "dataset"}),
    ("gone meanwhile", "un_archive", DOCUMENT_404, Gone, {}),
    ("a login page", "un_archive", dify_answer(200, HTML), StopProvider, {}),
    ("unwell", "un_archive", dify_answer(500), Requeue, {"cause": "trouble", "doubt": False}),
    ("lost", "un_archive", Lost("timeout", sent=True), Requeue, {"cause": "trouble", "doubt": False}),
    ("teapot", "un_archive", dify_answer(418), Requeue, {"cause": "unclear"}),
]


@pytest.mark.parametrize(
    ("step", "reply", "kind", "fields"), [pytest.param(*row[1:], id=f"{row[1]}-{row[0]}") for row in STEPS]
)
def test_an_answer_to_another_step_leads_on(step: str, reply: Reply, kind: type, fields: dict[str, Any]) -> None:
    """Confirmations and un-archiving: each answer goes on, waits or ends as the contract says."""
    is_like(DIFY.read(asked(TARGET, step, unarchive=True), reply), kind, **fields)


OWN = [
    dify_answer(204, own=False),
    dify_answer(200, {"result": "success"}, own=False),
    dify_answer(200, 204, own=False),
    dify_answer(200, {"id": DS, "name": "docs"}, own=False),
    dify_answer(200, {"data": [], "total": 0}, own=False),
    error(404, "not_found", "Document not found.", own=False),
    error(404, "not_found", "Dataset not found.", own=False),
]


@pytest.mark.parametrize("answer", OWN)
def test_a_proxy_that_strips_the_mark_is_noticed(answer: Answer) -> None:
    """Answers that are surely Dify's and carry no X-Version; with it, they show nothing of a proxy."""
    assert DIFY.lacks_mark(answer)
    assert not DIFY.lacks_mark(answer._replace(headers=answer.headers | {"x-version": "1.14.2"}))


@pytest.mark.parametrize(
    "answer",
    [error(403, "forbidden", "No.", own=False), dify_answer(403, HTML, own=False), dify_answer(200, HTML, own=False),
     dify_answer(404, HTML, own=False), dify_answer(502, own=False), dify_answer(200, {"status": "ok"}, own=False),
     error(404, "not_found", "?", own=False), dify_answer(401, {"message": "no"}, own=False)],
)  # fmt: skip
def test_what_a_proxy_may_have_said_shows_nothing_of_dify(answer: Answer) -> None:
    """Only Dify's own words tell that the mark was taken from them."""
    assert not DIFY.lacks_mark(answer)


def test_an_absent_mark_says_nothing_behind_such_a_proxy() -> None:
    """One document's JSON 403 rejects that document; a page is a proxy's all the same."""
    answer = error(403, "forbidden", "No.", own=False)
    is_like(DIFY.read(asked(TARGET), answer), Pause, stop_after=3)
    is_like(DIFY.read(asked(TARGET), answer._replace(mark_stripped=True)), Reject, reason="No.")
    page = dify_answer(403, HTML, own=False)._replace(mark_stripped=True)
    is_like(DIFY.read(asked(TARGET), page), Pause, stop_after=3)
    old = dify_answer(404, HTML, own=False)
    is_like(DIFY.read(asked(TARGET, "un_archive"), old), StopProvider)
    is_like(DIFY.read(asked(TARGET, "un_archive"), old._replace(mark_stripped=True)), Reject, outcome="archived")


def test_an_archived_document_is_un_archived_if_asked() -> None:
    """Row 9, second half: the walk goes on with disabling it, which keeps the service from embedding it again."""
    is_like(DIFY.read(asked(TARGET, unarchive=True), ARCHIVED), Ask, step="disable")


@pytest.mark.parametrize(
    ("document", "unarchive", "step"),
    [
        (Document(DOC), True, "delete"),
        (Document(DOC, archived=True), False, "delete"),
        (Document(DOC, archived=True), True, "disable"),
        (Document(DOC, archived=True, enabled=False), True, "un_archive"),
        (Document(DOC, archived=True, indexing=True, ready=False), True, "un_archive"),
    ],
)
def test_a_delete_starts_where_the_document_needs_it(document: Document, unarchive: bool, step: str) -> None:
    """Only what is archived, and only if the user asked, begins with un-archiving."""
    assert DIFY.start(document, unarchive=unarchive) == step


@pytest.mark.parametrize(
    ("step", "method", "path"),
    [
        ("delete", "DELETE", f"/datasets/{DS}/documents/{DOC}"),
        ("check", "GET", f"/datasets/{DS}/documents/{DOC}"),
        ("dataset", "GET", f"/datasets/{DS}"),
        ("disable", "PATCH", f"/datasets/{DS}/documents/status/disable"),
        ("un_archive", "PATCH", f"/datasets/{DS}/documents/status/un_archive"),
    ],
)
def test_each_step_is_asked_at_its_route(step: str, method: str, path: str) -> None:
    """Method and path as in the contract; only a PATCH has a body, with this one document."""
    request = DIFY.request(TARGET, step)
    assert (request.method, request.path) == (method, path)
    assert request.json == ({"document_ids": [DOC]} if method == "PATCH" else None)


def test_a_change_of_status_asks_for_many_documents() -> None:
    """One PATCH for all that wait; every other step is one document's."""
    others = [TARGET, TARGET._replace(document=DS)]
    for step in ("disable", "un_archive"):
        request = DIFY.request_together(others, step)
        assert request is not None
        assert (request.path, request.json) == (DIFY.request(TARGET, step).path, {"document_ids": [DOC, DS]})
    assert DIFY.request_together(others, "delete") is DIFY.request_together(others, "check") is None
    assert LANGDOCK.request_together(others, "delete") is None


def test_a_step_that_does_not_exist_is_a_bug() -> None:
    """A made-up step is refused, so that no answer is read as something else."""
    with pytest.raises(ValueError, match="no such step"):
        DIFY.request(TARGET, "explode")
    with pytest.raises(ValueError, match="no such step"):
        DIFY.read(asked(TARGET, "explode"), dify_answer(204))


@pytest.mark.parametrize("document", [DOC, DOC.upper(), DOC[:20] + DOC[20:].upper()])
def test_a_dashed_uuid_is_a_good_id(document: str) -> None:
    """Dify takes UUIDs in either case."""
    assert DIFY.invalid(DS, document) == ""


@pytest.mark.parametrize(
    "bad",
    [
        "", " ", "xyz", "..", "not-a-uuid", DOC.replace("-", ""), DOC + "\n", " " + DOC, DOC + "/", DOC + "/segments",
        "{" + DOC + "}", DOC[:-1], DOC[:-1] + "g", DOC[:-1] + "٣", f"../{DOC}", f"{DOC}?x=1", None, 7,
    ],
)  # fmt: skip
def test_an_id_that_is_no_dashed_uuid_is_never_sent(bad: Any) -> None:
    """Dify answers it with an HTML 404 of its router, which would read as a wrong address."""
    assert DIFY.invalid(DS, bad) or bad is None
    assert DIFY.invalid(bad)
    assert DIFY.invalid(bad, DOC)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_an_id_with_a_hidden_character_is_refused_and_shown(hidden: str) -> None:
    """It looks like another id, so the character is shown as its escape, wherever it stands."""
    for provider, dataset, document in ((DIFY, DS, DOC), (LANGDOCK, FOLDER, FILE)):
        for bad in (document + hidden, hidden + document, document[:5] + hidden + document[5:]):
            for why in (provider.invalid(dataset, bad), provider.invalid(bad), provider.invalid(bad, document)):
                assert "characters that cannot be seen" in why
                assert ascii(hidden)[1:-1] in why
                assert why.isprintable()
                assert why.isascii()


def test_an_ids_one_spelling_is_the_services() -> None:
    """Dify takes a UUID in capitals for the same; Langdock tells capitals apart in ids of other kinds."""
    assert DIFY.canonical(DOC.upper()) == DIFY.canonical(DOC) == DOC
    assert LANGDOCK.canonical("att_A") == "att_A" != LANGDOCK.canonical("att_a")
    assert LANGDOCK.canonical(DOC.upper()) == DOC


def test_a_key_that_the_service_repeats_is_not_shown() -> None:
    """S20: the key is taken out of the service's own words, wherever they are read."""
    for answer in (error(401, "unauthorized", f"Bad token {KEY}"), dify_answer(502, f"no {KEY}".encode()),
                   dify_answer(302, location=f"https://x/?t={KEY}")):  # fmt: skip
        assert KEY not in repr(DIFY.read(asked(TARGET), answer))


def test_words_of_the_service_are_made_safe() -> None:
    """Escapes, line ends and floods in a message never reach a terminal."""
    verdict = DIFY.read(asked(TARGET), error(400, "x", "a\x1b[31mred\n\u202eb" + "z" * 9_000))
    is_like(verdict, Reject)
    assert verdict.reason.startswith("ared b")
    assert len(verdict.reason) <= 500
