"""Whatever comes back, at whatever step: a verdict and no exception; deleted and gone only in the service's own words."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.model import Dataset, Document
from bulkdel.providers.protocol import (
    Answer,
    Asked,
    Deleted,
    Failure,
    Gone,
    Lost,
    Next,
    Page,
    Reply,
    StopDataset,
    Verdict,
)
from bulkdel.text import sanitize
from tests.providers.answers import ATTACHMENT, DIFY, DS, FOLDER, HTML, KEY, LANGDOCK, TARGET

STATUS = st.one_of(
    st.sampled_from([200, 201, 202, 204, 206, 302, 304, 400, 401, 403, 404, 405, 408, 415, 418, 422, 425, 429, 451,
                     500, 502, 503, 504, 522, 529, 599, 0, 99, 100, 101, 600, 999, 1000, -1]),
    st.integers(-(10**6), 10**6),
)  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(["Document Not Exists.", "Document not found.", "Dataset not found.", "Dataset does not exist.",
                     "Attachment not found", "Attachment deleted", "Folder not found", "Dataset api access is not enabled.",
                     "request rate limit", "Document:a is being indexed", "Document: a is not completed.", "success", "",
                     "Unable to retrieve billing information", f"bad key {KEY}", "a\x1b[31m\nb\u202e\ud800"]),
    st.text(max_size=40),
)  # fmt: skip
CODES = st.sampled_from(["not_found", "forbidden", "invalid_param", "invalid_action", "document_indexing", "unauthorized",
                         "archived_document_immutable", "", "unknown"])  # fmt: skip
IDS = st.sampled_from([TARGET.document, TARGET.document.upper(), ATTACHMENT.document, DS, FOLDER, "", "x"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["data", "result", "id", "code", "message", "error", "errors", "status", "page", "total", "name",
                         "created_at", "nextCursor", "role", "folders"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
NEARLY: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"code": CODES, "message": WORDS}),
    st.fixed_dictionaries({"message": WORDS}),
    st.fixed_dictionaries({"error": WORDS | st.fixed_dictionaries({"message": WORDS})}),
    st.fixed_dictionaries({"status": st.sampled_from(["success", "error"]), "message": WORDS}),
    st.fixed_dictionaries({"result": st.lists(st.fixed_dictionaries({"id": IDS}), max_size=3)}),
    st.fixed_dictionaries(
        {"data": st.lists(st.fixed_dictionaries({"id": IDS}) | JSON, max_size=3), "total": st.integers()}
    ),
    st.fixed_dictionaries({"id": IDS}, optional={"created_at": JSON, "indexing_status": JSON, "document_count": JSON}),
    st.sampled_from([{"result": "success"}, 204, True, 204.0, "204", [], {}]),
)
BODY = st.one_of(
    (NEARLY | JSON).map(lambda value: json.dumps(value).encode()),
    (NEARLY | JSON).map(lambda value: json.dumps(value).encode()[:-1]),
    st.binary(max_size=60),
    st.sampled_from(
        [b"", b"204", HTML, b"\xff\xfe{", b"[" * 100_000, b"9" * 6_000, b"\xef\xbb\xbf204", "é".encode("utf-16")]
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-version", "retry-after", "date", "location", "content-type", "x-ratelimit-reset",
                     "x-ratelimit-reset-requests", "x-ratelimit-reset-"]),
    st.one_of(st.text(max_size=20), st.sampled_from(["1", "nan", "inf", "-5", "1e400", "1m30s", "Fri, 31 Dec 1999 23:59:29 GMT",
                                                     "Fri, 31 Dec 0001 23:59:29 +2359", "9" * 400])),
    max_size=4,
)  # fmt: skip
RARE = st.sampled_from([False, False, False, True])
ANSWERS = st.builds(Answer, STATUS, HEADERS, BODY, RARE, RARE, RARE)
LOST = st.builds(
    Lost,
    st.sampled_from(["unreachable", "tls", "timeout", "disconnected", "garbled"]),
    st.booleans(),
    st.text(max_size=20),
)
REPLIES: st.SearchStrategy[Reply] = ANSWERS | ANSWERS | ANSWERS | LOST
DIFY_STEPS = ("delete", "check", "dataset", "disable", "un_archive")
LANGDOCK_STEPS = ("delete", "check", "listing")


def proper(verdict: Verdict) -> None:
    """A verdict whose words can be shown: one line, no escapes, no key."""
    assert isinstance(verdict, get_args(Verdict))
    assert KEY not in repr(verdict)
    # Words of the service are cut at 500 characters; our own may stand before them.
    assert verdict.reason == sanitize(verdict.reason, 1_000)
    assert not {unicodedata.category(character) for character in verdict.reason} & {"Cc", "Cs", "Zl", "Zp"}
    if hasattr(verdict, "after") and verdict.after is not None:
        assert verdict.after >= 0.0


@settings(max_examples=250, deadline=None)
@given(reply=REPLIES, step=st.sampled_from(DIFY_STEPS), doubt=st.booleans(), unarchive=st.booleans())
def test_any_reply_to_any_step_of_dify_has_a_verdict(reply: Reply, step: str, doubt: bool, unarchive: bool) -> None:
    """Deleted only for 204 and the two old forms of 200, gone only for Dify's own 404 about the document."""
    verdict = DIFY.read(Asked(TARGET, step, doubt, unarchive), reply)
    proper(verdict)
    if isinstance(verdict, Deleted):
        assert isinstance(reply, Answer)
        assert step == "delete"
        assert (
            reply.status == 204
            or (reply.status == 200 and reply.broken and "x-version" in reply.headers)
            or (reply.status == 200 and not reply.cut and json.loads(reply.body) in (204, {"result": "success"}))
        )
    if isinstance(verdict, Gone):
        assert isinstance(reply, Answer)
        said = json.loads(reply.body)
        assert (reply.status, said["code"], reply.cut) == (404, "not_found", False)
        assert said["message"].startswith("Document")


@settings(max_examples=250, deadline=None)
@given(reply=REPLIES, step=st.sampled_from(LANGDOCK_STEPS), doubt=st.booleans(), listed=st.booleans())
def test_any_reply_to_any_step_of_langdock_has_a_verdict(reply: Reply, step: str, doubt: bool, listed: bool) -> None:
    """Deleted only for the documented success, gone only for words about the attachment or a list without it."""
    verdict = LANGDOCK.read(Asked(ATTACHMENT, step, doubt, listed=listed), reply)
    proper(verdict)
    if isinstance(verdict, Deleted):
        assert isinstance(reply, Answer)
        said = json.loads(reply.body)
        assert (step, reply.status, reply.cut) == ("delete", 200, False)
        assert (said["status"], said["message"]) == ("success", "Attachment deleted")
    if isinstance(verdict, Gone):
        assert isinstance(reply, Answer)
        if step == "listing":
            assert (reply.status, reply.cut) == (200, False)
            assert ATTACHMENT.document not in [row["id"] for row in json.loads(reply.body)["result"]]
        else:
            assert reply.status in (404, 500)
            assert b"ttachment" in reply.body
            assert listed or reply.status == 500


@settings(max_examples=250, deadline=None)
@given(reply=REPLIES, page=st.none() | st.integers(1, 3_000).map(str))
def test_any_reply_to_any_question_has_an_answer_or_a_failure(reply: Reply, page: str | None) -> None:
    """S15: a page, a dataset or a document only from a whole 200; everything else is a failure of a known kind."""
    cursor = None if page is None else f"{page}:c"
    for found, good in (
        (DIFY.read_preflight(DS, None, reply), (Dataset, Next)),
        (DIFY.read_listing(DS, page, reply), (Page,)),
        (DIFY.read_document(TARGET, reply), (Document, Gone)),
        (DIFY.read_datasets(page, reply), (Page,)),
        (LANGDOCK.read_preflight(FOLDER, cursor, reply), (Dataset, Next)),
        (LANGDOCK.read_listing(FOLDER, None, reply), (Page,)),
        (LANGDOCK.read_document(ATTACHMENT, reply), (Document, Gone)),
        (LANGDOCK.read_datasets(cursor, reply), (Page,)),
    ):
        if isinstance(found, good):
            assert isinstance(reply, Answer)
            assert not reply.cut
            assert not reply.broken
            if isinstance(found, Next) and reply.status != 200:  # Dify cannot ask a service of its own
                assert reply.status == 400 or reply.status >= 500
                assert re.search(b"billing information|plugin daemon", reply.body, re.IGNORECASE)
            else:
                assert reply.status == 200 or (isinstance(found, Gone) and reply.status in (404, 500))
        else:
            assert isinstance(found, Failure)
            proper(found)
        if isinstance(found, Page):
            assert all(row.id for row in found.items)
    for datasets, of in ((DIFY.read_datasets(page, reply), page), (LANGDOCK.read_datasets(cursor, reply), cursor)):
        if isinstance(datasets, StopDataset):  # a cursor that is not valid any more stops nothing
            assert (of is not None, isinstance(reply, Answer) and reply.status) == (True, 400)


@settings(max_examples=150, deadline=None)
@given(value=st.text(max_size=60) | st.sampled_from(["access", "LIST", "..", "upload-async", "a/b", "%2f", "\ud800"]))
def test_a_good_id_is_one_path_segment_and_a_bad_one_is_refused(value: str) -> None:
    """No id, whatever it holds, makes a path of another shape than the route's."""
    target = ATTACHMENT._replace(document=value)
    if not LANGDOCK.invalid(FOLDER, value):
        path = LANGDOCK.request(target, "delete").path
        assert path.isascii()
        assert path.count("/") == 3
        assert not set("?#\\ ") & set(path)
        assert path.rsplit("/", 1)[1].lower() not in (
            "access",
            "list",
            "folder",
            "search",
            "upload-async",
            "",
            ".",
            "..",
        )
    if not DIFY.invalid(DS, value):
        assert len(value) == 36
