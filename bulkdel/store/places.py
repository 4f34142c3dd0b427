"""A run's rows one by one, in input order: what settled, what did not, what was listed; a page in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from bulkdel.model import Outcome, Settled, Target
from bulkdel.store.schema import ARCHIVED, INDEXING, INVALID, OUTCOMES, WORDS, Fetch
from bulkdel.store.values import PlannedRow, unpack_id

PAGE = 1000
"""Rows fetched at a time: a reader holds SQLite's lock for a few milliseconds, never while its caller works."""

# One row for each place in the input: a document, or a further occurrence of one.
_PLACES = """
SELECT d.row AS place, {columns} FROM document d {joins} WHERE d.row > ? {condition}
UNION ALL
SELECT x.row AS place, {columns} FROM duplicate x CROSS JOIN document d ON d.row = x.document {joins} WHERE x.row > ? {condition}
ORDER BY place LIMIT ?
"""
_OF = "CROSS JOIN dataset s ON s.id = d.dataset CROSS JOIN provider p ON p.id = s.provider"
_ENDING = f"{_OF} CROSS JOIN settled e ON e.row = d.row CROSS JOIN word r ON r.id = e.reason"


def settled(fetch: Fetch, outcomes: Collection[Outcome] | None) -> Iterator[Settled]:
    """What ``Run.settled`` gives; ``fetch`` runs a query."""
    chosen = OUTCOMES if outcomes is None else [outcome for outcome in outcomes if outcome in OUTCOMES]
    numbers = ", ".join(str(OUTCOMES[outcome]) for outcome in chosen)
    columns = "p.name, s.dataset, d.document, e.outcome, r.word, e.attempts, d.name, e.settled_at"
    for provider, dataset, document, outcome, reason, attempts, name, at in _places(
        fetch, columns, _ENDING, f"AND e.outcome IN ({numbers})"
    ):
        target = Target(provider, unpack_id(dataset), unpack_id(document))
        yield Settled(target, WORDS[outcome], reason, attempts, name, at / 1000)


def not_attempted(fetch: Fetch) -> Iterator[Settled]:
    """What ``Run.not_attempted`` gives; ``fetch`` runs a query."""
    ended = fetch("SELECT COALESCE(MAX(ended_at), MAX(started_at)) FROM session", ())[0][0]
    columns = "p.name, s.dataset, d.document, d.name, u.attempts, r.word"
    joins = f"{_OF} LEFT JOIN unfinished u ON u.row = d.row LEFT JOIN word r ON r.id = u.reason"
    condition = "AND d.skipped IS NULL AND NOT EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row)"
    for provider, dataset, document, name, attempts, reason in _places(fetch, columns, joins, condition):
        target = Target(provider, unpack_id(dataset), unpack_id(document))
        yield Settled(target, "not_attempted", reason or "", attempts or 0, name, ended)


def earlier_endings(fetch: Fetch) -> Iterator[tuple[Settled, int]]:
    """What ``Run.earlier_endings`` gives; ``fetch`` runs a query."""
    after = (0, 0)
    while rows := fetch(
        "SELECT h.row, h.session, p.name, s.dataset, d.document, h.outcome, r.word, h.attempts, d.name, h.settled_at"
        f" FROM history h CROSS JOIN document d ON d.row = h.row {_OF} CROSS JOIN word r ON r.id = h.reason"
        " WHERE (h.row, h.session) > (?, ?) ORDER BY h.row, h.session LIMIT ?",
        (*after, PAGE),
    ):
        for row, session, provider, dataset, document, outcome, reason, attempts, name, at in rows:
            target = Target(provider, unpack_id(dataset), unpack_id(document))
            yield Settled(target, WORDS[outcome], reason, attempts, name, at / 1000), session
            after = (row, session)


def listed(fetch: Fetch) -> Iterator[PlannedRow]:
    """What ``Run.listed`` gives; ``fetch`` runs a query."""
    columns = "p.name, s.dataset, d.document, d.name, d.created_at, t.word, d.flags, k.word"
    joins = f"{_OF} LEFT JOIN word t ON t.id = d.status LEFT JOIN word k ON k.id = d.skipped"
    for provider, dataset, document, name, created_at, status, flags, why_not in _places(fetch, columns, joins, ""):
        target = Target(provider, unpack_id(dataset), unpack_id(document))
        indexing, archived = bool(flags & INDEXING), bool(flags & ARCHIVED)
        said, invalid = ("", status or "") if flags & INVALID else (status or "", "")
        yield PlannedRow(target, name, created_at, said, indexing, archived, why_not or "", invalid)


def _places(fetch: Fetch, columns: str, joins: str, condition: str) -> Iterator[tuple[Any, ...]]:
    sql = _PLACES.format(columns=columns, joins=joins, condition=condition)
    after = 0
    while rows := fetch(sql, (after, after, PAGE)):
        after = rows[-1][0]
        for row in rows:
            yield row[1:]
