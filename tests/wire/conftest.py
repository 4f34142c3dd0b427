"""Each test of the wire runs under asyncio and under uvloop, and fails for whatever a loop reports behind its back."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Run = Callable[[Coroutine[Any, Any, None]], None]

LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies are none of a test's business."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def run_on(loop: str, main: Coroutine[Any, Any, None], *, debug: bool = False) -> None:
    """Run ``main`` on a loop of its own; whatever the loop would only log is an error here."""
    reported: list[dict[str, Any]] = []
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        gc.freeze()  # what was there before is not looked at again: 20 ms a test
        try:
            runner.run(asyncio.wait_for(main, 30))  # a test that hangs is a test that fails
            gc.collect()  # what was left open complains now, in this test and not in a later one
        finally:
            gc.unfreeze()
    # A test's own server complains, in debug mode, of clients that refuse its certificate: that is the test.
    assert [what for what in reported if "incoming connection" not in what["message"]] == []


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine under asyncio and, in another test, under uvloop."""
    return lambda main: run_on(request.param, main)
