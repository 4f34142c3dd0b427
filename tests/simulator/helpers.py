"""A plain client for the simulators, and the recorded answers that they must agree with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bulkdel.simulator import Simulator

_HERE = Path(__file__).resolve()
# The contract's own folder beside the checkout; a checkout that is alone has a copy.
_FOLDERS = (_HERE.parents[2].parent / "shared" / "contracts" / "recorded", _HERE.parent / "recorded")


def recorded(version: str) -> list[dict[str, Any]]:
    """Give every recorded row of a release of Dify."""
    path = next(path for folder in _FOLDERS if (path := folder / f"dify-{version}.jsonl").exists())
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 and no headers where the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks a simulator, one connection a request, so that nothing is sent twice behind our back."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def __aenter__(self) -> Client:
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        authorization: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; ``path`` follows the base URL; ``authorization`` "" is the good key and None is no header."""
        sent = dict(headers or {})
        if authorization is not None:
            sent["Authorization"] = authorization or f"Bearer {self.simulator.key}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        url = self.simulator.base_url + path
        try:
            async with self.session.request(method, url, data=body, headers=sent, allow_redirects=False) as response:
                return Answer(response.status, response.headers, await response.text())
        except aiohttp.ClientConnectionError:
            return Answer(0, {}, "")

    async def get(self, path: str) -> Any:
        """GET and read JSON."""
        return (await self.ask("GET", path)).json

    async def delete(self, dataset: str, document: str) -> Answer:
        """DELETE one document the way of the simulated service."""
        if type(self.simulator).__name__ == "DifySimulator":
            return await self.ask("DELETE", f"/datasets/{dataset}/documents/{document}")
        return await self.ask("DELETE", f"/knowledge/{dataset}/{document}")
