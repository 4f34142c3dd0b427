"""What a dataset holds and which datasets there are: a listing is whole or not at all, however its rows shift meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import anyio

from bulkdel.engine.questions import Found, GaveUp, ask_datasets, ask_page, ask_preflight
from bulkdel.engine.session import ProviderSession
from bulkdel.model import Dataset, Document, RunStatus
from bulkdel.providers.protocol import Next, Page, StopDataset, StopProvider

MAX_PASSES = 5
"""Passes over one listing: two show that it holds still; a listing that is short after five is not going to be whole."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The question has no answer: ``reason`` for people.

    ``outage``: the service gave no answer of use, which says nothing about the dataset; asked later, it may answer.
    ``gone``: the service says that there is no such dataset.
    """

    reason: str
    outage: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class NotWhole(Failed):
    """The listing never shows as many documents as the service counts: ``seen`` of ``counted``."""

    seen: int = 0
    counted: int = 0


@dataclass(frozen=True, slots=True)
class DatasetListing:
    """The datasets that a key sees; ``failure`` says why the list is not whole, empty if it is.

    ``hint`` says what to do about it, or what the user should know if the key sees none.
    """

    datasets: tuple[Dataset, ...]
    status: RunStatus = "complete"
    failure: str = ""
    hint: str = ""


async def preflight(session: ProviderSession, dataset: str) -> Dataset | Failed | None:
    """Ask what the service knows of the dataset; None if a stop came first."""
    if why := session.gate.provider.invalid(dataset):
        return Failed(why)
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        found = await ask_preflight(session, dataset, cursor)
        match found:
            case Dataset():
                return Failed(found.refusal) if found.refusal else found
            case Next():
                if found.cursor in seen:
                    return Failed("the service's list of datasets has no end: it repeats a cursor")
                seen.add(found.cursor)
                cursor = found.cursor
            case StopDataset():
                return Failed(found.reason, gone=found.gone)
            case GaveUp():
                return Failed(found.reason, outage=found.outage)
            case StopProvider() | None:
                return None


async def list_documents(
    session: ProviderSession, dataset: str, add: Callable[[Sequence[Document]], Awaitable[int]]
) -> int | Failed | None:
    """List the dataset until nothing is missing; ``add`` keeps documents and returns how many were new.

    Returns how many there are, None if a stop came first. One pass is enough if it shows as many documents as the service
    counts, none of them twice: a document that comes twice stands in the place of another that did not come (the order has
    ties, and rows shift while documents come and go). Otherwise passes that cut the rows into other pages are united, until
    one adds nothing and the count is reached.
    """
    unique = 0
    total = -1
    starts = cycle(session.gate.provider.listing_starts)
    for _ in range(MAX_PASSES):
        new = rows = 0

        async def take(documents: Sequence[Document]) -> None:
            nonlocal new, rows
            rows += len(documents)
            new += await add(documents)

        counted = await list_once(session, dataset, take, next(starts))
        if not isinstance(counted, int):
            return counted
        total = counted
        first = unique == 0
        unique += new
        whole = unique >= total
        if whole and ((first and rows == unique) or new == 0):
            return unique
    return NotWhole(
        f"the listing is not complete: {unique} documents seen in {MAX_PASSES} passes, the service counts {total}",
        seen=unique,
        counted=total,
    )


async def list_once(
    session: ProviderSession,
    dataset: str,
    take: Callable[[Sequence[Document]], Awaitable[None]],
    start: str | None = None,
    *,
    at_most: int | None = None,
) -> int | Failed | None:
    """One pass over the listing from the cursor ``start``; gives each page to ``take``, in order.

    Once the first page has said how many documents there are, the others are asked for side by side if the provider knows
    their cursors. Returns how many the service says there are (-1: unsaid), None if a stop came first. If it says more than ``at_most``, only
    the first page is read.
    """
    of = session.gate.provider
    asked: set[str | None] = set()
    total = -1
    before: tuple[str, ...] = ()
    cursors: list[str | None] = [start]
    ahead: Iterator[str] = iter(())
    while True:
        asked.update(cursors)
        following: str | None = None
        for page in await _ask_pages(session, dataset, cursors):
            match page:
                case Page():
                    ids = tuple(document.id for document in page.items)
                    if ids and ids == before:
                        return Failed("the listing has no end: it repeats a page")
                    before = ids
                    await take(page.items)
                    total = total if page.total is None else page.total
                    following = page.next
                    if following is None:
                        return total
                case StopDataset():
                    return Failed(page.reason)
                case GaveUp():
                    return Failed(page.reason, outage=page.outage)
                case StopProvider() | None:
                    return None
        if at_most is not None and total > at_most:
            return total
        if cursors == [start] and total > 0:
            ahead = iter(of.pages_ahead(start, total))
        cursors = list(islice(ahead, of.limits.concurrency)) or [following]
        if not asked.isdisjoint(cursors):
            return Failed("the listing has no end: it repeats a cursor")


async def _ask_pages(
    session: ProviderSession, dataset: str, cursors: Sequence[str | None]
) -> Sequence[Found[Page[Document]]]:
    """Ask for pages side by side; the answers in the order of ``cursors``."""
    found: list[Found[Page[Document]]] = [None] * len(cursors)
    raised: list[Exception] = []

    async def ask(place: int, cursor: str | None) -> None:
        try:
            found[place] = await ask_page(session, dataset, cursor)
        except Exception as error:
            raised.append(error)  # as it is, and not in a group

    async with anyio.create_task_group() as group:
        for place, cursor in enumerate(cursors):
            group.start_soon(ask, place, cursor)
    if raised:
        raise raised[0]
    return found


async def list_datasets(session: ProviderSession) -> DatasetListing:
    """The datasets that the key sees: the list read to its end, or why it has none."""
    found: dict[str, Dataset] = {}

    def broken_off(status: RunStatus, why: str, hint: str = "") -> DatasetListing:
        return DatasetListing(tuple(found.values()), status, why, hint)

    cursor: str | None = None
    seen: set[str] = set()
    while True:
        page = await ask_datasets(session, cursor)
        match page:
            case Page():
                found.update((dataset.id, dataset) for dataset in page.items)
                if page.next is None:
                    return DatasetListing(tuple(found.values()), hint="" if found else page.note)
                if page.next in seen:
                    return broken_off("incomplete", "the service's list of datasets has no end: it repeats a cursor")
                seen.add(page.next)
                cursor = page.next
            case StopDataset() | GaveUp():
                return broken_off("incomplete", page.reason)
            case StopProvider() | None:
                end = session.stop.reason
                return (
                    broken_off("incomplete", "stopped") if end is None else broken_off(end.status, end.reason, end.hint)
                )
