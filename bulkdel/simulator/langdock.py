"""A Langdock Knowledge Folder API on loopback.

Its contract leaves open in which key the list of folders comes; here it is ``result``, as in the list of files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote

from bulkdel.simulator.answers import Ask, Cut, Reply
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
        self._path = prefix.rstrip("/")
        super().__init__(**options)

    def _prefix(self) -> str:
        return self._path

    def _new_key(self) -> str:
        return f"sk-{self._store.word(32)}"

    def _new_document_id(self) -> str:
        return f"att_{self._store.word(20)}"

    # Words

    def _reply(self, status: int, data: object) -> Reply:
        body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        return Reply(status, body, {"Content-Type": "application/json; charset=utf-8"})

    def _error(self, status: int, code: str, message: str) -> Reply:
        match self.faults.error_shape:
            case "message":
                return self._reply(status, {"message": message})
            case "error":
                return self._reply(status, {"error": message})
            case "error-object":
                return self._reply(status, {"error": {"type": code, "message": message}})
            case "message-errors":
                return self._reply(status, {"message": message, "errors": [{"code": code, "message": message}]})
            case "text":
                return Reply(status, message.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    def _broken(self) -> Reply:
        return self._error(500, "api_error", "Internal server error")

    def _billing_trouble(self) -> Reply:
        return self._broken()

    # Routes

    def _is_preflight(self, path: str) -> bool:
        return path == f"{self._path}/knowledge"

    async def _answer(self, ask: Ask) -> Reply | Cut:
        if "Origin" in ask.headers or "Referer" in ask.headers:
            return self._error(403, "forbidden", "Requests from browsers are not allowed")
        if not ask.path.startswith(self._path + "/"):
            return self._nowhere(ask)
        # Its router splits the raw path and decodes each part: an encoded slash stays inside an id.
        parts = [unquote(part) for part in ask.path.removeprefix(self._path).split("/")[1:]]
        match ask.method, parts:
            case "GET", ["knowledge"]:
                return self._refuse(ask) or await self._take_time() or self._folders(ask)
            case "GET", ["knowledge", folder, "list"]:
                found = self._admit(ask, folder, edit=False)
                return found if isinstance(found, Reply) else await self._take_time(listing=True) or self._files(found)
            case "GET", ["knowledge", folder, file] if file not in RESERVED:
                found = self._admit(ask, folder, edit=False)
                return found if isinstance(found, Reply) else await self._take_time() or self._file(found, file)
            case "DELETE", ["knowledge", folder, "access"]:
                self.danger += 1
                found = self._admit(ask, folder, edit=True)
                if isinstance(found, Dataset):
                    found.role = None
                    return self._reply(200, {"status": "success", "message": "Access revoked"})
                return found
            case "DELETE", ["knowledge", folder, file] if file and file not in RESERVED:
                found = self._admit(ask, folder, edit=True)
                if isinstance(found, Reply):
                    return found
                return await self._delete(file, lambda: self._delete_file(ask, folder, file))
            case _:
                return self._nowhere(ask)

    def _nowhere(self, ask: Ask) -> Reply:
        self.danger += ask.method != "GET"
        return self._error(404, "not_found", "Not found")

    def _refuse(self, ask: Ask) -> Reply | None:
        """Check the key and its scope."""
        scheme, _, token = ask.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.strip() != self.key or not self._key_valid:
            return self._error(401, "authentication_error", "Invalid or missing API key")
        if self.faults.no_scope:
            return self._error(403, "permission_error", "The API key lacks the scope KNOWLEDGE_FOLDER_API")
        return None

    def _admit(self, ask: Ask, folder: str, *, edit: bool) -> Dataset | Reply:
        """Check the key, the folder and the key's role there."""
        if (refusal := self._refuse(ask)) is not None:
            return refusal
        found = self._store.datasets.get(folder)
        if found is None:
            return self._error(404, "not_found", "Knowledge folder not found")
        if found.role is None:
            return self._error(403, "permission_error", "The knowledge folder is not shared with this API key")
        if edit and found.role != "EDITOR":
            return self._error(403, "permission_error", "The API key needs the role Editor on this knowledge folder")
        return found

    def _folders(self, ask: Ask) -> Reply:
        """List the folders by pages; the cursor is the id of the last folder of the page before."""
        try:
            limit = int(ask.query.get("limit", 50))
        except ValueError:
            limit = 0
        if not 1 <= limit <= 100:
            return self._error(400, "invalid_request_error", "limit must be a number from 1 to 100")
        shared = [
            each for each in self._store.datasets.values() if each.role is not None and not self.faults.personal_key
        ]
        begin = 0
        if cursor := ask.query.get("cursor"):
            places = [place for place, each in enumerate(shared) if each.id == cursor]
            if not places:
                return self._error(400, "invalid_request_error", "Unknown cursor")
            begin = places[0] + 1
        shown = shared[begin : begin + limit]
        more = begin + limit < len(shared)
        folders = [
            {"id": each.id, "name": each.name, "role": each.role, "fileCount": len(each.documents)} for each in shown
        ]
        return self._reply(200, {"status": "success", "result": folders, "nextCursor": shown[-1].id if more else None})

    def _files(self, folder: Dataset) -> Reply:
        now = self._store.clock()
        files = [_file_shape(document, now) for document in self._listing(folder)]
        return self._reply(200, {"status": "success", "result": files})

    def _file(self, folder: Dataset, file: str) -> Reply:
        document = folder.documents.get(file)
        if document is None:
            return self._error(404, "not_found", "Attachment not found")
        now = self._store.clock()
        shape = _file_shape(document, now)
        if document.status(now) in self.FAILED:
            shape["syncMessage"] = "The file could not be processed"
        return self._reply(200, {"status": "success", "result": shape})

    def _delete_file(self, ask: Ask, folder: str, file: str) -> Reply:
        # The folder may have vanished, or its sharing ended, while this request was being worked on.
        found = self._admit(ask, folder, edit=True)
        if isinstance(found, Reply):
            return found
        if self._remove(found, file):
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
