"""A purge in five steps: preflight and list, guard, confirm, delete, verify."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import anyio

from bulkdel import events
from bulkdel.engine.call import Call, Feed, dataset_status
from bulkdel.engine.job import Job
from bulkdel.errors import RunFileError
from bulkdel.listing import Failed, ListingRecorder, list_documents, preflight
from bulkdel.model import Dataset, Policy, PurgeRequest, Settled
from bulkdel.providers.protocol import Provider
from bulkdel.report import DatasetReport, Plan, PlannedDataset, RunEnd
from bulkdel.store import ClaimedRow, RunFile
from bulkdel.targets import Targets, look_up_targets, take_targets
from bulkdel.text import pluralize, sanitize
from bulkdel.verification import Verified, verify

Confirm = Callable[[Plan], Awaitable[bool]]
OnPlan = Callable[[Plan], None]
OnSettled = Callable[[Sequence[Settled]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one call of a client behaves; each field is described at ``Client.purge``, whose keyword argument it is."""

    policy: Policy
    on_event: events.OnEvent | None = None
    on_plan: OnPlan | None = None
    confirm: Confirm | None = None
    dry_run: bool = False
    on_settled: OnSettled | None = None
    keep: bool = True
    run: str | Path | None = None

    @property
    def streams(self) -> bool:
        """Whether explicit targets can be settled as they are read, because nothing needs to know all of them before the first delete."""
        guarded = self.policy.max_delete is not None or self.policy.expect is not None
        looked_up = self.policy.indexing in ("wait", "skip")
        shown = self.confirm is not None or self.on_plan is not None or self.dry_run
        return self.run is None and not (guarded or looked_up or shown)


class Purge:
    """One call that empties datasets and proves it, settles explicit targets, or both.

    Whatever the services do ends in the account. Nothing but GET is sent before the guards and the user have agreed.

    :param listed: datasets that an earlier session of the run listed, and what is left to delete of them
    """

    def __init__(
        self,
        call: Call,
        store: RunFile,
        requests: Sequence[PurgeRequest],
        options: CallOptions,
        *,
        listed: Sequence[PlannedDataset] = (),
    ) -> None:
        self._call = call
        self._store = store
        self._requests = requests
        self._options = options
        self._listed = {(planned.provider, planned.dataset): planned for planned in listed}
        self._plan = Plan([PlannedDataset(request.provider, request.dataset) for request in requests])
        for planned in self._plan.datasets:
            self._account(planned)  # in the order in which they were asked for

    async def run(self, targets: Targets | None = None) -> RunEnd:
        """Carry it out; how it ended. What it did is in the call's account.

        :raises ConfigurationError: if a target is no target, or names a provider that is not the call's; nothing was sent
        """
        await self._preflight_and_list()
        await self._add_targets(targets)
        await self._complete_plan()
        refused = refusal(self._selected, self._call.policy)
        if refused is None and not self._options.dry_run:
            refused = await self._confirm()
        if refused is not None or self._options.dry_run:
            return await self._leave(refused)
        await self._delete()
        await self._verify()
        return self._end()

    # ------------------------------------------------------------------ preflight and list

    async def _preflight_and_list(self) -> None:
        # Four side by side: enough to hide round trips, few enough to keep pages (32 MB at most) in bounds.
        limit = anyio.CapacityLimiter(4)
        failed: list[RunFileError] = []

        async def one(request: PurgeRequest, planned: PlannedDataset) -> None:
            async with limit:
                try:
                    await self._preflight_and_list_one(request, planned)
                except RunFileError as error:
                    failed.append(error)
                    group.cancel_scope.cancel()
                except Exception as error:
                    self._call.sessions[request.provider].bug(error)
                    await self._drop(planned)

        async with anyio.create_task_group() as group:
            for request, planned in zip(self._requests, self._plan.datasets, strict=True):
                group.start_soon(one, request, planned)
        if failed:
            raise failed[0]  # nothing was deleted yet, and nothing will be

    async def _preflight_and_list_one(self, request: PurgeRequest, planned: PlannedDataset) -> None:
        """Write what is found of one dataset into ``planned``. One that an earlier session listed is not listed again."""
        call, store, provider, dataset = self._call, self._store, request.provider, request.dataset
        known = self._listed.get((provider, dataset))
        found: Dataset | Failed | int | None = await preflight(call, provider, dataset)
        if isinstance(found, Dataset):
            planned.name = sanitize(found.name)
        if known is None:
            await store.begin_listing(provider, dataset, planned.name)
        if isinstance(found, Dataset):
            if known is not None:
                for field in fields(known):
                    if field.name not in ("name", "stopped"):
                        setattr(planned, field.name, getattr(known, field.name))
                return
            call.phase = "listing"
            recorder = ListingRecorder(
                request, planned, store, call.policy.indexing or "wait", self._account(planned).counts
            )
            found = await list_documents(call, provider, dataset, recorder.add)
            if isinstance(found, int):
                await store.end_listing(provider, dataset, complete=True)
                call.sink.emit(events.Listed(provider, dataset, planned.name, planned.listed, planned.selected))
                return
        if isinstance(found, Failed):
            planned.stopped = sanitize(found.reason)
            call.sink.emit(events.Stopped(provider, dataset, planned.stopped))
        await self._drop(planned)

    async def _drop(self, planned: PlannedDataset) -> None:
        """The dataset was not listed whole: nothing of it is deleted (S15)."""
        planned.cut = not planned.stopped
        if (planned.provider, planned.dataset) not in self._listed:
            self._account(planned).counts.select(-planned.listed, -planned.selected)
            planned.listed = planned.selected = planned.archived = planned.indexing = planned.synced = 0
            planned.skipped.clear()
            planned.first.clear()
            await self._store.end_listing(planned.provider, planned.dataset, complete=False, reason=planned.stopped)

    async def _add_targets(self, targets: Targets | None) -> None:
        self._plan.datasets += [planned for planned in self._listed.values() if planned.explicit]
        if targets is not None:
            emptied = {(request.provider, request.dataset) for request in self._requests}
            self._plan.datasets += await take_targets(self._call, targets, self._store, emptied)
        if self._call.policy.indexing in ("wait", "skip"):
            await look_up_targets(self._call, self._plan, self._store)

    async def _complete_plan(self) -> None:
        """Add how long the deletes will take, and show the plan."""
        call, plan = self._call, self._plan
        for name, session in call.sessions.items():
            allowed = session.gate.limiter.allowed_per_second
            if allowed is not None:
                selected = sum(planned.selected for planned in plan.datasets if planned.provider == name)
                plan.seconds = max(plan.seconds or 0.0, selected / allowed)
            if (learned := session.gate.pace.learned) is not None:
                plan.learned[name] = (learned.rate, learned.ago_s)
        for planned in plan.datasets:
            self._describe(planned)
        call.total_known = True
        if self._options.dry_run:
            await self._store.record_estimate(plan.seconds, plan.learned)
        if self._options.on_plan is not None:
            self._options.on_plan(plan)

    # ------------------------------------------------------------------ guard and confirm

    @property
    def _selected(self) -> int:
        """Documents that the whole run has selected: the guards count those that earlier sessions deleted."""
        return sum(report.counts.selected for report in self._call.account.datasets.values())

    async def _confirm(self) -> RunEnd | None:
        """Ask whether to delete, and write down that the user agreed; how the run ends if not."""
        call = self._call
        if self._options.confirm is not None:
            if all(session.stop.reason is not None for session in call.sessions.values()):
                # Nothing will be sent, so there is nothing to agree to, and the run must not count as begun.
                return RunEnd()
            if self._plan.selected:
                with call.asking():
                    agreed = await self._options.confirm(self._plan)
                if not agreed:
                    return RunEnd("refused", "not confirmed")
        await self._store.record_consent(self._selected)
        return None

    async def _leave(self, refused: RunEnd | None) -> RunEnd:
        """End a call that deletes nothing: a dry run, or refused."""
        for planned in self._plan.datasets:
            report = self._account(planned)
            report.counts.leave_rest()
            if report.status == "complete" and refused is not None:
                report.status = refused.status
            if planned.stopped and not planned.explicit:
                await self._store.end_dataset(report)
        return self._end(refused)

    # ------------------------------------------------------------------ delete

    async def _delete(self) -> None:
        call = self._call
        for planned in self._plan.datasets:
            if planned.out_of_reach:
                # What an earlier session listed of it stays for a later one.
                self._account(planned).counts.leave_rest()
        await call.settle([self._feed(name) for name in call.sessions])
        for planned in self._plan.datasets:
            report = self._account(planned)
            if not planned.stopped:
                planned.stopped = call.sessions[planned.provider].stopped_datasets.get(planned.dataset, "")
                self._describe(planned)
            if report.status == "complete":
                report.status = dataset_status(
                    report.counts, call.sessions[planned.provider].stop.reason, planned.stopped
                )

    def _feed(self, name: str) -> Feed:
        """A provider's selected documents, from the store to its session."""
        provider, policy = self._call.sessions[name].gate.provider, self._call.policy
        mine = [planned for planned in self._plan.datasets if planned.provider == name]
        out_of_reach = {planned.dataset for planned in mine if planned.out_of_reach}

        async def feed(call: Call) -> None:
            session = call.sessions[name]
            session.sizes.update((planned.dataset, planned.listed) for planned in mine if not planned.explicit)
            for planned in mine:
                if planned.explicit and planned.stopped:
                    session.stop_dataset(planned.dataset, planned.stopped)
            async for page in self._store.pages(name):
                if out_of_reach:
                    page = [work for work in page if work.target.dataset not in out_of_reach]
                try:
                    jobs = [make_job(work, provider, policy) for work in page]
                except Exception as error:
                    session.bug(error)  # what is added after that settles as not attempted
                    jobs = [Job(w.row, w.target, also=list(w.also) or None, given=dict(w.given) or None) for w in page]
                await session.add(jobs)

        return feed

    # ------------------------------------------------------------------ verify

    async def _verify(self) -> None:
        call = self._call
        call.phase = "verifying"
        limit = anyio.CapacityLimiter(4)  # as many as are listed side by side

        async def one(report: DatasetReport) -> None:
            found: Verified | Failed | None
            async with limit:
                try:
                    found = await verify(call, report.provider, report.dataset, self._store)
                except RunFileError as error:
                    call.sink.lose_journal(error)
                    found = Failed(str(error))
                except Exception as error:
                    call.sessions[report.provider].bug(error)
                    found = None
            self._add_verified(report, found)

        async with anyio.create_task_group() as group:
            for planned in self._plan.datasets:
                report = self._account(planned)
                if report.status != "stopped" and not planned.explicit and not planned.cut:
                    group.start_soon(one, report)
        for planned in self._plan.datasets:
            if not call.sink.journal_lost:
                try:
                    await self._store.end_dataset(self._account(planned))
                except RunFileError as error:
                    call.sink.lose_journal(error)

    def _add_verified(self, report: DatasetReport, found: Verified | Failed | None) -> None:
        """Write what the verification found into the dataset's account."""
        match found:
            case None:
                stop = self._call.sessions[report.provider].stop.reason
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
                    still = pluralize(found.still_there_count, "document")
                    report.reason = f"still listed, though the service called them deleted: {still}"
                self._call.sink.emit(
                    events.Verified(
                        report.provider, report.dataset, found.remaining, found.new_count, found.skipped, report.name
                    )
                )

    # ------------------------------------------------------------------ the account

    def _account(self, planned: PlannedDataset) -> DatasetReport:
        return self._call.account.dataset(planned.provider, planned.dataset)

    def _describe(self, planned: PlannedDataset) -> None:
        """Write into the dataset's account what the plan says of it, apart from counts."""
        report, stop = self._account(planned), self._call.sessions[planned.provider].stop.reason
        report.name = planned.name or report.name
        report.skipped_reasons = dict(planned.skipped)
        report.status, report.reason = "complete", ""
        if planned.stopped:
            report.status, report.reason = "stopped", planned.stopped
        elif planned.cut:
            report.status = stop.status if stop is not None else "incomplete"
            report.reason = "not listed: the run ended before that"

    def _end(self, refused: RunEnd | None = None) -> RunEnd:
        self._call.phase = "done"
        end = self._call.close_account()
        # What stopped the run before the guards were asked says more than their answer.
        return refused if refused is not None and end.status == "complete" else end


def make_job(work: ClaimedRow, provider: Provider, policy: Policy) -> Job:
    """How the engine is to go about a selected target."""
    document, indexing = work.document, policy.indexing or "wait"
    also, given = list(work.also) or None, dict(work.given) or None
    if document is None:
        return Job(work.row, work.target, doubt=work.in_doubt, also=also, given=given)
    job = Job(
        key=work.row,
        target=work.target,
        name=sanitize(document.name),
        step=provider.start(document, unarchive=policy.unarchive),
        doubt=work.in_doubt,
        listed=True,
        also=also,
        given=given,
    )
    if document.archived and not policy.unarchive:
        job.ending, job.reason = "archived", "archived; un-archiving was not asked for (--unarchive)"
    elif document.indexing and indexing == "skip":
        job.ending, job.reason = "stuck_indexing", "left alone, because indexing is 'skip': still being indexed"
    elif document.indexing and indexing == "wait":
        job.awaiting_indexing = True
    return job


def refusal(selected: int, policy: Policy) -> RunEnd | None:
    """How the run ends if the guards refuse to delete this many; None if they do not."""
    documents = pluralize(selected, "document")
    if policy.max_delete is not None and selected > policy.max_delete:
        why = f"the selection has {documents}, more than max_delete allows: {policy.max_delete}"
        return RunEnd("refused", why, "raise max_delete or select fewer")
    if policy.expect is not None and selected != policy.expect:
        return RunEnd(
            "refused",
            f"the selection has {documents}, but expect says: {policy.expect}",
            "a dry run shows the selection",
        )
    return None
