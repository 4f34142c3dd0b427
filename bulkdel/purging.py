"""A purge in five steps: preflight and list, guard, confirm, delete, verify."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

from bulkdel import events
from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.gate import outage_hint
from bulkdel.engine.questions import side_by_side
from bulkdel.engine.session import ProviderSession
from bulkdel.errors import RunFileError
from bulkdel.listing import Failed, NotWhole, list_documents
from bulkdel.model import OnSettled, Policy, PurgeRequest, Selection, Target
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.planning import ListingRecorder, make_jobs, plan_dataset, refusal
from bulkdel.report import DatasetReport, RunEnd
from bulkdel.store import RunFile
from bulkdel.targets import Targets, look_up_targets, take_targets
from bulkdel.text import title
from bulkdel.verification import verify_dataset

Confirm = Callable[[Plan], Awaitable[bool]]
OnPlan = Callable[[Plan], None]


class SharedKeywords(TypedDict, total=False):
    """The keyword arguments that a client and its calls share: how it behaves, and what is called with values of ``events``."""

    policy: Policy | None
    on_event: events.OnEvent | None


class CallKeywords(SharedKeywords, total=False):
    """The keyword arguments of a call that deletes; described at ``Client.purge``."""

    on_plan: OnPlan | None
    confirm: Confirm | None
    dry_run: bool
    on_settled: OnSettled | None
    keep: bool
    run: str | Path | None


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
        shown = self.confirm is not None or self.on_plan is not None or self.dry_run
        return self.run is None and not (guarded or shown)


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
        self._requests = {(request.provider, request.dataset): request for request in requests}
        self._options = options
        self._listed = {(planned.provider, planned.dataset): planned for planned in listed}
        self._plan = Plan()
        self._refused: dict[
            tuple[str, str], RunEnd
        ] = {}  # datasets of which a later listing showed more than the guards allow
        for place in self._requests:
            call.account.dataset(*place)  # in the order in which they were asked for

    async def run(self, targets: Targets | None = None) -> RunEnd:
        """Carry it out; how it ended. What it did is in the call's account.

        :raises ConfigurationError: if a target is no target, or names a provider that is not the call's; nothing was sent
        :raises RunFileError: if the run file cannot be written before the first delete
        """
        # First: a run that is killed before it holds its targets cannot be resumed, and listing takes longer.
        explicit, few = await self._take_targets(targets)
        self._plan.datasets = [*await side_by_side(self._plan_dataset, self._requests.values(), 4), *explicit]
        if self._call.policy.indexing != "delete":
            await look_up_targets(self._call, self._plan, self._store, few)
        await self._complete_plan()
        # One document may be several targets.
        repeated = any(report.repeated for report in self._call.account.datasets.values())
        refused = refusal(self._selected, self._call.policy, "target" if repeated else "document")
        if refused is None and not self._options.dry_run:
            refused = self._unseen() or await self._confirm()
        if refused is not None or self._options.dry_run:
            return await self._leave(refused)
        await self._delete()
        await self._verify()
        return self._end()

    # ------------------------------------------------------------------ preflight and list

    async def _plan_dataset(self, request: PurgeRequest) -> PlannedDataset:
        known = self._listed.get((request.provider, request.dataset))
        return await plan_dataset(self._call, self._store, request, known)

    async def _take_targets(self, targets: Targets | None) -> tuple[list[PlannedDataset], list[Target]]:
        """What is left of the targets that were named one by one, and those of this call themselves if they are few."""
        if targets is not None:
            return await take_targets(self._call, targets, self._store, self._requests)
        return [planned for planned in self._listed.values() if planned.explicit], []

    async def _complete_plan(self) -> None:
        """Add how long the deletes will take, and show the plan."""
        call, plan = self._call, self._plan
        for name, session in call.sessions.items():
            allowed = session.gate.pace.allowed_per_second
            if allowed is not None:
                selected = sum(planned.selected for planned in plan.datasets if planned.provider == name)
                plan.seconds = max(plan.seconds or 0.0, selected / allowed)
            if (learned := session.gate.pace.learned) is not None:
                plan.learned[name] = (learned.rate, learned.ago_s, learned.refused)
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

    def _unseen(self) -> RunEnd | None:
        """How the run ends if a listing did not show all, and what it did not show would be left without a word."""
        if self._call.policy.accept_incomplete:
            return None
        for planned in self._plan.datasets:
            if planned.unseen and not self._in_rounds(planned):
                hint = "accept_incomplete (--accept-incomplete) deletes what was seen"
                return RunEnd("refused", f"the listing is not whole: {self._seen(planned)}", hint)
        return None

    def _in_rounds(self, planned: PlannedDataset) -> bool:
        """Whether a dataset is to be emptied whole, whatever it holds: not by a selection, and not by a plan of what was seen."""
        request = self._requests.get((planned.provider, planned.dataset))
        return (
            request is not None
            and request.select == Selection()
            and self._call.policy.indexing != "skip"
            and self._store.header.act != "plan"
        )

    async def _confirm(self) -> RunEnd | None:
        """Ask whether to delete, and write down that the user agreed; how the run ends if not."""
        call = self._call
        if self._options.confirm is not None:
            stopped = all(session.stop.reason is not None for session in call.sessions.values())
            if stopped or all(planned.out_of_reach for planned in self._plan.datasets):
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
        await call.settle([partial(self._feed, session) for session in call.sessions.values()])
        for planned in self._plan.datasets:
            report = self._account(planned)
            if call.sink.journal_lost:
                report.counts.leave_rest()  # pages that could not be marked as given out never came
            if not planned.stopped:
                planned.stopped = call.sessions[planned.provider].stopped_datasets.get(planned.dataset, "")
                self._describe(planned)
            if report.status == "complete":
                stop = call.sessions[planned.provider].stop.reason
                report.status = dataset_status(report.counts, stop, planned.stopped)
            if (refused := self._refused.get((planned.provider, planned.dataset))) is not None:
                report.counts.leave_rest()
                report.status, report.reason = "incomplete", refused.reason

    async def _feed(self, session: ProviderSession, call: Call) -> None:
        """Give one provider's selected documents to its session.

        A dataset that is emptied whole, and whose listing does not show all that the service counts, goes on in rounds: what was
        seen is deleted, and what shows then is deleted as well, until a listing shows nothing more that is to be deleted.
        """
        own = [planned for planned in self._plan.datasets if planned.provider == session.name]
        session.sizes.update((planned.dataset, planned.listed) for planned in own if not planned.explicit)
        out_of_reach = {planned.dataset for planned in own if planned.out_of_reach}
        session.indexing_ahead = call.policy.indexing in (None, "wait") and any(planned.indexing for planned in own)
        await self._add_pages(session, out_of_reach)
        session.indexing_ahead = False
        for planned in own:
            if planned.counted is not None and self._in_rounds(planned):
                # What is newer than the run and than all that it saw came later, and is left alone.
                until = max(planned.newest or 0.0, self._store.header.created_at or 0.0)
                while await self._list_another_round(session, planned, until):
                    await self._add_pages(session, out_of_reach)

    async def _add_pages(self, session: ProviderSession, out_of_reach: Container[str]) -> None:
        async for page in self._store.pages(session.name):
            await session.add(make_jobs(session, [row for row in page if row.target.dataset not in out_of_reach]))

    async def _list_another_round(self, session: ProviderSession, planned: PlannedDataset, until: float) -> bool:
        """List again once everything has settled; whether something more is to be deleted. Why not is left to the verification."""
        await session.schedule.wait_until_empty()
        if session.stop.reason is not None or planned.dataset in session.stopped_datasets:
            return False
        place = planned.provider, planned.dataset
        recorder = ListingRecorder(self._call, self._store, self._requests[place], planned, until)
        found = await list_documents(session, planned.dataset, recorder.add)
        # One that broke off says nothing of what is hidden: a resume lists another round.
        if isinstance(found, int | NotWhole):
            planned.counted = found.counted if isinstance(found, NotWhole) else None
            await self._store.end_listing(*place, complete=True, counted=planned.counted)
        if (refused := refusal(self._selected, self._call.policy)) is not None:
            hint = "a resume with a higher guard (--max-delete, --expect) deletes what is still there, too"
            self._refused[place] = replace(refused, hint=hint)
            return False
        return bool(recorder.added) and not (isinstance(found, Failed) and not isinstance(found, NotWhole))

    # ------------------------------------------------------------------ verify

    async def _verify(self) -> None:
        call = self._call
        call.phase = "verifying"
        listed = [
            planned
            for planned in self._plan.datasets
            if self._account(planned).status != "stopped" and not planned.explicit and not planned.cut
        ]
        await side_by_side(self._verify_dataset, listed, 4)
        for planned in self._plan.datasets:
            if not call.sink.journal_lost:
                try:
                    await self._store.end_dataset(self._account(planned))
                except RunFileError as error:
                    call.sink.lose_journal(error)

    async def _verify_dataset(self, planned: PlannedDataset) -> None:
        shown, report = await verify_dataset(self._call, self._store, planned), self._account(planned)
        if shown is None and report.status == "stopped":
            planned.outage = report.reason  # the run ends as in an outage at its start
        if planned.counted is None or self._in_rounds(planned) or shown is None:
            return
        # What the listing hid before, and shows now or hides still, may be selected, too (S15).
        if report.status == "complete" and (report.new_count or shown.hidden):
            report.status, report.reason = "incomplete", f"the listing was not whole: {self._seen(planned)}"

    # ------------------------------------------------------------------ the account

    def _account(self, planned: PlannedDataset) -> DatasetReport:
        return self._call.account.dataset(planned.provider, planned.dataset)

    def _seen(self, planned: PlannedDataset) -> str:
        """How much of a dataset was seen, in words, with what earlier sessions of the run have deleted of it."""
        name = title(planned.provider, planned.dataset, planned.name)
        return f"{self._account(planned).counts.listed} of {planned.counted} documents of {name} seen"

    def _describe(self, planned: PlannedDataset) -> None:
        """Write into the dataset's account what the plan says of it, apart from counts."""
        report, stop = self._account(planned), self._call.sessions[planned.provider].stop.reason
        report.name = planned.name or report.name
        report.skipped_reasons = dict(planned.skipped)
        report.status, report.reason = "complete", ""
        if planned.stopped:
            report.status, report.reason = "stopped", planned.stopped
        elif planned.cut:
            report.status = stop.status if stop is not None else "stopped" if planned.outage else "incomplete"
            # What an earlier session listed was listed, whatever this one did not come to.
            report.reason = planned.outage or ("" if report.counts.listed else "not listed: the run ended before that")
        elif planned.unseen and self._options.dry_run:
            report.status, report.reason = "incomplete", f"the listing is not whole: {self._seen(planned)}"

    def _end(self, refused: RunEnd | None = None) -> RunEnd:
        self._call.phase = "done"
        end = self._call.close_account()
        outages = [planned.outage for planned in self._plan.datasets if planned.outage]
        if end.status == "complete" and outages:
            end = replace(end, status="stopped", reason=outages[0], hint=outage_hint(outages[0]))
        if end.status == "complete":
            end = replace(end, hint=next((refused.hint for refused in self._refused.values()), ""))
        # What stopped the run before the guards were asked says more than their answer.
        return refused if refused is not None and end.status == "complete" else end
