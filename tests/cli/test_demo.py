"""The demo as a run: what an interruption leaves of it, and that it never says gone where something is left."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from bulkdel import Client
from bulkdel.report import Report
from tests.cli.outside import invoke


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_demo_ends_as_an_interrupted_run(times: int) -> None:
    """$ bulkdel demo; ^C: what is in flight ends and the table is shown; ^C ^C: at once. Exit 130, and nothing is said to be
    gone that is there."""

    class Interrupted(Client):
        """Gets its signals when both purges have begun to delete."""

        heard: set[str]

        async def purge(self, provider: str, *datasets: str, **common: Any) -> Report:
            tell = common.pop("on_event")

            def hear(event: Any) -> None:
                tell(event)
                if type(event).__name__ == "Settled" and provider not in self.heard:
                    self.heard.add(provider)
                    if len(self.heard) == 2:
                        for _ in range(times):
                            os.kill(os.getpid(), signal.SIGINT)

            return await super().purge(provider, *datasets, on_event=hear, **common)

    def connected(*providers: Any, **options: Any) -> Client:
        made = Interrupted(*providers, **options)
        made.heard = set()
        return made

    before = signal.getsignal(signal.SIGINT)
    seen = invoke("demo", client=connected, environ={"NO_PROXY": "127.0.0.1"})
    assert (seen.status, signal.getsignal(signal.SIGINT)) == (130, before), seen.stderr
    assert "stopping: " in seen.stderr
    assert "Traceback" not in seen.stderr
    assert "documents are gone" not in seen.stdout
    if times == 1:
        assert " of 400 documents are still there" in seen.stdout
        assert "the demo did not end as it should" in seen.stderr
