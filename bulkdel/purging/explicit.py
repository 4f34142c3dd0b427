"""Explicit targets: checked, kept, looked up where asked; or streamed straight through, and the report of those."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.engine import Feed, all_of
from bulkdel.engine.feeds import from_iterable, from_sequence
from bulkdel.errors import ConfigurationError, RunFileError, TargetsError
from bulkdel.model import Document, Settled, Target
from bulkdel.purging.ledger import Ledger
from bulkdel.purging.listing import Failed, snapshot
from bulkdel.report import DatasetReport, Plan, PlannedDataset, Report
from bulkdel.text import safe

PAGE = 4_000
"""Targets kept at a time: a commit of the run file."""


_of = itemgetter(0, 1)
"""A target's provider and dataset."""

_provider = itemgetter(0)


def check_targets(targets: Iterable[Any], providers: Collection[str], first: int = 1) -> None:
    """:raises ConfigurationError: where an item is no target, or names no provider; it is named by its place, from ``first``"""
    left = iter(targets)
    while page := list(islice(left, PAGE)):
        # All at once, in C: looked at one by one, a million targets take a second more.
        if set(map(type, page)) != {Target} or any(
            set(map(type, column)) != {str} for column in zip(*page, strict=True)
        ):
            for place, target in enumerate(page, first):
                if not (isinstance(target, Target) and all(isinstance(part, str) for part in target)):
                    raise ConfigurationError(
                        f"target number {place} is no Target of three strings: {type(target).__name__}"
                    )
        if not set(map(_provider, page)).issubset(providers):
            for place, target in enumerate(page, first):
                if target.provider not in providers:
                    raise ConfigurationError(
                        f"target number {place} names a provider that was not given: {target.provider!r}",
                        hint=f"given were: {', '.join(sorted(providers))}",
                    )
        first += len(page)


async def take_targets(
    call: Call,
    targets: Iterable[Target] | AsyncIterable[Target],
    ledger: Ledger,
    emptied: Collection[tuple[str, str]] = (),
) -> list[PlannedDataset]:
    """Keep explicit targets in the ledger, all of them before anything is sent; what they come to, by dataset.

    ``emptied`` are the datasets that the same call empties whole: a target in one of them would be counted twice.

    :raises ConfigurationError: where one is no target, names a provider that is not the call's, or is in such a dataset
    """
    planned: dict[tuple[str, str], PlannedDataset] = {}
    checks = {name: channel.provider.invalid for name, channel in call.channels.items()}
    first = 1
    async for page in _pages(call, targets):
        check_targets(page, call.channels, first)
        if emptied:
            _apart_from(emptied, page, first)
        first += len(page)
        for (provider, dataset), n in Counter(map(_of, page)).items():
            of = planned.get((provider, dataset))
            if of is None:
                of = planned[provider, dataset] = PlannedDataset(provider, dataset, explicit=True)
            of.listed += n
            of.selected += n
        invalid: list[tuple[int, str]] = []
        for n, target in enumerate(page):
            try:
                why = checks[target.provider](target.dataset, target.document)
            except Exception:
                continue  # a bug of the provider's: the engine meets it again when the target's turn comes, and reports it
            if why:
                of = planned[_of(target)]
                of.invalid += 1
                of.first_invalid = of.first_invalid or f"{target.document} ({why})"
                invalid.append((n, why))
        await ledger.add_targets(page, invalid)
    await ledger.end_targets(complete=not call.results.unread)
    return list(planned.values())


def _apart_from(emptied: Collection[tuple[str, str]], targets: Iterable[Target], first: int) -> None:
    for place, target in enumerate(targets, first):
        if _of(target) in emptied:
            raise ConfigurationError(
                f"target number {place} is in a dataset that the same call empties: {target.dataset}",
                hint="empty it, or name its documents, or do both one after the other",
            )


async def _pages(call: Call, targets: Iterable[Target] | AsyncIterable[Target]) -> AsyncIterator[list[Target]]:
    """Targets in pages; an asynchronous source is left where it is when the call is stopped (S11)."""
    if not isinstance(targets, AsyncIterable):
        iterator = iter(targets)
        while page := list(islice(iterator, PAGE)):
            yield page
        return
    source, halt = aiter(targets), all_of(call.stops)
    page = []

    async def fill() -> None:
        async for target in source:
            page.append(target)
            if len(page) == PAGE:
                return

    while True:
        went_on = await halt.unless(fill)
        last = len(page) < PAGE
        if page:
            yield page
            page = []
        if not went_on:
            call.results.unread = True
            close: Any = getattr(source, "aclose", None)
            if close is not None:
                await close()
        if last or not went_on:
            return


async def describe_targets(call: Call, plan: Plan, ledger: Ledger) -> None:
    """List the datasets of explicit targets: only a listing tells which of them are still being indexed."""
    for planned in plan.datasets:
        if planned.explicit:
            try:
                await _describe(call, planned, ledger)
            except RunFileError:
                raise
            except Exception as error:
                call.bug(planned.provider, error)


async def _describe(call: Call, planned: PlannedDataset, ledger: Ledger) -> None:
    channel = call.channels[planned.provider]
    if channel.provider.invalid(planned.dataset):
        return  # targets of an invalid dataset settle as invalid_id on their way in
    seen: set[str] = set()

    async def add(documents: Sequence[Document]) -> int:
        before = len(seen)
        seen.update(document.id for document in documents)
        await ledger.describe(planned.provider, planned.dataset, documents)
        return len(seen) - before

    listed = await snapshot(channel, planned.dataset, call.stops[planned.provider], call.policy, add)
    if isinstance(listed, Failed):
        planned.stopped = safe(listed.reason)


async def stream(
    call: Call, targets: Iterable[Target] | AsyncIterable[Target], settled: Callable[[], Sequence[Settled]]
) -> Report:
    """Settle targets as they are read, without keeping them; ``settled`` gives the report's list at the end.

    :raises ConfigurationError: where an item of a sequence is no target, or names no provider of the call
    :raises TargetsError: where the iterable itself raised; ``report`` has what was settled before
    """
    feeds = _feeds_for(call, targets)
    try:
        await call.settle(feeds)
    except Exception as error:
        failure = TargetsError(f"the targets could not be read to the end: {type(error).__name__}")
        failure.report = delete_report(call, settled())
        raise failure from error
    return delete_report(call, settled())


def _feeds_for(call: Call, targets: Iterable[Target] | AsyncIterable[Target]) -> list[Feed]:
    if not isinstance(targets, Sequence):
        return [from_iterable(targets)]
    check_targets(targets, call.channels)
    call.totals |= Counter(target.provider for target in targets)
    return from_sequence(targets)


def delete_report(call: Call, settled: Sequence[Settled]) -> Report:
    """The account of streamed targets; they are not listed again, so ``remaining`` is None."""
    reports = []
    for (provider, dataset), account in call.account.datasets.items():
        counts = account.counts
        stop = call.stops[provider].reason if provider in call.stops else None
        lane = call.engine.lanes.get(provider) if call.engine is not None else None
        why = lane.stopped_datasets.get(dataset, "") if lane is not None else ""
        status = dataset_status(counts, stop, why)
        reports.append(DatasetReport(provider, dataset, status=status, reason=why, counts=counts))
    call.phase = "done"
    return call.report(reports, settled=settled)
