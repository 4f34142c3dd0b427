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
from bulkdel.purging.ledger import DocumentState, ListedRow, Work
from bulkdel.report import Counts, DatasetReport, Report
from bulkdel.store import Count, Run, RunFile
from bulkdel.store.review import AGREED, ESTIMATED, LEARNED


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

    async def count(
        self, report: Report, requests: dict[str, int], timelines: Mapping[str, Sequence[Sample]] | None = None
    ) -> None:
        """Add what one session cost to the run's counters, and how each provider's time went."""
        counts = [Count(name, "requests", n) for name, n in requests.items() if n]
        for name, samples in (timelines or {}).items():
            waited: Counter[str] = Counter()
            for sample in samples:
                waited.update(sample.waited)
            counts += [Count(name, "waited", seconds, cause) for cause, seconds in waited.items() if seconds]
            await self.run.add_samples(name, samples)
        first = next(iter(requests), None)
        if first is not None:
            counts += [Count(first, "requeued", n, cause) for cause, n in report.requeued.items()]
            if report.pauses:
                counts.append(Count(first, "pauses", report.pauses))
        await self.run.count(counts)


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


def recorded_report(run: Run, *, report: Report | None = None) -> Report:
    """The account of a run over all its sessions, counted from its rows.

    ``report`` is the last session's own account, where it is at hand: its status, reason and signal are the run's.
    """
    counters, sessions = run.counters(), run.sessions()
    last = sessions[-1]
    # A session writes down what it cost when it ends; this one is about to, or is still at work.
    over = sessions[:-1] if report is not None or run.state == "running" else sessions
    datasets, reasons = run.account()
    counts = Counts.of(datasets)
    known = [d.remaining for d in datasets if d.remaining is not None]
    status = report.status if report is not None else (last.status or "interrupted")
    signal = report.signal if report is not None else _signal(last.exit_status)
    listings = run.listings()
    for dataset in datasets:
        dataset.reason = dataset.reason or _cut_short(dataset, listings, run)
    if last.act == "plan":
        # A plan is complete when it is listed, or its targets are read; its endings come with the session that resumes it.
        for dataset in datasets:
            if dataset.status == "incomplete" and listings[dataset.provider, dataset.dataset] in ("complete", "none"):
                dataset.status = "complete"
    if status == "refused":
        # A refused session writes no end of a dataset that it listed: all of it is still to go, for that one reason.
        for dataset in datasets:
            if dataset.status == "incomplete" and not dataset.reason and not dataset.counts.rejected:
                dataset.status = "refused"
    if status == "complete" and any(d.status != "complete" for d in datasets):
        status = "incomplete"
    return Report(
        status=status,
        counts=counts,
        settled=RecordedSettled(run.path),
        datasets=tuple(datasets),
        elapsed_s=run.elapsed_s + (report.elapsed_s if report is not None and last.ended_at is None else 0.0),
        requests=counters.requests,
        remaining=sum(known) if known else None,
        reasons=reasons,
        requeued=dict(counters.requeued),
        pauses=counters.pauses,
        waited_s={cause: round(seconds, 3) for cause, seconds in counters.waited_s.items()},
        uncounted_sessions=sum(session.status is None for session in over),
        run=str(run.path),
        reason=report.reason if report is not None else last.reason,
        hint=report.hint if report is not None else "",
        signal=signal,
        bug=report.bug if report is not None else "",
    )


def unread(run: Run) -> bool:
    """Whether there may be more documents than the run holds: a listing, or the reading of its targets, did not come to its end."""
    return run.targets == "open" or "open" in run.listings().values()


def _cut_short(dataset: DatasetReport, listings: Mapping[tuple[str, str], str], run: Run) -> str:
    """Why a dataset's counts are not the whole of it, where its session was killed, or still goes: empty where they are."""
    goes = run.state == "running"
    match listings[dataset.provider, dataset.dataset]:
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
