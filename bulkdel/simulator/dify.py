"""A Dify service API on loopback that answers as releases 1.14.2, 1.9.2 and up to 1.3.0 do.

Where the contract and the recorded answers are silent it follows Dify's framework: the router comes first (HTML 404, JSON
405), then the key, then the dataset, then Dify Cloud's rate limit, then the document.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote
from uuid import UUID

from bulkdel.errors import ConfigurationError
from bulkdel.simulator import replies
from bulkdel.simulator.core import Simulator
from bulkdel.simulator.dify_shapes import alone, dataset_shape, display_status, dumps, listed
from bulkdel.simulator.dify_status import NotNow, Update, prepare
from bulkdel.simulator.faults import Faults, Mishap
from bulkdel.simulator.replies import Ask, Cut, Reply
from bulkdel.simulator.state import Dataset, shuffled_ties

PAGE_LIMIT = 100
"""The most documents or datasets on one page, whatever is asked for."""
REDIS_READ, REDIS_WRITE = 16.0, 65.0
"""Seconds that a GET and a DELETE hang while Redis is away (recorded: 15.7 to 17.9, and 65.0)."""
LOCK_LIFE = 600.0
"""Seconds that the indexing lock lives in Redis when no worker takes it away."""
ACTIONS = ("enable", "disable", "archive", "un_archive")

T = TypeVar("T")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NOT_FOUND_PAGE = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    b"<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)
_NO_HEADER = "Authorization header must be provided and start with 'Bearer'"


class DifySimulator(Simulator):
    """A simulated Dify of one ``version``; ``base_url`` ends in ``/v1``. See ``Simulator`` for the rest."""

    READY: ClassVar[str] = "completed"
    PHASES: ClassVar[Sequence[str]] = ("indexing", "waiting", "parsing", "cleaning", "splitting")
    FAILED: ClassVar[Sequence[str]] = ("error",)

    def __init__(self, *, version: str = "1.14.2", **options: Any) -> None:
        try:
            self._release = tuple(int(part) for part in version.split("."))
        except ValueError:
            raise ConfigurationError(f"a release of Dify is three numbers, such as 1.14.2: {version}") from None
        self.version = version
        super().__init__(**options)

    def _prefix(self) -> str:
        return "/v1"

    def _new_key(self) -> str:
        return f"dataset-{self._store.word(24)}"

    def _new_document_id(self) -> str:
        return self._store.uuid()

    def _check_room(self, documents: int) -> None:
        pass  # Dify's own limits are the plan's, by millions of vectors

    def _check_faults(self, faults: Faults) -> None:
        pass

    # Words

    def _reply(self, status: int, data: object) -> Reply:
        return self._own(Reply(status, dumps(data), {"Content-Type": replies.JSON}))

    def _own(self, reply: Reply) -> Reply:
        return reply.plus({"X-Version": self.version, "X-Env": "PRODUCTION"})

    def _error(self, status: int, code: str, message: str) -> Reply:
        if status == 404 and self.faults.suffix_404:
            message += " You have requested this URI but did you mean /v1/datasets/<uuid:dataset_id>/documents ?"
        reply = self._reply(status, {"code": code, "message": message, "status": status})
        return reply.plus({"WWW-Authenticate": 'Bearer realm="api"'}) if status == 401 else reply

    def _broken(self) -> Reply:
        # This one is written by another handler than all other errors: its keys come in another order.
        return self._reply(500, {"message": "Internal Server Error", "code": "unknown", "status": 500})

    def _no_page(self) -> Reply:
        return self._own(Reply(404, _NOT_FOUND_PAGE, {"Content-Type": replies.HTML}))

    def _no_method(self) -> Reply:
        return self._error(405, "method_not_allowed", "The method is not allowed for the requested URL.")

    def _success(self, *, of_dataset: bool) -> Reply:
        """What a successful DELETE says: the release decides."""
        if self._release >= (1, 12, 2) or (self._release < (1, 4) and of_dataset):
            return self._own(Reply(204, b"", {"Content-Type": replies.JSON}))
        return self._reply(200, 204 if self._release >= (1, 4) else {"result": "success"})

    @property
    def _summaries(self) -> bool:
        return self._release >= (1, 12)

    # Routes

    async def _answer(self, ask: Ask) -> Reply | Cut:
        # WSGI hands the decoded path to the router: an encoded slash is a slash there.
        match unquote(ask.path).split("/")[1:]:
            case ["v1", ""]:
                return self._reply(
                    200, {"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": self.version}
                )
            case ["v1", "datasets"]:
                return await self._datasets(ask)
            case ["v1", "datasets", dataset] if _UUID.fullmatch(dataset):
                return await self._dataset(ask, dataset.lower())
            case ["v1", "datasets", dataset, "documents"] if _UUID.fullmatch(dataset):
                return await self._documents(ask, dataset.lower())
            case ["v1", "datasets", dataset, "documents", document] if _UUID.fullmatch(dataset) and _UUID.fullmatch(
                document
            ):
                return await self._document(ask, dataset.lower(), document.lower())
            case ["v1", "datasets", dataset, "documents", "status", action] if _UUID.fullmatch(dataset):
                return await self._status(ask, dataset.lower(), action)
            case _:
                self.danger += ask.method != "GET"
                return self._no_page()

    def _refuse(self, ask: Ask) -> Reply | None:
        """Check the database and the key."""
        if self.faults.postgres_down or self._stale:
            self._stale = False
            return self._broken()
        scheme, space, token = ask.headers.get("Authorization", "").rstrip().partition(" ")  # as servers strip a header
        if not space:
            return self._error(401, "unauthorized", _NO_HEADER)
        if scheme.lower() != "bearer":
            return self._error(401, "unauthorized", "Authorization scheme must be 'Bearer'")
        if token.strip() != self.key or not self._key_valid:
            return self._error(401, "unauthorized", "Access token is invalid")
        return None

    def _admit(self, ask: Ask, dataset: str) -> Dataset | Reply:
        """Check the database, the key, the dataset and Dify Cloud's rate limit, in this order."""
        if (refusal := self._refuse(ask)) is not None:
            return refusal
        found = self._store.datasets.get(dataset)
        if found is None:
            return self._no_dataset(ask, dataset)
        if not found.api_access:
            return self._error(403, "forbidden", "Dataset api access is not enabled.")
        return self._cloud_limit() or found

    def _cloud_limit(self) -> Reply | None:
        return self._over_limit() if self.faults.rate_style == "403" else None

    def _no_dataset(self, ask: Ask, dataset: str) -> Reply:
        share = self.faults.vanished_400
        if share and ask.method == "DELETE" and dataset in self._store.vanished and self._luck.random() < share:
            old = self._release < (1, 9)
            return self._error(400, "invalid_param", "Dataset is not exist." if old else "Dataset does not exist.")
        return self._error(404, "not_found", "Dataset not found.")

    async def _take_time(self, write: bool = False) -> Reply | None:
        """Take the time that the work takes, with Redis or without; the error it ends in, if any."""
        if self.faults.redis_down:
            await asyncio.sleep(REDIS_WRITE if write else REDIS_READ)
            if write:
                return self._broken()
        return await self._work()

    async def _datasets(self, ask: Ask) -> Reply:
        if ask.method != "GET":
            self.danger += 1
            return self._no_method()
        refusal = self._refuse(ask) or self._cloud_limit() or await self._take_time()
        if refusal is not None:
            return refusal
        page, limit = _number(ask.query, "page", 1), _number(ask.query, "limit", 20)
        everyone = ask.query.get("include_all", "").lower() == "true"
        visible = [each for each in self._store.datasets.values() if everyone or not each.private]
        visible.sort(key=lambda each: -each.created_at)
        now = self._store.clock()
        shown = [
            dataset_shape(each, now, preflight=False, summaries=self._summaries) for each in _cut(visible, page, limit)
        ]
        return self._reply(200, _listing(shown, len(visible), page, limit))

    async def _dataset(self, ask: Ask, dataset: str) -> Reply:
        if ask.method not in ("GET", "DELETE"):
            self.danger += 1
            return self._no_method()
        found = self._admit(ask, dataset)
        if isinstance(found, Reply):
            return found
        if (refusal := await self._take_time(write=ask.method == "DELETE")) is not None:
            return refusal
        if ask.method == "GET":
            return self._reply(
                200, dataset_shape(found, self._store.clock(), preflight=True, summaries=self._summaries)
            )
        self.danger += 1
        self._store.remove(dataset)
        return self._success(of_dataset=True)

    async def _documents(self, ask: Ask, dataset: str) -> Reply:
        if ask.method != "GET":
            self.danger += 1
            return self._no_method()
        found = self._admit(ask, dataset)
        if isinstance(found, Reply):
            return found
        if (refusal := await self._take_time()) is not None:
            return refusal
        if self._release >= (1, 11) and (problem := _validation(ask.query)):
            return self._error(400, "invalid_param", problem)
        page, limit = _number(ask.query, "page", 1), _number(ask.query, "limit", 20)
        now = self._store.clock()
        documents = found.newest_first()
        if self._release >= (1, 10, 1) and (wanted := _wanted(ask.query.get("status", ""))):
            documents = [document for document in documents if display_status(document, now) == wanted]
        if keyword := ask.query.get("keyword", "").lower():
            documents = [document for document in documents if keyword in document.name.lower()]
        if self.faults.ties:
            documents = shuffled_ties(documents, f"{self.seed}/{page}/{limit}")
        shown = [listed(document, now, summaries=self._summaries) for document in _cut(documents, page, limit)]
        return self._reply(200, _listing(shown, len(documents), page, limit))

    async def _document(self, ask: Ask, dataset: str, document: str) -> Reply | Cut:
        if ask.method not in ("GET", "DELETE"):
            self.danger += 1
            return self._no_method()
        found = self._admit(ask, dataset)
        if isinstance(found, Reply):
            return found
        if ask.method == "GET":
            return await self._take_time() or self._one(ask, found, document)
        return await self._delete_document(ask, found, document)

    def _one(self, ask: Ask, dataset: Dataset, document: str) -> Reply:
        one = dataset.documents.get(document)
        if one is None:
            return self._error(404, "not_found", "Document not found.")
        metadata = ask.query.get("metadata", "all")
        if metadata not in ("all", "only", "without"):
            return self._error(400, "invalid_metadata", f"Invalid metadata value: {metadata}")
        if metadata == "only":
            return self._reply(200, {"id": one.id, "doc_type": None, "doc_metadata": None})
        now = self._store.clock()
        return self._reply(200, alone(one, dataset.id, now, metadata=metadata == "all", summaries=self._summaries))

    async def _delete_document(self, ask: Ask, dataset: Dataset, document: str) -> Reply | Cut:
        mishap = self._mishap(document)
        if (refusal := await self._take_time(write=True)) is not None:
            return refusal
        if mishap is Mishap.RESET:
            return Cut(reset=True)
        if mishap is Mishap.ERROR:
            return self._broken()
        if mishap is Mishap.BILLING:
            said = "Unable to retrieve billing information. Please try again later or contact support."
            return self._error(400, "invalid_param", said)
        reply = self._really_delete(ask, dataset, document)
        match mishap:
            case Mishap.ERROR_DELETED:
                return self._broken()
            case Mishap.LOST:
                return Cut(reset=False)
            case None:
                return reply

    def _really_delete(self, ask: Ask, dataset: Dataset, document: str) -> Reply:
        # The dataset may have vanished while this request was being worked on.
        if dataset.id not in self._store.datasets:
            return self._no_dataset(ask, dataset.id)
        one = dataset.documents.get(document)
        if one is None:
            return self._error(404, "not_found", "Document Not Exists.")
        if one.archived:
            return self._error(403, "archived_document_immutable", "The archived document is not editable.")
        if self.faults.guard and one.busy(self._store.clock()):
            return self._error(400, "document_indexing", "Cannot delete document during indexing.")
        self._delete(dataset, document)
        return self._success(of_dataset=False)

    async def _status(self, ask: Ask, dataset: str, action: str) -> Reply:
        if ask.method != "PATCH":
            self.danger += 1
            return self._no_method()
        found = self._admit(ask, dataset)
        if isinstance(found, Reply):
            return found
        if (refusal := await self._take_time(write=True)) is not None:
            return refusal
        if ask.headers.get("Content-Type", "").partition(";")[0].strip().lower() != replies.JSON:
            said = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
            return self._error(415, "unsupported_media_type", said)
        try:
            data = json.loads(ask.body)
        except ValueError:
            said = "The browser (or proxy) sent a request that this server could not understand."
            return self._error(400, "bad_request", said)
        ids = data.get("document_ids", []) if isinstance(data, dict) else None
        if not isinstance(ids, list):
            return self._broken()
        return self._patch(found, action, ids)

    def _patch(self, dataset: Dataset, action: str, ids: list[Any]) -> Reply:
        """Change the status of all these documents, or of none; unknown ids are passed over."""
        if ids and action not in ACTIONS:
            return self._error(400, "invalid_action", f"Invalid action: {action}. Must be one of {list(ACTIONS)}")
        now = self._store.clock()
        updates: list[Update] = []
        for each in ids:
            try:
                document = dataset.documents.get(str(UUID(each)))
            except (ValueError, AttributeError, TypeError):
                return self._broken()  # Postgres cannot read it as a UUID
            if document is None:
                continue
            update = prepare(document, action, now)
            match update:
                case NotNow(why):
                    return self._error(400, "invalid_action", why)
                case Update():
                    updates.append(update)
                case None:
                    pass
        until = now + min(self.faults.lock_for, LOCK_LIFE)
        for update in updates:
            update.apply(self._store.unix(), until)
        return self._reply(200, {"result": "success"})


def _listing(shown: list[dict[str, Any]], total: int, page: int, limit: int) -> dict[str, Any]:
    # Dify's own mistake: has_more is true on an exactly full last page, and false on every page when limit is above 100.
    return {"data": shown, "has_more": len(shown) == limit, "limit": limit, "total": total, "page": page}


def _cut(items: list[T], page: int, limit: int) -> list[T]:
    size = min(limit, PAGE_LIMIT) if limit >= 1 else 20
    begin = (max(page, 1) - 1) * size
    return items[begin : begin + size]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        return default


def _validation(query: Mapping[str, str]) -> str:
    """Say what pydantic says of ``page`` and ``limit`` that are no numbers; nothing when they are."""
    wrong = [name for name in ("page", "limit") if name in query and not re.fullmatch(r"\s*[+-]?\d+\s*", query[name])]
    lines = [f"{len(wrong)} validation error{'s' if len(wrong) > 1 else ''} for DocumentListQuery"]
    for name in wrong:
        lines.append(name)
        lines.append(
            "  Input should be a valid integer, unable to parse string as an integer "
            f"[type=int_parsing, input_value={query[name]!r}, input_type=str]"
        )
        lines.append("    For further information visit https://errors.pydantic.dev/2.12/v/int_parsing")
    return "\n".join(lines) if wrong else ""


def _wanted(status: str) -> str:
    """Give the display status that a ``status=`` filter asks for; an unknown one filters nothing."""
    word = {"active": "available", "enabled": "available"}.get(status.lower(), status.lower())
    return word if word in ("queuing", "indexing", "paused", "error", "available", "disabled", "archived") else ""
