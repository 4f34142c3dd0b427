"""A plan in words: what will go, what stays and why, what needs more than a delete, and how long it takes; pure."""

from __future__ import annotations

from bulkdel.account.plan import Plan, PlannedDataset
from bulkdel.evidence.words import day, learned, limit, spoken
from bulkdel.model import Policy
from bulkdel.text import safe

NAME = 60
"""Characters of a name in a line of an account."""

DATASETS_SHOWN = 20
"""Datasets that a question shows, so that a hundred of them do not scroll it away."""


def describe(plan: Plan, policy: Policy, *, shown: int | None = DATASETS_SHOWN) -> list[str]:
    """What is about to happen, as lines of text; names are made safe. ``shown`` datasets come one by one, None for all."""
    lines: list[str] = []
    for dataset in plan.datasets[:shown]:
        lines.append(f"  {title(dataset.provider, dataset.dataset, dataset.name)}")
        lines += [f"    {words}" for words in facts(dataset, policy)]
    more = plan.datasets[shown:] if shown is not None else []
    if more:
        lines.append(f"  and {len(more)} more datasets with {sum(d.selected for d in more)} documents to delete")
    if len(plan.datasets) > 1:
        lines.append(f"  in all: {plan.selected} of {plan.listed} documents in {len(plan.datasets)} datasets")
    if plan.selected and not all(dataset.stopped for dataset in plan.datasets):
        needed = "unknown before the first deletes" if plan.seconds is None else f"about {spoken(plan.seconds)}"
        lines.append(f"  time needed at the current limits: {needed}")
    lines += [f"  {provider}: {learned(limit(rate), ago)}" for provider, (rate, ago) in plan.learned.items()]
    return lines


def title(provider: str, dataset: str, name: str) -> str:
    """``dify / Manuals (0b7c…)``, or the id alone where there is no name."""
    called = safe(name, NAME)
    identity = safe(dataset)
    return f"{provider} / {called} ({identity})" if called else f"{provider} / {identity}"


def facts(dataset: PlannedDataset, policy: Policy) -> list[str]:
    """One dataset's part of a plan."""
    if dataset.stopped:
        return [f"nothing can be deleted here: {safe(dataset.stopped)}"]
    said = [f"{dataset.selected} of {dataset.listed} documents to delete" + _ages(dataset)]
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


def _ages(dataset: PlannedDataset) -> str:
    if dataset.oldest is None or dataset.newest is None:
        return ""
    oldest, newest = day(dataset.oldest), day(dataset.newest)
    return f", created {oldest}" if oldest == newest else f", created {oldest} to {newest}"
