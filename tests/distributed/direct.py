"""The script in a real Redis on a virtual clock: what a process says is answered in no real time, and Redis is told the time."""

from __future__ import annotations

import asyncio

from redis import Redis

from bulkdel.distributed.link import Away
from bulkdel.distributed.script import LUA, Ask, Look, arguments, keys, read

EPOCH_US = 1_700_000_000_000_000


class DirectLink:
    """A link for a virtual clock. ``latency`` is in virtual seconds each way; ``away`` says why there is no answer."""

    address = "a test's Redis"

    def __init__(self, client: Redis, scope: str = "scope", *, latency: float = 0.0001) -> None:
        self._script = client.register_script(LUA)
        self._keys = keys(scope)
        self.latency = latency
        self.away = ""
        self.looks: list[Look] = []
        self.tries = 0
        self.closed = 0

    async def look(self, ask: Ask) -> Look:
        self.tries += 1
        await asyncio.sleep(self.latency)
        if self.away:
            raise Away(self.away)
        look = read(self._script(keys=self._keys, args=arguments(ask, virtual_us())))
        await asyncio.sleep(self.latency)
        self.looks.append(look)
        return look

    async def aclose(self) -> None:
        self.closed += 1


def virtual_us() -> int:
    """The virtual clock as Redis would tell it."""
    return EPOCH_US + round(asyncio.get_running_loop().time() * 1e6)
