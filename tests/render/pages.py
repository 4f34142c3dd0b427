"""What the tests of the HTML report share: a run of every ending with hostile names, and a page taken apart."""

from __future__ import annotations

import asyncio
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bulkdel import Policy, Rate, Run
from bulkdel.render.html.page import page
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider

HOSTILE = (
    "</script><script>document.title = 'pwned'</script><img src=x onerror=\"document.title='pwned'\"> {{ 7*7 }} & '"
)
"""A name that would run in a page, or in a template, that takes it for more than text."""


def played(path: Path, documents: int = 300) -> Path:
    """A run of two sessions: deleted, archived, given up, asked again, a pause, and names that mean harm."""

    async def main() -> None:
        service = Service(latency=0.4)
        ids = service.fill(documents)
        for place, document in enumerate(ids):
            if place % 60 == 7:
                service.script(document, ["500"] * 9)
            if place % 50 == 5:
                service.held[document]["archived"] = True
            if place % 33 == 1:
                service.script(document, ["503", "indexing"])
            if place % 60 == 0 or place % 60 == 7:
                service.held[document]["name"] = HOSTILE
        service.script(ids[20], ["429"])
        async with client(service, providers=[provider(rate=Rate(20))], policy=Policy(attempts=3)) as c:
            service.when[documents // 2] = c.stop
            await c.purge("dify", DATASET, run=path)
            await c.resume(path)

    virtual.run(main())
    return path


def written(run: Path, **how: Any) -> str:
    """The page of the run at ``run``."""
    with Run.open(run) as opened:
        return "".join(page(opened, **how))


class Parts(HTMLParser):
    """A page as a browser's parser sees it: its tags with their attributes, and the text inside each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self.text = ""
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.inside.append((*self._open, data))
        else:
            self.text += data

    def data(self) -> list[dict[str, Any]]:
        """The embedded lists, in the page's order."""
        return [json.loads(text) for tag, attrs, text in self.inside if attrs.get("type") == "application/json"]


def rows(listing: dict[str, Any]) -> list[list[Any]]:
    """Every row of an embedded list."""
    found: list[list[Any]] = listing["rows"]
    return found


def killed(path: Path) -> Path:
    """A run whose only session ended without a word: its task was cancelled in the middle."""

    async def main() -> None:
        service = Service(latency=0.4)
        service.fill(50)
        async with client(service, providers=[provider(concurrency=2)]) as c:
            task = asyncio.ensure_future(c.purge("dify", DATASET, run=path))
            service.when[30] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.wait([task])

    virtual.run(main())
    return path
