"""A Langdock Knowledge Folder API on loopback.

Its contract leaves open in which key the list of folders comes; here it is ``result``, as in the list of files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote

from aiohttp import web

from bulkdel.simulator.core import Simulator
from bulkdel.simulator.documents import Dataset, Document
from bulkdel.simulator.faults import RateStyle

RESERVED = ("access", "list", "folder", "search", "upload-async")
"""Where the id of a file would be, these are other routes."""


class LangdockSimulator(Simulator):
    """A simulated Langdock; ``prefix`` is ``/api/public`` for a dedicated deployment. See ``Simulator`` for the rest."""

    READY: ClassVar[str] = "SYNCED"
    PHASES: ClassVar[Sequence[str]] = ("EMBEDDING", "UPLOADING", "UPLOADED", "EXTRACTING")
    FAILED: ClassVar[Sequence[str]] = ("EMBEDDING_FAILED", "EXTRACTION_FAILED", "ACTION_FAILED", "TIMEOUT")
    ROOM: ClassVar[float] = 1000
    RATE_STYLES: ClassVar[Sequence[RateStyle]] = ("429", "429-retry-after", "429-date", "429-reset", "529", "1015")

    def __init__(self, *, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix.rstrip("/")
        super().__init__(**options)

    def _new_key(self) -> str:
        return f"sk-{self._store.word(32)}"

    def _new_document_id(self) -> str:
        return f"att_{self._store.word(20)}"

    # Words

    def _reply(self, status: int, data: object) -> web.Response:
        body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        return web.Response(status=status, body=body, headers={"Content-Type": "application/json; charset=utf-8"})

    def _error(self, status: int, code: str, message: str) -> web.Response:
        if self.faults.error_shape == "text":
            return web.Response(status=status, text=message)
        shapes: dict[str, object] = {
            "message": {"message": message},
            "error": {"error": message},
            "error-object": {"error": {"type": code, "message": message}},
            "message-errors": {"message": message, "errors": [{"code": code, "message": message}]},
        }
        return self._reply(status, shapes[self.faults.error_shape])

    def _broken(self) -> web.Response:
        return self._error(500, "api_error", "Internal server error")

    # Routes

    def _is_preflight(self, path: str) -> bool:
        return path == f"{self.prefix}/knowledge"

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if "Origin" in request.headers or "Referer" in request.headers:
            return self._error(403, "forbidden", "Requests from browsers are not allowed")
        path = request.rel_url.raw_path
        # Its router splits the raw path and decodes each part: an encoded slash stays inside an id.
        parts = [unquote(part) for part in path.removeprefix(self.prefix).split("/")[1:]]
        match request.method, parts if path.startswith(self.prefix + "/") else []:
            case "GET", ["knowledge"]:
                self._check_key(request)
                await self._take_time()
                return self._folders(request.query)
            case "GET", ["knowledge", folder, "list"]:
                found = self._find(request, folder)
                await self._take_time(listing=True)
                now = self._now()
                files = [_file_shape(document, now) for document in self._listing(found)]
                return self._reply(200, {"status": "success", "result": files})
            case "GET", ["knowledge", folder, file] if file not in RESERVED:
                found = self._find(request, folder)
                await self._take_time()
                return self._file(found, file)
            case "DELETE", ["knowledge", folder, "access"]:
                self.danger += 1
                self._find(request, folder, edit=True).role = None
                return self._reply(200, {"status": "success", "message": "Access revoked"})
            case "DELETE", ["knowledge", folder, file] if file and file not in RESERVED:
                self._find(request, folder, edit=True)
                return await self._delete(file, lambda: self._delete_file(request, folder, file))
            case _:
                self.danger += request.method != "GET"
                return self._error(404, "not_found", "Not found")

    def _check_key(self, request: web.BaseRequest) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.strip() != self.key or not self._key_valid:
            raise self._refuse(401, "authentication_error", "Invalid or missing API key")
        if self.faults.no_scope:
            raise self._refuse(403, "permission_error", "The API key lacks the scope KNOWLEDGE_FOLDER_API")

    def _find(self, request: web.BaseRequest, folder: str, *, edit: bool = False) -> Dataset:
        self._check_key(request)
        found = self._store.datasets.get(folder)
        if found is None:
            raise self._refuse(404, "not_found", "Knowledge folder not found")
        if found.role is None:
            raise self._refuse(403, "permission_error", "The knowledge folder is not shared with this API key")
        if edit and found.role != "EDITOR":
            raise self._refuse(403, "permission_error", "The API key needs the role Editor on this knowledge folder")
        return found

    def _folders(self, query: Mapping[str, str]) -> web.Response:
        """List the folders by pages; the cursor is the id of the last folder of the page before."""
        limit = query.get("limit", "50")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            return self._error(400, "invalid_request_error", "limit must be a number from 1 to 100")
        folders = [each for each in self._store.datasets.values() if each.role and not self.faults.personal_key]
        begin = 0
        if cursor := query.get("cursor"):
            begin = next((place for place, each in enumerate(folders, start=1) if each.id == cursor), 0)
            if not begin:
                return self._error(400, "invalid_request_error", "Unknown cursor")
        end = begin + int(limit)
        shown = [
            {"id": each.id, "name": each.name, "role": each.role, "fileCount": len(each.documents)}
            for each in folders[begin:end]
        ]
        cursor = folders[end - 1].id if end < len(folders) else None
        return self._reply(200, {"status": "success", "result": shown, "nextCursor": cursor})

    def _file(self, folder: Dataset, file: str) -> web.Response:
        document = folder.documents.get(file)
        if document is None:
            return self._error(404, "not_found", "Attachment not found")
        shape = _file_shape(document, self._now())
        if shape["syncStatus"] in self.FAILED:
            shape["syncMessage"] = "The file could not be processed"
        return self._reply(200, {"status": "success", "result": shape})

    def _delete_file(self, request: web.BaseRequest, folder: str, file: str) -> web.Response:
        # The folder may have vanished, or its sharing ended, while this request was being worked on.
        if self._remove(self._find(request, folder, edit=True), file):
            return self._reply(200, {"status": "success", "message": "Attachment deleted"})
        status, code = (500, "api_error") if self.faults.missing_as_500 else (404, "not_found")
        return self._error(status, code, "Attachment not found")


def _file_shape(document: Document, now: float) -> dict[str, Any]:
    created = datetime.fromtimestamp(document.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    synced = document.external_id is not None
    return {
        "id": document.id,
        "name": document.name,
        "mimeType": "text/plain",
        "createdAt": created,
        "updatedAt": created,
        "url": None,
        "path": f"/{document.name}" if synced else None,
        "syncStatus": document.status(now),
        "pageCount": 1 if document.status(now) == "SYNCED" else None,
        "externalId": document.external_id,
        "syncParams": {"source": "drive"} if synced else None,
    }
