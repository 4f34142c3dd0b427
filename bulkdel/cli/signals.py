"""SIGINT and SIGTERM: the first stops gently, the second at once, a third is the system's own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ECHO_S = 0.1
"""The same signal again within so many seconds is one that came twice: ``timeout`` and runners that pass Ctrl-C on send it to the
process and to its group, and a person does not press a key again so soon."""


class Interrupts:
    """Counts the signals, and calls ``gently`` at the first and ``at_once`` at the second.

    ``signal`` is the first one's number, None before; ``twice`` is whether a second came.
    """

    def __init__(
        self, gently: Callable[[int], None], at_once: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.signal: int | None = None
        self.twice = False
        self._gently = gently
        self._at_once = at_once
        self._clock = clock
        self._first_at = 0.0

    def on_signal(self, number: int) -> None:
        if self.signal is None:
            self.signal, self._first_at = number, self._clock()
            self._gently(number)
        elif number == self.signal and self._clock() < self._first_at + ECHO_S:
            return
        elif not self.twice:
            self.twice = True
            # Whatever hangs now hangs inside bulkdel: the third signal ends the process the system's way.
            _restore(asyncio.get_running_loop())
            self._at_once()


@contextmanager
def handled(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Have ``on_signal`` called with the signals' numbers while the context lasts; used inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, int(number))
    try:
        yield
    finally:
        _restore(loop)


def _restore(loop: asyncio.AbstractEventLoop) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):
            loop.remove_signal_handler(number)
