"""A dataset's documents, whole or not at all: passes over a listing whose rows may shift, until nothing is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bulkdel.engine.channel import Channel
from bulkdel.engine.questions import GaveUp, ask_page, ask_preflight
from bulkdel.engine.stop import Stop
from bulkdel.model import Dataset, Document, Policy
from bulkdel.providers.protocol import Next, Page, StopDataset, StopProvider

MAX_PASSES = 5
"""Passes over one listing: two show that it holds still; a listing that is short after five is not going to be whole."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The question has no answer: ``reason`` for people."""

    reason: str


async def preflight(channel: Channel, dataset: str, stop: Stop, policy: Policy) -> Dataset | Failed | None:
    """Ask what the service knows of the dataset; None where a stop came first."""
    if why := channel.provider.invalid(dataset):
        return Failed(why)
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        found = await ask_preflight(channel, dataset, cursor, stop, policy)
        match found:
            case Dataset():
                return Failed(found.refusal) if found.refusal else found
            case Next():
                if found.cursor in seen:
                    return Failed("the service's list of datasets has no end: it repeats a cursor")
                seen.add(found.cursor)
                cursor = found.cursor
            case StopDataset() | GaveUp():
                return Failed(found.reason)
            case StopProvider() | None:
                return None


async def read_pages(
    channel: Channel,
    dataset: str,
    stop: Stop,
    policy: Policy,
    take: Callable[[Sequence[Document]], Awaitable[None]],
) -> int | Failed | None:
    """One pass over the listing; gives each page to ``take`` and returns how many the service says there are (-1: unsaid).

    None where a stop came first.
    """
    cursor: str | None = None
    seen: set[str] = set()
    total = -1
    before: tuple[str, ...] = ()
    while True:
        page = await ask_page(channel, dataset, cursor, stop, policy)
        match page:
            case Page():
                ids = tuple(document.id for document in page.items)
                if ids and ids == before:
                    return Failed("the listing has no end: it repeats a page")
                before = ids
                await take(page.items)
                if page.total is not None:
                    total = page.total
                if page.next is None:
                    return total
                if page.next in seen:
                    return Failed("the listing has no end: it repeats a cursor")
                seen.add(page.next)
                cursor = page.next
            case StopDataset() | GaveUp():
                return Failed(page.reason)
            case StopProvider() | None:
                return None


async def snapshot(
    channel: Channel,
    dataset: str,
    stop: Stop,
    policy: Policy,
    add: Callable[[Sequence[Document]], Awaitable[int]],
) -> int | Failed | None:
    """List the dataset until nothing is missing; ``add`` keeps documents and says how many were new.

    Returns how many there are. One pass is enough where it shows as many documents as the service counts, none of them
    twice: a document that comes twice stands in the place of another that did not come (the order has ties, and rows
    shift while documents come and go). Otherwise passes go on until one adds nothing and the count is reached.
    """
    unique = 0
    total: int | Failed | None = -1
    for _ in range(MAX_PASSES):
        new = rows = 0

        async def take(documents: Sequence[Document]) -> None:
            nonlocal new, rows
            rows += len(documents)
            new += await add(documents)

        total = await read_pages(channel, dataset, stop, policy, take)
        if not isinstance(total, int):
            return total
        first = unique == 0
        unique += new
        whole = unique >= total
        if whole and ((first and rows == unique) or new == 0):
            return unique
    return Failed(
        f"the listing is not complete: {unique} documents seen in {MAX_PASSES} passes, the service counts {total}"
    )
