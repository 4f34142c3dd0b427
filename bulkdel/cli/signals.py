"""SIGINT and SIGTERM: the first stops gently, the second at once, a third is the system's own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_WATCHED = (signal.SIGINT, signal.SIGTERM)

ECHO_S = 0.1
"""The same signal again within so many seconds is one that came twice: ``timeout`` and runners that pass a Ctrl-C on send it to the
process and to its group, and nobody presses a key again so soon."""


class Interrupts:
    """Counts the signals; ``gentle`` and ``at_once`` are told of the first and the second.

    ``signal`` is the first one's number, None before; ``twice`` is whether a second came.
    """

    def __init__(
        self,
        gentle: Callable[[int], None],
        at_once: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signal: int | None = None
        self.twice = False
        self._gentle = gentle
        self._at_once = at_once
        self._clock = clock
        self._first_at = 0.0

    def hear(self, number: int) -> None:
        if self.signal is None:
            self.signal, self._first_at = number, self._clock()
            self._gentle(number)
        elif number == self.signal and self._clock() < self._first_at + ECHO_S:
            return
        elif not self.twice:
            self.twice = True
            # Whatever hangs now hangs inside us: the third one ends the process the system's way.
            _give_back(asyncio.get_running_loop())
            self._at_once()


@contextmanager
def watched(hear: Callable[[int], None]) -> Iterator[None]:
    """Have ``hear`` told of the signals while the context lasts; called inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in _WATCHED:
        loop.add_signal_handler(number, hear, int(number))
    try:
        yield
    finally:
        _give_back(loop)


def _give_back(loop: asyncio.AbstractEventLoop) -> None:
    for number in _WATCHED:
        with suppress(ValueError):
            loop.remove_signal_handler(number)


def once_more(number: int) -> str:
    """What the next signal does, in words; ``number`` is the first one's."""
    return f"{'Ctrl-C once more' if number == signal.SIGINT else 'a second signal'} stops at once"
