"""A purge from its first question to its report: survey every dataset, guard, confirm, delete, verify."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import anyio

from bulkdel import events
from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.engine import Engine, Feed
from bulkdel.engine.feeds import count_in
from bulkdel.engine.job import Job
from bulkdel.errors import RunFileError
from bulkdel.model import Dataset, Document, Indexing, RunStatus, Selection, Settled, Target
from bulkdel.purging.explicit import describe_targets, take_targets
from bulkdel.purging.ledger import Ledger, ListedRow
from bulkdel.purging.listing import Failed, preflight, snapshot
from bulkdel.purging.select import job, refusal, why_skipped
from bulkdel.purging.verify import Verified, verify
from bulkdel.report import FIRST, Counts, DatasetReport, Plan, PlannedDataset, Report
from bulkdel.text import many, safe

Confirm = Callable[[Plan], Awaitable[bool]]
OnPlan = Callable[[Plan], None]

SURVEYS = 4
"""Datasets that are listed side by side: enough to hide round trips, few enough to keep pages (32 MB at most) in bounds."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One dataset to purge, and which of its documents."""

    provider: str
    dataset: str
    select: Selection = field(default_factory=Selection)


async def purge(
    call: Call,
    wishes: Sequence[Wish],
    ledger: Ledger,
    *,
    targets: Iterable[Target] | AsyncIterable[Target] | None = None,
    on_plan: OnPlan | None = None,
    confirm: Confirm | None = None,
    dry_run: bool = False,
    settled: Callable[[], Sequence[Settled]] = tuple,
    before: Sequence[PlannedDataset] = (),
    settled_before: int = 0,
) -> Report:
    """Empty the wished datasets and prove it, and settle explicit targets; ``settled`` gives the report's list at the end.

    Whatever the services do ends in the report. Nothing but GET is sent before the guards and ``confirm`` said yes.
    ``before`` are datasets that the ledger holds from an earlier session: what is left of them is carried out, they are not
    listed for it again. ``settled_before`` is how many selected documents have
    settled in it: the guards count the whole run. ``on_plan`` is called with everything that was listed and selected, a dry run's too.

    :raises ConfigurationError: where a target is no target, or names a provider that is not the call's; nothing was sent
    """
    known = {(planned.provider, planned.dataset): planned for planned in before}
    plan = Plan([PlannedDataset(wish.provider, wish.dataset) for wish in wishes])
    await _survey_all(call, wishes, plan, ledger, known)
    plan.datasets += [planned for planned in before if planned.explicit]
    if targets is not None:
        emptied = {(wish.provider, wish.dataset) for wish in wishes}
        plan.datasets += await take_targets(call, targets, ledger, emptied)
    if call.policy.indexing in ("wait", "skip"):
        await describe_targets(call, plan, ledger)
    plan.seconds = _seconds(call, plan)
    for name, channel in call.channels.items():
        if (learned := channel.learned) is not None:
            plan.learned[name] = (learned.rate, learned.ago_s)
    if dry_run:
        await ledger.record_estimate(plan.seconds, plan.learned)
    for planned in plan.datasets:
        call.totals[planned.provider] = call.totals.get(planned.provider, 0) + planned.selected
        call.names[planned.provider, planned.dataset] = planned.name
        call.sizes[planned.provider, planned.dataset] = planned.selected

    why, hint = refusal(plan.selected + settled_before, call.policy)
    if on_plan is not None:
        on_plan(plan)
    # Where everything was stopped there is nobody to ask any more, and what nobody was asked for must not count as begun.
    halted = confirm is not None and all(stop.reason is not None for stop in call.stops.values())
    ask = not why and not dry_run and plan.selected > 0 and not halted
    if ask and confirm is not None:
        with call.asking():
            agreed = await confirm(plan)
        if not agreed:
            why, hint = "not confirmed", f"nothing{' more' if settled_before else ''} was deleted"
    if why or dry_run or halted:
        return await _undone(call, plan, ledger, why, hint)
    await ledger.record_consent(plan.selected + settled_before)

    await call.settle([_feed(call, plan, ledger, name) for name in call.channels])
    lanes = call.engine.lanes if call.engine is not None else {}
    for planned in plan.datasets:
        if planned.provider in lanes and not planned.stopped:
            planned.stopped = lanes[planned.provider].stopped_datasets.get(planned.dataset, "")
    return await _verify_all(call, plan, ledger, settled)


# ---------------------------------------------------------------------- before anything is deleted


async def _survey_all(
    call: Call,
    wishes: Sequence[Wish],
    plan: Plan,
    ledger: Ledger,
    before: Mapping[tuple[str, str], PlannedDataset],
) -> None:
    limit = anyio.CapacityLimiter(SURVEYS)

    failed: list[RunFileError] = []

    async def one(wish: Wish, planned: PlannedDataset) -> None:
        async with limit:
            known = before.get((wish.provider, wish.dataset))
            try:
                await _survey(call, wish, planned, ledger, known)
            except RunFileError as error:
                failed.append(error)
                group.cancel_scope.cancel()
            except Exception as error:
                call.bug(wish.provider, error)
                await _drop(wish, planned, ledger, known)

    async with anyio.create_task_group() as group:
        for wish, planned in zip(wishes, plan.datasets, strict=True):
            group.start_soon(one, wish, planned)
    if failed:
        raise failed[0]  # nothing was deleted yet, and nothing will be


async def _survey(
    call: Call, wish: Wish, planned: PlannedDataset, ledger: Ledger, known: PlannedDataset | None
) -> None:
    """Preflight, list and select one dataset; writes what it finds into ``planned``. A ``known`` one is not listed again."""
    channel, stop, policy = call.channels[wish.provider], call.stops[wish.provider], call.policy
    found: Dataset | Failed | int | None = await preflight(channel, wish.dataset, stop, policy)
    if isinstance(found, Dataset):
        planned.name = safe(found.name)
    if known is None:
        await ledger.begin_listing(wish.provider, wish.dataset, planned.name, wish.select)
    if isinstance(found, Dataset):
        if known is not None:
            for one in fields(known):
                if one.name not in ("name", "stopped"):
                    setattr(planned, one.name, getattr(known, one.name))
            return
        call.phase = "listing"
        kept = _Kept(wish, planned, ledger, policy.indexing or "wait", call.sizes)
        found = await snapshot(channel, wish.dataset, stop, policy, kept.add)
        if isinstance(found, int):
            await ledger.end_listing(wish.provider, wish.dataset, complete=True)
            listed = events.Listed(wish.provider, wish.dataset, planned.name, planned.listed, planned.selected)
            call.results.emit(listed)
            return
    if isinstance(found, Failed):
        planned.stopped = safe(found.reason)
        call.results.emit(events.Stopped(wish.provider, wish.dataset, planned.stopped))
    await _drop(wish, planned, ledger, known)


async def _drop(wish: Wish, planned: PlannedDataset, ledger: Ledger, known: PlannedDataset | None) -> None:
    """The dataset was not listed whole: nothing of it is deleted (S15)."""
    planned.cut = not planned.stopped
    if known is None:
        planned.listed = planned.selected = planned.archived = planned.indexing = planned.synced = 0
        planned.skipped.clear()
        planned.first.clear()
        await ledger.end_listing(wish.provider, wish.dataset, complete=False, reason=planned.stopped)


class _Kept:
    """Keeps listed documents in the ledger and counts them into the plan, and into ``sizes`` for whoever watches."""

    def __init__(
        self,
        wish: Wish,
        planned: PlannedDataset,
        ledger: Ledger,
        indexing: Indexing,
        sizes: dict[tuple[str, str], int],
    ) -> None:
        self._wish, self._planned, self._ledger, self._indexing, self._sizes = wish, planned, ledger, indexing, sizes

    async def add(self, documents: Sequence[Document]) -> int:
        rows = [ListedRow(d, why_skipped(d, self._wish.select, self._indexing)) for d in documents]
        new = await self._ledger.add_listed(self._wish.provider, self._wish.dataset, rows)
        for row in new:
            self._count(row.document, row.skipped)
        self._sizes[self._wish.provider, self._wish.dataset] = self._planned.listed
        return len(new)

    def _count(self, document: Document, skipped: str) -> None:
        planned = self._planned
        planned.listed += 1
        if skipped:
            planned.skipped[skipped] = planned.skipped.get(skipped, 0) + 1
            return
        planned.selected += 1
        if len(planned.first) < FIRST:
            planned.first.append((document.id, document.name))
        planned.archived += document.archived
        planned.indexing += document.indexing
        planned.synced += document.synced
        if (created := document.created_at) is not None:
            planned.oldest = created if planned.oldest is None else min(planned.oldest, created)
            planned.newest = created if planned.newest is None else max(planned.newest, created)


def _seconds(call: Call, plan: Plan) -> float | None:
    """How long the deletes take at the rates that are known; None where no rate is."""
    longest: float | None = None
    for name, channel in call.channels.items():
        allowed = channel.pacing.allowed_per_second
        if allowed is not None:
            selected = sum(d.selected for d in plan.datasets if d.provider == name)
            longest = max(longest or 0.0, selected / allowed)
    return longest


async def _undone(call: Call, plan: Plan, ledger: Ledger, why: str, hint: str) -> Report:
    """The report of a call that deleted nothing: a dry run, or refused."""
    reports = []
    for planned in plan.datasets:
        report = _dataset_report(call, planned, Counts(not_attempted=planned.selected))
        if report.status == "complete" and why:
            report.status = "refused"
        if planned.stopped and not planned.explicit:
            await ledger.end_dataset(report)
        reports.append(report)
    whole = call.report(reports)
    if why and whole.status not in ("interrupted", "deadline", "stopped"):
        whole.status, whole.reason, whole.hint = "refused", why, hint
    return whole


def _dataset_report(call: Call, planned: PlannedDataset, counts: Counts) -> DatasetReport:
    """A dataset's report before anything was deleted in it."""
    stop = call.stops[planned.provider].reason
    status: RunStatus = "stopped" if planned.stopped else "complete"
    if planned.cut:
        status = stop.status if stop is not None else "incomplete"
    counts.listed, counts.selected = planned.listed, planned.selected
    counts.skipped = planned.listed - planned.selected
    return DatasetReport(
        provider=planned.provider,
        dataset=planned.dataset,
        name=planned.name,
        status=status,
        reason=planned.stopped or ("not listed: the run ended before that" if planned.cut else ""),
        counts=counts,
        skipped_reasons=dict(planned.skipped),
    )


# ---------------------------------------------------------------------- deleting


def _feed(call: Call, plan: Plan, ledger: Ledger, name: str) -> Feed:
    """A provider's selected documents, from the ledger to its lane."""
    provider, policy = call.channels[name].provider, call.policy
    indexing = policy.indexing or "wait"

    async def feed(engine: Engine) -> None:
        lane = engine.lanes[name]
        mine = [planned for planned in plan.datasets if planned.provider == name]
        lane.sizes.update((planned.dataset, planned.listed) for planned in mine if not planned.explicit)
        for planned in mine:
            if planned.explicit and planned.stopped:
                lane.stop_dataset(planned.dataset, planned.stopped)
        # A dataset of an earlier session that is out of reach now keeps what is left of it for another one.
        left_alone = {planned.dataset for planned in mine if (planned.stopped or planned.cut) and not planned.explicit}

        async for page in ledger.pages(name):
            if left_alone:
                page = [work for work in page if work.target.dataset not in left_alone]
            try:
                jobs = [job(work, provider, policy, indexing) for work in page]
            except Exception as error:
                lane.bug(error)  # what is offered after that settles as not attempted
                jobs = [Job(work.row, work.target, also=list(work.also) or None) for work in page]
            count_in(call.account, jobs)
            await lane.offer(jobs)

    return feed


# ---------------------------------------------------------------------- afterwards


async def _verify_all(call: Call, plan: Plan, ledger: Ledger, settled: Callable[[], Sequence[Settled]]) -> Report:
    call.phase = "verifying"
    reports: list[DatasetReport] = []
    verified: dict[int, Verified | Failed | None] = {}
    for planned in plan.datasets:
        counts = call.account.dataset(planned.provider, planned.dataset).counts
        report = _dataset_report(call, planned, counts)
        if report.status == "complete":
            report.status = dataset_status(counts, call.stops[planned.provider].reason, planned.stopped)
        reports.append(report)
    limit = anyio.CapacityLimiter(SURVEYS)

    async def one(place: int, report: DatasetReport) -> None:
        async with limit:
            channel, stop = call.channels[report.provider], call.stops[report.provider]
            try:
                verified[place] = await verify(channel, report.dataset, ledger, stop, call.policy)
            except RunFileError as error:
                call.results.lose_journal(error)
                verified[place] = Failed(str(error))
            except Exception as error:
                call.bug(report.provider, error)
                verified[place] = None

    async with anyio.create_task_group() as group:
        for place, (report, planned) in enumerate(zip(reports, plan.datasets, strict=True)):
            if report.status != "stopped" and not planned.explicit and not planned.cut:
                group.start_soon(one, place, report)
    for place, report in enumerate(reports):
        if place in verified:
            _apply(call, report, verified[place])
        if not call.results.journal_lost:
            try:
                await ledger.end_dataset(report)
            except RunFileError as error:
                call.results.lose_journal(error)
    call.phase = "done"
    return call.report(reports, settled=settled(), verified=any(r.remaining is not None for r in reports))


def _apply(call: Call, report: DatasetReport, found: Verified | Failed | None) -> None:
    """Write what the verification found into the dataset's report."""
    match found:
        case None:
            stop = call.stops[report.provider].reason
            if report.status == "complete":
                report.status = stop.status if stop is not None else "incomplete"
            report.reason = report.reason or "not verified: the run ended before it was listed again"
        case Failed():
            if report.status == "complete":
                report.status = "incomplete"
            report.reason = report.reason or f"could not be verified: {found.reason}"
        case Verified():
            report.remaining = found.remaining
            report.new, report.new_count = tuple(found.new), found.new_count
            report.still_there, report.still_there_count = tuple(found.still_there), found.still_there_count
            if found.still_there_count and report.status == "complete":
                report.status = "incomplete"
                report.reason = (
                    f"still listed, though the service called them deleted: {many(found.still_there_count, 'document')}"
                )
            call.results.emit(
                events.Verified(
                    report.provider, report.dataset, found.remaining, found.new_count, found.skipped, report.name
                )
            )
