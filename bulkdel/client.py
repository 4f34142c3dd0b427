"""What a program calls: ``purge``, ``delete`` and ``settle``, and the client that holds connections over several calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import structlog

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.channel import Channel, GaveUp
from bulkdel.engine.progress import Progress
from bulkdel.engine.questions import ask_datasets
from bulkdel.engine.results import Batch
from bulkdel.engine.stop import StopReason
from bulkdel.errors import ConfigurationError, TargetsError
from bulkdel.exchange import Page, StopDataset, StopProvider, Wire
from bulkdel.model import Dataset, Policy, RunStatus, Selection, Settled, Target
from bulkdel.providers.base import Provider
from bulkdel.purging.explicit import delete_report, feeds_for
from bulkdel.purging.flow import Confirm, Wish
from bulkdel.purging.flow import purge as purge_datasets
from bulkdel.purging.ledger import Ledger, MemoryLedger
from bulkdel.report import Report

Targets = Iterable[Target] | AsyncIterable[Target]
OnSettled = Callable[[Sequence[Settled]], Awaitable[None]]
Connect = Callable[[Provider], AbstractAsyncContextManager[Wire]]


@dataclass(frozen=True, slots=True)
class DatasetListing:
    """The datasets that a key sees; ``failure`` says why the list is not whole, empty where it is."""

    datasets: tuple[Dataset, ...]
    status: RunStatus = "complete"
    failure: str = ""
    hint: str = ""


class Client:
    """Connections and limits of one or more providers, held over several calls. An async context manager.

    Calls at the same time share them; ``stop`` and ``progress`` speak of all calls that run.

    :param providers: provider values; their names must differ
    :param policy: for calls that bring none of their own
    :param on_event: for calls that bring none of their own; called with values of ``bulkdel.events``
    :param ca_file: certificates to trust beside the usual ones (PEM)
    :param connect: how to reach a provider; for tests and transports of your own
    :raises ConfigurationError: where two providers have one name, or there is none
    """

    def __init__(
        self,
        *providers: Provider,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        ca_file: str | Path | None = None,
        connect: Connect | None = None,
    ) -> None:
        names = [provider.name for provider in providers]
        if not names:
            raise ConfigurationError("no provider was given")
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"two providers have one name: {name!r}", hint="give one of them another name, name='…'"
                )
        self._providers = {provider.name: provider for provider in providers}
        self._policy = policy or Policy()
        self._on_event = on_event
        self._connect = connect or partial(_connect, ca_file=ca_file)
        self._channels: dict[str, Channel] = {}
        self._calls: list[Call] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Client:
        await self._stack.__aenter__()
        try:
            for name, provider in self._providers.items():
                wire = await self._stack.enter_async_context(self._connect(provider))
                self._channels[name] = Channel(provider, wire)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channels.clear()
        await self._stack.__aexit__(kind, error, trace)

    # ------------------------------------------------------------------ calls

    async def purge(
        self,
        provider: str,
        *datasets: str,
        select: Selection | None = None,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
    ) -> Report:
        """Empty whole datasets of one provider, and list them again at the end.

        :param select: which documents; all where it is None
        :param confirm: awaited once with the plan, after the guards; nothing is deleted where it says False
        :param dry_run: list and select only; no request but GET
        :param on_settled: awaited with pages of settled targets as they settle
        :param keep: whether ``report.settled`` holds every settled target, in the listing's order
        :raises ConfigurationError: where the provider is not this client's, or no dataset was given
        """
        if not datasets:
            raise ConfigurationError("no dataset was given")
        wishes = [Wish(provider, dataset, select or Selection()) for dataset in dict.fromkeys(datasets)]
        return await self.purge_wishes(
            wishes,
            policy=policy,
            on_event=on_event,
            confirm=confirm,
            dry_run=dry_run,
            on_settled=on_settled,
            keep=keep,
        )

    async def purge_wishes(
        self,
        wishes: Sequence[Wish],
        *,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
        ledger: Ledger | None = None,
    ) -> Report:
        """Empty datasets of several providers in one call, with one plan and one report."""
        channels = {wish.provider: self._channel(wish.provider) for wish in wishes}
        for wish in wishes:
            if not isinstance(wish.dataset, str):
                raise ConfigurationError(f"a dataset's id must be a string: {wish.dataset!r}")
        ledger = ledger or MemoryLedger()
        kept = _Kept(on_settled, keep=keep)
        call = self._call(channels, policy, on_event, ledger, kept)
        with call:
            self._calls.append(call)
            try:
                return await purge_datasets(
                    call, wishes, ledger, confirm=confirm, dry_run=dry_run, settled=kept.in_order
                )
            finally:
                self._calls.remove(call)

    async def delete(
        self,
        targets: Targets,
        *,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
    ) -> Report:
        """Settle explicit targets, as ``Promise.allSettled`` does: one ending each, ``report.settled`` in input order.

        :raises ConfigurationError: where a target of a sequence is no target or names no provider of this client;
            nothing was sent
        :raises TargetsError: where the iterable itself raised; ``report`` has what was settled before
        """
        kept = _Kept(on_settled, keep=keep)
        call = self._call(self._channels, policy, on_event, None, kept)
        with call:
            self._calls.append(call)
            try:
                return await self._delete(call, targets, dry_run=dry_run, settled=kept.in_order)
            finally:
                self._calls.remove(call)

    async def _delete(
        self, call: Call, targets: Targets, *, dry_run: bool, settled: Callable[[], Sequence[Settled]]
    ) -> Report:
        if isinstance(targets, Sequence):
            check_targets(targets, self._providers)
        feeds, refused = await feeds_for(call, targets, dry_run=dry_run)
        if refused is not None:
            return refused
        try:
            await call.settle(feeds)
        except Exception as error:
            failure = TargetsError(f"the targets could not be read on: {type(error).__name__}")
            failure.report = delete_report(call, settled())
            raise failure from error
        return delete_report(call, settled())

    def settle(
        self, targets: Targets, *, policy: Policy | None = None, on_event: events.OnEvent | None = None
    ) -> Outcomes:
        """Settle explicit targets and stream the outcomes as they settle; memory stays flat.

        ``async with client.settle(targets) as outcomes: async for settled in outcomes: …``
        """
        return Outcomes(self, targets, policy, on_event)

    async def datasets(self, provider: str, *, policy: Policy | None = None) -> DatasetListing:
        """The datasets that the key sees."""
        channel = self._channel(provider)
        call = self._call({provider: channel}, policy, None, None, None)
        with call:
            self._calls.append(call)
            try:
                return await _datasets(call, channel)
            finally:
                self._calls.remove(call)

    # ------------------------------------------------------------------ while they run

    def stop(self, reason: str = "interrupted", signal: int | None = None) -> None:
        """Stop every call gracefully: nothing more is sent, what is in flight ends, the rest is not attempted."""
        words = "interrupted" if signal is None else f"interrupted by signal {signal}"
        for call in self._calls:
            call.signal = signal
            call.stop(StopReason("interrupted", words if reason == "interrupted" else reason))

    def progress(self) -> tuple[Progress, ...]:
        """A look at every provider of every call that runs."""
        return tuple(progress for call in self._calls for progress in call.progress())

    # ------------------------------------------------------------------ inside

    def _channel(self, provider: str) -> Channel:
        if not self._channels:
            raise RuntimeError("the client is not open: use 'async with Client(…) as client'")
        channel = self._channels.get(provider)
        if channel is None:
            raise ConfigurationError(
                f"no provider of this client is named: {provider!r}", hint=f"it has: {', '.join(self._providers)}"
            )
        return channel

    def _call(
        self,
        channels: dict[str, Channel],
        policy: Policy | None,
        on_event: events.OnEvent | None,
        ledger: Ledger | None,
        kept: _Kept | None,
    ) -> Call:
        if not self._channels:
            raise RuntimeError("the client is not open: use 'async with Client(…) as client'")
        return Call(
            channels,
            policy or self._policy,
            on_event=on_event or self._on_event,
            journal=ledger,
            consumer=kept.take if kept is not None and kept.wanted else None,
        )


class Outcomes:
    """Settled targets as they settle: an async context manager to iterate over.

    Leaving the block early cancels what is in flight; that is unknown then, never success.
    ``report`` is the account of the call, there once the iteration has come to its end.
    """

    def __init__(
        self, client: Client, targets: Targets, policy: Policy | None, on_event: events.OnEvent | None
    ) -> None:
        self._client = client
        self._targets = targets
        self._policy = policy
        self._on_event = on_event
        self._page: list[Settled] = []
        self._place = 0
        self._arrived: asyncio.Future[None] | None = None
        self._taken = anyio.Event()
        self._over = False
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self.report: Report | None = None

    async def __aenter__(self) -> Outcomes:
        if isinstance(self._targets, Sequence):
            check_targets(self._targets, self._client._providers)
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        task = self._task
        if task is None:
            return
        if not task.done():
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _run(self) -> None:
        try:
            self.report = await self._client.delete(
                self._targets, policy=self._policy, on_event=self._on_event, on_settled=self._give, keep=False
            )
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._error = error
        finally:
            self._over = True
            self._wake()

    async def _give(self, page: Sequence[Settled]) -> None:
        """Hand a page to the reader, and wait until it was read: a slow reader holds the workers back."""
        while self._place < len(self._page):
            self._taken = anyio.Event()
            await self._taken.wait()
        self._page, self._place = list(page), 0
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def __aiter__(self) -> AsyncIterator[Settled]:
        return self

    async def __anext__(self) -> Settled:
        while self._place >= len(self._page):
            self._taken.set()
            if self._over:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        settled = self._page[self._place]
        self._place += 1
        return settled


class _Kept:
    """Keeps settled targets for the report, and gives them to the caller's own function, which may throw (S13)."""

    def __init__(self, on_settled: OnSettled | None, *, keep: bool) -> None:
        self._on_settled = on_settled
        self._keep = keep
        self._all: list[tuple[int, Settled]] = []
        self.wanted = keep or on_settled is not None

    async def take(self, batch: Batch) -> None:
        if self._keep:
            self._all.extend(batch)
        if self._on_settled is not None:
            try:
                await self._on_settled([settled for _, settled in batch])
            except Exception as error:
                structlog.get_logger("bulkdel").warning(
                    "on_settled raised; the run goes on", error=type(error).__name__
                )

    def in_order(self) -> list[Settled]:
        """Every settled target, in input order."""
        self._all.sort(key=lambda pair: pair[0])
        return [settled for _, settled in self._all]


def check_targets(targets: Sequence[Any], providers: Iterable[str]) -> None:
    """:raises ConfigurationError: where an item is no target, or names no provider; it is named by its place"""
    names = set(providers)
    for place, target in enumerate(targets, 1):
        if not (isinstance(target, Target) and all(isinstance(part, str) for part in target)):
            raise ConfigurationError(f"target number {place} is no Target of three strings: {type(target).__name__}")
        if target[0] not in names:
            raise ConfigurationError(
                f"target number {place} names a provider that was not given: {target[0]!r}",
                hint=f"given were: {', '.join(sorted(names))}",
            )


async def _datasets(call: Call, channel: Channel) -> DatasetListing:
    stop = call.stops[channel.provider.name]
    found: dict[str, Dataset] = {}
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        page = await ask_datasets(channel, cursor, stop, call.policy)
        match page:
            case Page():
                found.update((dataset.id, dataset) for dataset in page.items)
                if page.next is None or page.next in seen:
                    return DatasetListing(tuple(found.values()))
                seen.add(page.next)
                cursor = page.next
            case StopDataset() | GaveUp():
                return DatasetListing(tuple(found.values()), "incomplete", page.reason)
            case StopProvider() | None:
                why = stop.reason
                if why is None:
                    return DatasetListing(tuple(found.values()), "incomplete", "stopped")
                return DatasetListing(tuple(found.values()), why.status, why.reason, why.hint)


def _connect(provider: Provider, *, ca_file: str | Path | None) -> AbstractAsyncContextManager[Wire]:
    from bulkdel.transport import HttpWire

    concurrency = provider.limits.concurrency
    # One more than documents in flight: looks at documents being indexed go beside them.
    return HttpWire(provider, connections=(concurrency or 1) + 1, ca_file=ca_file)


# ---------------------------------------------------------------------- one call without a client


async def purge(
    provider: Provider,
    *datasets: str,
    select: Selection | None = None,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
) -> Report:
    """Empty whole datasets of a provider and list them again; see ``Client.purge``."""
    async with Client(provider, policy=policy, on_event=on_event) as client:
        return await client.purge(provider.name, *datasets, select=select)


async def delete(
    targets: Targets,
    providers: Provider | Iterable[Provider],
    *,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
) -> Report:
    """Settle explicit targets; see ``Client.delete``."""
    async with Client(*_many(providers), policy=policy, on_event=on_event) as client:
        return await client.delete(targets)


def settle(
    targets: Targets,
    providers: Provider | Iterable[Provider],
    *,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
) -> AbstractAsyncContextManager[Outcomes]:
    """Settle explicit targets and stream the outcomes; see ``Client.settle``."""
    return _OwnClient(Client(*_many(providers), policy=policy, on_event=on_event), targets)


class _OwnClient(AbstractAsyncContextManager[Outcomes]):
    """A stream of outcomes with a client of its own."""

    def __init__(self, client: Client, targets: Targets) -> None:
        self._client = client
        self._targets = targets
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Outcomes:
        client = await self._stack.enter_async_context(self._client)
        try:
            return await self._stack.enter_async_context(client.settle(self._targets))
        except BaseException:
            await self._stack.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _many(providers: Provider | Iterable[Provider]) -> list[Provider]:
    if isinstance(providers, Iterable):
        return list(providers)
    return [providers]
