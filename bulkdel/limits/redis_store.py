"""Tokens between machines: one Lua script in a Redis, over a connection of its own. The only module here that imports redis."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from bulkdel.errors import ConfigurationError
from bulkdel.limits.bucket import shared_bucket
from bulkdel.limits.limiter import Lease, Limiter, LimiterUnavailable, MakeLimiter, shared_lease
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider

LUA = (files("bulkdel.limits") / "tokens.lua").read_text("utf-8")

_log = logging.getLogger("bulkdel")


class RedisStore:
    """Leases of a limit that all processes share, on any machine, that name this Redis and scope.

    No host's clock matters: leases are granted by Redis' clock, and here only spans are measured. A lease was granted after it
    was asked for, so it is used within its hold from then on. While Redis is away nothing leaves.

    :param url: ``redis://``, ``rediss://`` or ``unix://``, with user and password if Redis wants them
    :param scope: what the limit is known by: a provider's fingerprint
    :param patience: seconds for which a Redis that is away is waited for: longer than a restart, shorter than people wait
    :raises ConfigurationError: if that is no such URL
    """

    def __init__(self, url: str, scope: str, *, patience: float = 60.0) -> None:
        self.address = address(url)
        self._keys = keys(scope)
        self._name = secrets.token_hex(8)
        self._patience = patience
        self._failing_since: float | None = None
        self._failures = 0  # in a row
        self._failed_at = -math.inf
        self._last: Lease | None = None
        try:
            # The client itself sends nothing again: what was granted to a lost answer is spent, and the next claim asks anew.
            self._redis: Any = Redis.from_url(  # type: ignore[no-untyped-call, unused-ignore]
                url,
                socket_timeout=2.0,  # an answer takes 0.2 ms; a Redis that is this late is stopped or cut off
                socket_connect_timeout=2.0,
                retry=Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call, unused-ignore]
                **_QUIET,
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"this is no URL of a Redis: {self.address}") from error
        self._script = self._redis.register_script(LUA)

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        """A lease in one round trip; none, with the reason, while Redis is away.

        :raises LimiterUnavailable: if Redis was away for longer than ``patience``, or refuses us
        """
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            lease = read(await self.run([self._name, limit_words(rate), repr(pause_s * 1e6), ""]))
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            words = (
                f"the limit cannot be kept: the Redis at {self.address}: it refuses the password or the user ({error})"
            )
            raise LimiterUnavailable(words, "is the URL of the Redis right?") from error
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            return self._away(str(error) or type(error).__name__, rate, clock())
        took = clock() - asked_at
        if lease.permits and took > lease.use_within_s:
            words = f"its answers take {1000 * took:.0f} ms, more than {1000 * lease.use_within_s:.0f} ms"
            return self._away(words, rate, clock())
        if self._last is not None and self._last.trouble:
            _log.info("the limiter is back: %s", self.address)
        self._failing_since, self._failures, self._last = None, 0, lease
        return lease

    def _away(self, reason: str, rate: Rate | None, now: float) -> Lease:
        """Redis did not answer, or too late: nothing leaves, and it is asked again until patience ends."""
        where = f"the Redis at {self.address}: {reason}"
        # If no process has asked for a while, the one that asks now waits anew.
        if self._failing_since is None or now - self._failed_at > 10.0:
            self._failing_since, self._failures = now, 0
        self._failures, self._failed_at = self._failures + 1, now
        if now - self._failing_since >= self._patience:
            raise LimiterUnavailable(
                f"the limit could not be kept for {self._patience:g} s: {where}", "is the Redis up?"
            )
        last = self._last or Lease(0, rate)
        if not last.trouble:
            _log.warning("nothing is sent until the limiter is back: %s", where)
        retry_s = min(2.0, 0.1 * 2.0 ** min(self._failures - 1, 10))
        trouble = f"the limiter is away: {where}"
        self._last = replace(last, permits=0, retry_s=retry_s, paused_s=-math.inf, processes=1, trouble=trouble)
        return self._last

    async def run(self, arguments: list[str]) -> Any:
        """Run the script with its ``ARGV``.

        :raises RedisError, OSError, TimeoutError: if there was no answer, or no good one
        """
        return await self._script(keys=self._keys, args=arguments)

    async def aclose(self) -> None:
        """Leave the limit to the others and let go of the connection; if that fails, this process' silence says it."""
        with suppress(RedisError, OSError, TimeoutError):
            if self._last is not None and not self._last.trouble:
                async with asyncio.timeout(1.0):
                    await self._redis.hdel(self._keys[1], self._name)
            self._last = None
        with suppress(RedisError, OSError, TimeoutError):
            await self._redis.aclose()


def keys(scope: str) -> tuple[str, str]:
    """The keys that hold a scope's state; their common tag keeps them on one node of a cluster."""
    return f"{{bulkdel:{scope}}}:bucket", f"{{bulkdel:{scope}}}:processes"


def limit_words(rate: Rate | None) -> str:
    """The limit as the script keeps it: ``n per interval size lease``, the interval in microseconds; empty for none."""
    if rate is None:
        return ""
    b = shared_bucket(rate)
    return f"{float(rate.n)!r} {float(rate.per)!r} {1e6 / b.per_second!r} {b.size!r} {b.lease}"


def read(reply: Any) -> Lease:
    """What the script returned.

    :raises ValueError: if it is not what the script returns
    """
    try:
        permits, retry, paused, processes, limit = reply
        words = (limit.decode() if isinstance(limit, bytes) else str(limit)).split()
        retry_s, paused_s, others = int(retry) / 1e6, int(paused) / 1e6, max(1, int(processes))
        rate = Rate(float(words[0]), float(words[1])) if words else None
        return shared_lease(int(permits), rate, retry_s, paused_s, others)
    except (TypeError, IndexError) as error:
        raise ValueError(f"this is no state of a shared limit: {type(error).__name__}") from error


def redis_limiter(url: str, *, patience: float = 60.0) -> MakeLimiter:
    """What a ``Client`` takes as ``limiter=``, to share each provider's limit with all that name the same Redis.

    A limit is known by a provider's ``fingerprint``: of its kind, its address and its key, which cannot be read from it.

    :param url: ``redis://``, ``rediss://`` or ``unix://``, with user and password if Redis wants them
    :param patience: seconds for which a Redis that is away is waited for before a run stops
    :raises ConfigurationError: if that is no such URL; when a client is opened
    """

    def make(provider: Provider, rate: Rate | None) -> Limiter:
        return Limiter(RedisStore(url, provider.fingerprint, patience=patience), rate)

    return make


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


# Its version is read from the disk for each connection otherwise, in the event loop, to be reported to Redis.
_QUIET: dict[str, Any] = {"driver_info": None} if "driver_info" in signature(Redis.__init__).parameters else {}
