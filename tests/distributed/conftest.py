"""A real Redis for each worker of the tests, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.blocking import blocking_calls_fail
from tests.cli.conftest import state
from tests.distributed.redis_server import RedisServer

__all__ = ["blocking_calls_fail", "state"]


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """A Redis that knows nothing; a test that stops it starts it again."""
    redis_process.flush()
    return redis_process


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be stopped, frozen and started again."""
    with RedisServer(tmp_path_factory.mktemp("own-redis")) as server:
        yield server
