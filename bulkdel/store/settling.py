"""What becomes of the documents: handed over in pages, settled once, opened again only where a user asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from bulkdel.errors import BrokenPromise, ConfigurationError
from bulkdel.model import Settled, Target
from bulkdel.store.rows import insert
from bulkdel.store.schema import INDEXING, OUTCOMES, SEEN, WORDS
from bulkdel.store.store import Store
from bulkdel.store.values import Count, Row, document_of, milliseconds, pack_id, pack_ids, unpack_id
from bulkdel.text import safe

SCAN = 20_000
"""Rows looked at for one page: about 10 ms, so that looking for a page never keeps a commit waiting for long."""

# CROSS JOIN keeps the order of the tables: documents by row, never by a dataset's index. One step for the page (see ``rows``), so it
# comes as JSON, column by column (a list for each row would set the garbage collector off). JSON has no bytes (ids that are not
# Unicode) and 15 digits for a number: those go as text.
_OPEN = """
SELECT COUNT(*), MAX(row), json_group_array(DISTINCT key),
    json_group_array(row), json_group_array(key), json_group_array(id), json_group_array(bytes), json_group_array(name),
    json_group_array(created_at), json_group_array(status), json_group_array(flags), {columns}
FROM (
    SELECT d.row AS row, d.dataset AS key, CASE typeof(d.document) WHEN 'text' THEN d.document END AS id,
        CASE typeof(d.document) WHEN 'blob' THEN hex(d.document) END AS bytes, d.name AS name,
        CASE WHEN d.created_at IS NOT NULL THEN printf('%!.17g', d.created_at) END AS created_at, w.word AS status,
        d.flags AS flags{more}
    FROM document d CROSS JOIN dataset s ON s.id = d.dataset LEFT JOIN word w ON w.id = d.status{joins}
    WHERE d.row > ? AND d.row <= ? AND s.provider = ? AND d.skipped IS NULL AND (d.flags & ?) = ?
        AND NOT EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row)
    ORDER BY d.row LIMIT ?)
"""
_NEVER_ASKED = _OPEN.format(columns="NULL, NULL, NULL, NULL", more="", joins="")
_ASKED_BEFORE = _OPEN.format(
    columns="json_group_array(further), json_group_array(attempts), json_group_array(retried), json_group_array(gave_up)",
    more=f""", (SELECT COUNT(*) FROM duplicate x WHERE x.document = d.row) AS further, u.attempts AS attempts,
        (SELECT MAX(h.session) FROM history h WHERE h.row = d.row) AS retried,
        EXISTS (SELECT 1 FROM history h WHERE h.row = d.row AND h.outcome = {OUTCOMES["gave_up"]}) AS gave_up""",
    joins=" LEFT JOIN unfinished u ON u.row = d.row",
)
# Where this session got to, whether anything stands twice or was asked for before (most runs have none of it, then a page costs
# half as much), and how far sessions got that crashed: JSON of [session, row] pairs, or null.
_BEFORE = """
SELECT (SELECT row FROM handed WHERE session = ? AND provider = ? AND waiting = ?),
    EXISTS (SELECT 1 FROM duplicate) OR EXISTS (SELECT 1 FROM unfinished) OR EXISTS (SELECT 1 FROM history),
    (SELECT json_group_array(json_array(h.session, h.row)) FROM handed h JOIN session o ON o.id = h.session
        WHERE h.provider = ? AND h.waiting = ? AND h.session <> ? AND NOT o.clean)
"""


class Handed(NamedTuple):
    """A page as it was read: its columns in JSON, the ids of its datasets by their keys, and in JSON [session, row] for sessions
    that crashed.

    ``over``: it was the last page for now.
    """

    columns: Sequence[str | None]
    datasets: Mapping[int, str]
    crashed: str
    over: bool

    def rows(self, provider: str) -> list[Row]:
        """The page's documents in their order."""
        given = []
        crashed, datasets = json.loads(self.crashed), self.datasets
        columns: list[Any] = [repeat(None) if column is None else json.loads(column) for column in self.columns]
        rows, keys, ids, *_, flags, _, _, _, _ = columns
        if self.columns[-4] is None and not any(flags) and None not in ids and not crashed:
            # Lines of targets in their first session: a third of what a document costs otherwise.
            targets = map(Target, repeat(provider), map(datasets.__getitem__, keys), ids)
            given = list(map(Row, rows, keys, targets, repeat(None), repeat(False), repeat(()), repeat(0)))
            given.sort(key=attrgetter("row"))
            return given
        for row, key, id, odd, name, created_at, status, flags, further, attempts, retried, gave_up in zip(
            *columns, strict=False
        ):
            if id is None:
                id = unpack_id(bytes.fromhex(odd))
            document = None
            if flags & SEEN:
                created = None if created_at is None else float(created_at)
                document = document_of(id, name, created, status or "", flags)
            # What had settled when it was opened again was in flight in no session before.
            handed = attempts is not None or bool(gave_up)
            if crashed and not handed:
                handed = any(row <= n and session >= (retried or 0) for session, n in crashed)
            also = (row,) * further if further else ()
            given.append(Row(row, key, Target(provider, datasets[key], id), document, handed, also, attempts or 0))
        given.sort(key=attrgetter("row"))  # an aggregate's order is nobody's promise
        return given


def hand_over(store: Store, provider: str, waiting: bool, size: int) -> Handed:
    """The next page of what is open, marked as handed over.

    ``waiting`` asks for documents that are being indexed, else for the others. Pages go upward, so one number per session,
    provider and kind marks all that was handed over. Rows are made of it by whoever asked: this thread would keep Python's lock
    from the event loop meanwhile.
    """
    store.index()
    store.handing.add(provider)
    number = store.provider(provider)
    here = (store.session, number, waiting, number, waiting, store.session)
    mark, before, crashed = store.connection.execute(_BEFORE, here).fetchone()
    after = 0 if mark is None else int(mark)
    until = after + SCAN
    statement = _ASKED_BEFORE if before else _NEVER_ASKED
    sought = (after, until, number, INDEXING, INDEXING if waiting else 0, size)
    n, highest, keys, *columns = store.connection.execute(statement, sought).fetchone()
    last = highest if n == size else min(until, store.next_row - 1)
    if last > after:
        store.connection.execute(
            "INSERT INTO handed VALUES (?, ?, ?, ?)"
            " ON CONFLICT (session, provider, waiting) DO UPDATE SET row = excluded.row",
            (store.session, number, waiting, last),
        )
    datasets = {key: store.dataset_at(key) for key in json.loads(keys)}
    return Handed(columns, datasets, crashed, last >= store.next_row - 1)


# First endings of selected documents whose names are known already, or are not known now either.
_FIRST = f"""
INSERT INTO settled WITH ending (row, document, outcome, reason, attempts, settled_at, name) AS (VALUES {{rows}})
SELECT d.row, e.outcome, e.reason, e.attempts, e.settled_at
FROM ending e CROSS JOIN document d ON d.row = e.row
WHERE d.document = e.document AND d.skipped IS NULL AND (e.name = '' OR d.flags & {SEEN})
ON CONFLICT (row) DO NOTHING
"""


def flat(batch: Sequence[tuple[int, Settled]]) -> list[Any]:
    """Endings as ``settle`` takes them, seven values each; empty where one of them is no ending.

    Whoever has them calls this, and not the file's thread: what the loop has just made is in its processor's cache, and the
    other one keeps Python's lock while it fetches it.
    """
    rows, settled = zip(*batch, strict=True)
    targets, outcomes, reasons, attempts, names, settled_at = zip(*settled, strict=True)
    if "not_attempted" in outcomes:
        return []
    # Column by column: 1 µs less for each than row by row.
    values: list[Any] = [None] * 7 * len(rows)
    values[::7] = rows
    values[1::7] = pack_ids(map(attrgetter("document"), targets))
    values[2::7] = map(OUTCOMES.__getitem__, outcomes)
    values[3::7] = reasons
    values[4::7] = attempts
    values[5::7] = map(milliseconds, settled_at)
    values[6::7] = names
    return values


def settle(store: Store, batch: Sequence[tuple[int, Settled]], values: list[Any]) -> None:
    """Write endings down; ``values`` are they again, ``flat``.

    :raises BrokenPromise: where a document has ended otherwise before, was left out, or is not in the run at that row
    """
    # Nearly every batch is nothing but first endings: one statement for all of them.
    if values:
        words = {reason: store.word(reason) for reason in set(values[3::7])}
        values[3::7] = map(words.__getitem__, values[3::7])
        if insert(store.connection, _FIRST, 7, values) == len(batch):
            return
    _settle_each(store, batch)


def _settle_each(store: Store, batch: Sequence[tuple[int, Settled]]) -> None:
    """Endings one by one, those that were written down already among them: the same ending again changes nothing."""
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
