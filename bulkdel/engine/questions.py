"""The questions that purges and polling ask a provider, each until there is an answer of use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar, cast

import anyio

from bulkdel.backoff import full_jitter
from bulkdel.engine.session import ProviderSession
from bulkdel.model import Dataset, Document, Target
from bulkdel.providers.protocol import (
    Ask,
    Asked,
    Deleted,
    Failure,
    Gone,
    Next,
    Page,
    Pause,
    Reject,
    Reply,
    Request,
    Requeue,
    StopDataset,
    StopProvider,
)
from bulkdel.text import pluralize

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A question got no answer of use in ``Policy.attempts`` attempts; ``outage``: the service or the network was unwell."""

    reason: str
    outage: bool = False


Found: TypeAlias = T | StopDataset | StopProvider | GaveUp | None
"""What was asked for; or why there will be none; or None if a stop came first."""


async def side_by_side(act: Callable[[T], Awaitable[R]], items: Iterable[T], at_most: int) -> list[R]:
    """``act`` on each of the items, so many at a time; the results in the order of the items.

    :raises Exception: the first that one of them raised, as it is and not in a group; the others are cancelled
    """
    limit = anyio.CapacityLimiter(at_most)
    results: dict[int, R] = {}

    async def one(place: int, item: T) -> None:
        async with limit:
            results[place] = await act(item)

    try:
        async with anyio.create_task_group() as group:
            for place, item in enumerate(items):
                group.start_soon(one, place, item)
    except ExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return [results[place] for place in sorted(results)]


async def ask_preflight(session: ProviderSession, dataset: str, cursor: str | None) -> Found[Dataset | Next]:
    """What the service knows of a dataset, or where to ask on."""
    provider = session.gate.provider
    return await _ask(session, provider.preflight(dataset, cursor), partial(provider.read_preflight, dataset, cursor))


async def ask_page(session: ProviderSession, dataset: str, cursor: str | None) -> Found[Page[Document]]:
    """One page of a dataset's documents."""
    provider = session.gate.provider
    return await _ask(session, provider.listing(dataset, cursor), partial(provider.read_listing, dataset, cursor))


async def ask_document(session: ProviderSession, target: Target) -> Found[Document | Gone | Requeue]:
    """One document's state. ``Requeue``: the service is well and does not say; its DELETE and what follows it say so."""
    provider = session.gate.provider
    return await _ask(session, provider.document(target), partial(provider.read_document, target), of_documents=True)


async def ask_together(
    session: ProviderSession, targets: Sequence[Target], step: str
) -> Found[Deleted | Gone | Reject | Ask | Requeue]:
    """One step of several documents of one dataset, which the provider can ask in one request.

    ``Requeue``: it was refused for all, because the service still holds a lock on the one that ``blocked_by`` names.
    """
    provider = session.gate.provider
    request = provider.request_together(targets, step)
    assert request is not None  # it was there for each of them
    asked = Asked(targets[0], step, unarchive=session.policy.unarchive)
    return await _ask(session, request, partial(provider.read, asked), of_documents=True)


async def ask_datasets(session: ProviderSession, cursor: str | None) -> Found[Page[Dataset]]:
    """One page of the datasets that the key sees."""
    provider = session.gate.provider
    return await _ask(session, provider.datasets(cursor), partial(provider.read_datasets, cursor))


async def _ask(
    session: ProviderSession, request: Request, read: Callable[[Reply], T | Failure], *, of_documents: bool = False
) -> Found[T]:
    """Ask until there is an answer of use."""
    gate, stop, policy = session.gate, session.stop, session.policy
    spent = 0
    while True:
        exchange = await gate.send(request, session)
        if exchange is None:
            return None
        session.question_s += exchange.took_s
        found = read(exchange.reply)
        gate.observe(exchange, found, policy)
        match found:
            case Requeue() if of_documents and (found.step == "delete" or found.cause in ("indexing", "locked")):
                return cast("T", found)  # asked again it says the same
            case Requeue():
                # What never left costs nothing; the breaker ends it if nothing leaves for long.
                spent += exchange.sent
                if spent >= policy.attempts:
                    return GaveUp(
                        f"gave up after {pluralize(spent, 'attempt')}: {found.reason}", outage=found.cause == "trouble"
                    )
                wait = full_jitter(max(spent, 1), policy.backoff, policy.backoff_cap, gate.random.random())
                if not await stop.sleep(max(min(found.after or 0.0, policy.max_pause), wait)):
                    return None
            case Pause():
                pass
            case _:
                return found
