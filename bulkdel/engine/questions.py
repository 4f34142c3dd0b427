"""The questions that purges and watches ask a provider, each until there is an answer of use."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from bulkdel.engine.channel import Channel, GaveUp
from bulkdel.engine.stop import Stop
from bulkdel.exchange import Failure, Gone, Page, Reply, StopDataset, StopProvider
from bulkdel.model import Dataset, Document, Policy, Target
from bulkdel.providers.base import Next

T = TypeVar("T")

Found: TypeAlias = T | StopDataset | StopProvider | GaveUp | None
"""What was asked for; or why there will be none; or None where a stop came first."""


async def ask_preflight(
    channel: Channel, dataset: str, cursor: str | None, stop: Stop, policy: Policy
) -> Found[Dataset | Next]:
    """What the service knows of a dataset, or where to ask on."""

    def read(reply: Reply) -> Dataset | Next | Failure:
        return channel.provider.read_preflight(dataset, cursor, reply)

    return await channel.question(channel.provider.preflight(dataset, cursor), read, stop, policy)


async def ask_page(
    channel: Channel, dataset: str, cursor: str | None, stop: Stop, policy: Policy
) -> Found[Page[Document]]:
    """One page of a dataset's documents."""

    def read(reply: Reply) -> Page[Document] | Failure:
        return channel.provider.read_listing(dataset, cursor, reply)

    return await channel.question(channel.provider.listing(dataset, cursor), read, stop, policy)


async def ask_document(channel: Channel, target: Target, stop: Stop, policy: Policy) -> Found[Document | Gone]:
    """One document's state."""

    def read(reply: Reply) -> Document | Gone | Failure:
        return channel.provider.read_document(target, reply)

    return await channel.question(channel.provider.document(target), read, stop, policy)


async def ask_datasets(channel: Channel, cursor: str | None, stop: Stop, policy: Policy) -> Found[Page[Dataset]]:
    """One page of the datasets that the key sees."""

    def read(reply: Reply) -> Page[Dataset] | Failure:
        return channel.provider.read_datasets(cursor, reply)

    return await channel.question(channel.provider.datasets(cursor), read, stop, policy)
