"""A small OpenAI on loopback: vector stores and files that behave as documented, and go wrong if a test says so."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from aiohttp import web

KEY = "sk-simulated-0123456789abcdef"

LOCK = "Timed out while waiting for the vector store's lock."
SLOW = "Rate limit reached for requests."
QUOTA = "You exceeded your current quota, please check your plan and billing details."


class VectorStoreSimulator:
    """Holds ``stores`` (id to rows by file id) and ``files`` (the ids of the file objects); an async context manager.

    ``scripts`` has what the next DELETEs of a file meet, by its id and the step (``delete`` or ``file``): ``409``, ``500``,
    ``429``, ``quota``, ``not deleted``, ``lost`` (the connection ends) or ``lost done`` (it ends after the deed).
    """

    def __init__(self) -> None:
        self.stores: dict[str, dict[str, dict[str, Any]]] = {}
        self.files: set[str] = set()
        self.scripts: defaultdict[tuple[str, str], deque[str]] = defaultdict(deque)
        self.seen: list[tuple[str, str]] = []  # method, and path with its query, of every request
        self.early: list[str] = []  # taken out of a store while they were in progress
        self.after_delete: Callable[[str], object] = lambda file: None  # called when a file was taken out of a store
        self.base_url = ""

    def fill(self, store: str, n: int, *, first: int = 0) -> list[str]:
        """Upload ``n`` files and put them into ``store``; their ids."""
        ids = [f"file-{first + k:05}" for k in range(n)]
        rows = self.stores.setdefault(store, {})
        for place, file in enumerate(ids, first):
            self.files.add(file)
            rows[file] = {
                "id": file, "object": "vector_store.file", "usage_bytes": 1234, "created_at": 1_700_000_000 + place,
                "vector_store_id": store, "status": "completed", "last_error": None, "attributes": {},
            }  # fmt: skip
        return ids

    def mark(self, store: str, files: list[str], status: str) -> None:
        """Let these files be ``in_progress``, ``completed``, ``failed`` or ``cancelled``."""
        for file in files:
            self.stores[store][file]["status"] = status

    def sent(self, method: str) -> list[str]:
        """The paths of all requests of a method."""
        return [path for sent, path in self.seen if sent == method]

    async def __aenter__(self) -> VectorStoreSimulator:
        app = web.Application(middlewares=[self._at_the_door])
        app.router.add_get("/v1/vector_stores", self._stores)
        app.router.add_get("/v1/vector_stores/{store}", self._store)
        app.router.add_get("/v1/vector_stores/{store}/files", self._rows)
        app.router.add_get("/v1/vector_stores/{store}/files/{file}", self._row)
        app.router.add_delete("/v1/vector_stores/{store}/files/{file}", self._take_out)
        app.router.add_get("/v1/files/{file}", self._file)
        app.router.add_delete("/v1/files/{file}", self._delete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    # ------------------------------------------------------------------ the routes

    @web.middleware
    async def _at_the_door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refusal(401, "Incorrect API key provided.", code="invalid_api_key")
        if request.match_info.http_exception is not None:
            return refusal(404, f"Invalid URL ({request.method} {request.path})")
        store = request.match_info.get("store")
        if store is not None and store not in self.stores:
            return refusal(404, f"Vector store with id '{store}' not found.")
        response: web.StreamResponse = await handler(request)
        return response

    async def _stores(self, request: web.Request) -> web.Response:
        return page(request, [self._describe(store) for store in self.stores], lambda after: f"No store '{after}'.")

    async def _store(self, request: web.Request) -> web.Response:
        return web.json_response(self._describe(request.match_info["store"]))

    async def _rows(self, request: web.Request) -> web.Response:
        store = request.match_info["store"]
        return page(request, list(self.stores[store].values()), lambda after: missing(after, store))

    async def _row(self, request: web.Request) -> web.Response:
        store, file = request.match_info["store"], request.match_info["file"]
        row = self.stores[store].get(file)
        return web.json_response(row) if row else refusal(404, missing(file, store))

    async def _take_out(self, request: web.Request) -> web.Response:
        store, file = request.match_info["store"], request.match_info["file"]

        def deed() -> web.Response:
            row = self.stores[store].pop(file, None)
            if row is None:
                return refusal(404, missing(file, store))
            if row["status"] == "in_progress":
                self.early.append(file)
            self.after_delete(file)
            return web.json_response({"id": file, "object": "vector_store.file.deleted", "deleted": True})

        return self._scripted(request, file, "delete", deed)

    async def _file(self, request: web.Request) -> web.Response:
        file = request.match_info["file"]
        if file not in self.files:
            return refusal(404, f"No such File object: {file}")
        return web.json_response({"id": file, "object": "file", "purpose": "assistants"})

    async def _delete(self, request: web.Request) -> web.Response:
        file = request.match_info["file"]

        def deed() -> web.Response:
            if file not in self.files:
                return refusal(404, f"No such File object: {file}")
            self.files.remove(file)
            for rows in self.stores.values():  # documented: a deleted file is taken out of every store
                rows.pop(file, None)
            return web.json_response({"id": file, "object": "file", "deleted": True})

        return self._scripted(request, file, "file", deed)

    # ------------------------------------------------------------------ what they share

    def _scripted(self, request: web.Request, file: str, step: str, deed: Callable[[], web.Response]) -> web.Response:
        script = self.scripts[file, step]
        match script.popleft() if script else "":
            case "409":
                return refusal(409, LOCK, code="lock_timeout")
            case "429":
                return refusal(429, SLOW, kind="requests", headers={"x-ratelimit-reset-requests": "20ms"})
            case "quota":
                return refusal(429, QUOTA, kind="insufficient_quota", code="credit_balance_exhausted")
            case "500":
                return refusal(500, "The server had an error while processing your request.", kind="server_error")
            case "not deleted":
                return web.json_response({"id": file, "object": "file", "deleted": False})
            case "lost":
                raise hung_up(request)
            case "lost done":
                deed()
                raise hung_up(request)
        return deed()

    def _describe(self, store: str) -> dict[str, Any]:
        counts = {"total": len(self.stores[store]), "completed": len(self.stores[store])}
        return {
            "id": store,
            "object": "vector_store",
            "name": f"Store {store}",
            "file_counts": counts,
            "status": "completed",
        }


def page(request: web.Request, rows: list[dict[str, Any]], unknown: Callable[[str], str]) -> web.Response:
    """One page in the order asked for; a cursor that names nothing is refused."""
    limit, after = min(int(request.query.get("limit", "20")), 100), request.query.get("after")
    if request.query.get("order", "desc") == "desc":
        rows = rows[::-1]
    ids = [row["id"] for row in rows]
    if after is not None and after not in ids:
        return refusal(404, unknown(after))
    start = 0 if after is None else ids.index(after) + 1
    shown = rows[start : start + limit]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return web.json_response({"object": "list", "data": shown, **ends, "has_more": start + limit < len(rows)})


def missing(file: str, store: str) -> str:
    return f"No file found with id '{file}' in vector store '{store}'."


def refusal(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def hung_up(request: web.Request) -> asyncio.CancelledError:
    """End the connection without an answer; aiohttp ends a handler that is cancelled quietly."""
    if request.transport is not None:
        request.transport.close()
    return asyncio.CancelledError()
