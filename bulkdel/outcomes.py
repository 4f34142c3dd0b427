"""Settled targets on their way to the caller: kept for a report, given to a function, or streamed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import itemgetter

import anyio

from bulkdel.engine.sink import Batch, Consumer, warn
from bulkdel.model import OnSettled, Settled
from bulkdel.report import Report

_settled = itemgetter(1)


class OutcomeCollector:
    """Collects settled targets for the report, and gives them to the caller's own function, which may raise (S13)."""

    def __init__(self, on_settled: OnSettled | None, *, keep: bool) -> None:
        self._on_settled = on_settled
        self._keep = keep
        self._all: Batch = []

    @property
    def consumer(self) -> Consumer | None:
        """What takes pages; None if they are not wanted."""
        return self._take if self._keep or self._on_settled is not None else None

    async def _take(self, batch: Batch) -> None:
        if self._keep:
            self._all.extend(batch)
        if self._on_settled is not None:
            try:
                await self._on_settled(list(map(_settled, batch)))
            except Exception as error:
                warn("on_settled raised; the run goes on", error=type(error).__name__)

    def in_order(self) -> list[Settled]:
        """Every settled target, in input order."""
        self._all.sort(key=itemgetter(0))
        return [settled for _, settled in self._all]


class Outcomes:
    """Settled targets as they settle: an async context manager to iterate over.

    Leaving the block early cancels what is in flight; that is unknown then, never success.
    ``report`` is the account of the call, there once the iteration has come to its end.
    """

    def __init__(self, deliver: Callable[[OnSettled], Awaitable[Report]]) -> None:
        """``deliver`` runs the call and gives pages of settled targets to the function it gets."""
        self._deliver = deliver
        self._pages: asyncio.Queue[Sequence[Settled] | None] = asyncio.Queue()  # None is the end
        self._unread: deque[Settled] = deque()  # of the page that is read
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self.report: Report | None = None

    async def __aenter__(self) -> Outcomes:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        task = self._task
        if task is None:
            return
        task.cancel()
        # anyio cancels again and again what waits in a cancelled scope: what is in flight must have ended all the same.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        self._pages.put_nowait(None)  # a task that was cancelled before its first step has not said so
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _run(self) -> None:
        try:
            self.report = await self._deliver(self._give)
        except Exception as error:
            self._error = error
        finally:
            self._pages.put_nowait(None)

    async def _give(self, page: Sequence[Settled]) -> None:
        """Hand a page to the reader, and wait until the one before it was taken: a slow reader holds the workers back."""
        await self._pages.join()
        self._pages.put_nowait(page)

    def __aiter__(self) -> AsyncIterator[Settled]:
        return self

    async def __anext__(self) -> Settled:
        """The next outcome; several readers share them, each outcome goes to one.

        :raises RuntimeError: if the stream was not entered
        """
        if self._task is None:
            raise RuntimeError("the outcomes are not open: use 'async with client.settle(…) as outcomes'")
        while not self._unread:
            page = await self._pages.get()
            self._pages.task_done()
            if page is None:
                self._pages.put_nowait(None)  # for the other readers
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            self._unread.extend(page)
        return self._unread.popleft()
