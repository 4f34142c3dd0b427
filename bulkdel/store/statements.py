"""What is written into a run file, act by act: the plan, what becomes of it, and what that cost.

Every function here runs inside a transaction of ``Writer``'s.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bulkdel.engine.timeline import Sample
from bulkdel.errors import BrokenPromise, ConfigurationError
from bulkdel.model import Document, Rate, RunStatus, Settled, Target
from bulkdel.report import DatasetReport, ProviderAccount
from bulkdel.store.records import (
    ClaimedPage,
    ClaimedRow,
    DocumentState,
    ListedRow,
    RunHeader,
    address,
    given_target,
    pack_id,
    to_json,
    unpack_id,
)
from bulkdel.text import safe

# ---------------------------------------------------------------------- what was asked, and who works on it


def write_header(db: sqlite3.Connection, header: RunHeader, now: float) -> RunHeader:
    """Into the tables of a new file; returned as it is kept.

    :raises ConfigurationError: if a dataset's provider is none of the run's
    """
    header = replace(
        header,
        created_at=now if header.created_at is None else header.created_at,
        providers=tuple(replace(p, base_url=address(p.base_url)) for p in header.providers),
    )
    targets = "open" if header.targets else "none"
    more = json.dumps(dict(header.more), separators=(",", ":"))
    db.execute(
        "INSERT INTO run (act, version, created_at, policy, selection, more, targets) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            header.act,
            header.version,
            header.created_at,
            to_json(header.policy),
            to_json(header.selection),
            more,
            targets,
        ),
    )
    db.executemany(
        "INSERT INTO provider (name, kind, base_url, limits, fingerprint) VALUES (?, ?, ?, ?, ?)",
        [(p.name, p.kind, p.base_url, to_json(p.limits), p.fingerprint) for p in header.providers],
    )
    for asked in header.datasets:
        key = _dataset(db, asked.provider, asked.dataset)
        own = None if asked.selection is None else to_json(asked.selection)
        db.execute("UPDATE dataset SET listing = 'open', selection = ? WHERE id = ?", (own, key))
    return header


def begin_session(db: sqlite3.Connection, act: str, version: str, now: float) -> int:
    """Begin a session; its number is returned. What a crashed session had claimed and not settled is in doubt from now on."""
    db.execute(
        "UPDATE document SET in_doubt = 1 WHERE outcome IS NULL AND claimed IN (SELECT id FROM session WHERE clean = 0)"
    )
    cursor = db.execute(
        "INSERT INTO session (act, version, pid, host, started_at) VALUES (?, ?, ?, ?, ?)",
        (act, version, os.getpid(), socket.gethostname(), now),
    )
    return int(cursor.lastrowid or 0)


def end_session(
    db: sqlite3.Connection,
    session: int,
    now: float,
    elapsed_s: float,
    status: RunStatus | None,
    exit_status: int | None,
    reason: str,
    clean: bool,
) -> None:
    """End the session; ``clean``: nothing that it had claimed was in flight any more."""
    db.execute(
        "UPDATE session SET ended_at = ?, elapsed_s = ?, status = ?, exit_status = ?, reason = ?, clean = ? WHERE id = ?",
        (now, elapsed_s, status, exit_status, safe(reason), clean, session),
    )


# ---------------------------------------------------------------------- the plan


def begin_listing(db: sqlite3.Connection, provider: str, dataset: str, name: str) -> None:
    """A dataset's listing begins (anew): what was listed of it before is forgotten."""
    key = _dataset(db, provider, dataset)
    db.execute("DELETE FROM document WHERE dataset = ?", (key,))
    db.execute(
        "UPDATE dataset SET listing = 'open', name = COALESCE(NULLIF(?, ''), name), listed = 0 WHERE id = ?",
        (safe(name), key),
    )


def add_listed(db: sqlite3.Connection, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
    """Rows of a listing; those that were not known yet are returned."""
    key = _dataset(db, provider, dataset)
    new = []
    for listed in rows:
        document = listed.document
        # Pages shift while a listing is read: the same document again is the same row.
        added = db.execute(
            "INSERT INTO document (dataset, document, name, created_at, status, indexing, ready, archived, enabled, synced,"
            " skipped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, pack_id(document.id), *_described(document), safe(listed.skipped) or None),
        ).rowcount
        if added:
            new.append(listed)
    db.execute("UPDATE dataset SET listed = listed + ? WHERE id = ?", (len(new), key))
    return new


def end_listing(
    db: sqlite3.Connection, provider: str, dataset: str, complete: bool, reason: str, counted: int | None
) -> None:
    """The listing came to its end, or to an end: then its rows are forgotten, for nothing of it may be deleted (S15)."""
    key = _dataset(db, provider, dataset)
    if not complete:
        db.execute("DELETE FROM document WHERE dataset = ?", (key,))
        db.execute("UPDATE dataset SET listed = 0 WHERE id = ?", (key,))
    db.execute(
        "UPDATE dataset SET listing = ?, reason = ?, counted = ? WHERE id = ?",
        ("complete" if complete else "incomplete", safe(reason), counted, key),
    )


def add_targets(
    db: sqlite3.Connection, targets: Sequence[Target], invalid: Sequence[tuple[int, str]], given: Mapping[int, Target]
) -> None:
    """Lines of explicit targets in their order; the second line of one document is its second occurrence."""
    # A dict and no set: datasets are accounted for in the order in which they were named.
    keys = {place: _dataset(db, *place) for place in dict.fromkeys(target[:2] for target in targets)}
    why = dict(invalid)
    db.executemany(
        "INSERT INTO document (dataset, document, invalid, given, occurrence) VALUES (?1, ?2, ?3, ?4, 1 + COALESCE("
        "(SELECT MAX(occurrence) FROM document WHERE dataset = ?1 AND document = ?2), 0))",
        [
            (keys[target[:2]], pack_id(target.document), why.get(n), json.dumps(given[n][1:]) if n in given else "")
            for n, target in enumerate(targets)
        ],
    )
    counted = dict.fromkeys(keys.values(), 0)
    for target in targets:
        counted[keys[target[:2]]] += 1
    db.executemany("UPDATE dataset SET listed = listed + ? WHERE id = ?", [(n, key) for key, n in counted.items()])


def end_targets(db: sqlite3.Connection, complete: bool) -> dict[tuple[str, str], int]:
    """How many lines of each dataset repeat a document; ``complete``: there are no more lines."""
    if complete:
        db.execute("UPDATE run SET targets = 'complete'")
    repeated = db.execute(
        "SELECT p.name, s.dataset, COUNT(*) FROM document d JOIN dataset s ON s.id = d.dataset"
        " JOIN provider p ON p.id = s.provider WHERE d.occurrence > 1 GROUP BY s.id"
    )
    return {(provider, unpack_id(dataset)): n for provider, dataset, n in repeated}


def describe(db: sqlite3.Connection, provider: str, dataset: str, documents: Sequence[Document]) -> int:
    """What a listing says of explicit targets; its other documents are none of the run's. How many were."""
    key = _dataset(db, provider, dataset)
    found = 0
    for document in documents:
        found += (
            db.execute(
                "UPDATE document SET name = ?, created_at = ?, status = ?, indexing = ?, ready = ?, archived = ?, enabled = ?,"
                " synced = ? WHERE dataset = ? AND document = ?",
                (*_described(document), key, pack_id(document.id)),
            ).rowcount
            > 0
        )
    return found


def _described(document: Document) -> tuple[object, ...]:
    d = document
    return safe(d.name), d.created_at, safe(d.status), d.indexing, d.ready, d.archived, d.enabled, d.synced


def states(db: sqlite3.Connection, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
    """What became of each document; None for one that is not in the run."""
    key = _dataset(db, provider, dataset)
    found: list[DocumentState | None] = []
    for id in ids:
        row = db.execute(
            "SELECT CASE WHEN skipped IS NULL THEN COALESCE(outcome, 'selected') ELSE 'skipped' END FROM document"
            " WHERE dataset = ? AND document = ? AND occurrence = 1",
            (key, pack_id(id)),
        ).fetchone()
        found.append(None if row is None else row[0])
    return found


def record_consent(db: sqlite3.Connection, selected: int) -> None:
    db.execute("UPDATE run SET agreed = ?", (selected,))


def record_estimate(db: sqlite3.Connection, seconds: float | None, learned: Mapping[str, tuple[Rate, float]]) -> None:
    db.execute("UPDATE run SET estimated_s = ?", (seconds,))
    db.executemany(
        "UPDATE provider SET learned_n = ?, learned_per = ?, learned_ago_s = ? WHERE name = ?",
        [(rate.n, rate.per, ago_s, name) for name, (rate, ago_s) in learned.items()],
    )


# ---------------------------------------------------------------------- what becomes of it

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
    key = _provider(db, provider)
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
            ended.append((outcome, safe(reason), attempts, settled_at, safe(name), row, pack_id(target.document)))
        elif attempts:
            left.append((safe(reason), attempts, row))
    written = db.executemany(
        "UPDATE document SET outcome = ?, reason = ?, attempts = ?, settled_at = ?,"
        " name = CASE name WHEN '' THEN ? ELSE name END"
        " WHERE row = ? AND (document = ? OR given <> '') AND skipped IS NULL AND outcome IS NULL",
        ended,
    ).rowcount
    if written < len(batch):
        _check_endings(db, batch)
    # What was not attempted stays open; if it was asked for, that may have been carried out.
    db.executemany("UPDATE document SET in_doubt = 1, reason = ?, attempts = ? WHERE row = ?", left)


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


IN_DOUBT = (
    "d.outcome IS NULL AND d.skipped IS NULL"
    " AND (d.in_doubt OR d.claimed IN (SELECT id FROM session WHERE clean = 0 AND id IS NOT ?))"
)
"""Whether a document may be gone all the same; the value is a session that goes on, or ends cleanly."""


def count_in_doubt(db: sqlite3.Connection, but: int | None) -> dict[tuple[str, str], int]:
    """How many documents of each dataset may be gone without our knowing; ``but`` is a session that left no doubt."""
    found = db.execute(
        "SELECT p.name, s.dataset, COUNT(*) FROM document d JOIN dataset s ON s.id = d.dataset"
        f" JOIN provider p ON p.id = s.provider WHERE {IN_DOUBT} GROUP BY s.id",
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
    key = _dataset(db, report.provider, report.dataset)
    db.execute("UPDATE dataset SET status = ?, reason = ? WHERE id = ?", (report.status, safe(report.reason), key))
    if report.remaining is not None:
        db.execute(
            "INSERT INTO verification (dataset, verified_at, remaining, new_count, still_there_count, new, still_there)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, now, report.remaining, report.new_count, report.still_there_count, _names(report.new), _names(report.still_there)),
        )  # fmt: skip


def _names(names: Iterable[str]) -> str:
    return json.dumps([safe(name) for name in list(names)[:20]])


# ---------------------------------------------------------------------- what it cost


def record_costs(db: sqlite3.Connection, providers: Mapping[str, ProviderAccount]) -> None:
    """What each provider cost over all sessions, in the place of what was written down before."""
    values: list[tuple[int, str, str, float]] = []
    for name, account in providers.items():
        key = _provider(db, name)
        values += [(key, "requests", "", account.requests), (key, "pauses", "", account.pauses)]
        values += [(key, "requeued", cause, n) for cause, n in account.requeued.items()]
        values += [(key, "waited_s", cause, n) for cause, n in account.waited_s.items()]
    db.executemany("INSERT OR REPLACE INTO cost VALUES (?, ?, ?, ?)", values)


def add_samples(db: sqlite3.Connection, session: int, provider: str, samples: Sequence[Sample]) -> None:
    """How one provider's part of the session went, stretch by stretch.

    :raises ConfigurationError: if the run was not asked for this provider
    """
    key = _provider(db, provider)
    db.executemany(
        "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (session, key, s.at, s.span_s, s.settled, s.requests, s.requeued, s.p50_s, s.p95_s, s.in_flight, s.concurrency,
             s.rate, json.dumps(dict(s.waited), separators=(",", ":")))
            for s in samples
        ],
    )  # fmt: skip


# ---------------------------------------------------------------------- keys


def _provider(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT id FROM provider WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise ConfigurationError(f"this run has no provider of that name: {name!r}")
    return int(found[0])


def _dataset(db: sqlite3.Connection, provider: str, dataset: str) -> int:
    """The key of a dataset, which is written down if it is new.

    :raises ConfigurationError: if the run has no such provider
    """
    place = (_provider(db, provider), pack_id(dataset))
    db.execute("INSERT INTO dataset (provider, dataset, listing) VALUES (?, ?, 'none') ON CONFLICT DO NOTHING", place)
    return int(db.execute("SELECT id FROM dataset WHERE provider = ? AND dataset = ?", place).fetchone()[0])
