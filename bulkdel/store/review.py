"""What a run would still delete, for a person to look at before it does."""

from __future__ import annotations

from collections.abc import Iterable

from bulkdel.model import Rate
from bulkdel.report import DatasetReport, Plan, PlannedDataset
from bulkdel.store.schema import ARCHIVED, INDEXING, INVALID, SYNCED, Fetch
from bulkdel.store.values import unpack_id

AGREED = "agreed"
"""The counter of how often the guards and a user said yes; its cause is how many documents the run had selected by then."""

ESTIMATED = "estimated"
"""The counter of the seconds that a plan will take."""

LEARNED = "learned"
"""The counter of how long before the plan a rate was learned, in seconds; the rate is its cause, ``n per``."""

# NOT INDEXED as in ``counting``: by row, not by id.
_OPEN = f"""
SELECT p.name, s.dataset, SUM(d.flags & {ARCHIVED} <> 0), SUM(d.flags & {INDEXING} <> 0), SUM(d.flags & {SYNCED} <> 0),
    MIN(d.created_at), MAX(d.created_at),
    SUM(CASE WHEN d.flags & {INVALID} THEN 1 + (SELECT COUNT(*) FROM duplicate x WHERE x.document = d.row) ELSE 0 END),
    MIN(CASE WHEN d.flags & {INVALID} THEN d.row END)
FROM document d NOT INDEXED CROSS JOIN dataset s ON s.id = d.dataset CROSS JOIN provider p ON p.id = s.provider
WHERE d.skipped IS NULL AND NOT EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row) GROUP BY s.id
"""

_WHY_INVALID = "SELECT d.document, t.word FROM document d JOIN word t ON t.id = d.status WHERE d.row = ?"

_LEARNED = "SELECT p.name, c.cause, c.n FROM counter c JOIN provider p ON p.id = c.provider WHERE c.what = ?"


def left_to_do(fetch: Fetch, datasets: Iterable[DatasetReport]) -> Plan:
    """``datasets`` as a plan: listed and skipped count all, the rest what has not settled; ``fetch`` runs a query.

    The time that it takes, and the rate that it counts with, are the plan's, which hold as long as nothing of it has settled.
    """
    datasets = list(datasets)
    planned = {
        (d.provider, d.dataset): PlannedDataset(
            provider=d.provider,
            dataset=d.dataset,
            name=d.name,
            listed=d.counts.listed,
            selected=d.counts.not_attempted,
            skipped=d.skipped_reasons,
            stopped=d.reason if d.status == "stopped" else "",
        )
        for d in datasets
    }
    for provider, dataset, archived, indexing, synced, oldest, newest, invalid, first in fetch(_OPEN, ()):
        one = planned[provider, unpack_id(dataset)]
        one.archived, one.indexing, one.synced, one.oldest, one.newest = archived, indexing, synced, oldest, newest
        one.invalid = invalid
        if first is not None:
            ((document, why),) = fetch(_WHY_INVALID, (first,))
            one.first_invalid = f"{unpack_id(document)} ({why})"
    untouched = all(d.counts.not_attempted == d.counts.selected for d in datasets)
    seconds = fetch("SELECT SUM(n) FROM counter WHERE what = ?", (ESTIMATED,))[0][0] if untouched else None
    learned: dict[str, tuple[Rate, float]] = {}
    if untouched:
        for provider, rate, ago_s in fetch(_LEARNED, (LEARNED,)):
            n, _, per = rate.partition(" ")
            learned[provider] = (Rate(float(n), per=float(per)), ago_s)
    return Plan(list(planned.values()), seconds, learned)
