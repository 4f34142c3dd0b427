"""A plain client for the simulators, and the recorded answers that they must agree with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any
from urllib.parse import urlsplit

from bulkdel.simulator import DifySimulator, Simulator
from tests.recorded import FOLDER


def recorded(version: str) -> list[dict[str, Any]]:
    """Give every recorded row of a release of Dify."""
    lines = (FOLDER / f"dify-{version}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 if the connection ended without an answer, and then how, if it was not in order."""

    status: int
    headers: Any
    """Looked up by name in any case."""
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks a simulator over bare sockets, one connection a request: aiohttp would send a DELETE again behind our back."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        authorization: str | None = "",
        headers: Mapping[str, str] | None = None,
        prefix: str | None = None,
    ) -> Answer:
        """Send one request; ``path`` follows the base URL; ``authorization`` "" is the good key and None is no header."""
        url = urlsplit(self.simulator.base_url)
        lines = [f"{method} {url.path if prefix is None else prefix}{path} HTTP/1.1", f"Host: {url.netloc}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if authorization is not None:
            lines.append(f"Authorization: {authorization or f'Bearer {self.simulator.key}'}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
        lines += ["Connection: close", "", body or ""]
        try:
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                writer.write("\r\n".join(lines).encode())
                raw = await reader.read()
            finally:
                writer.close()
        except OSError as error:
            return Answer(0, {}, type(error).__name__)
        return _read(raw)

    async def get(self, path: str) -> Any:
        """GET and read JSON."""
        return (await self.ask("GET", path)).json

    async def delete(self, dataset: str, document: str) -> Answer:
        """DELETE one document the way of the simulated service."""
        if isinstance(self.simulator, DifySimulator):
            return await self.ask("DELETE", f"/datasets/{dataset}/documents/{document}")
        return await self.ask("DELETE", f"/knowledge/{dataset}/{document}")


def _read(raw: bytes) -> Answer:
    if not raw:
        return Answer(0, {}, "")
    head, _, body = raw.partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    headers = message_from_bytes(rest)
    assert len(body) == int(headers.get("Content-Length", "0"))
    return Answer(int(first.split()[1]), headers, body.decode())
