"""A plan in words: what will go, what stays and why, what needs more than a delete, and how long it takes; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bulkdel.model import Policy, PurgeRequest
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.render.wording import learned, nothing_matched, repeated_targets, skipped
from bulkdel.text import NAME, document_title, format_day, format_duration, nonzero, pluralize, sanitize, title


def describe(plan: Plan, policy: Policy, *, shown: int | None = 20, named: int = 0) -> list[str]:
    """What is about to happen, as lines of text; names are sanitized.

    ``shown`` datasets come one by one (None: all; a hundred would scroll a question away), each with the first ``named``
    selected documents if the plan knows them.
    """
    lines: list[str] = []
    for dataset in plan.datasets[:shown]:
        lines.append(f"  {title(dataset.provider, dataset.dataset, dataset.name)}")
        lines += [f"    {words}" for words in (*_facts(dataset, policy), *_documents(dataset, policy, named))]
    if more := plan.datasets[shown:] if shown is not None else []:
        documents = pluralize(to_delete(more, policy), counted_as(more))
        lines.append(f"  and {pluralize(len(more), 'more dataset')} with {documents} to delete")
    if len(plan.datasets) > 1:
        lines.append(f"  in all, of {len(plan.datasets)} datasets: {forecast(plan.datasets, policy)}")
    if any(_archived(dataset, policy) for dataset in plan.datasets):
        lines.append("  archived documents are deleted only with --unarchive")
    if plan.selected and not all(dataset.stopped for dataset in plan.datasets):
        needed = (
            "unknown before the first deletes" if plan.seconds is None else f"about {format_duration(plan.seconds)}"
        )
        lines.append(f"  time needed at the current limits: {needed}")
    lines += [f"  {provider}: {learned(*known)}" for provider, known in plan.learned.items()]
    return lines


def forecast(datasets: Sequence[PlannedDataset], policy: Policy) -> str:
    """How many of how many are selected, and what will become of them as far as it is known already."""
    listed, selected = sum(d.listed for d in datasets), sum(d.selected for d in datasets)
    if listed and not selected:
        return nothing_matched(listed)
    rejected = nonzero(
        (sum(_archived(d, policy) for d in datasets), "archived (will be rejected)"),
        (sum(d.invalid for d in datasets), "with an invalid id (will be rejected)"),
        (sum(_left(d, policy) for d in datasets), "still being indexed (will be rejected)"),
    )
    of = f"{selected} of {pluralize(listed, counted_as(datasets))} selected"
    return ", ".join([f"{of}: {to_delete(datasets, policy)} to delete", *rejected])


def counted_as(datasets: Iterable[PlannedDataset]) -> str:
    """The word for what is counted: one document may be several targets."""
    return "target" if any(d.repeated for d in datasets) else "document"


def to_delete(datasets: Iterable[PlannedDataset], policy: Policy) -> int:
    """How many documents a delete is sent for: the selected without those that are known to be rejected."""
    return sum(d.selected - _archived(d, policy) - d.invalid - _left(d, policy) for d in datasets)


def too_long(plan: Plan, policy: Policy) -> str:
    """A warning if the deadline comes before the end; empty if it does not, or if the time is unknown."""
    if plan.seconds is None or policy.deadline is None or plan.seconds <= policy.deadline:
        return ""
    return (
        f"at the current limits this takes about {format_duration(plan.seconds)}, longer than the deadline:"
        f" {format_duration(policy.deadline)}"
    )


def unknown_statuses(plan: Plan, purges: Iterable[PurgeRequest]) -> tuple[str, str]:
    """A warning and a hint if a status was asked for that no listed document has, such as a misspelled one; empty if not."""
    wanted: dict[str, str] = {}
    seen = Counter[str]()
    datasets = {(dataset.provider, dataset.dataset): dataset for dataset in plan.datasets}
    for purge in purges:
        dataset = datasets.get((purge.provider, purge.dataset))
        if dataset is not None and dataset.listed and purge.select.statuses:
            wanted |= {status.casefold(): status for status in purge.select.statuses}
            seen.update(dataset.statuses)
    missing = [status for word, status in wanted.items() if word not in {one.casefold() for one in seen}]
    if not missing:
        return "", ""
    words = ", ".join(f"{sanitize(status, NAME) or '(none)'} ({n})" for status, n in seen.most_common())
    return (
        f"no listed document has the status: {sanitize(' or '.join(missing))}",
        f"the statuses of the documents: {words}",
    )


def _facts(dataset: PlannedDataset, policy: Policy) -> list[str]:
    """One dataset's part of a plan."""
    d = dataset
    if d.stopped:
        return [f"nothing can be deleted here: {sanitize(d.stopped)}"]
    lines = [forecast([d], policy), *repeated_targets(d.listed, d.repeated)]
    if d.counted is not None:
        # What the listing hides may be selected, too: that is not known before it shows.
        lines.append(f"seen: {d.listed} of {d.counted}, because the listing never shows all that the service counts")
    if d.oldest is not None and d.newest is not None:
        oldest, newest = format_day(d.oldest), format_day(d.newest)
        lines.append(f"created: {oldest}" if oldest == newest else f"created: {oldest} to {newest}")
    lines += skipped(d.skipped)
    if d.archived and policy.unarchive:
        lines.append(f"archived: {d.archived}, will be un-archived first")
    if d.invalid:
        lines.append(f"invalid ids: {d.invalid}, never sent, the first of them: {sanitize(d.first_invalid)}")
    if d.missing:
        lines.append(f"not there now: {d.missing}; gone already, or an id is wrong")
    if d.indexing and not _left(d, policy):
        becomes = "are deleted all the same" if policy.indexing == "delete" else "are waited for"
        lines.append(f"still being indexed: {d.indexing}, {becomes}")
    if d.synced:
        lines.append(f"synced from a source: {d.synced}, and may come back at its next sync")
    return lines


def _archived(dataset: PlannedDataset, policy: Policy) -> int:
    """How many are archived and will stay so."""
    return 0 if policy.unarchive or dataset.stopped else dataset.archived


def _left(dataset: PlannedDataset, policy: Policy) -> int:
    """How many named documents are still being indexed, and are not waited for."""
    return dataset.indexing if dataset.explicit and policy.indexing == "skip" else 0


def _documents(dataset: PlannedDataset, policy: Policy, named: int) -> list[str]:
    """The first documents under a heading of their own: without it they read as those of the line above, which stay."""
    first = dataset.first[:named]
    if not first:
        return []
    becomes = "to delete" if to_delete([dataset], policy) == dataset.selected else "selected"
    these = f"all {len(first)}" if len(first) == dataset.selected else f"the first {len(first)} of {dataset.selected}"
    return [f"{these} {becomes}:", *(f"  {document_title(*document)}" for document in first)]
