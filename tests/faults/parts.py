"""The parts of a run that a fault can replace: the wire, the provider's reading, the token store, and the run file's database."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bulkdel import Client, Dify, Limits, Policy, Rate
from bulkdel.limits import Limiter, MemoryStore, TokenStore
from bulkdel.providers.protocol import Provider, Wire
from tests.engine.world import KEY, Service
from tests.store.helpers import connect as connect_database
from tests.store.helpers import sqlite

T = TypeVar("T")


def as_it_is(part: T) -> T:
    """No fault."""
    return part


@dataclass(frozen=True)
class Parts:
    """What is put around each part of a run; a fault replaces one of them."""

    wire: Callable[[Wire], Wire] = as_it_is
    provider: type[Dify] = Dify
    tokens: Callable[[TokenStore], TokenStore] = as_it_is
    database: type[sqlite3.Connection] = sqlite3.Connection

    @asynccontextmanager
    async def client(
        self, service: Service, *, policy: Policy | None = None, rate: Rate | None = None
    ) -> AsyncIterator[Client]:
        """A client of the service in memory."""
        wire = self.wire(service)
        provider = self.provider(KEY, "http://dify.localhost/v1", limits=Limits(rate=rate, concurrency=4))

        @asynccontextmanager
        async def connect(_: Provider) -> AsyncIterator[Wire]:
            yield wire

        def limiter(_: Provider, rate: Rate | None) -> Limiter:
            return Limiter(self.tokens(MemoryStore()), rate)

        with sqlite(partial(connect_database, factory=self.database)):
            async with Client(provider, policy=policy, connect=connect, limiter=limiter) as client:
                yield client
