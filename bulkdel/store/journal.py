"""What becomes of the documents, written into a run file: claimed once a session, settled once, and what that cost.

Every function here runs inside a transaction of ``Writer``'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from bulkdel.engine.timeline import Sample
from bulkdel.errors import BrokenPromise
from bulkdel.model import MAY_BE_GONE, Document, Settled, Target
from bulkdel.report import DatasetReport, ProviderAccount
from bulkdel.store.planning import dataset_key, provider_key
from bulkdel.store.records import ClaimedPage, ClaimedRow, given_target, pack_id, unpack_id
from bulkdel.text import sanitize

# Nothing of a listing that is not complete may be deleted (S15).
_OPEN = (
    "d.row > ? AND d.row <= ? AND s.provider = ? AND s.listing IN ('none', 'complete') AND d.indexing = ?"
    " AND d.occurrence = 1 AND d.skipped IS NULL AND d.outcome IS NULL AND d.claimed IS NOT ?"
)


def claim(db: sqlite3.Connection, session: int, provider: str, indexing: bool, after: int, size: int) -> ClaimedPage:
    """The next open documents behind the row ``after``, marked as claimed by the session; ``indexing`` asks for those that
    are being indexed, else for the others. A page may be empty and not the last: 20,000 rows are looked at, about 10 ms."""
    end = db.execute("SELECT COALESCE(MAX(row), 0) FROM document").fetchone()[0]
    until = min(after + 20_000, end)
    key = provider_key(db, provider)
    found = db.execute(
        "SELECT d.row, s.dataset, d.document, d.name, d.created_at, d.status, d.indexing, d.ready, d.archived, d.enabled,"
        " d.synced, d.in_doubt, d.given,"
        " (SELECT MAX(o.occurrence) FROM document o WHERE o.dataset = d.dataset AND o.document = d.document)"
        f" FROM document d CROSS JOIN dataset s ON s.id = d.dataset WHERE {_OPEN} ORDER BY d.row LIMIT ?",
        (after, until, key, indexing, session, size),
    ).fetchall()
    if len(found) == size:
        until = found[-1][0]
    db.execute(
        "UPDATE document SET claimed = ? WHERE row IN"
        f" (SELECT d.row FROM document d CROSS JOIN dataset s ON s.id = d.dataset WHERE {_OPEN})",
        (session, after, until, key, indexing, session),
    )
    rows = []
    for row, dataset, id, name, created_at, status, *words, in_doubt, spelled, occurrences in found:
        target = Target(provider, unpack_id(dataset), unpack_id(id))
        document = None
        if status is not None:
            document = Document(target.document, name, created_at, status, *map(bool, words))
        also = {} if occurrences == 1 else _further(db, row)
        given = {n: given_target(target, one) for n, one in [(row, spelled), *also.items()] if one}
        rows.append(ClaimedRow(row, target, document, bool(in_doubt), tuple(also), given))
    return ClaimedPage(rows, until, until == end)


def _further(db: sqlite3.Connection, row: int) -> dict[int, str]:
    """The rows of further lines with the id that stands in this one, and how they spell it."""
    found = db.execute(
        "SELECT o.row, o.given FROM document d JOIN document o ON o.dataset = d.dataset AND o.document = d.document"
        " WHERE d.row = ? AND o.row <> d.row ORDER BY o.row",
        (row,),
    )
    return dict(found)


def settle(db: sqlite3.Connection, batch: Sequence[tuple[int, Settled]]) -> None:
    """Write endings down, each at its row. The same ending again changes nothing.

    :raises BrokenPromise: if a document has ended otherwise before (S9), was skipped, or is not at that row
    """
    ended, left = [], []
    for row, (target, outcome, reason, attempts, name, settled_at) in batch:
        if outcome != "not_attempted":
            ended.append(
                (outcome, sanitize(reason), attempts, settled_at, sanitize(name), row, pack_id(target.document))
            )
        elif attempts:
            left.append((MAY_BE_GONE in reason, sanitize(reason), attempts, row))
    written = db.executemany(
        "UPDATE document SET outcome = ?, reason = ?, attempts = ?, settled_at = ?,"
        " name = CASE name WHEN '' THEN ? ELSE name END"
        " WHERE row = ? AND (document = ? OR given <> '') AND skipped IS NULL AND outcome IS NULL",
        ended,
    ).rowcount
    if written < len(batch):
        _check_endings(db, batch)
    # What was not attempted stays open. What was asked for and not refused may have been carried out.
    db.executemany("UPDATE document SET in_doubt = in_doubt OR ?, reason = ?, attempts = ? WHERE row = ?", left)


def _check_endings(db: sqlite3.Connection, batch: Iterable[tuple[int, Settled]]) -> None:
    """Make sure that each row says now what it was said to say."""
    for row, settled in batch:
        found = db.execute(
            "SELECT outcome FROM document WHERE row = ? AND (document = ? OR given <> '') AND skipped IS NULL",
            (row, pack_id(settled.target.document)),
        ).fetchone()
        if found is None:
            raise BrokenPromise(f"something settled that was not selected: row {row}")
        before = found[0] or "not_attempted"
        if before != settled.outcome:
            raise BrokenPromise(
                f"a document that has settled as {before} cannot settle again as {settled.outcome}: row {row}"
            )


def count_in_doubt(db: sqlite3.Connection, but: int | None) -> dict[tuple[str, str], int]:
    """How many documents of each dataset may be gone without our knowing; ``but`` is a session that left no doubt."""
    found = db.execute(
        "SELECT p.name, s.dataset, COUNT(*) FROM document d JOIN dataset s ON s.id = d.dataset"
        " JOIN provider p ON p.id = s.provider WHERE d.outcome IS NULL AND d.skipped IS NULL"
        " AND (d.in_doubt OR d.claimed IN (SELECT id FROM session WHERE clean = 0 AND id IS NOT ?)) GROUP BY s.id",
        (but,),
    )
    return {(provider, unpack_id(dataset)): n for provider, dataset, n in found}


def retry_rejected(db: sqlite3.Connection, session: int) -> int:
    """Open again what was rejected; how many. The endings that they had go to the history."""
    rejected = "outcome NOT IN ('deleted', 'already_gone')"
    db.execute(
        f"INSERT INTO history SELECT row, ?, outcome, reason, attempts, settled_at FROM document WHERE {rejected}",
        (session,),
    )
    opened = db.execute(f"SELECT COUNT(*) FROM document WHERE {rejected} AND occurrence = 1").fetchone()[0]
    # An answer that was given up may still have been carried out; every other rejection was an answer.
    db.execute(
        "UPDATE document SET in_doubt = outcome = 'gave_up', claimed = NULL, outcome = NULL, reason = '', attempts = 0,"
        f" settled_at = NULL WHERE {rejected}"
    )
    db.execute("UPDATE session SET retried = retried + ? WHERE id = ?", (opened, session))
    db.execute("UPDATE dataset SET status = '', reason = '' WHERE status <> 'complete'")
    return int(opened)


def end_dataset(db: sqlite3.Connection, report: DatasetReport, now: float) -> None:
    """How a dataset came out, and what its verification showed if there was one."""
    key = dataset_key(db, report.provider, report.dataset)
    db.execute("UPDATE dataset SET status = ?, reason = ? WHERE id = ?", (report.status, sanitize(report.reason), key))
    if report.remaining is not None:
        db.execute(
            "INSERT INTO verification (dataset, verified_at, remaining, new_count, still_there_count, new, still_there)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, now, report.remaining, report.new_count, report.still_there_count, _names(report.new), _names(report.still_there)),
        )  # fmt: skip


def _names(names: Iterable[str]) -> str:
    return json.dumps([sanitize(name) for name in list(names)[:20]])


# ---------------------------------------------------------------------- what it cost


def record_costs(db: sqlite3.Connection, providers: Mapping[str, ProviderAccount]) -> None:
    """What each provider cost over all sessions, in the place of what was written down before."""
    values: list[tuple[int, str, str, float]] = []
    for name, account in providers.items():
        key = provider_key(db, name)
        values += [(key, "requests", "", account.requests), (key, "pauses", "", account.pauses)]
        values += [(key, "requeued", cause, n) for cause, n in account.requeued.items()]
        values += [(key, "waited_s", cause, n) for cause, n in account.waited_s.items()]
    db.executemany("INSERT OR REPLACE INTO cost VALUES (?, ?, ?, ?)", values)


def add_samples(db: sqlite3.Connection, session: int, provider: str, samples: Sequence[Sample]) -> None:
    """How one provider's part of the session went, stretch by stretch.

    :raises ConfigurationError: if the run was not asked for this provider
    """
    key = provider_key(db, provider)
    db.executemany(
        "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (session, key, s.at, s.span_s, s.settled, s.requests, s.requeued, s.p50_s, s.p95_s, s.in_flight, s.concurrency,
             s.rate, json.dumps(dict(s.waited), separators=(",", ":")))
            for s in samples
        ],
    )  # fmt: skip
