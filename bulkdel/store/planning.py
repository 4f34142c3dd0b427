"""What is to be deleted, written into a run file: what was asked, who works on it, datasets and their documents.

Every function here runs inside a transaction of ``Writer``'s.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bulkdel.errors import ConfigurationError
from bulkdel.model import Document, Rate, RunStatus, Target
from bulkdel.store.records import DocumentState, ListedRow, RunHeader, address, pack_id, to_json, unpack_id
from bulkdel.text import sanitize

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
        key = dataset_key(db, asked.provider, asked.dataset)
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
        (now, elapsed_s, status, exit_status, sanitize(reason), clean, session),
    )


# ---------------------------------------------------------------------- the plan


def begin_listing(db: sqlite3.Connection, provider: str, dataset: str, name: str) -> None:
    """A dataset's listing begins (anew): what was listed of it before is forgotten."""
    key = dataset_key(db, provider, dataset)
    db.execute("DELETE FROM document WHERE dataset = ?", (key,))
    db.execute(
        "UPDATE dataset SET listing = 'open', name = COALESCE(NULLIF(?, ''), name), listed = 0 WHERE id = ?",
        (sanitize(name), key),
    )


def add_listed(db: sqlite3.Connection, provider: str, dataset: str, rows: Sequence[ListedRow]) -> list[ListedRow]:
    """Rows of a listing; those that were not known yet are returned."""
    key = dataset_key(db, provider, dataset)
    new = []
    for listed in rows:
        document = listed.document
        # Pages shift while a listing is read: the same document again is the same row.
        added = db.execute(
            "INSERT INTO document (dataset, document, name, created_at, status, indexing, ready, archived, enabled, synced,"
            " skipped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, pack_id(document.id), *_described(document), sanitize(listed.skipped) or None),
        ).rowcount
        if added:
            new.append(listed)
    db.execute("UPDATE dataset SET listed = listed + ? WHERE id = ?", (len(new), key))
    return new


def end_listing(
    db: sqlite3.Connection, provider: str, dataset: str, complete: bool, reason: str, counted: int | None
) -> None:
    """The listing came to its end, or to an end: then its rows are forgotten, for nothing of it may be deleted (S15)."""
    key = dataset_key(db, provider, dataset)
    if not complete:
        db.execute("DELETE FROM document WHERE dataset = ?", (key,))
        db.execute("UPDATE dataset SET listed = 0 WHERE id = ?", (key,))
    db.execute(
        "UPDATE dataset SET listing = ?, reason = ?, counted = ? WHERE id = ?",
        ("complete" if complete else "incomplete", sanitize(reason), counted, key),
    )


def add_targets(
    db: sqlite3.Connection, targets: Sequence[Target], invalid: Sequence[tuple[int, str]], given: Mapping[int, Target]
) -> None:
    """Lines of explicit targets in their order; the second line of one document is its second occurrence."""
    # A dict and no set: datasets are accounted for in the order in which they were named.
    keys = {place: dataset_key(db, *place) for place in dict.fromkeys(target[:2] for target in targets)}
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
    key = dataset_key(db, provider, dataset)
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
    return sanitize(d.name), d.created_at, sanitize(d.status), d.indexing, d.ready, d.archived, d.enabled, d.synced


def states(db: sqlite3.Connection, provider: str, dataset: str, ids: Sequence[str]) -> list[DocumentState | None]:
    """What became of each document; None for one that is not in the run."""
    key = dataset_key(db, provider, dataset)
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


# ---------------------------------------------------------------------- keys


def provider_key(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT id FROM provider WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise ConfigurationError(f"this run has no provider of that name: {name!r}")
    return int(found[0])


def dataset_key(db: sqlite3.Connection, provider: str, dataset: str) -> int:
    """The key of a dataset, which is written down if it is new.

    :raises ConfigurationError: if the run has no such provider
    """
    place = (provider_key(db, provider), pack_id(dataset))
    db.execute("INSERT INTO dataset (provider, dataset, listing) VALUES (?, ?, 'none') ON CONFLICT DO NOTHING", place)
    return int(db.execute("SELECT id FROM dataset WHERE provider = ? AND dataset = ?", place).fetchone()[0])
