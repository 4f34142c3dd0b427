"""The demo as a run: what an interruption leaves of it, and that it never says gone if something is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Client
from bulkdel.report import Report
from tests.cli.outside import invoke


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_demo_ends_as_an_interrupted_run(times: int, state: Path) -> None:
    """$ bulkdel demo; ^C: what is in flight ends and the account is shown; ^C ^C: at once. Exit 130, and nothing is said to be
    gone that is there."""

    class Interrupted(Client):
        """Gets its signals when both purges have begun to delete."""

        async def carry_out(self, purges: Any, **call: Any) -> Report:
            tell, seen = call.pop("on_event"), set[str]()

            def on_event(event: Any) -> None:
                tell(event)
                if type(event).__name__ == "Settled" and event.settled.target.provider not in seen:
                    seen.add(event.settled.target.provider)
                    if len(seen) == 2:
                        for _ in range(times):
                            os.kill(os.getpid(), signal.SIGINT)

            return await super().carry_out(purges, on_event=on_event, **call)

    before = signal.getsignal(signal.SIGINT)
    seen = invoke("demo", client=Interrupted, environ={"NO_PROXY": "127.0.0.1"})
    assert (seen.status, signal.getsignal(signal.SIGINT)) == (130, before), seen.stderr
    assert not state.exists()  # it touches nothing but itself
    assert "stopping: " in seen.stderr
    assert "Traceback" not in seen.stderr
    assert "documents are gone" not in seen.stdout
    assert " of 400 documents are still there" in seen.stdout
    assert "the demo did not end as it should" in seen.stderr
