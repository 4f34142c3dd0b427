"""Every row of the table in Langdock's delete contract, and the confirmation of a 404."""

from __future__ import annotations

from typing import Any

import pytest

from bulkdel.model import Document, Target
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
)  # fmt: skip
from tests.providers.answers import ATTACHMENT, FILE, FOLDER, HTML, KEY, LANGDOCK, asked, langdock_answer
from tests.providers.test_dify_table import is_like

SUCCESS = {"status": "success", "message": "Attachment deleted"}
GONE = langdock_answer(404, {"message": "Attachment not found"})
NO_FOLDER = langdock_answer(404, {"message": "Knowledge folder not found"})
EITHER = langdock_answer(404, {"message": "Knowledge folder or attachment not found"})
DATE = "Fri, 31 Dec 1999 23:59:29 GMT"  # Unix 946684769


def listed(*ids: str) -> Answer:
    return langdock_answer(200, {"status": "success", "result": [{"id": each, "name": each} for each in ids]})


ROWS: list[tuple[str, Reply, type, dict[str, Any]]] = [
    ("200", langdock_answer(200, SUCCESS), Deleted, {}),
    (
        "200, as documented",
        langdock_answer(200, b'{\n  "status": "success",\n  "message": "Attachment deleted"\n}'),
        Deleted,
        {},
    ),
    ("200, compact", langdock_answer(200, b'{"status":"success","message":"Attachment deleted"}'), Deleted, {}),
    ("200 HTML", langdock_answer(200, HTML), StopProvider, {}),
    ("200 empty", langdock_answer(200), StopProvider, {}),
    ("200 success without the words", langdock_answer(200, {"status": "success"}), StopProvider, {}),
    ("200 the words without success", langdock_answer(200, {"message": "Attachment deleted"}), StopProvider, {}),
    ("200 error", langdock_answer(200, {"status": "error", "message": "Attachment deleted"}), StopProvider, {}),
    ("200 cut", Answer(200, {}, b'{"status":"success","message":"Attachment deleted"} ', cut=True), StopProvider, {}),
    ("200 broken", langdock_answer(200, b'{"sta')._replace(broken=True), Requeue, {"doubt": True}),
    ("201", langdock_answer(201, SUCCESS), StopProvider, {}),
    ("204", langdock_answer(204), StopProvider, {}),
    ("400", langdock_answer(400, {"message": "Invalid id"}), Reject, {"outcome": "refused", "reason": "Invalid id"}),
    ("401", langdock_answer(401, {"error": "Invalid API key"}), StopProvider, {"reason": "Invalid API key"}),
    (
        "403",
        langdock_answer(403, {"error": {"type": "forbidden", "message": "Not shared"}}),
        StopDataset,
        {"reason": "Not shared"},
    ),
    (
        "403 HTML",
        langdock_answer(403, HTML),
        Pause,
        {"reason": "blocked before Langdock: HTTP 403: Sign in", "slower": False, "stop_after": 3},
    ),
    ("404", GONE, Ask, {"step": "listing"}),
    ("404 HTML", langdock_answer(404, HTML), Ask, {"step": "listing"}),
    ("408", langdock_answer(408, retry_after="5"), Pause, {"after": 5.0, "slower": False}),
    (
        "429",
        langdock_answer(429, {"message": "Rate limit exceeded"}, retry_after="12"),
        Pause,
        {"after": 12.0, "slower": True},
    ),
    ("429 without a wish", langdock_answer(429, date=DATE), Pause, {"after": 31.0, "stop_after": None}),
    ("429 without a date", langdock_answer(429, b"slow down"), Pause, {"after": 60.0, "reason": "slow down"}),
    (
        "503, an HTTP date",
        langdock_answer(503, date=DATE, retry_after="Sat, 01 Jan 2000 00:00:09 GMT"),
        Requeue,
        {"after": 40.0},
    ),
    ("529", langdock_answer(529, date=DATE), Pause, {"after": 31.0, "slower": True}),
    ("500 not found", langdock_answer(500, {"message": "Attachment not found"}), Gone, {}),
    ("500 not found, nested", langdock_answer(500, {"error": {"message": "Attachment not found"}}), Gone, {}),
    ("500 not found, text", langdock_answer(500, b"Attachment not found"), Gone, {}),
    ("500 not found on a page", langdock_answer(500, HTML + b"Attachment not found"), Requeue, {"cause": "trouble"}),
    ("500 broken off", langdock_answer(500, b'{"message":"Attachment not found"'), Requeue, {"cause": "trouble"}),
    (
        "500 with more text",
        langdock_answer(500, b"Log: Attachment not found, and so on"),
        Requeue,
        {"cause": "trouble"},
    ),
    ("500 about the folder", langdock_answer(500, {"message": "Folder not found"}), Requeue, {"cause": "trouble"}),
    ("500", langdock_answer(500, {"error": "boom"}), Requeue, {"cause": "trouble", "doubt": True, "reason": "boom"}),
    ("502", langdock_answer(502, HTML), Requeue, {"cause": "trouble", "doubt": True}),
    ("502 not found", langdock_answer(502, {"message": "Attachment not found"}), Requeue, {"cause": "trouble"}),
    ("503", langdock_answer(503, retry_after="4"), Requeue, {"cause": "trouble", "after": 4.0}),
    ("504", langdock_answer(504), Requeue, {"cause": "trouble", "doubt": True}),
    ("timeout", Lost("timeout", sent=True), Requeue, {"cause": "trouble", "doubt": True}),
    ("disconnected", Lost("disconnected", sent=True), Requeue, {"cause": "trouble", "doubt": True}),
    ("unreachable", Lost("unreachable", sent=False), Requeue, {"cause": "trouble", "doubt": False}),
    ("TLS", Lost("tls", sent=False), StopProvider, {}),
    ("3xx", langdock_answer(307, location="https://app.langdock.com"), StopProvider, {}),
    ("unknown 4xx", langdock_answer(418), Requeue, {"cause": "unclear"}),
    ("unknown status", langdock_answer(1000), Requeue, {"cause": "trouble", "doubt": True}),
]


@pytest.mark.parametrize(("reply", "kind", "fields"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_an_answer_to_a_delete_means_what_its_row_says(reply: Reply, kind: type, fields: dict[str, Any]) -> None:
    """Each row of the contract's table, first match wins."""
    verdict = LANGDOCK.read(asked(ATTACHMENT), reply)
    is_like(verdict, kind, **fields)
    assert isinstance(verdict, Deleted) or verdict.reason


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (GONE, Gone),
        (langdock_answer(404, {"error": {"type": "not_found", "message": "File does not exist"}}), Gone),
        (langdock_answer(404, b"Attachment not found"), Gone),
        (langdock_answer(404, b"Attachment not found."), Gone),
        (langdock_answer(404, b"File not found."), Ask),
        (langdock_answer(404, b'{"message":"Attachment not found'), Ask),
        (NO_FOLDER, Ask),
        (EITHER, Ask),
        (langdock_answer(404, {"message": "Not Found"}), Ask),
        (langdock_answer(404, {"message": "no Route matched with those values"}), Ask),
        (langdock_answer(404, HTML), Ask),
        (langdock_answer(404, b"404 page not found"), Ask),
        (langdock_answer(404), Ask),
    ],
)
def test_a_404_is_gone_only_in_words_about_the_attachment(reply: Reply, kind: type) -> None:
    """S12: the folder's, the route's and a gateway's 404 ask the folder's list first."""
    verdict = LANGDOCK.read(asked(ATTACHMENT, listed=True), reply)
    is_like(verdict, kind, **({"step": "listing"} if kind is Ask else {}))
    is_like(LANGDOCK.read(asked(ATTACHMENT, "check", listed=True), reply), kind)
    is_like(LANGDOCK.read(asked(ATTACHMENT, dataset_found=True), reply), kind)


STEPS: list[tuple[str, str, Reply, type, dict[str, Any]]] = [
    ("no folder", "listing", NO_FOLDER, StopDataset, {"reason": "Knowledge folder not found", "gone": True}),
    ("no route", "listing", langdock_answer(404, HTML), StopDataset, {}),
    ("not in it", "listing", listed("other"), Gone, {"listed": True, "reason": "the folder's list does not hold it"}),
    ("empty", "listing", listed(), Gone, {"listed": True}),
    (
        "in it",
        "listing",
        listed("other", FILE),
        Requeue,
        {"step": "delete", "reason": "the service said that it is not there, but lists it"},
    ),
    ("a login page", "listing", langdock_answer(200, HTML), StopProvider, {}),
    ("broken off", "listing", langdock_answer(200, b'{"status":"success","result":['), Requeue, {"cause": "trouble"}),
    ("too long", "listing", listed()._replace(cut=True), StopDataset, {}),
    ("no result", "listing", langdock_answer(200, {"status": "success"}), StopDataset, {}),
    ("no success", "listing", langdock_answer(200, {"status": "error", "result": []}), StopDataset, {}),
    ("a row without id", "listing", langdock_answer(200, {"result": [{"name": "x"}]}), StopDataset, {}),
    ("key", "listing", langdock_answer(401), StopProvider, {}),
    ("not shared", "listing", langdock_answer(403), StopDataset, {}),
    ("lost", "listing", Lost("timeout", sent=True), Requeue, {"cause": "trouble", "doubt": False}),
    ("unwell", "listing", langdock_answer(500), Requeue, {"cause": "trouble", "doubt": False}),
    (
        "there",
        "check",
        langdock_answer(200, {"status": "success", "result": {"id": FILE}}),
        Requeue,
        {"reason": "still there"},
    ),
    ("there, bare", "check", langdock_answer(200, {"id": FILE}), Requeue, {"reason": "still there", "step": "delete"}),
    ("another", "check", langdock_answer(200, {"id": "x"}), Requeue, {"cause": "unclear", "step": "delete"}),
    ("gone", "check", GONE, Ask, {"step": "listing"}),
    ("gone as 500", "check", langdock_answer(500, {"message": "Attachment not found"}), Gone, {}),
    ("a login page", "check", langdock_answer(200, HTML), StopProvider, {}),
    ("rate", "check", langdock_answer(429, date=DATE), Pause, {"after": 31.0}),
    ("teapot", "check", langdock_answer(418), Requeue, {"cause": "unclear", "step": "delete"}),
]


@pytest.mark.parametrize(
    ("step", "reply", "kind", "fields"), [pytest.param(*row[1:], id=f"{row[1]}-{row[0]}") for row in STEPS]
)
def test_an_answer_to_another_step_leads_on(step: str, reply: Reply, kind: type, fields: dict[str, Any]) -> None:
    """A 404 is confirmed by the folder's list, and only a list that was read whole can say that a file is gone."""
    is_like(LANGDOCK.read(asked(ATTACHMENT, step), reply), kind, **fields)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7", "x-ratelimit-reset": "50"}, 7.0),
        ({"x-ratelimit-reset": "50"}, 50.0),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-requests": "250ms"}, 0.25),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "6m0s"}, 2.0),
        ({"x-ratelimit-reset-tokens": "6s", "x-ratelimit-reset-images": "8s"}, 8.0),
        ({"x-ratelimit-reset": "946684799"}, 31.0),  # seconds, by its size; no sane pause
        ({"x-ratelimit-reset": "nonsense"}, 31.0),
        ({"x-ratelimit-reset": "86400"}, 31.0),
        ({"retry-after": "soon"}, 31.0),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:09 GMT"}, 40.0),
    ],
)
def test_a_rate_limit_pauses_as_long_as_the_service_asks(headers: dict[str, str], seconds: float) -> None:
    """Retry-After first, then x-ratelimit-reset-*, then the next full minute."""
    verdict = LANGDOCK.read(asked(ATTACHMENT), Answer(429, {"date": DATE} | headers))
    is_like(verdict, Pause, after=seconds, slower=True)


def test_a_reset_moment_is_read_against_the_answers_date() -> None:
    """Unix seconds and milliseconds, as gateways send them; a wrong clock on our side does no harm."""
    date = "Sun, 09 Sep 2001 01:46:40 GMT"  # Unix 1000000000
    for value in ("1000000042", "1000000042000"):
        verdict = LANGDOCK.read(asked(ATTACHMENT), Answer(429, {"date": date, "x-ratelimit-reset": value}))
        is_like(verdict, Pause, after=42.0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"message": "first", "error": "second"}, "first"),
        ({"error": "words"}, "words"),
        ({"error": {"type": "t", "message": "words"}}, "words"),
        ({"error": {"type": "t"}}, "t"),
        ({"message": "words", "errors": [{"message": "detail"}]}, "words"),
        ({"errors": [{"message": "detail"}]}, "detail"),
        ({"errors": ["detail"]}, "detail"),
        ({"errors": [7, {}, "detail"]}, "detail"),
        ({"errors": [7, 7, 7, "the fourth"]}, 'HTTP 400: {"errors": [7, 7, 7, "the fourth"]}'),
        ({"error": "", "errors": [{"type": "t"}]}, "t"),
        ({"message": 7, "error": None, "errors": {}}, 'HTTP 400: {"message": 7, "error": null, "errors": {}}'),
        (b"plain words", "plain words"),
        ("words in a string", "words in a string"),
        (HTML, "HTTP 400: Sign in"),
        (b"", "HTTP 400"),
        (f"bad key {KEY}".encode(), "bad key (key)"),
    ],
)
def test_an_errors_words_are_found_in_every_form(body: Any, reason: str) -> None:
    """{message}, {error}, {error: {message}}, {errors} or text, in that order."""
    assert LANGDOCK.read(asked(ATTACHMENT), langdock_answer(400, body)).reason == reason


@pytest.mark.parametrize(
    "bad",
    [
        "", "access", "Access", "ACCESS", "list", "folder", "search", "upload-async", ".", "..", "a/b", "/", "../access",
        "access ", " access", "a\\b", "a\nb", "access\n", "a\x00b", "\ud800", "x" * 513, None, 7,
        '"att_xyz789"', "'att_xyz789", "att_xyz789`",
    ],
)  # fmt: skip
def test_an_id_that_would_reach_another_route_is_never_sent(bad: Any) -> None:
    """DELETE /knowledge/{folder}/access revokes sharing: such ids are refused, as folder and as attachment."""
    assert LANGDOCK.invalid(bad)
    assert LANGDOCK.invalid(FOLDER, bad) or bad is None


@pytest.mark.parametrize(
    ("good", "path"),
    [
        ("att_xyz789", "att_xyz789"),
        ("9c8d750a-9768-42c3-a7da-d45afc12781b", "9c8d750a-9768-42c3-a7da-d45afc12781b"),
        ("accessory", "accessory"),
        ("...", "..."),
        ("a b", "a%20b"),
        ("a?b#c&d", "a%3Fb%23c%26d"),
        ("%2e%2e", "%252e%252e"),
        ("é", "%C3%A9"),
    ],
)
def test_any_other_id_is_percent_encoded(good: str, path: str) -> None:
    """What is sent is one path segment, whatever the id holds."""
    assert LANGDOCK.invalid(FOLDER, good) == ""
    assert LANGDOCK.request(Target("langdock", FOLDER, good), "delete").path == f"/knowledge/{FOLDER}/{path}"
    assert LANGDOCK.request(Target("langdock", good, FILE), "listing").path == f"/knowledge/{path}/list"


def test_each_step_is_asked_at_its_route() -> None:
    """Method and path as in the contract, without a body."""
    routes = {
        "delete": ("DELETE", f"/knowledge/{FOLDER}/{FILE}"),
        "check": ("GET", f"/knowledge/{FOLDER}/{FILE}"),
        "listing": ("GET", f"/knowledge/{FOLDER}/list"),
    }
    for step, route in routes.items():
        request = LANGDOCK.request(ATTACHMENT, step)
        assert (request.method, request.path) == route
        assert request.json is None
    assert LANGDOCK.start(Document(FILE, archived=True), unarchive=True) == "delete"


def test_a_step_that_does_not_exist_is_a_bug() -> None:
    """A made-up step is refused, so that no answer is read as something else."""
    with pytest.raises(ValueError, match="no such step"):
        LANGDOCK.request(ATTACHMENT, "disable")
    with pytest.raises(ValueError, match="no such step"):
        LANGDOCK.read(asked(ATTACHMENT, "disable"), langdock_answer(200, SUCCESS))
