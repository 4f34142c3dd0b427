"""A service in memory behind the wire's border: it keeps the truth, does what each document's script says, and logs."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from bulkdel import Client, Dify, Limits, Policy, Rate, Target
from bulkdel.providers.protocol import Answer, Lost, Provider, Reply, Request

KEY = "dataset-0123456789abcdef"
DATASET = "11111111-1111-4111-8111-111111111111"

JSON = {"content-type": "application/json", "x-version": "1.14.2"}
HTML = {"content-type": "text/html"}

ACTS = (
    "ok", "500", "500 done", "503", "lost", "lost done", "unreachable", "429", "429 long", "indexing", "archived",
    "404 document", "400",
)  # fmt: skip
"""What a service may do with a DELETE and go on; ``done`` means that it deleted all the same."""
ENDS = ("401", "404 dataset", "302", "login page", "404 html", "tls")
"""What stops a dataset or the provider."""


def document_id(n: int) -> str:
    return str(uuid.UUID(int=n << 96, version=4))


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    body = json.dumps({"code": code, "message": message, "status": status}).encode()
    return Answer(status, {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}, body)


@dataclass
class Sent:
    """A request as the service saw it."""

    at: float
    method: str
    path: str
    document: str


@dataclass
class Service:
    """A Dify-like service in memory; a wire for the client.

    ``scripts`` has what each document's next DELETEs meet, then ``ok``. ``latency`` is in seconds.
    """

    name: str = "dify"
    latency: float = 0.01
    scripts: dict[str, deque[str]] = field(default_factory=dict)
    held: dict[str, dict[str, object]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    doubled: list[str] = field(default_factory=list)
    finished: int = 0
    filled: int = 0
    when: dict[int, Callable[[], object]] = field(default_factory=dict)  # called when that many requests have come
    down: bool = False
    dataset_gone: bool = False
    deletes: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def fill(self, n: int, **extra: object) -> list[str]:
        first = self.filled
        self.filled += n
        ids = [document_id(first + k) for k in range(n)]
        for place, document in enumerate(ids, first):
            self.held[document] = {
                "id": document, "name": f"doc-{place}.md", "created_at": 1_700_000_000 + place,
                "indexing_status": "completed", "display_status": "available", "archived": False, "enabled": True,
            } | extra  # fmt: skip
        return ids

    def script(self, document: str, acts: Iterable[str]) -> None:
        self.scripts[document] = deque(acts)

    # ------------------------------------------------------------------ the wire's border

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        document = request.path.rpartition("/documents/")[2].partition("?")[0] if "/documents/" in request.path else ""
        self.sent.append(Sent(asyncio.get_running_loop().time(), request.method, request.path, document))
        if (happening := self.when.pop(len(self.sent), None)) is not None:
            happening()
        key = document or request.path
        self.in_flight[key] += 1
        if document and self.in_flight[key] > 1:
            self.doubled.append(document)
        self.most_in_flight = max(self.most_in_flight, sum(self.in_flight.values()))
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return self.answer(request, document)
        finally:
            self.in_flight[key] -= 1
            self.finished += 1

    def answer(self, request: Request, document: str) -> Reply:
        if self.down:
            return Lost("unreachable", sent=False, detail="connection refused")
        if request.method == "GET":
            return self.read(request, document)
        if request.method == "PATCH":
            action = request.path.rpartition("/")[2]
            assert request.json is not None
            for one in request.json["document_ids"]:  # type: ignore[attr-defined]
                if action == "un_archive" and one in self.held:
                    self.held[one]["archived"] = False
            return Answer(200, JSON, b'{"result":"success"}')
        return self.delete(document)

    def read(self, request: Request, document: str) -> Reply:
        if self.dataset_gone:
            return error(404, "not_found", "Dataset not found.")
        if document:
            row = self.held.get(document)
            return (
                Answer(200, JSON, json.dumps(row).encode()) if row else error(404, "not_found", "Document not found.")
            )
        path, _, query = request.path.partition("?")
        if path.endswith("/documents"):
            parameters = dict(pair.split("=") for pair in query.split("&"))
            page, limit = int(parameters["page"]), int(parameters["limit"])
            rows = sorted(self.held.values(), key=lambda row: str(row["created_at"]), reverse=True)
            part = rows[(page - 1) * limit : page * limit]
            body = {"data": part, "has_more": len(part) == limit, "limit": limit, "total": len(rows), "page": page}
            return Answer(200, JSON, json.dumps(body).encode())
        dataset = {"id": DATASET, "name": "Support", "document_count": len(self.held), "provider": "vendor"}
        return Answer(200, JSON, json.dumps(dataset | {"enable_api": True}).encode())

    def delete(self, document: str) -> Reply:
        self.deletes[document] += 1
        script = self.scripts.get(document)
        act = script.popleft() if script else "ok"
        if act in ("indexing", "archived", "400") and document not in self.held:
            act = "ok"  # a service does not speak of a document that is gone
        if act.endswith("done"):
            self.held.pop(document, None)
        if self.dataset_gone:
            return error(404, "not_found", "Dataset not found.")
        match act:
            case "ok" if document in self.held:
                row = self.held[document]
                if row["archived"]:
                    return error(403, "archived_document_immutable", "The archived document is not editable.")
                del self.held[document]
                return Answer(204, JSON)
            case "ok":
                return error(404, "not_found", "Document Not Exists.")
            case "404 document":
                self.held.pop(document, None)  # another process was faster
                return error(404, "not_found", "Document Not Exists.")
            case "500" | "500 done":
                return error(500, "unknown", "Internal Server Error")
            case "503":
                return Answer(503, HTML, b"<html>503</html>")
            case "503 day":
                return Answer(503, {**HTML, "retry-after": "86400"}, b"<html>503</html>")
            case "lost" | "lost done":
                self.lost[document] += 1
                return Lost("disconnected", sent=True, detail="closed without an answer")
            case "unreachable":
                self.deletes[document] -= 1  # it never arrived
                return Lost("unreachable", sent=False, detail="connection refused")
            case "429":
                return error(429, "too_many_requests", "slow down", retry_after="2")
            case "429 long":
                return error(429, "too_many_requests", "slow down", retry_after="3600")
            case "indexing":
                return error(400, "document_indexing", "Cannot delete document during indexing.")
            case "archived":
                return error(403, "archived_document_immutable", "The archived document is not editable.")
            case "400":
                return error(400, "invalid_param", "no")
            case "401":
                return error(401, "unauthorized", "Access token is invalid")
            case "404 dataset":
                self.dataset_gone = True
                return error(404, "not_found", "Dataset not found.")
            case "302":
                return Answer(302, {"location": "/login"})
            case "login page":
                return Answer(200, HTML, b"<html>please log in</html>")
            case "404 html":
                return Answer(404, HTML, b"<html>nothing here</html>")
            case "tls":
                self.deletes[document] -= 1
                return Lost("tls", sent=False, detail="certificate")
        raise AssertionError(act)


def provider(name: str = "dify", rate: Rate | None = None, concurrency: int = 4) -> Dify:
    return Dify(
        api_key=KEY,
        base_url=f"http://{name}.localhost/v1",
        name=name,
        limits=Limits(rate=rate, concurrency=concurrency),
    )


def targets(ids: Iterable[str], name: str = "dify", dataset: str = DATASET) -> list[Target]:
    return [Target(name, dataset, document) for document in ids]


def client(
    *services: Service, policy: Policy | None = None, providers: Iterable[Dify] = (), **options: object
) -> Client:
    """A client whose wires are the services in memory; without ``rng`` its backoff is the same each time that the test runs."""
    by_name = {service.name: service for service in services}

    @asynccontextmanager
    async def connect(of: Provider) -> AsyncIterator[Service]:
        yield by_name[of.name]

    values = list(providers) or [provider(service.name) for service in services]
    options.setdefault("rng", Random(1))
    return Client(*values, policy=policy, connect=connect, **options)  # type: ignore[arg-type]
