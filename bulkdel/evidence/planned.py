"""A plan in words: what will go, what stays and why, what needs more than a delete, and how long it takes; pure."""

from __future__ import annotations

from bulkdel.account.plan import Plan, PlannedDataset
from bulkdel.evidence.words import day, learned, limit, spoken
from bulkdel.model import Policy
from bulkdel.text import NAME, many, safe, title

DATASETS_SHOWN = 20
"""Datasets that a question shows, so that a hundred of them do not scroll it away."""


def describe(plan: Plan, policy: Policy, *, shown: int | None = DATASETS_SHOWN, named: int = 0) -> list[str]:
    """What is about to happen, as lines of text; names are made safe.

    ``shown`` datasets come one by one, None for all, each with the first ``named`` documents to delete where the plan knows them.
    """
    lines: list[str] = []
    for dataset in plan.datasets[:shown]:
        lines.append(f"  {title(dataset.provider, dataset.dataset, dataset.name)}")
        lines += [f"    {words}" for words in facts(dataset, policy)]
        lines += [f"      {words}" for words in _documents(dataset, named)]
    more = plan.datasets[shown:] if shown is not None else []
    if more:
        lines.append(
            f"  and {many(len(more), 'more dataset')} with {many(sum(d.selected for d in more), 'document')} to delete"
        )
    if len(plan.datasets) > 1:
        lines.append(f"  in all: {plan.selected} of {many(plan.listed, 'document')} in {len(plan.datasets)} datasets")
    if plan.selected and not all(dataset.stopped for dataset in plan.datasets):
        needed = "unknown before the first deletes" if plan.seconds is None else f"about {spoken(plan.seconds)}"
        lines.append(f"  time needed at the current limits: {needed}")
    lines += [f"  {provider}: {learned(limit(rate), ago)}" for provider, (rate, ago) in plan.learned.items()]
    return lines


def forecast(plan: Plan, policy: Policy, *, selected: int, listed: int) -> str:
    """How many of how many would be deleted, without those of which it is known already that they would be rejected."""
    archived = 0 if policy.unarchive else sum(d.archived for d in plan.datasets if not d.stopped)
    said = f"{selected - archived} of {many(listed, 'document')} would be"
    return f"{said}, {archived} would be rejected (archived)" if archived else said


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
    said = [f"{dataset.selected} of {many(dataset.listed, 'document')} to delete" + _ages(dataset)]
    said += [f"left alone: {n} ({safe(why)})" for why, n in dataset.skipped.items()]
    if dataset.archived:
        becomes = (
            "will be un-archived first" if policy.unarchive else "will be rejected (--unarchive un-archives them first)"
        )
        said.append(f"archived: {dataset.archived}, {becomes}")
    if dataset.indexing:
        becomes = "are deleted all the same" if policy.indexing == "delete" else "are waited for"
        said.append(f"still being indexed: {dataset.indexing}, {becomes}")
    if dataset.synced:
        said.append(f"synced from a source: {dataset.synced}, and may come back at its next sync")
    return said


def _documents(dataset: PlannedDataset, named: int) -> list[str]:
    first = dataset.first[:named]
    words = [f"{safe(identity)} ({safe(name, NAME)})" if name else safe(identity) for identity, name in first]
    more = dataset.selected - len(first)
    return [*words, f"and {more} more"] if first and more else words


def _ages(dataset: PlannedDataset) -> str:
    if dataset.oldest is None or dataset.newest is None:
        return ""
    oldest, newest = day(dataset.oldest), day(dataset.newest)
    return f", created {oldest}" if oldest == newest else f", created {oldest} to {newest}"
