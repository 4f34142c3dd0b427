"""One call without a client: connect, do it, let go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType

from bulkdel import events
from bulkdel.client import Client, Targets
from bulkdel.model import Policy, Selection
from bulkdel.outcomes import Outcomes
from bulkdel.providers.protocol import Provider
from bulkdel.report import Report


async def purge(
    provider: Provider,
    *datasets: str,
    select: Selection | None = None,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
    run: str | Path | None = None,
) -> Report:
    """Empty whole datasets of a provider and list them again; see ``Client.purge``."""
    async with Client(provider, policy=policy, on_event=on_event) as client:
        return await client.purge(provider.name, *datasets, select=select, run=run)


async def delete(
    targets: Targets,
    providers: Provider | Iterable[Provider],
    *,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
    run: str | Path | None = None,
) -> Report:
    """Settle explicit targets; see ``Client.delete``."""
    async with Client(*_many(providers), policy=policy, on_event=on_event) as client:
        return await client.delete(targets, run=run)


async def resume(
    run: str | Path,
    providers: Provider | Iterable[Provider],
    *,
    policy: Policy | None = None,
    on_event: events.OnEvent | None = None,
    retry_rejected: bool = False,
) -> Report:
    """Carry out a plan, or go on with a run; see ``Client.resume``."""
    async with Client(*_many(providers), on_event=on_event) as client:
        return await client.resume(run, policy=policy, retry_rejected=retry_rejected)


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
