"""Explicit targets: where they come from, what is known of them beforehand, and the report of what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence

from bulkdel.engine.call import Call, dataset_status
from bulkdel.engine.engine import Feed
from bulkdel.engine.feeds import MakeItem, from_iterable, from_sequence
from bulkdel.engine.job import Item
from bulkdel.model import Document, Settled, Target
from bulkdel.purging.listing import Failed, snapshot
from bulkdel.purging.select import ARCHIVED, refusal
from bulkdel.report import Counts, DatasetReport, Report
from bulkdel.text import safe


async def feeds_for(
    call: Call, targets: Iterable[Target] | AsyncIterable[Target], *, dry_run: bool
) -> tuple[list[Feed], Report | None]:
    """The feeds that bring the targets; or, where a guard or a dry run ends the call here, its report.

    With ``indexing='wait'`` the targets' datasets are listed first, since only a listing tells which are still being
    indexed; then, and with guards and dry runs, an iterable is read to its end beforehand.
    """
    policy = call.policy
    wait = policy.indexing == "wait"
    guarded = policy.max_delete is not None or policy.expect is not None
    if (wait or guarded or dry_run) and not isinstance(targets, Sequence):
        targets = [target async for target in targets] if isinstance(targets, AsyncIterable) else list(targets)
    if isinstance(targets, Sequence):
        for target in targets:
            call.totals[target.provider] = call.totals.get(target.provider, 0) + 1
    if guarded and isinstance(targets, Sequence):
        why, hint = refusal(len(targets), policy)
        if why:
            return [], _undone(call, targets, why, hint)
    if dry_run and isinstance(targets, Sequence):
        return [], _undone(call, targets, "", "")
    make = await _with_listings(call, targets) if wait and isinstance(targets, Sequence) else Item
    if isinstance(targets, Sequence):
        return from_sequence(targets, make), None
    return [from_iterable(targets, make)], None


async def _with_listings(call: Call, targets: Sequence[Target]) -> MakeItem:
    """List the datasets of the targets, and make items that know what the listings showed."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for target in targets:
        wanted.setdefault((target.provider, target.dataset), set()).add(target.document)
    shown: dict[tuple[str, str], dict[str, Document]] = {}
    failed: dict[tuple[str, str], str] = {}
    for (name, dataset), ids in wanted.items():
        channel = call.channels.get(name)
        if channel is None or channel.provider.invalid(dataset):
            continue  # settles as invalid_id on its way in
        seen: set[str] = set()
        found = shown.setdefault((name, dataset), {})

        async def add(
            documents: Sequence[Document],
            seen: set[str] = seen,
            ids: set[str] = ids,
            found: dict[str, Document] = found,
        ) -> int:
            before = len(seen)
            for document in documents:
                seen.add(document.id)
                if document.id in ids:
                    found[document.id] = document
            return len(seen) - before

        listed = await snapshot(channel, dataset, call.stops[name], call.policy, add)
        if isinstance(listed, Failed):
            failed[name, dataset] = safe(listed.reason)

    def make(key: int, target: Target) -> Item:
        place = (target.provider, target.dataset)
        if place in failed:
            return Item(key, target, ending="dataset_stopped", reason=failed[place])
        document = shown.get(place, {}).get(target.document)
        if document is None:
            return Item(key, target, listed=place in shown)
        provider, policy = call.channels[target.provider].provider, call.policy
        archived = document.archived and not policy.unarchive
        return Item(
            key,
            target,
            name=safe(document.name),
            step=provider.start(document, unarchive=policy.unarchive),
            held=document.indexing and not archived,
            listed=True,
            ending="archived" if archived else None,
            reason=ARCHIVED if archived else "",
        )

    return make


def _undone(call: Call, targets: Sequence[Target], why: str, hint: str) -> Report:
    datasets: dict[tuple[str, str], DatasetReport] = {}
    for target in targets:
        report = datasets.get((target.provider, target.dataset))
        if report is None:
            report = DatasetReport(target.provider, target.dataset, status="refused" if why else "complete")
            datasets[target.provider, target.dataset] = report
        for name in ("listed", "selected", "not_attempted"):
            setattr(report.counts, name, getattr(report.counts, name) + 1)
    report_all = call.report(list(datasets.values()))
    if why:
        report_all.status, report_all.reason, report_all.hint = "refused", why, hint
    return report_all


def delete_report(call: Call, settled: Sequence[Settled]) -> Report:
    """The account of explicit targets; they are not listed again, so ``remaining`` is None."""
    reports = []
    stopped = {
        (name, dataset): reason
        for name, lane in (call.engine.lanes.items() if call.engine is not None else ())
        for dataset, reason in lane.stopped_datasets.items()
    }
    for (provider, dataset), counts in call.results.datasets.items():
        total = Counts(**{f: getattr(counts, f) for f in ("deleted", "already_gone", "rejected", "not_attempted")})
        total.listed = total.selected = counts.selected
        stop = call.stops[provider].reason if provider in call.stops else None
        why = stopped.get((provider, dataset), "")
        reports.append(
            DatasetReport(provider, dataset, status=dataset_status(counts, stop, why), reason=why, counts=total)
        )
    call.phase = "done"
    return call.report(reports, settled=settled)
