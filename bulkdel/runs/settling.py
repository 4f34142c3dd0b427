"""What becomes of the documents: handed over in pages, settled once, opened again only where a user asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bulkdel.errors import BrokenPromise, ConfigurationError
from bulkdel.model import Settled, Target
from bulkdel.runs.schema import INDEXING, OUTCOMES, SEEN, WORDS
from bulkdel.runs.store import Store
from bulkdel.runs.values import Count, Row, document_of, milliseconds, pack_id, unpack_id
from bulkdel.text import safe

SCAN = (
    20_000  # rows looked at for one page: about 10 ms, so that looking for a page never keeps a commit waiting for long
)

# CROSS JOIN keeps the order of the tables: documents by row, never by a dataset's index.
_OPEN = """
SELECT d.row, d.dataset, s.dataset, d.document, d.name, d.created_at, w.word, d.flags,
    (SELECT COUNT(*) FROM duplicate x WHERE x.document = d.row),
    u.attempts,
    (SELECT MAX(h.session) FROM history h WHERE h.row = d.row),
    EXISTS (SELECT 1 FROM history h WHERE h.row = d.row AND h.outcome = ?)
FROM document d CROSS JOIN dataset s ON s.id = d.dataset
LEFT JOIN word w ON w.id = d.status LEFT JOIN unfinished u ON u.row = d.row
WHERE d.row > ? AND d.row <= ? AND s.provider = ? AND d.skipped IS NULL AND (d.flags & ?) = ?
    AND NOT EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row)
ORDER BY d.row LIMIT ?
"""


def hand_over(store: Store, provider: str, waiting: bool, size: int) -> tuple[list[Row], bool]:
    """The next page of what is open, marked as handed over; and whether that was the last of it for now.

    ``waiting`` asks for documents that are being indexed, else for the others. Pages go upward, so one number per session,
    provider and kind marks all that was handed over.
    """
    store.handing.add(provider)
    number = store.provider(provider)
    mark = store.connection.execute(
        "SELECT row FROM handed WHERE session = ? AND provider = ? AND waiting = ?", (store.session, number, waiting)
    ).fetchone()
    after = 0 if mark is None else int(mark[0])
    until = after + SCAN
    found = store.connection.execute(
        _OPEN, (OUTCOMES["gave_up"], after, until, number, INDEXING, INDEXING if waiting else 0, size)
    ).fetchall()
    last = int(found[-1][0]) if len(found) == size else min(until, store.next_row - 1)
    if last > after:
        store.connection.execute(
            "INSERT INTO handed VALUES (?, ?, ?, ?)"
            " ON CONFLICT (session, provider, waiting) DO UPDATE SET row = excluded.row",
            (store.session, number, waiting, last),
        )
    crashed = store.connection.execute(
        "SELECT h.session, h.row FROM handed h JOIN session o ON o.id = h.session"
        " WHERE h.provider = ? AND h.waiting = ? AND h.session <> ? AND NOT o.clean",
        (number, waiting, store.session),
    ).fetchall()
    rows = []
    for row, key, dataset, id, name, created_at, status, flags, further, attempts, retried, gave_up in found:
        document = unpack_id(id)
        rows.append(
            Row(
                row=row,
                key=key,
                target=Target(provider, unpack_id(dataset), document),
                document=document_of(document, name, created_at, status or "", flags) if flags & SEEN else None,
                occurrences=1 + further,
                # What had settled when it was opened again was in flight in no session before.
                handed=attempts is not None
                or bool(gave_up)
                or bool(crashed and any(row <= n and session >= (retried or 0) for session, n in crashed)),
                attempts=attempts or 0,
            )
        )
    return rows, last >= store.next_row - 1


# A first ending of a selected document whose name is known already, or is not known now either.
_FIRST = f"""
INSERT INTO settled SELECT d.row, ?3, ?4, ?5, ?6 FROM document d
WHERE d.row = ?1 AND d.document = ?2 AND d.skipped IS NULL AND (?7 = '' OR d.flags & {SEEN})
ON CONFLICT (row) DO NOTHING
"""


def settle(store: Store, batch: Sequence[tuple[int, Settled]]) -> None:
    """Write endings down.

    :raises BrokenPromise: where a document has ended otherwise before, was left out, or is not in the run at that row
    """
    # Nearly every batch is nothing but first endings: one statement for all, 2.6 µs each against 4.3 µs one by one.
    store.connection.execute("SAVEPOINT firsts")
    firsts = [
        (
            row,
            pack_id(settled.target.document),
            OUTCOMES[settled.outcome],
            store.word(settled.reason),
            settled.attempts,
            milliseconds(settled.settled_at),
            settled.name,
        )
        for row, settled in batch
        if settled.outcome != "not_attempted"
    ]
    if store.connection.executemany(_FIRST, firsts).rowcount != len(batch):
        store.connection.execute("ROLLBACK TO firsts")
        store.forget()
        _settle_each(store, batch)
    store.connection.execute("RELEASE firsts")


def _settle_each(store: Store, batch: Sequence[tuple[int, Settled]]) -> None:
    cursor = store.connection.cursor()
    for row, settled in batch:
        there = cursor.execute(
            "SELECT d.name, d.flags, e.outcome FROM document d LEFT JOIN settled e ON e.row = d.row"
            " WHERE d.row = ? AND d.document = ? AND d.skipped IS NULL",
            (row, pack_id(settled.target.document)),
        ).fetchone()
        if there is None:
            raise BrokenPromise(f"something settled that was not selected: row {row} of {store.path}")
        name, flags, outcome = there
        if settled.outcome == "not_attempted":
            if outcome is not None:
                raise BrokenPromise(
                    f"a document that has settled as {WORDS[outcome]} cannot become not_attempted: row {row} of {store.path}"
                )
            if settled.attempts:
                cursor.execute(
                    "INSERT INTO unfinished VALUES (?, ?, ?)"
                    " ON CONFLICT (row) DO UPDATE SET attempts = excluded.attempts, reason = excluded.reason",
                    (row, settled.attempts, store.word(settled.reason)),
                )
            continue
        # The same ending again changes nothing; another one meets the trigger.
        cursor.execute(
            "INSERT INTO settled VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (row) DO UPDATE SET outcome = excluded.outcome WHERE outcome <> excluded.outcome",
            (
                row,
                OUTCOMES[settled.outcome],
                store.word(settled.reason),
                settled.attempts,
                milliseconds(settled.settled_at),
            ),
        )
        if settled.name and not name and not flags & SEEN:
            cursor.execute("UPDATE document SET name = ? WHERE row = ?", (safe(settled.name), row))


def retry_rejected(store: Store) -> int:
    """Open again what was rejected; how many. The endings that they had go to the history."""
    if store.handing:
        raise ConfigurationError("what was rejected is opened again before anything is handed over")
    fulfilled = (OUTCOMES["deleted"], OUTCOMES["already_gone"])
    store.connection.execute(
        "INSERT INTO history SELECT row, ?, outcome, reason, attempts, settled_at FROM settled WHERE outcome NOT IN (?, ?)",
        (store.session, *fulfilled),
    )
    opened = store.connection.execute("DELETE FROM settled WHERE outcome NOT IN (?, ?)", fulfilled).rowcount
    store.connection.execute("UPDATE session SET retried = retried + ? WHERE id = ?", (opened, store.session))
    store.connection.execute("UPDATE dataset SET status = '', reason = '' WHERE status <> 'complete'")
    return opened


def count(store: Store, counts: Iterable[Count]) -> None:
    """Add to the counters."""
    store.connection.executemany(
        "INSERT INTO counter VALUES (?, ?, ?, ?) ON CONFLICT (provider, what, cause) DO UPDATE SET n = n + excluded.n",
        [(store.provider(c.provider), c.what, c.cause, c.n) for c in counts],
    )
