"""An event loop whose clock is virtual: when nothing is ready, time jumps to the next timer instead of passing.

    from tests import virtual
    virtual.run(main())        # a coroutine, or a function that makes one; hours pass in milliseconds

Only ``loop.time()`` is virtual, so code under test must read the time there (and not from ``time.monotonic``). Real sockets
and threads work too: before a jump they get a moment of real time to answer, a longer one before a longer jump.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

START = 1_000.0
"""Virtual seconds at the beginning: not 0, so that a time taken for "none" by its falsehood is found."""
LIMIT = 30 * 86_400.0
"""Virtual seconds that may pass: a test that waits longer waits for what never comes."""
STUCK = 30.0
"""Real seconds that a socket or thread may take to answer when nothing else is left to wait for."""


class Deadlock(Exception):
    """Raised when nothing is ready, no timer is set and no socket or thread answers: the wait would last for ever."""


class TooLong(Exception):
    """Raised when more virtual time has passed than the test allows."""


class _Clock(selectors.DefaultSelector):
    """A selector that jumps instead of waiting; the loop tells it by ``timeout`` how far away the next timer is."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        # Whole nanoseconds: a sum of floats drifts, and a jump rounded down would miss its timer.
        self.now = self._ns(START)
        self.end = self.now + self._ns(limit)
        self.own = 0  # file descriptors of the loop itself (its self-pipe)
        self.jobs = 0  # run_in_executor calls that have not come back
        # Not their number: one of another test that ends while one of this test begins would hide it.
        self.others = set(threading.enumerate())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # aiolimiter livelocks under an exactly frozen clock: it re-arms a timer that is due by less than a rounding error.
        self.now += 1
        # Asked before the look: a thread that ends between the two has left its word in the self-pipe by then.
        outside = len(self.get_map()) > self.own or not self.others.issuperset(threading.enumerate())
        if ready := super().select(0):
            return ready
        if timeout is not None and timeout <= 0:
            return ready
        moment = 0.0
        if self.jobs or (outside and timeout is None):
            moment = STUCK
        elif outside and timeout is not None:
            # Loopback answers within microseconds. Jumping too early by little costs little; a long jump is most often
            # a timeout that should not happen, so it gets up to 20 ms.
            moment = min(0.02, max(0.001, timeout / 50))
        if moment and (ready := super().select(moment)):
            return ready
        if timeout is None:
            tasks = "\n  ".join(sorted(map(repr, asyncio.all_tasks())))
            raise Deadlock(f"nothing is ready and no timer is set; these tasks wait for ever:\n  {tasks}")
        self.now += self._ns(timeout) + 1
        if self.now > self.end:
            raise TooLong(f"more virtual time has passed than the test allows: {self.end / 1e9 - START:g} s")
        return ready

    @staticmethod
    def _ns(seconds: float) -> int:
        return round(seconds * 1e9)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector event loop on a virtual clock that begins at ``START`` and may run for ``limit`` seconds."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.clock = _Clock(limit)
        super().__init__(self.clock)
        self.clock.own = len(self.clock.get_map())

    def time(self) -> float:
        return self.clock.now / 1e9

    def stall(self, seconds: float) -> None:
        """Let time pass within a callback, as if it had held the loop that long."""
        self.clock.now += round(seconds * 1e9)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        def back(_: object) -> None:
            self.clock.jobs -= 1

        future = super().run_in_executor(executor, func, *args)
        self.clock.jobs += 1
        future.add_done_callback(back)
        return future


def run(main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]], *, limit: float = LIMIT) -> T:
    """Run ``main`` to its end on a virtual clock and return what it returns.

    :raises Deadlock: when everything waits for something that cannot come
    :raises TooLong: when more than ``limit`` virtual seconds pass
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, limit)) as runner:
        return runner.run(main() if callable(main) else main)
