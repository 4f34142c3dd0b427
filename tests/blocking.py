"""A guard for tests: bulkdel's own code that blocks the event loop it runs in fails the test that runs it.

from tests.blocking import blocking_calls_fail  # noqa: F401   in a folder's conftest.py
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

MAY = (
    ("bulkdel/store/writer.py", "__init__"),  # a path's links, once a run: microseconds, before anything is sent
    ("bulkdel/store/writer.py", "_write_next"),  # SQLite in memory waits for nothing, and a thread is given its work
    ("bulkdel/wire/http.py", "user_agent"),  # bulkdel's own version, once a client
    ("bulkdel/store/recorded.py", "__iter__"),  # a report's settled targets are read when its reader asks for them
    ("bulkdel/store/recorded.py", "__len__"),
    ("bulkdel/limits/pace.py", "recall"),  # one small file, once a client
    ("bulkdel/limits/pace.py", "remember"),  # and once for each rate that was found
    ("bulkdel/limits/file_store.py", "__init__"),  # the shared limit's file, once a client
    ("bulkdel/limits/file_store.py", "take"),  # one transaction of 10 to 100 µs a lease
    ("bulkdel/limits/file_store.py", "aclose"),
    ("redis/asyncio/connection.py", "__init__"),  # Redis' client looks its own version up, once a connection
    ("tests/limits/stores.py", "aclose"),
    ("tests/limits/stores.py", "run"),  # a test's own way to Redis, at once on a virtual clock
    ("tests/engine/test_recorded.py", "main"),  # what a test reads for itself
    ("tests/proof/test_one_account.py", "main"),
    ("tests/engine/test_review.py", "main"),
    ("tests/engine/test_state.py", "main"),
    ("bulkdel/cli/output.py", "add"),  # the command's own lines: who cannot be written to is not to be outrun
    # What measures the tests, in whatever code it happens to be: raised in a callback of the loop, the error was logged, a result
    # never came, and the test waited for ever.
    ("coverage/collector.py", "lock_data"),
    ("coverage/control.py", "_should_trace"),
    ("coverage/control.py", "_check_include_omit_etc"),
    ("tests/engine/world.py", "send"),  # what a test itself does while a request is in flight
)
"""Where blocking calls are meant: file, and the function that calls."""


@pytest.fixture(autouse=True, scope="package")
def blocking_calls_fail() -> Iterator[None]:
    """Sockets, files, SQLite, locks and sleeps raise where they are called from bulkdel while a loop runs."""
    guard = BlockBuster("bulkdel")
    for function in guard.functions.values():
        for file, name in MAY:
            function.can_block_in(file, name)
    guard.activate()
    yield
    guard.deactivate()
