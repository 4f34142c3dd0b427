"""The connection to the Redis that holds a limit: one look at a time, and every failure said in words that hold no password."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from inspect import signature
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
)

from bulkdel.distributed.script import LUA, Ask, Look, arguments, keys, read
from bulkdel.errors import ConfigurationError

ANSWER_S = 2.0
"""Seconds for a connection and for an answer. One takes 0.2 ms; a Redis that is this late is stopped or cut off."""

SHA = hashlib.sha1(LUA.encode(), usedforsecurity=False).hexdigest()


# Its version is read from the disk for each connection otherwise, in the event loop, to be told to Redis.
_QUIET: dict[str, Any] = {"driver_info": None} if "driver_info" in signature(Redis.__init__).parameters else {}


class Away(Exception):
    """Raised when Redis did not do what it was asked; ``mends`` is whether that may end by waiting."""

    def __init__(self, reason: str, *, mends: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.mends = reason, mends


class Link(Protocol):
    """Where a scope's state is."""

    address: str

    async def look(self, ask: Ask) -> Look:
        """Say and ask; what is heard.

        :raises Away: where there was no answer, or no good one; whatever was granted then is spent
        """

    async def aclose(self) -> None:
        """Let go of the connection; never raises for one that is gone."""


class RedisLink:
    """A connection of its own, made when it is first needed and again after it broke.

    :param url: ``redis://``, ``rediss://`` or ``unix://``, with user and password where Redis wants them
    :raises ConfigurationError: where that is no such URL
    """

    def __init__(self, url: str, scope: str) -> None:
        self.address = address(url)
        self._keys = keys(scope)
        try:
            # Nothing is sent again by the client itself: what was granted to a lost answer is spent, and a look later asks anew.
            self._redis: Any = Redis.from_url(  # type: ignore[no-untyped-call, unused-ignore]
                url,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=ANSWER_S,
                retry=Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call, unused-ignore]
                **_QUIET,
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"this is no URL of a Redis: {self.address}") from error

    async def look(self, ask: Ask) -> Look:
        words = arguments(ask)
        try:
            try:
                return read(await self._redis.evalsha(SHA, 2, *self._keys, *words))
            except NoScriptError:  # a Redis that was started since, or never asked
                return read(await self._redis.eval(LUA, 2, *self._keys, *words))
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise Away(f"it refuses the password or the user ({error})", mends=False) from error
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            raise Away(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await self._redis.aclose()


def address(url: str) -> str:
    """Where a Redis is, without user and password."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path
        host, port = parts.hostname or "localhost", parts.port or 6379
    except ValueError:
        return "(not to be read)"
    return f"{host}:{port}{parts.path if parts.path != '/' else ''}"
