"""What the tests of limits share: a Redis, and the guard against blocking calls."""

from __future__ import annotations

from tests.distributed.conftest import blocking_calls_fail, own_redis, redis_process, redis_server

__all__ = ["blocking_calls_fail", "own_redis", "redis_process", "redis_server"]
