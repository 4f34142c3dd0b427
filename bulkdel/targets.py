"""Explicit targets: checked, and kept in the store or streamed straight through."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.feeds import from_iterable, from_sequence
from bulkdel.engine.job import Job, spelled_by_service
from bulkdel.engine.session import ProviderSession
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.lookup import Lookup
from bulkdel.model import Target
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.store import RunFile

Targets = Iterable[Target] | AsyncIterable[Target]

PAGE = 20_000
"""Targets kept at a time: a commit of the run file. Ids are random and land anywhere in its index, so that each commit writes
much of it anew: at a million targets five times this many bytes with pages of 4,000."""

_dataset_of = itemgetter(0, 1)
_provider_of = itemgetter(0)


def check_targets(targets: Iterable[Any], providers: Collection[str], first: int = 1) -> None:
    """:raises ConfigurationError: if an item is no target, or names no provider; it is named by its place, from ``first``"""
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
        if not set(map(_provider_of, page)).issubset(providers):
            for place, target in enumerate(page, first):
                if target.provider not in providers:
                    raise ConfigurationError(
                        f"target number {place} names a provider that was not given: {target.provider!r}",
                        hint=f"given were: {', '.join(sorted(providers))}",
                    )
        first += len(page)


async def stream_targets(call: Call, targets: Targets) -> None:
    """Settle targets as they are read, without keeping them.

    :raises ConfigurationError: if an item of a sequence is no target, or names no provider of the call
    :raises Exception: what the iterable itself raised, after everything that it had given was settled
    """
    lookups = {name: Lookup(session) for name, session in call.sessions.items()}

    async def look_up(session: ProviderSession, jobs: list[Job]) -> None:
        try:
            await lookups[session.name].look_up(jobs)
        except Exception as error:
            session.bug(error)  # what is added after that settles as not attempted

    if isinstance(targets, Sequence):
        check_targets(targets, call.sessions)
        call.total_known = True
        for (provider, dataset), n in Counter(map(_dataset_of, targets)).items():
            lookups[provider].expect(call.sessions[provider].gate.provider.canonical(dataset), n)
        feeds = from_sequence(targets, look_up)
    else:
        feeds = [from_iterable(targets, look_up)]
    try:
        await call.settle(feeds)
    finally:
        end_streamed(call)


def end_streamed(call: Call) -> None:
    """Say of each dataset how it came out; it is not listed again."""
    for (provider, dataset), report in call.account.datasets.items():
        session = call.sessions.get(provider)
        report.reason = "" if session is None else session.stopped_datasets.get(dataset, "")
        report.status = dataset_status(report.counts, None if session is None else session.stop.reason, report.reason)
    call.phase = "done"


async def take_targets(
    call: Call, targets: Targets, store: RunFile, emptied: Collection[tuple[str, str]] = ()
) -> tuple[list[PlannedDataset], list[Target]]:
    """Keep explicit targets in the store, all of them before anything is sent.

    Returns what they come to, by dataset, and the targets themselves if they are few. ``emptied`` are the datasets that the
    same call empties whole: a target in one of them would be counted twice.

    :raises ConfigurationError: if one is no target, names a provider that is not the call's, or is in such a dataset
    """
    planned: dict[tuple[str, str], PlannedDataset] = {}
    of_call = {name: session.gate.provider for name, session in call.sessions.items()}
    first = 1
    few: list[Target] = []
    async for page in _pages(call, targets):
        check_targets(page, call.sessions, first)
        as_given, page = page, [spelled_by_service(target, of_call[target.provider]) for target in page]
        given = {n: target for n, target in enumerate(as_given) if target is not page[n]}
        if emptied:
            _check_apart(emptied, page, first)
        first += len(page)
        few = [*few, *page] if first <= 10_000 else []
        for (provider, dataset), n in Counter(map(_dataset_of, page)).items():
            of = planned.get((provider, dataset))
            if of is None:
                of = planned[provider, dataset] = PlannedDataset(provider, dataset, explicit=True)
            of.listed += n
            of.selected += n
        invalid: list[tuple[int, str]] = []
        for n, target in enumerate(page):
            try:
                why = of_call[target.provider].invalid(target.dataset, target.document)
            except Exception:
                continue  # a bug of the provider's: the engine meets it again when the target's turn comes, and reports it
            if why:
                of = planned[_dataset_of(target)]
                of.invalid += 1
                of.first_invalid = of.first_invalid or f"{target.document} ({why})"
                invalid.append((n, why))
        await store.add_targets(page, invalid, given)
    for place, repeated in (await store.end_targets(complete=not call.account.input_truncated)).items():
        call.account.dataset(*place).repeated = repeated
    for of in planned.values():
        call.account.dataset(of.provider, of.dataset).counts.select(of.listed, of.selected)
    return list(planned.values()), few


def _check_apart(emptied: Collection[tuple[str, str]], targets: Iterable[Target], first: int) -> None:
    for place, target in enumerate(targets, first):
        if _dataset_of(target) in emptied:
            raise ConfigurationError(
                f"target number {place} is in a dataset that the same call empties: {target.dataset}",
                hint="empty it, or name its documents, or do both one after the other",
            )


async def _pages(call: Call, targets: Targets) -> AsyncIterator[list[Target]]:
    """Targets in pages; an asynchronous source is left where it is when the call is stopped (S11)."""
    if not isinstance(targets, AsyncIterable):
        iterator = iter(targets)
        while page := list(islice(iterator, PAGE)):
            yield page
        return
    source = aiter(targets)
    page = []

    async def fill() -> None:
        async for target in source:
            page.append(target)
            if len(page) == PAGE:
                return

    while True:
        finished = await call.run_until_stopped(fill)
        last = len(page) < PAGE
        if page:
            yield page
            page = []
        if not finished:
            call.account.input_truncated = True
            close: Any = getattr(source, "aclose", None)
            if close is not None:
                await close()
        if last or not finished:
            return


async def look_up_targets(call: Call, plan: Plan, store: RunFile, few: Sequence[Target]) -> None:
    """Find out which explicit targets of a plan are being indexed, and keep what is shown of them in the store.

    ``few`` are the targets themselves, unless they are so many that only listings come into question.
    """
    for name, session in call.sessions.items():
        lookup = Lookup(session, partial(store.describe, name))
        mine = [planned for planned in plan.datasets if planned.explicit and planned.provider == name]
        try:
            for planned in mine:
                lookup.expect(planned.dataset, planned.selected if few else 2**40)
            if few:
                await lookup.look_up([Job(0, target) for target in few if target.provider == name])
            else:
                for planned in mine:
                    if not session.gate.provider.invalid(planned.dataset):
                        await lookup.list_if_shorter(planned.dataset)
        except RunFileError:
            raise
        except Exception as error:
            session.bug(error)
        for planned in mine:
            planned.stopped = session.stopped_datasets.get(planned.dataset, "")
