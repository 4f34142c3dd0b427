"""Explicit targets: checked, looked up, and kept in the store or streamed straight through."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.feeds import from_iterable, from_sequence
from bulkdel.engine.gate import outage_hint
from bulkdel.engine.job import Job, spelled_by_service
from bulkdel.engine.questions import GaveUp, ask_document, side_by_side
from bulkdel.engine.session import ProviderSession
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.listing import BrokenOff, Failed, list_once
from bulkdel.model import Document, Target
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.planning import wait_or_leave
from bulkdel.providers.protocol import Gone, Provider, StopDataset, StopProvider
from bulkdel.store import RunFile
from bulkdel.text import sanitize

Targets = Iterable[Target] | AsyncIterable[Target]

Describe = Callable[[str, Sequence[Document]], Awaitable[object]]
"""Takes documents of a dataset as the service shows them."""

PAGE = 20_000
"""Targets kept at a time: a commit of the run file. Ids are random and land anywhere in its index, so that each commit writes
much of it anew: at a million targets five times this many bytes with pages of 4,000."""


def check_targets(targets: Iterable[Any], providers: Collection[str], first: int = 1) -> None:
    """:raises ConfigurationError: if an item is no target, or names no provider; it is named by its place, from ``first``"""
    for place, target in enumerate(targets, first):
        if not (isinstance(target, Target) and all(isinstance(part, str) for part in target)):
            raise ConfigurationError(f"target number {place} is no Target of three strings: {type(target).__name__}")
        if target.provider not in providers:
            raise ConfigurationError(
                f"target number {place} names a provider that was not given: {target.provider!r}",
                hint=f"given were: {', '.join(sorted(providers))}",
            )


async def stream_targets(call: Call, targets: Targets) -> None:
    """Settle targets as they are read, without keeping them.

    :raises ConfigurationError: if an item of a sequence is no target, or names no provider of the call
    :raises Exception: what the iterable itself raised, after everything that it had given was settled
    """
    lookups = {name: Lookup(session) for name, session in call.sessions.items()}

    async def look_up(session: ProviderSession, jobs: list[Job]) -> None:
        try:
            lookup = lookups[session.name]
            await lookup.look_up(jobs)
            for why in lookup.outages.values():
                session.gate.stop(StopProvider(why, outage_hint(why)))
        except Exception as error:
            session.bug(error)  # what is added after that settles as not attempted

    if isinstance(targets, Sequence):
        check_targets(targets, call.sessions)
        call.total_known = True
        for (provider, dataset), n in Counter(target[:2] for target in targets).items():
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
    providers = {name: session.gate.provider for name, session in call.sessions.items()}
    first = 1
    few: list[Target] = []
    async for given in _pages(call, targets):
        check_targets(given, call.sessions, first)
        page = [spelled_by_service(target, providers[target.provider]) for target in given]
        for (provider, dataset), n in Counter(target[:2] for target in page).items():
            if (provider, dataset) in emptied:
                number = next(n for n, target in enumerate(page, first) if target[:2] == (provider, dataset))
                raise ConfigurationError(
                    f"target number {number} is in a dataset that the same call empties: {dataset}",
                    hint="empty it, or name its documents, or do both one after the other",
                )
            of = planned.setdefault((provider, dataset), PlannedDataset(provider, dataset, explicit=True))
            of.listed += n
            of.selected += n
        first += len(page)
        few = [*few, *page] if first <= 10_000 else []
        invalid = _invalid(page, providers)
        for n, why in invalid.items():
            of = planned[page[n][:2]]
            of.invalid += 1
            of.first_invalid = of.first_invalid or f"{page[n].document} ({why})"
        spelled_otherwise = {n: target for n, target in enumerate(given) if target is not page[n]}
        await store.add_targets(page, invalid, spelled_otherwise)
    for place, repeated in (await store.end_targets(complete=not call.account.input_truncated)).items():
        call.account.dataset(*place).repeated = planned[place].repeated = repeated
    for of in planned.values():
        call.account.dataset(of.provider, of.dataset).counts.select(of.listed, of.selected)
    return list(planned.values()), few


def _invalid(page: Sequence[Target], providers: Mapping[str, Provider]) -> dict[int, str]:
    """Why targets are never sent, by their place in the page."""
    invalid: dict[int, str] = {}
    for n, target in enumerate(page):
        # A bug of the provider's is met again when the target's turn comes, and reported by the engine.
        with suppress(Exception):
            if why := providers[target.provider].invalid(target.dataset, target.document):
                invalid[n] = why
    return invalid


async def _pages(call: Call, targets: Targets) -> AsyncIterator[list[Target]]:
    """Targets in pages; an asynchronous source is left where it is when the call is stopped (S11)."""
    if not isinstance(targets, AsyncIterable):
        iterator = iter(targets)
        while taken := list(islice(iterator, PAGE)):
            yield taken
        return
    source = aiter(targets)
    page: list[Target] = []

    async def fill() -> None:
        async for target in source:
            page.append(target)
            if len(page) == PAGE:
                return

    finished, full = True, True
    while finished and full:
        page = []
        finished = await call.run_until_stopped(fill)
        full = len(page) == PAGE
        if page:
            yield page
    if not finished:
        call.account.input_truncated = True
        if hasattr(source, "aclose"):
            await source.aclose()


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
            planned.outage = lookup.outages.get(planned.dataset, "")
            planned.cut = bool(planned.outage)
            planned.missing = lookup.missing[planned.dataset]
        await store.describe_plan(mine)


class Lookup:
    """Looks explicit targets of one provider up before the first DELETE leaves for them, unless indexing is ``delete``.

    By a question for each, or by a listing of their dataset, whichever is fewer requests. A listing is read once for each
    dataset, and what is remembered of it are the documents that are being indexed. What is gone is left to its DELETE to say.

    :param describe: is given every document that is shown; None if they are not kept
    """

    def __init__(self, session: ProviderSession, describe: Describe | None = None) -> None:
        self._session = session
        self._describe = describe
        self._expected = Counter[str]()  # targets that there will be, by dataset, as far as is known
        self._taken = Counter[str]()  # targets that came, by dataset
        self._pages: dict[str, int] = {}  # requests that a listing takes, by dataset
        self._indexing: dict[str, set[str]] = {}  # documents being indexed, by dataset that was listed
        self._unseen: set[str] = set()  # documents looked up that the listing has not shown yet
        self.outages: dict[str, str] = {}  # datasets that gave no answer of use, and why: asked later, they may
        self.missing = Counter[str]()  # those that are not there, by dataset, as far as the first look-up shows it

    def expect(self, dataset: str, targets: int) -> None:
        """There will be so many more targets in a dataset, at least."""
        self._expected[dataset] += targets

    async def look_up(self, jobs: Sequence[Job]) -> None:
        """Say of each job whether it has to wait for the service, or whether it is left."""
        if self._session.policy.indexing == "delete":
            return
        invalid = self._session.gate.provider.invalid
        datasets: dict[str, dict[Target, list[Job]]] = {}  # each target once, however often it comes
        for job in jobs:
            if not invalid(job.target.dataset, job.target.document):
                datasets.setdefault(job.target.dataset, {}).setdefault(job.target, []).append(job)
        for dataset, targets in datasets.items():
            self._taken[dataset] += len(targets)
            self._unseen = {target.document for target in targets}
            await self.list_if_shorter(dataset)
            if dataset in self._indexing:
                self.missing[dataset] = len(self._unseen)
                for target, waiting in targets.items():
                    if target.document in self._indexing[dataset]:
                        self._wait_or_leave(waiting)
            elif dataset not in self._session.stopped_datasets and dataset not in self.outages:
                # As many side by side as the provider takes.
                await side_by_side(self._ask, targets.items(), self._session.gate.provider.limits.concurrency or 1)

    async def list_if_shorter(self, dataset: str) -> None:
        """List a dataset, unless that takes more requests than to ask for each of its targets that are known of."""
        targets = max(self._taken[dataset], self._expected[dataset])
        known = dataset in self._indexing or dataset in self._session.stopped_datasets
        if not known and targets > self._pages.get(dataset, 1):
            await self._list(dataset, targets)

    async def _list(self, dataset: str, targets: int) -> None:
        """Read the listing, unless it has as many pages as there are targets."""
        session, size = self._session, self._session.gate.provider.page_size
        found: set[str] = set()
        for start in session.gate.provider.listing_starts:
            rows = 0
            repeated = False
            before: set[str] = set()

            async def take(documents: Sequence[Document]) -> None:
                nonlocal rows, repeated, before
                ids = {document.id for document in documents}
                # A document that comes twice stands in the place of another: neighbouring pages share it.
                repeated = repeated or not before.isdisjoint(ids)
                rows, before = rows + len(ids), ids
                self._unseen -= ids
                found.update(document.id for document in documents if document.indexing)
                if self._describe is not None:
                    await self._describe(dataset, documents)

            total = await list_once(session, dataset, take, start, at_most=targets * size)
            if isinstance(total, BrokenOff):
                continue
            if isinstance(total, Failed):
                unknown = f"which documents are being indexed is unknown: {total.reason}"
                if total.outage:
                    self.outages[dataset] = sanitize(unknown)
                    return
                why = StopDataset(total.reason, gone=True).never if total.gone else unknown
                session.stop_dataset(dataset, sanitize(why))
                return
            if total is None:
                return
            self._pages[dataset] = -(-total // size)
            if total > targets * size:
                return
            if rows >= total and not repeated:
                self._indexing[dataset] = found
                session.found_datasets.add(dataset)
                return
        self._pages[dataset] = targets  # no listing shows all of it: each target is asked for

    async def _ask(self, jobs_of: tuple[Target, list[Job]]) -> None:
        target, jobs = jobs_of
        found = await ask_document(self._session, target)
        match found:
            case Document():
                if self._describe is not None:
                    await self._describe(target.dataset, [found])
                for job in jobs:
                    job.name = sanitize(found.name)
                if found.indexing:
                    self._wait_or_leave(jobs)
            case GaveUp():
                # It may be: it is kept as being indexed, so that no DELETE is sent before it is shown.
                if self._describe is not None:
                    await self._describe(target.dataset, [Document(target.document, indexing=True)])
                self._wait_or_leave(jobs)
            case StopDataset():
                self._session.stop_dataset(target.dataset, found.never)
            case Gone():
                self.missing[target.dataset] += 1
            case _:
                pass  # its DELETE says whether it is there; or a stop came

    def _wait_or_leave(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            wait_or_leave(job, self._session.policy)
