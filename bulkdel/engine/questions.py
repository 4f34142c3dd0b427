"""The questions that purges and watches ask a provider, each until there is an answer of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from bulkdel.backoff import full_jitter
from bulkdel.engine.channel import Channel
from bulkdel.engine.stop import Stop
from bulkdel.model import Dataset, Document, Policy, Target
from bulkdel.providers.protocol import (
    Failure,
    Gone,
    Lost,
    Next,
    Page,
    Pause,
    Reply,
    Request,
    Requeue,
    StopDataset,
    StopProvider,
)
from bulkdel.text import many

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A question got no answer of use in ``Policy.attempts`` attempts."""

    reason: str


Found: TypeAlias = T | StopDataset | StopProvider | GaveUp | None
"""What was asked for; or why there will be none; or None where a stop came first."""


async def ask_preflight(
    channel: Channel, dataset: str, cursor: str | None, stop: Stop, policy: Policy
) -> Found[Dataset | Next]:
    """What the service knows of a dataset, or where to ask on."""

    def read(reply: Reply) -> Dataset | Next | Failure:
        return channel.provider.read_preflight(dataset, cursor, reply)

    return await _ask(channel, channel.provider.preflight(dataset, cursor), read, stop, policy)


async def ask_page(
    channel: Channel, dataset: str, cursor: str | None, stop: Stop, policy: Policy
) -> Found[Page[Document]]:
    """One page of a dataset's documents."""

    def read(reply: Reply) -> Page[Document] | Failure:
        return channel.provider.read_listing(dataset, cursor, reply)

    return await _ask(channel, channel.provider.listing(dataset, cursor), read, stop, policy)


async def ask_document(channel: Channel, target: Target, stop: Stop, policy: Policy) -> Found[Document | Gone]:
    """One document's state."""

    def read(reply: Reply) -> Document | Gone | Failure:
        return channel.provider.read_document(target, reply)

    return await _ask(channel, channel.provider.document(target), read, stop, policy)


async def ask_datasets(channel: Channel, cursor: str | None, stop: Stop, policy: Policy) -> Found[Page[Dataset]]:
    """One page of the datasets that the key sees."""

    def read(reply: Reply) -> Page[Dataset] | Failure:
        return channel.provider.read_datasets(cursor, reply)

    return await _ask(channel, channel.provider.datasets(cursor), read, stop, policy)


async def _ask(
    channel: Channel, request: Request, read: Callable[[Reply], T | Failure], stop: Stop, policy: Policy
) -> Found[T]:
    """Ask until there is an answer of use."""
    spent = 0
    while True:
        exchange = await channel.ask(request, stop, policy)
        if exchange is None:
            return None
        found = read(exchange.reply)
        match found:
            case Requeue():
                if found.cause == "trouble":
                    channel.trouble(found.reason, exchange)
                else:
                    channel.alive(exchange)
                # What never left costs nothing; the breaker ends it where nothing leaves for long.
                spent += not (isinstance(exchange.reply, Lost) and not exchange.reply.sent)
                if spent >= policy.attempts:
                    return GaveUp(f"gave up after {many(spent, 'attempt')}: {found.reason}")
                wait = full_jitter(max(spent, 1), policy.backoff, policy.backoff_cap, channel.random.random())
                if not await stop.sleep(max(min(found.after or 0.0, policy.max_pause), wait)):
                    stopped = channel.stopped
                    return None if stopped is None else StopProvider(stopped.reason, stopped.hint)
            case Pause():
                channel.pause(found, exchange, policy)
            case StopProvider():
                channel.stop(found)
                return found
            case StopDataset():
                channel.alive(exchange)
                return found
            case _:
                channel.alive(exchange)
                return found
