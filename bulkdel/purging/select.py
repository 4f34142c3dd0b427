"""Which documents are deleted, in what order of steps, and whether the guards let them: pure."""

from __future__ import annotations

from bulkdel.engine.job import Job
from bulkdel.model import Document, Indexing, Policy, Selection
from bulkdel.providers.protocol import Provider
from bulkdel.purging.ledger import Work
from bulkdel.text import many, safe

INDEXING = "still being indexed"
LEFT = "left alone, because indexing is 'skip': still being indexed"
ARCHIVED = "archived; un-archiving was not asked for (--unarchive)"


def why_skipped(document: Document, selection: Selection, indexing: Indexing) -> str:
    """Why a listed document is left, in a few words; empty where it is selected."""
    why = selection.why_not(document)
    if not why and indexing == "skip" and document.indexing:
        return INDEXING
    return why


def job(work: Work, provider: Provider, policy: Policy, indexing: Indexing) -> Job:
    """How the engine is to go about a selected target."""
    document = work.document
    also = list(work.also) if work.also else None
    if document is None:
        return Job(work.row, work.target, doubt=work.handed, also=also)
    archived = document.archived and not policy.unarchive
    left = document.indexing and indexing == "skip" and not archived
    return Job(
        key=work.row,
        target=work.target,
        name=safe(document.name),
        step=provider.start(document, unarchive=policy.unarchive),
        held=document.indexing and indexing == "wait" and not archived,
        doubt=work.handed,
        listed=True,
        ending="archived" if archived else "stuck_indexing" if left else None,
        reason=ARCHIVED if archived else LEFT if left else "",
        also=also,
    )


def refusal(selected: int, policy: Policy) -> tuple[str, str]:
    """Why the guards refuse to delete this many, and what to do; empty where they do not."""
    if policy.max_delete is not None and selected > policy.max_delete:
        return (
            f"the selection has {many(selected, 'document')}, more than max_delete allows: {policy.max_delete}",
            "raise max_delete or select fewer",
        )
    if policy.expect is not None and selected != policy.expect:
        return (
            f"the selection has {many(selected, 'document')}, but expect says: {policy.expect}",
            "a dry run shows the selection",
        )
    return "", ""
