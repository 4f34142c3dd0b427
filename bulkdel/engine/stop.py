"""A graceful stop: every wait ends, every request in flight is answered first."""

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
    """Ends one provider's part of one call: set once, by the first reason; then no wait goes on and no request leaves.

    A request in flight is not touched: only waits that go through ``run_until_stopped`` are cancelled.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.sleeping: list[str] = []  # what each ``sleep`` that has not returned waits for
        self._listeners: dict[Callable[[], None], None] = {}

    def set(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            for listener in list(self._listeners):
                listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the stop is set; at once if it is set already."""
        self._listeners[listener] = None
        if self.reason is not None:
            listener()

    async def run_until_stopped(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Wait; return whether the wait came to its end with no stop set."""
        if self.reason is not None:
            return False
        with anyio.CancelScope() as scope:
            self._listeners[scope.cancel] = None
            try:
                await wait()
            finally:
                del self._listeners[scope.cancel]
        # The wait may have ended in the very moment in which the stop was set; then nothing may leave either.
        return self.reason is None

    async def acquire(self, take: Callable[[], Awaitable[object]], give_back: Callable[[], object]) -> bool:
        """Wait for a slot or a lock; one that comes in the very moment of a stop or of a cancellation is given back."""
        taken = kept = False

        async def wait() -> None:
            nonlocal taken
            await take()
            taken = True

        try:
            kept = await self.run_until_stopped(wait)
        finally:
            if taken and not kept:
                give_back()
        return kept

    async def sleep(self, seconds: float, why: str = "") -> bool:
        """Sleep until a question is asked again, which waits for ``why``; return whether it was to the end."""
        self.sleeping.append(why)
        try:
            return await self.run_until_stopped(lambda: anyio.sleep(seconds))
        finally:
            self.sleeping.remove(why)
