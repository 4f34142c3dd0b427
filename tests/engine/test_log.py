"""The library never prints and never configures logging, also if a user's own callback raises."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from bulkdel.events import Event
from tests import virtual
from tests.engine.world import Service, client, targets

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from bulkdel import Client
from tests.engine.world import Service, provider, targets

async def main():
    service = Service()
    ids = service.fill(3)

    @asynccontextmanager
    async def connect(of):
        yield service

    def raises(event):
        raise RuntimeError("a listener's own mistake")

    async with Client(provider(), connect=connect, on_event=raises) as client:
        report = await client.delete(targets(ids))
    assert report.ok

how = sys.argv[1]
if how == "anyio":
    import anyio
    anyio.run(main)
elif how == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["asyncio", "uvloop", "anyio"])
def test_nothing_is_printed_if_on_event_raises(how: str) -> None:
    """Stdout and stderr stay empty: without a handler of the program's the library's log goes nowhere."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_a_raising_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """S13: it is a warning of the logger ``bulkdel``, with the kind of event and of the error."""

    def raises(event: Event) -> None:
        raise RuntimeError("a listener's own mistake")

    async def main() -> None:
        service = Service()
        ids = service.fill(2)
        async with client(service) as c:
            assert (await c.delete(targets(ids), on_event=raises)).ok

    with caplog.at_level(logging.WARNING, logger="bulkdel"):
        virtual.run(main())
    assert {record.name for record in caplog.records} == {"bulkdel"}
    assert caplog.messages.count("on_event raised; the run goes on (event_type: Settled, error: RuntimeError)") == 2
