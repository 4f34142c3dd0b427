"""What a dataset holds and which datasets there are: a listing is whole or not at all, however its rows shift meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from bulkdel.engine.gate import outage_hint
from bulkdel.engine.questions import Found, GaveUp, ask_datasets, ask_page, ask_preflight, side_by_side
from bulkdel.engine.session import ProviderSession
from bulkdel.model import Dataset, Document, RunStatus
from bulkdel.providers.protocol import Next, Page, StopDataset, StopProvider

T = TypeVar("T")

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
class BrokenOff(Failed):
    """A page was refused after others had come, so the pass is void: its cursor is not valid any more, perhaps."""


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

    def following(found: Found[Dataset | Next]) -> str | None:
        return found.cursor if isinstance(found, Next) else None

    found = await _follow_cursors(partial(ask_preflight, session, dataset), following)
    if isinstance(found, Dataset):
        return Failed(found.refusal) if found.refusal else found
    return None if isinstance(found, Next) else _failure(found)


async def list_datasets(session: ProviderSession) -> DatasetListing:
    """The datasets that the key sees: the list read to its end, or why it has none."""
    datasets: dict[str, Dataset] = {}

    async def ask(cursor: str | None) -> Found[Page[Dataset]]:
        if cursor is None:
            datasets.clear()
        return await ask_datasets(session, cursor)

    def following(found: Found[Page[Dataset]]) -> str | None:
        if not isinstance(found, Page):
            return None
        datasets.update((dataset.id, dataset) for dataset in found.items)
        return found.next

    found = await _follow_cursors(ask, following)
    seen = tuple(datasets.values())
    if isinstance(found, Page):
        return DatasetListing(seen, hint="" if seen else found.note)
    if (failed := _failure(found)) is not None:
        if failed.outage:
            return DatasetListing(seen, "stopped", failed.reason, outage_hint(failed.reason))
        return DatasetListing(seen, "incomplete", failed.reason)
    end = session.stop.reason
    if end is None:
        return DatasetListing(seen, "incomplete", "stopped")
    return DatasetListing(seen, end.status, end.reason, end.hint)


async def _follow_cursors(
    ask: Callable[[str | None], Awaitable[T]], following: Callable[[T], str | None]
) -> T | Failed:
    """Ask on from cursor to cursor, until an answer has no ``following`` one; the last answer."""
    cursor: str | None = None
    seen: set[str] = set()
    restarts = 2
    while True:
        found = await ask(cursor)
        if isinstance(found, StopDataset) and cursor is not None and not found.gone and restarts:
            # The cursor was good a moment ago: the service has forgotten it, or what it stood for is gone.
            cursor, restarts = None, restarts - 1
            seen.clear()
            continue
        cursor = following(found)
        if cursor is None:
            return found
        if cursor in seen:
            return Failed("the service's list of datasets has no end: it repeats a cursor")
        seen.add(cursor)


async def list_documents(
    session: ProviderSession, dataset: str, add: Callable[[Sequence[Document]], Awaitable[int]]
) -> int | Failed | None:
    """List the dataset until nothing is missing; ``add`` keeps documents and returns how many were new.

    Returns how many there are, None if a stop came first. One pass is enough if it shows as many documents as the service
    counts, none of them twice: a document that comes twice stands in the place of another that did not come (the order has
    ties, and rows shift while documents come and go). Otherwise passes that cut the rows into other pages are united, until
    one adds nothing and the count is reached.
    """
    unique, total = 0, -1
    broken: BrokenOff | None = None
    starts = cycle(session.gate.provider.listing_starts)
    for _ in range(MAX_PASSES):
        new = rows = 0

        async def take(documents: Sequence[Document]) -> None:
            nonlocal new, rows
            rows += len(documents)
            new += await add(documents)

        counted = await list_once(session, dataset, take, next(starts))
        first, unique = unique == 0, unique + new
        if isinstance(counted, BrokenOff):
            broken = counted
            continue
        if not isinstance(counted, int):
            return counted
        total, broken = counted, None
        if unique >= total and ((first and rows == unique) or new == 0):
            return unique
    return broken or NotWhole(
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
    their cursors. Returns how many the service says there are at most (-1: unsaid), None if a stop came first. If it says more than
    ``at_most``, only the first page is read.
    """
    of = session.gate.provider
    asked: set[str | None] = set()
    total = -1
    before: tuple[str, ...] = ()
    cursors: list[str | None] = [start]
    ahead: Iterator[str] = iter(())
    while asked.isdisjoint(cursors):
        asked.update(cursors)
        following: str | None = None
        for page in await side_by_side(partial(ask_page, session, dataset), cursors, len(cursors)):
            if not isinstance(page, Page):
                first = cursors == [start]
                return BrokenOff(page.reason) if isinstance(page, StopDataset) and not first else _failure(page)
            ids = tuple(document.id for document in page.items)
            if ids and ids == before:
                return Failed("the listing has no end: it repeats a page")
            before = ids
            await take(page.items)
            # The highest: a count that falls between two pages hides as many rows, which moved to a page that was read before.
            total = total if page.total is None else max(total, page.total)
            following = page.next
            if following is None:
                return total
        if at_most is not None and total > at_most:
            return total
        if cursors == [start] and total > 0:
            ahead = iter(of.pages_ahead(start, total))
        cursors = list(islice(ahead, of.limits.concurrency)) or [following]
    return Failed("the listing has no end: it repeats a cursor")


def _failure(found: Failed | StopDataset | GaveUp | StopProvider | None) -> Failed | None:
    """Why a question has no answer; None if a stop came first."""
    match found:
        case StopDataset():
            return Failed(found.reason, gone=found.gone)
        case GaveUp():
            return Failed(found.reason, outage=found.outage)
        case Failed():
            return found
        case StopProvider() | None:
            return None
