"""A plan in words: what will go, what stays and why, what needs more than a delete, and how long it takes; pure."""

from __future__ import annotations

from bulkdel.model import Policy
from bulkdel.render.words import day, learned, limit, spoken
from bulkdel.report import Plan, PlannedDataset
from bulkdel.text import NAME, many, safe, title

DATASETS_SHOWN = 20
"""Datasets that a question shows, so that a hundred of them do not scroll it away."""


def describe(plan: Plan, policy: Policy, *, shown: int | None = DATASETS_SHOWN, named: int = 0) -> list[str]:
    """What is about to happen, as lines of text; names are made safe.

    ``shown`` datasets come one by one, None for all, each with the first ``named`` selected documents where the plan knows them.
    """
    lines: list[str] = []
    for dataset in plan.datasets[:shown]:
        lines.append(f"  {title(dataset.provider, dataset.dataset, dataset.name)}")
        lines += [f"    {words}" for words in facts(dataset, policy)]
        lines += [f"    {words}" for words in _documents(dataset, policy, named)]
    more = plan.datasets[shown:] if shown is not None else []
    if more:
        lines.append(
            f"  and {many(len(more), 'more dataset')} with {many(sum(to_delete(d, policy) for d in more), 'document')} to delete"
        )
    if len(plan.datasets) > 1:
        in_all = forecast(plan, policy, selected=plan.selected, listed=plan.listed)
        lines.append(f"  in all, of {len(plan.datasets)} datasets: {in_all}")
    if any(_rejected(dataset, policy)[0] for dataset in plan.datasets):
        lines.append("  archived documents are deleted only with --unarchive")
    if plan.selected and not all(dataset.stopped for dataset in plan.datasets):
        needed = "unknown before the first deletes" if plan.seconds is None else f"about {spoken(plan.seconds)}"
        lines.append(f"  time needed at the current limits: {needed}")
    lines += [f"  {provider}: {learned(limit(rate), ago)}" for provider, (rate, ago) in plan.learned.items()]
    return lines


def forecast(plan: Plan, policy: Policy, *, selected: int, listed: int) -> str:
    """How many of how many are selected, and what will become of them as far as it is known already."""
    archived, invalid = (sum(n) for n in zip((0, 0), *(_rejected(d, policy) for d in plan.datasets), strict=True))
    return _split(selected, listed, archived, invalid)


def to_delete(dataset: PlannedDataset, policy: Policy) -> int:
    """How many a dataset's delete is sent for: the selected without those that are known to be rejected."""
    return dataset.selected - sum(_rejected(dataset, policy))


def too_long(plan: Plan, policy: Policy) -> str:
    """A warning where the deadline comes before the end; empty where it does not, or where nobody knows."""
    if plan.seconds is None or policy.deadline is None or plan.seconds <= policy.deadline:
        return ""
    return (
        f"at the current limits this takes about {spoken(plan.seconds)}, longer than the deadline:"
        f" {spoken(policy.deadline)}"
    )


def facts(dataset: PlannedDataset, policy: Policy) -> list[str]:
    """One dataset's part of a plan."""
    if dataset.stopped:
        return [f"nothing can be deleted here: {safe(dataset.stopped)}"]
    said = [_split(dataset.selected, dataset.listed, *_rejected(dataset, policy)), *_ages(dataset)]
    said += [f"left alone: {n} ({safe(why)})" for why, n in dataset.skipped.items()]
    if dataset.archived and policy.unarchive:
        said.append(f"archived: {dataset.archived}, will be un-archived first")
    if dataset.invalid:
        said.append(f"invalid ids: {dataset.invalid}, never sent, the first of them: {safe(dataset.first_invalid)}")
    if dataset.indexing:
        becomes = "are deleted all the same" if policy.indexing == "delete" else "are waited for"
        said.append(f"still being indexed: {dataset.indexing}, {becomes}")
    if dataset.synced:
        said.append(f"synced from a source: {dataset.synced}, and may come back at its next sync")
    return said


def _rejected(dataset: PlannedDataset, policy: Policy) -> tuple[int, int]:
    """How many are archived and stay so, and how many have an invalid id."""
    return (0 if policy.unarchive or dataset.stopped else dataset.archived), dataset.invalid


def _split(selected: int, listed: int, archived: int, invalid: int) -> str:
    said = f"{selected} of {many(listed, 'document')} selected: {selected - archived - invalid} to delete"
    said += f", {archived} archived (will be rejected)" if archived else ""
    return said + (f", {invalid} with an invalid id (will be rejected)" if invalid else "")


def _documents(dataset: PlannedDataset, policy: Policy, named: int) -> list[str]:
    """The first documents under a heading of their own: without it they read as those of the line above, which stay."""
    first = dataset.first[:named]
    if not first:
        return []
    becomes = "selected" if any(_rejected(dataset, policy)) else "to delete"  # the archived ones are among them
    these = f"all {len(first)}" if len(first) == dataset.selected else f"the first {len(first)} of {dataset.selected}"
    words = [f"  {safe(identity)} ({safe(name, NAME)})" if name else f"  {safe(identity)}" for identity, name in first]
    return [f"{these} {becomes}:", *words]


def _ages(dataset: PlannedDataset) -> list[str]:
    if dataset.oldest is None or dataset.newest is None:
        return []
    oldest, newest = day(dataset.oldest), day(dataset.newest)
    return [f"created: {oldest}" if oldest == newest else f"created: {oldest} to {newest}"]
