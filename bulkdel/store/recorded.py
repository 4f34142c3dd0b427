"""A ledger that is a run file: planning, carrying out and going on are the same act on the same file."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import overload

from bulkdel.engine.timeline import Sample
from bulkdel.model import Document, Rate, Selection, Settled, Target
from bulkdel.report import Account, DatasetReport, ProviderAccount, Report, RunEnd, make_report
from bulkdel.store.file import RunFile
from bulkdel.store.ledger import DocumentState, ListedRow, Work
from bulkdel.store.read import Run
from bulkdel.store.review import AGREED, ESTIMATED, LEARNED
from bulkdel.store.values import Count, Counters, Session


class RunLedger:
    """The words of ``Ledger`` on a run file that this process holds. Memory is a page, however many documents there are."""

    def __init__(self, run: RunFile) -> None:
        self.run = run
        self._keys: dict[tuple[str, str], int] = {}
        self._writing: asyncio.Future[None] | None = None

    async def begin_listing(self, provider: str, dataset: str, name: str, selection: Selection) -> None:
        key = await self.run.add_dataset(provider, dataset, name, selection=selection)
        self._keys[provider, dataset] = key
        await self.run.drop_documents(key)  # of an earlier session whose listing did not come to its end

    async def _key(self, provider: str, dataset: str) -> int:
        key = self._keys.get((provider, dataset))
        if key is None:
            key = self._keys[provider, dataset] = await self.run.add_dataset(provider, dataset, listing=False)
        return key

    async def add_listed(self, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
        key = await self._key(provider, dataset)
        known = await self.run.known(key, [row.document.id for row in rows])
        new = {row.document.id: row for row in rows if row.document.id not in known}
        await self.run.add_documents(key, [(row.document, row.skipped) for row in new.values()])
        return list(new.values())

    async def add_targets(self, targets: Sequence[Target], invalid: Sequence[tuple[int, str]] = ()) -> None:
        # One page is written while the next is read.
        before, self._writing = self._writing, self.run.begin_targets(targets)
        if before is not None:
            await before
        if invalid:
            await self.run.mark_invalid(len(targets), invalid)

    async def end_targets(self, *, complete: bool) -> None:
        if self._writing is not None:
            await self._writing
        if complete:
            await self.run.finish_targets()

    async def describe(self, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        key = await self._key(provider, dataset)
        return await self.run.describe(key, [(document, "") for document in documents])

    async def end_listing(self, provider: str, dataset: str, *, complete: bool, reason: str = "") -> None:
        key = await self._key(provider, dataset)
        if not complete:
            await self.run.drop_documents(key)
        await self.run.finish_listing(key, complete=complete, reason=reason)

    async def record_consent(self, selected: int) -> None:
        first = self.run.header.providers[0].name
        await self.run.count([Count(first, AGREED, 1, str(selected))])

    async def record_estimate(self, seconds: float | None, learned: Mapping[str, tuple[Rate, float]]) -> None:
        first = self.run.header.providers[0].name
        counts = [Count(name, LEARNED, ago_s, f"{rate.n!r} {rate.per!r}") for name, (rate, ago_s) in learned.items()]
        if seconds is not None:
            counts.append(Count(first, ESTIMATED, seconds))
        await self.run.count(counts)

    def pages(self, provider: str) -> AsyncIterator[Sequence[Work]]:
        return self.run.pages(provider)

    async def states(self, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
        known = await self.run.known(await self._key(provider, dataset), ids)
        states: list[DocumentState | None] = []
        for document in ids:
            found = known.get(document)
            if found is None:
                states.append(None)
            else:
                states.append("skipped" if found.skipped else found.outcome or "selected")
        return states

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        await self.run.settled(batch)

    async def end_dataset(self, report: DatasetReport) -> None:
        key = await self._key(report.provider, report.dataset)
        if report.remaining is not None:
            await self.run.verified(
                key,
                remaining=report.remaining,
                new=report.new,
                new_count=report.new_count,
                still_there=report.still_there,
                still_there_count=report.still_there_count,
            )
        await self.run.end_dataset(key, report.status, report.reason)

    async def record_costs(
        self, account: Account, earlier: Mapping[str, ProviderAccount], timelines: Mapping[str, Sequence[Sample]]
    ) -> None:
        """Add what this session cost to the run's counters, and how each provider's time went.

        ``earlier`` is what the account had of each provider when the session began.
        """
        counts: list[Count] = []
        for name, now in account.providers.items():
            before = earlier.get(name, ProviderAccount())
            counts.append(Count(name, "requests", now.requests - before.requests))
            counts.append(Count(name, "pauses", now.pauses - before.pauses))
            counts += [Count(name, "requeued", n, cause) for cause, n in (now.requeued - before.requeued).items()]
            for cause, seconds in now.waited_s.items():
                counts.append(Count(name, "waited", seconds - before.waited_s.get(cause, 0.0), cause))
        await self.run.count([count for count in counts if count.n])
        for name, samples in timelines.items():
            await self.run.add_samples(name, samples)


class RecordedSettled(Sequence[Settled]):
    """The settled targets of a run file, read when they are looked at: in input order, not attempted ones last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Generator[Settled]:
        with Run.open(self._path, check=False) as run:
            yield from run.settled()
            yield from run.not_attempted()

    def __len__(self) -> int:
        with Run.open(self._path, check=False) as run:
            return run.counts().selected

    @overload
    def __getitem__(self, place: int) -> Settled: ...
    @overload
    def __getitem__(self, place: slice) -> list[Settled]: ...
    def __getitem__(self, place: int | slice) -> Settled | list[Settled]:
        if isinstance(place, int) and place >= 0:
            with closing(iter(self)) as rows:  # closes the file at the row, a million others unread
                for settled in islice(rows, place, None):
                    return settled
            raise IndexError(f"the run has no such settled target: {place}")
        return list(self)[place]


def recorded_report(run: Run) -> Report:
    """The report of a run over all its sessions, counted from its rows."""
    last = run.sessions()[-1]
    status = last.status or "interrupted"
    end = RunEnd(status, last.reason, signal=_signal(last.exit_status))
    return make_report(recorded_account(run), end, settled=RecordedSettled(run.path), run=str(run.path))


def recorded_account(run: Run) -> Account:
    """The account of a run over all its sessions, counted from its rows."""
    sessions, listings = run.sessions(), run.listings()
    datasets, reasons = run.account()
    for dataset in datasets:
        _complete(dataset, listings[dataset.provider, dataset.dataset], run, sessions[-1])
    # A session writes down what it cost when it ends; one that is at work is about to.
    over = sessions[:-1] if run.state == "running" else sessions
    return Account(
        datasets={(dataset.provider, dataset.dataset): dataset for dataset in datasets},
        providers={provider.name: _cost(run.counters(provider.name)) for provider in run.header.providers},
        rejected_by=Counter({outcome: n for outcome, n in reasons.items() if outcome != "not_attempted"}),
        elapsed_s=run.elapsed_s,
        uncounted_sessions=sum(session.status is None for session in over),
    )


def _cost(counters: Counters) -> ProviderAccount:
    return ProviderAccount(counters.requests, counters.pauses, Counter(counters.requeued), dict(counters.waited_s))


def _complete(dataset: DatasetReport, listing: str, run: Run, last: Session) -> None:
    """Add what the dataset's rows do not say: why they are not all, and what a plan or a refused session left unsaid."""
    dataset.reason = dataset.reason or _cut_short(dataset, listing, run)
    if dataset.status == "incomplete" and last.act == "plan" and listing in ("complete", "none"):
        # A plan is complete when it is listed, or its targets are read; its endings come with the session that resumes it.
        dataset.status = "complete"
    if (
        dataset.status == "incomplete"
        and last.status == "refused"
        and not dataset.reason
        and not dataset.counts.rejected
    ):
        # A refused session writes no end of a dataset that it listed: all of it is still to go, for that one reason.
        dataset.status = "refused"


def unread(run: Run) -> bool:
    """Whether there may be more documents than the run holds: a listing, or the reading of its targets, did not come to its end."""
    return run.targets == "open" or "open" in run.listings().values()


def _cut_short(dataset: DatasetReport, listing: str, run: Run) -> str:
    """Why a dataset's counts are not the whole of it, if its session was killed or still goes; empty if they are."""
    goes = run.state == "running"
    match listing:
        case "open" if dataset.counts.listed:
            how = "is not at its end yet" if goes else "was broken off"
            return f"its listing {how}: there may be more documents than these {dataset.counts.listed}"
        case "open":
            return "not listed yet" if goes else "not listed: the run ended before that"
        case "none" if run.targets == "open":
            return f"the list of targets {'is being read' if goes else 'was not read to its end'}: there may be more of them"
        case _:
            return ""


def _signal(exit_status: int | None) -> int | None:
    """The signal that ended a session, None where none did."""
    return exit_status - 128 if exit_status is not None and exit_status > 128 else None
