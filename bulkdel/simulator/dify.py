"""A Dify service API on loopback that answers as releases 1.14.2, 1.9.2 and up to 1.3.0 do.

Where the contract and the recorded answers are silent it follows Dify's framework: the router comes first (HTML 404, JSON
405), then the key, then the dataset, then Dify Cloud's rate limit, then the document.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote
from uuid import UUID

from aiohttp import web

from bulkdel.errors import ConfigurationError
from bulkdel.simulator.core import Simulator
from bulkdel.simulator.dify_shapes import alone, dataset_shape, display_status, dumps, listed
from bulkdel.simulator.documents import Dataset, Document, one_page
from bulkdel.simulator.server import Refused

ACTIONS = ("enable", "disable", "archive", "un_archive")

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ROUTE = re.compile(
    f"/v1/datasets(?:/(?P<dataset>{_ID})(?P<documents>/documents(?:/(?P<document>{_ID})|/status/(?P<status>[^/]*))?)?)?",
    re.IGNORECASE,
)
_METHODS = {
    "datasets": ("GET",),
    "dataset": ("GET", "DELETE"),
    "documents": ("GET",),
    "document": ("GET", "DELETE"),
    "status": ("PATCH",),
}
_NOT_FOUND_PAGE = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    b"<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)


class DifySimulator(Simulator):
    """A simulated Dify of one ``version``; ``base_url`` ends in ``/v1``. See ``Simulator`` for the rest."""

    READY: ClassVar[str] = "completed"
    PHASES: ClassVar[Sequence[str]] = ("indexing", "waiting", "parsing", "cleaning", "splitting")
    FAILED: ClassVar[Sequence[str]] = ("error",)
    prefix = "/v1"

    def __init__(self, *, version: str = "1.14.2", **options: Any) -> None:
        try:
            self._release = tuple(int(part) for part in version.split("."))
        except ValueError:
            raise ConfigurationError(f"a release of Dify is three numbers, such as 1.14.2: {version}") from None
        self.version = version
        self._locks_left: set[str] = set()
        super().__init__(**options)

    def _new_key(self) -> str:
        return f"dataset-{self._store.word(24)}"

    def _new_document_id(self) -> str:
        return self._store.uuid()

    # Words

    def _reply(self, status: int, data: object) -> web.Response:
        return self._own(status, dumps(data), "application/json")

    def _own(self, status: int, body: bytes, kind: str) -> web.Response:
        headers = {"Content-Type": kind, "X-Version": self.version, "X-Env": "PRODUCTION"}
        return web.Response(status=status, body=body, headers=headers)

    def _error(self, status: int, code: str, message: str) -> web.Response:
        if status == 404 and self.faults.suffix_404:
            message += " You have requested this URI but did you mean /v1/datasets/<uuid:dataset_id>/documents ?"
        reply = self._reply(status, {"code": code, "message": message, "status": status})
        if status == 401:
            reply.headers["WWW-Authenticate"] = 'Bearer realm="api"'
        return reply

    def _broken(self) -> web.Response:
        # This one is written by another handler than all other errors: its keys come in another order.
        return self._reply(500, {"message": "Internal Server Error", "code": "unknown", "status": 500})

    def _success(self, *, of_dataset: bool) -> web.Response:
        """What a successful DELETE says: the release decides."""
        if self._release >= (1, 12, 2) or (self._release < (1, 4) and of_dataset):
            return self._own(204, b"", "application/json")
        return self._reply(200, 204 if self._release >= (1, 4) else {"result": "success"})

    @property
    def _summaries(self) -> bool:
        return self._release >= (1, 12)

    # Routes

    def _is_preflight(self, path: str) -> bool:
        return path.startswith("/v1/datasets") and path.count("/") <= 3

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        # WSGI hands the decoded path to the router: an encoded slash is a slash there.
        path, method = unquote(request.rel_url.raw_path), request.method
        if path == "/v1/":
            return self._reply(200, {"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": self.version})
        if path.startswith("/console/api/"):  # what Dify's own pages use, with keys of another kind
            return self._error(401, "unauthorized", "Invalid token.")
        route = _ROUTE.fullmatch(path)
        if route is None:
            self.danger += method != "GET"
            return self._own(404, _NOT_FOUND_PAGE, "text/html; charset=utf-8")
        kinds = ("status", "document", "documents", "dataset")
        kind = next((each for each in kinds if route[each] is not None), "datasets")
        if method not in _METHODS[kind]:
            self.danger += 1
            return self._error(405, "method_not_allowed", "The method is not allowed for the requested URL.")
        self._check_key(request)
        if kind == "datasets":
            self._cloud_limit()
            await self._take_time()
            return self._datasets(request.query)
        dataset = self._find(method, route["dataset"].lower())
        self._cloud_limit()
        document = (route["document"] or "").lower()
        if kind == "document" and method == "DELETE":
            return await self._delete(document, lambda: self._delete_document(dataset, document))
        await self._take_time(write=method != "GET", listing=kind == "documents")
        match kind, method:
            case "dataset", "GET":
                shape = dataset_shape(dataset, self._now(), preflight=True, summaries=self._summaries)
                return self._reply(200, shape)
            case "dataset", _:
                self.danger += 1
                self._store.remove(dataset.id)
                return self._success(of_dataset=True)
            case "documents", _:
                return self._documents(request.query, dataset)
            case "document", _:
                return self._document(request.query, dataset, document)
            case _:
                return self._status(request, await request.read(), dataset, route["status"] or "")

    def _check_key(self, request: web.BaseRequest) -> None:
        """Check the database, which holds the keys, and the key."""
        if self._troubles.database_fails():
            raise Refused(self._broken())
        # Servers strip a header.
        scheme, space, token = request.headers.get("Authorization", "").rstrip().partition(" ")
        if not space:
            message = "Authorization header must be provided and start with 'Bearer'"
        elif scheme.lower() != "bearer":
            message = "Authorization scheme must be 'Bearer'"
        elif token.strip() != self.key or not self._key_valid:
            message = "Access token is invalid"
        else:
            return
        raise self._refuse(401, "unauthorized", message)

    def _find(self, method: str, dataset: str) -> Dataset:
        found = self._store.datasets.get(dataset)
        if found is not None and found.api_access:
            return found
        if found is not None:
            raise self._refuse(403, "forbidden", "Dataset api access is not enabled.")
        gone = method == "DELETE" and dataset in self._store.vanished
        if gone and self.faults.vanished_400 and self._troubles.luck.random() < self.faults.vanished_400:
            old = self._release < (1, 9)
            raise self._refuse(400, "invalid_param", "Dataset is not exist." if old else "Dataset does not exist.")
        raise self._refuse(404, "not_found", "Dataset not found.")

    def _cloud_limit(self) -> None:
        if self.faults.rate_style == "403":
            self._keep_rate()

    async def _take_time(self, *, write: bool = False, listing: bool = False) -> None:
        if self.faults.redis_down:
            # Recorded without Redis: 15.7 to 17.9 s for a GET, 65.0 s for a DELETE.
            await asyncio.sleep(65.0 if write else 16.0)
            if write:
                raise Refused(self._broken())
        await super()._take_time(write=write, listing=listing)

    def _datasets(self, query: Mapping[str, str]) -> web.Response:
        everyone = query.get("include_all", "").lower() == "true"
        visible = [each for each in self._store.datasets.values() if everyone or not each.private]
        visible.sort(key=lambda each: -each.created_at)
        number, size = _paging(query)
        shown = [
            dataset_shape(each, self._now(), preflight=False, summaries=self._summaries)
            for each in visible[(number - 1) * size : number * size]
        ]
        return self._page(query, shown, len(visible))

    def _documents(self, query: Mapping[str, str], dataset: Dataset) -> web.Response:
        if self._release >= (1, 11) and (problem := _validation(query)):
            return self._error(400, "invalid_param", problem)
        now = self._now()
        documents = self._listing(dataset)
        if self._release >= (1, 10, 1) and (wanted := _wanted(query.get("status", ""))):
            documents = [document for document in documents if display_status(document, now) == wanted]
        rows = one_page(documents, *_paging(query), ties=self.faults.ties)
        shown = [listed(document, now, summaries=self._summaries) for document in rows]
        return self._page(query, shown, max(0, len(documents) + self.faults.total_off))

    def _page(self, query: Mapping[str, str], shown: list[dict[str, Any]], total: int) -> web.Response:
        page, limit = _number(query, "page", 1), _number(query, "limit", 20)
        # Dify's own mistake: has_more is true on an exactly full last page, and false on every page if limit is above 100.
        more = len(shown) == limit
        return self._reply(200, {"data": shown, "has_more": more, "limit": limit, "total": total, "page": page})

    def _document(self, query: Mapping[str, str], dataset: Dataset, document: str) -> web.Response:
        one = dataset.documents.get(document)
        if one is None:
            return self._error(404, "not_found", "Document not found.")
        metadata = query.get("metadata", "all") == "all"
        return self._reply(200, alone(one, dataset.id, self._now(), metadata=metadata, summaries=self._summaries))

    def _delete_document(self, dataset: Dataset, document: str) -> web.Response:
        # The dataset may have vanished while this request was being worked on.
        self._find("DELETE", dataset.id)
        one = dataset.documents.get(document)
        if one is None:
            return self._error(404, "not_found", "Document Not Exists.")
        if one.archived:
            return self._error(403, "archived_document_immutable", "The archived document is not editable.")
        if self.faults.guard and one.busy(self._now()):
            return self._error(400, "document_indexing", "Cannot delete document during indexing.")
        self._remove(dataset, document)
        return self._success(of_dataset=False)

    def _status(self, request: web.BaseRequest, body: bytes, dataset: Dataset, action: str) -> web.Response:
        """Change the status of all the documents that the body names, or of none; unknown ids are passed over."""
        if request.content_type != "application/json":
            message = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
            return self._error(415, "unsupported_media_type", message)
        try:
            data = json.loads(body)
        except ValueError:
            message = "The browser (or proxy) sent a request that this server could not understand."
            return self._error(400, "bad_request", message)
        ids = data.get("document_ids", []) if isinstance(data, dict) else None
        if not isinstance(ids, list):
            return self._broken()
        if ids and action not in ACTIONS:
            return self._error(400, "invalid_action", f"Invalid action: {action}. Must be one of {list(ACTIONS)}")
        now = self._now()
        documents: list[Document] = []
        for each in ids:
            try:
                document = dataset.documents.get(str(UUID(each)))
            except (ValueError, AttributeError, TypeError):
                return self._broken()  # Postgres cannot read it as a UUID
            if document is None:
                continue
            if now < document.locked_until:
                message = f"Document:{document.name} is being indexed, please try again later"
                return self._error(400, "invalid_action", message)
            if action == "disable" and document.status(now) != "completed":
                return self._error(400, "invalid_action", f"Document: {document.name} is not completed.")
            documents.append(document)
        for document in documents:
            self._change(document, action, now)
        return self._reply(200, {"result": "success"})

    def _change(self, document: Document, action: str, now: float) -> None:
        """Change a document's status. A worker then takes it out of the index or back into it, and holds a lock meanwhile."""
        match action:
            case "enable" if not document.enabled:
                document.enabled, document.disabled_at = True, None
                locks = embeds = True
            case "disable" if document.enabled:
                document.enabled, document.disabled_at = False, self._store.unix()
                locks, embeds = True, False
            case "archive" if not document.archived:
                document.archived = True
                locks, embeds = document.enabled, False
            case "un_archive" if document.archived:
                # The safe order is disable, then un_archive: a disabled document is not embedded again.
                document.archived = False
                locks = embeds = document.enabled
            case _:
                return
        faults = self.faults
        if embeds:  # a DELETE that races the worker leaves orphans
            document.embedding_until = now + faults.lock_for
        if locks:
            held_for = faults.lock_for
            if len(self._locks_left) < faults.locks_left:
                self._locks_left.add(document.id)
                held_for = faults.lock_left_for
            document.locked_until = now + min(held_for, 600.0)  # 600 s is the lock's life in Redis


def _paging(query: Mapping[str, str]) -> tuple[int, int]:
    """The page, from 1, and its size: at most 100, whatever is asked for."""
    limit = _number(query, "limit", 20)
    return max(_number(query, "page", 1), 1), min(limit, 100) if limit >= 1 else 20


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        return default


def _validation(query: Mapping[str, str]) -> str:
    """Say what pydantic says of ``page`` and ``limit`` that are no numbers; nothing if they are."""
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
