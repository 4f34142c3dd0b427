"""A headless Chromium and its DevTools, spoken to over aiohttp: what a page does, says and asks the network for."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "--window-size=1280,900",
)  # fmt: skip


class Page:
    """One tab. ``events`` is everything it said, by method and parameters, in order."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self.events.append((said["method"], said["params"]))
                if said["method"] == "Page.loadEventFired":
                    self._loaded.set()

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A DevTools command and its result; see https://chromedevtools.github.io/devtools-protocol/"""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        answer = self._answers[number]
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        said = await answer
        assert "error" not in said, said["error"]
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.tell(f"{domain}.enable")
        self._loaded.clear()
        await self.tell("Page.navigate", url=url)
        await self._loaded.wait()

    async def ask(self, script: str) -> Any:
        """What an expression comes to in the page."""
        said = await self.tell("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def said(self, *methods: str) -> list[dict[str, Any]]:
        return [parameters for method, parameters in self.events if method in methods]


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    """A tab of a browser of its own, with nothing remembered."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": folder, "DBUS_SESSION_BUS_ADDRESS": "/dev/null"},
        )  # fmt: skip
        try:
            port = await _port(process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (tab,) = [tab for tab in await answer.json() if tab["type"] == "page"]
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    opened = Page(socket)
                    try:
                        yield opened
                    finally:
                        await opened.close()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def _port(process: asyncio.subprocess.Process) -> int:
    """Chromium says on stderr where its DevTools listen."""
    assert process.stderr is not None
    async for line in process.stderr:
        words = line.decode(errors="replace").strip()
        if words.startswith("DevTools listening on ws://127.0.0.1:"):
            return int(words.removeprefix("DevTools listening on ws://127.0.0.1:").partition("/")[0])
    raise AssertionError("the browser ended before it was ready")


def address(path: Path) -> str:
    return path.resolve().as_uri()
