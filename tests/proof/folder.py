"""A Langdock-like service in memory behind the wire's border, beside the Dify-like one of tests/engine/world.py."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bulkdel import Langdock, Limits, Rate
from bulkdel.providers.protocol import Answer, Lost, Reply, Request
from tests.engine.world import HTML, KEY, Service

FOLDER = "folder-1"
JSON = {"content-type": "application/json"}
ACTS = (
    "ok", "500", "500 done", "503", "lost", "lost done", "unreachable", "429", "404 document", "400", "500 not found",
)  # fmt: skip
"""What a Langdock may do with a DELETE and go on."""


def said(status: int, message: str, **headers: str) -> Answer:
    return Answer(status, JSON | headers, json.dumps({"message": message}).encode())


@dataclass
class Folder(Service):
    """One knowledge folder: one call lists it, a minute's rate limit, its own words for what is not there."""

    name: str = "langdock"

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        # Its documents' ids stand last in the path; everything else asks for no document.
        parts = request.path.partition("?")[0].split("/")
        document = parts[3] if len(parts) == 4 and parts[3] != "list" else ""
        path = f"/x/documents/{document}" if document else request.path
        return await super().send(
            Request(request.method, path, request.json, request.max_body),
            timeout=timeout,
            connect_timeout=connect_timeout,
        )

    def read(self, request: Request, document: str) -> Reply:
        if document:
            row = self.held.get(document)
            if row is None:
                return said(404, "Attachment not found")
            return Answer(200, JSON, json.dumps({"status": "success", "result": self._row(row)}).encode())
        if request.path.endswith("/list"):
            if self.dataset_gone:
                return said(404, "Knowledge folder not found")
            rows = [self._row(row) for row in self.held.values()]
            return Answer(200, JSON, json.dumps({"status": "success", "result": rows}).encode())
        folder = {"id": FOLDER, "name": "Handbook", "role": "EDITOR", "fileCount": len(self.held)}
        return Answer(200, JSON, json.dumps({"result": [] if self.dataset_gone else [folder]}).encode())

    @staticmethod
    def _row(row: dict[str, object]) -> dict[str, object]:
        indexing = row["display_status"] == "indexing"
        return {"id": row["id"], "name": row["name"], "syncStatus": "EMBEDDING" if indexing else "SYNCED"}

    def delete(self, document: str) -> Reply:
        self.deletes[document] += 1
        script = self.scripts.get(document)
        act = script.popleft() if script else "ok"
        if act.endswith("done"):
            self.held.pop(document, None)
        if self.dataset_gone:
            return said(404, "Knowledge folder not found")
        match act:
            case "ok" if self.held.pop(document, None) is not None:
                return Answer(200, JSON, b'{"status": "success", "message": "Attachment deleted"}')
            case "ok":
                return said(404, "Attachment not found")
            case "404 document" | "500 not found":
                self.held.pop(document, None)  # another client was faster
                return said(404 if act == "404 document" else 500, "Attachment not found")
            case "500" | "500 done":
                return said(500, "Something went wrong")
            case "503":
                return Answer(503, HTML, b"<html>503</html>")
            case "lost" | "lost done":
                self.lost[document] += 1
                return Lost("disconnected", sent=True, detail="closed without an answer")
            case "unreachable":
                self.deletes[document] -= 1  # it never arrived
                return Lost("unreachable", sent=False, detail="connection refused")
            case "429":
                return said(429, "Too many requests", **{"retry-after": "2"})
            case "400":
                return said(400, "no")
        raise AssertionError(act)


def langdock(rate: Rate | None = None, concurrency: int = 4) -> Langdock:
    return Langdock(
        api_key=KEY,
        base_url="http://langdock.localhost/api/public",
        limits=Limits(rate=rate, concurrency=concurrency),
    )
