"""What every kind of answer means, to the letter: words that people and scripts read do not change unnoticed.

`python -m tests.proof.test_readers` writes `verdicts.txt` anew; read its diff as the user who gets these words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from bulkdel import Dify, Langdock
from bulkdel.errors import ConfigurationError
from bulkdel.model import Document, Limits, Rate, Target
from bulkdel.providers.protocol import Answer, Asked, Lost, Reply

FILE = Path(__file__).with_name("verdicts.txt")
DATASET, DOCUMENT = "0b7c0c2e-6d0b-4c07-9c57-6f2b0a4d9e11", "5a1e0c2e-6d0b-4c07-9c57-6f2b0a4d9e22"
DATE = "Sat, 21 Nov 2026 10:00:15 GMT"


def said(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "message": message}).encode()


ROW = {
    "id": DOCUMENT,
    "name": "a.md",
    "created_at": 1_700_000_000,
    "display_status": "available",
    "syncStatus": "SYNCED",
}
SET = {"id": DATASET, "name": "Support", "document_count": 3, "fileCount": 3}
BODIES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "nothing": (
        b"",
        (100, 200, 204, 299, 300, 302, 399, 400, 401, 403, 404, 405, 408, 409, 425, 429, 500, 503, 529, 600),
    ),
    "page": (b"<html><title>Log &amp; in</title>", (200, 201, 302, 400, 403, 404, 405, 415, 422, 429, 500, 502)),
    "text": (b"no healthy upstream", (200, 400, 404, 418, 500)),
    "object": (b"{}", (200, 201, 400, 403, 404, 409, 500)),
    "list": (b"[]", (200, 404)),
    "broken": (b'{"data": [', (200, 404, 500)),
    "success": (b'{"result":"success"}', (200, 201, 204)),
    "number": (b"204", (200, 201)),
    "deleted": (b'{"status": "success", "message": "Attachment deleted"}', (200, 201, 404)),
    "other success": (b'{"status": "success", "message": "Folder deleted"}', (200,)),
    "indexing": (said("document_indexing", "Cannot delete document during indexing."), (400, 403)),
    "lock": (said("invalid_action", "Document:x is being indexed, please try again later"), (400,)),
    "not completed": (said("invalid_action", "Document:x is not completed."), (400,)),
    "no dataset 400": (said("invalid_param", "Dataset does not exist."), (400, 403)),
    "no dataset old": (said("invalid_param", "Dataset is not exist."), (400,)),
    "billing": (said("invalid_param", "Unable to retrieve billing information. Sorry."), (400,)),
    "invalid": (said("invalid_param", "no"), (400, 405, 415, 422, 409)),
    "key": (said("unauthorized", "Access token is invalid"), (401,)),
    "archived": (said("archived_document_immutable", "The archived document is not editable."), (403, 400)),
    "cloud": (said("forbidden", "Sorry, you have reached the knowledge base request rate limit."), (403,)),
    "no api": (said("forbidden", "Dataset api access is not enabled."), (403,)),
    "forbidden": (said("forbidden", "no"), (403,)),
    "no document": (said("not_found", "Document Not Exists. You have requested this URI"), (404, 400)),
    "no dataset": (said("not_found", "Dataset not found."), (404,)),
    "no other": (said("not_found", "No."), (404,)),
    "attachment": (b'{"message": "Attachment not found"}', (404, 500, 400)),
    "attachment text": (b"Attachment not found.", (404, 500)),
    "folder": (b'{"error": "Knowledge folder or attachment not found"}', (404,)),
    "nested": (b'{"error": {"type": "not_found", "message": "File is gone"}}', (404, 500)),
    "errors": (b'{"errors": [{"type": "file_missing"}, "x"]}', (404, 429)),
    "document": (json.dumps(ROW).encode(), (200, 206)),
    "one file": (json.dumps({"status": "success", "result": ROW}).encode(), (200,)),
    "dataset": (json.dumps(SET).encode(), (200,)),
    "external": (json.dumps(SET | {"provider": "external"}).encode(), (200,)),
    "api off": (json.dumps(SET | {"enable_api": False}).encode(), (200,)),
    "another": (json.dumps(SET | {"id": DOCUMENT}).encode(), (200,)),
    "rows": (json.dumps({"data": [ROW, SET], "page": 1, "total": 2, "has_more": False}).encode(), (200,)),
    "wrong page": (json.dumps({"data": [ROW], "page": 7, "total": 2}).encode(), (200,)),
    "no rows": (json.dumps({"data": [], "page": 1, "total": 0}).encode(), (200,)),
    "row without id": (json.dumps({"data": [{"name": "x"}], "result": [{"name": "x"}]}).encode(), (200,)),
    "row no object": (json.dumps({"data": [1], "result": [1]}).encode(), (200,)),
    "files": (
        json.dumps({"status": "success", "result": [ROW, SET | {"role": "USER"}], "nextCursor": "n2"}).encode(),
        (200,),
    ),
    "failed files": (json.dumps({"status": "error", "result": [ROW]}).encode(), (200,)),
}
HEADERS: dict[str, dict[str, str]] = {
    "own": {"x-version": "1.14.2", "date": DATE, "content-type": "application/json"},
    "proxy": {"date": DATE, "retry-after": "7", "location": "/login"},
    "reset": {"x-version": "1", "date": DATE, "x-ratelimit-reset-requests": "3", "x-ratelimit-reset-tokens": "40"},
}

HEADERS_AT: dict[str, tuple[int, ...]] = {"own": (), "proxy": (302, 403, 404, 425, 429, 503), "reset": (408, 429, 529)}
"""With which statuses each is tried; with all if there is none."""


def replies() -> Iterator[tuple[str, Reply]]:
    for name, (body, statuses) in BODIES.items():
        for status in statuses:
            for how, where in HEADERS_AT.items():
                if where and status not in where:
                    continue
                yield f"{status} {name} {how}", Answer(status, HEADERS[how], body)
    yield "200 cut", Answer(200, HEADERS["own"], b'{"data": [', cut=True)
    for kind in ("unreachable", "tls", "timeout", "disconnected", "garbled"):
        yield f"lost {kind}", Lost(kind, sent=kind not in ("unreachable", "tls"), detail="why")  # type: ignore[arg-type]


def shown(value: Any) -> str:
    """A value as its type writes it, without what is as it is by default: a new field changes only what has it."""
    if not is_dataclass(value):
        return repr(value)
    given = ((field, getattr(value, field.name)) for field in fields(value))
    said = ", ".join(f"{field.name}={each!r}" for field, each in given if each != field.default)
    return f"{type(value).__name__}({said})"


def readings(provider: Any, steps: tuple[str, ...]) -> Iterator[str]:
    target = Target(provider.name, DATASET, DOCUMENT)
    for name, reply in replies():
        found: dict[str, object] = {}
        for step in steps:
            found[step] = provider.read(Asked(target, step), reply)
            for more in ({"unarchive": True}, {"listed": True}):
                again = provider.read(Asked(target, step, **more), reply)  # type: ignore[arg-type]
                if again != found[step]:
                    found[f"{step}, {next(iter(more))}"] = again
        found["preflight"] = provider.read_preflight(DATASET, None, reply)
        found["listing"] = provider.read_listing(DATASET, None, reply)
        found["document"] = provider.read_document(target, reply)
        found["datasets"] = provider.read_datasets(None, reply)
        kinds: dict[str, list[str]] = {}
        for question, answer in found.items():
            kinds.setdefault(shown(answer), []).append(question)
        for answer, questions in kinds.items():
            yield f"{provider.name} | {name} | {'; '.join(questions)} | {answer}"


def questions(provider: Any, steps: tuple[str, ...]) -> Iterator[str]:
    target = Target(provider.name, DATASET, DOCUMENT)
    for step in steps:
        yield f"{provider.name} | {step} | {provider.request(target, step)}"
    for cursor in (None, "2" if provider.name == "dify" else "2:a b"):
        for ask in (provider.preflight, provider.listing):
            yield f"{provider.name} | {ask.__name__} {cursor} | {ask(DATASET, cursor)}"
        yield f"{provider.name} | datasets {cursor} | {provider.datasets(cursor)}"
    yield f"{provider.name} | document | {provider.document(target)}"
    for document in (
        Document(DOCUMENT),
        Document(DOCUMENT, archived=True),
        Document(DOCUMENT, archived=True, ready=False),
    ):
        yield f"{provider.name} | start | {provider.start(document, unarchive=True)}"
    for ids in (
        (DATASET, DOCUMENT),
        (DATASET,),
        ("x/y", DOCUMENT),
        (DATASET, "a\\b"),
        (DATASET, ".."),
        (DATASET, None),
        (1, DOCUMENT),
    ):
        yield f"{provider.name} | invalid {ids} | {provider.invalid(*ids)}"
    yield f"{provider.name} | value | {provider!r} {provider.pace} {provider.max_concurrency} {provider.warning!r}"


def refusals() -> Iterator[str]:
    """What is said to a wrong key, address, name or limit."""
    wrong: list[dict[str, Any]] = [
        {"api_key": key} for key in (None, "", " ", "Bearer x", "https://x", "a b", "ä", "a\n")
    ]
    urls = (
        5,
        "",
        "x.example",
        "ftp://x",
        "key@x://",
        "http://a b",
        "http://[::1",
        "http://x:99999",
        "http://u:p@x",
        "http://x?a",
        "http://x#a",
        "http://",
    )
    wrong += [{"api_key": "k", "base_url": url} for url in urls]
    wrong += [{"api_key": "k", "name": name} for name in ("", " x", "x" * 101, "a\nb", 5)]
    wrong += [{"api_key": "k", "limits": Rate(5)}]
    for given in wrong:
        try:
            Dify(**given)
        except ConfigurationError as error:
            yield f"refused | {given} | {error} | {error.hint}"
        else:
            yield f"taken | {given}"
    for url in (
        "http://10.0.0.7/v1",
        "http://example.com/v1/",
        "https://api.dify.ai/v1",
        "http://box/v1",
        "http://x.test:8080",
    ):
        for limits in (None, Limits(), Limits(rate=Rate(100, per=60)), Limits(concurrency=7)):
            value = Dify(api_key="dataset-0123456789", base_url=url, limits=limits)
            yield f"value | {value!r} {value.pace} {value.max_concurrency} {value.warning!r} {value.fingerprint}"


def everything() -> list[str]:
    dify = Dify(api_key="dataset-0123456789", base_url="http://dify.localhost/v1")
    langdock = Langdock(api_key="0123456789", base_url="http://langdock.localhost/api/public")
    steps = {
        "dify": ("delete", "check", "dataset", "disable", "un_archive"),
        "langdock": ("delete", "check", "listing"),
    }
    lines: list[str] = []
    for provider in (dify, langdock):
        lines += readings(provider, steps[provider.name])
        lines += questions(provider, steps[provider.name])
    return [line.encode("ascii", "backslashreplace").decode() for line in (*lines, *refusals())]


def test_every_answer_means_what_it_meant() -> None:
    """Each verdict, question and refusal is, to the letter, what `verdicts.txt` says."""
    known = FILE.read_text(encoding="ascii").splitlines()
    found = everything()
    for before, now in zip(known, found, strict=False):
        assert now == before
    assert len(found) == len(known)


if __name__ == "__main__":
    FILE.write_text("\n".join(everything()) + "\n", encoding="ascii")
