"""A graceful stop: whoever waits is let go, whoever is in flight ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from bulkdel.model import RunStatus


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why nothing more is sent: the run's word for it, the words for people, and what to do next."""

    status: RunStatus
    reason: str
    hint: str = ""


class Stop:
    """One provider's part of one call: once set, no wait goes on and no request leaves; set once, by the first reason.

    A request in flight is not touched: only the waits that go through ``unless`` are let go.
    """

    __slots__ = ("_listeners", "_scopes", "asleep", "reason")

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.asleep = 0  # waits of ``sleep`` that go on: questions that are to be asked again
        self._scopes: set[anyio.CancelScope] = set()
        self._listeners: list[Callable[[], None]] = []

    def set(self, reason: StopReason) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        for scope in self._scopes:
            scope.cancel()
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the stop is set; at once where it is set already."""
        self._listeners.append(listener)
        if self.reason is not None:
            listener()

    async def unless(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Wait, and say whether the wait came to its end with no stop set."""
        if self.reason is not None:
            return False
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await wait()
            finally:
                self._scopes.discard(scope)
        # The wait may have ended in the very moment in which the stop was set; then nothing may leave either.
        return self.reason is None

    async def sleep(self, seconds: float) -> bool:
        """Sleep, and say whether it was to the end."""
        self.asleep += 1
        try:
            return await self.unless(lambda: anyio.sleep(seconds))
        finally:
            self.asleep -= 1
