"""What is to be deleted: datasets, their listed documents and lines of targets, into the run file's tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from bulkdel.errors import BrokenPromise, ConfigurationError
from bulkdel.model import Document, RunStatus, Target
from bulkdel.store import index
from bulkdel.store.rows import insert
from bulkdel.store.schema import INDEXING, INVALID, LISTED, SEEN, WORDS
from bulkdel.store.store import Store
from bulkdel.store.values import Added, Known, flags_of, pack_id, pack_ids
from bulkdel.text import safe

_of = itemgetter(0, 1)  # a target's provider and dataset

NAMED = 20  # documents named by a verification; how many there are is counted


def add_dataset(store: Store, provider: str, dataset: str, name: str, listing: bool, selection: str | None) -> int:
    """The dataset's key. One that is there already keeps its documents."""
    key = store.dataset(provider, dataset)
    store.connection.execute(
        "UPDATE dataset SET name = COALESCE(NULLIF(?, ''), name), selection = COALESCE(?, selection),"
        " listing = CASE WHEN ? AND listing IN ('none', 'incomplete') THEN 'open' ELSE listing END WHERE id = ?",
        (safe(name), selection, listing, key),
    )
    return key


def add_documents(store: Store, key: int, rows: Sequence[tuple[Document, str]]) -> Added:
    """Rows of a listing, each with why it is left out (empty: it is selected)."""
    store.index()
    selected = skipped = duplicates = 0
    cursor = store.connection.cursor()
    for document, why_not in rows:
        cursor.execute(
            "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (dataset, document) DO NOTHING",
            (
                store.next_row,
                key,
                pack_id(document.id),
                safe(document.name),
                document.created_at,
                store.word(document.status),
                flags_of(document) | LISTED | SEEN,
                store.word(why_not) if why_not else None,
            ),
        )
        if cursor.rowcount:
            store.next_row += 1
            if why_not:
                skipped += 1
            else:
                selected += 1
            continue
        row, flags, left_out = _find(store, key, document.id)
        if flags & LISTED:
            continue  # pages shift while a listing is read: the same document twice is one row
        # A line of targets named it first, so it is asked for twice; what the user named is not skipped.
        _duplicate(store, row)
        _describe(store, row, document, flags | LISTED)
        duplicates += 1
        if left_out:
            skipped += 1
        else:
            selected += 1
    _add(store, key, selected, skipped)
    return Added(selected + skipped, selected, skipped, duplicates)


_LINES = """
INSERT INTO document WITH line (row, dataset, document) AS (VALUES {rows})
SELECT row, dataset, document, '', NULL, NULL, 0, NULL FROM line WHERE row IS NOT NULL
"""
_NEW_LINES = f"{_LINES} ON CONFLICT (dataset, document) DO NOTHING"


def add_targets(store: Store, targets: Sequence[Target]) -> None:
    """Lines of targets in their order; the second line of one document is a duplicate of the first."""
    first = store.next_row
    if first + len(targets) > index.WORTH_IT:
        store.leave_index_out()
    # A dict and no set: datasets are accounted for in the order in which they were named.
    keys = {place: store.dataset(*place) for place in dict.fromkeys(map(_of, targets))}
    values: list[Any] = [None] * 3 * len(targets)
    values[::3] = range(first, first + len(targets))
    values[1::3] = map(keys.__getitem__, map(_of, targets))
    values[2::3] = pack_ids(map(attrgetter("document"), targets))
    store.next_row += len(targets)
    new = insert(store.connection, _NEW_LINES if store.indexed else _LINES, 3, values)
    found = Counter(values[1::3])  # added up at the end: 1.8 µs for each line otherwise, more than its own row costs
    if new != len(targets):
        there = {row for (row,) in store.connection.execute("SELECT row FROM document WHERE row >= ?", (first,))}
        for row, key, target in zip(values[::3], values[1::3], targets, strict=True):
            if row not in there:
                found[key] -= 1
                _add_repeated(store, row, key, target.document)
    for key, n in found.items():
        _add(store, key, n, 0)


def _add_repeated(store: Store, place: int, key: int, document: str) -> None:
    """A line, at this place of the input, of a document that is there already."""
    row, flags, left_out = _find(store, key, document)
    if left_out and flags & LISTED:
        # Its listing left it out and a line asks for it: it is selected after all, at the line's place, which no page has
        # passed yet; its old place becomes the duplicate.
        occurrences = _occurrences(store, row)
        store.connection.execute("UPDATE document SET row = ?, skipped = NULL WHERE row = ?", (place, row))
        store.connection.execute("UPDATE duplicate SET document = ? WHERE document = ?", (place, row))
        store.connection.execute("INSERT INTO duplicate VALUES (?, ?)", (row, place))
        _add(store, key, 1 + occurrences, -occurrences)
        return
    store.connection.execute("INSERT INTO duplicate VALUES (?, ?)", (place, row))
    _add(store, key, *((0, 1) if left_out else (1, 0)))


def mark_invalid(store: Store, size: int, found: Sequence[tuple[int, str]]) -> None:
    """Of the last ``size`` targets those that are never sent, by place and why: whoever looks at the plan later knows no provider's
    ids."""
    # By row, which needs no index; a line that repeats an id has none of its own, and the first was marked when it came.
    first = store.next_row - size
    store.connection.executemany(
        f"UPDATE document SET flags = flags | {INVALID}, status = ? WHERE row = ?",
        [(store.word(why), first + place) for place, why in found],
    )


def finish_targets(store: Store) -> None:
    store.index()
    store.connection.execute("UPDATE run SET targets = 'complete' WHERE id = 1")


def describe(store: Store, key: int, rows: Sequence[tuple[Document, str]]) -> int:
    """What a listing says of documents that are in the run already; the others are none of the run's. How many were."""
    provider = store.connection.execute(
        "SELECT p.name FROM dataset s JOIN provider p ON p.id = s.provider WHERE s.id = ?", (key,)
    ).fetchone()
    if provider is None or provider[0] in store.handing:
        raise ConfigurationError("documents are described before the first of their provider is handed over")
    store.index()
    found = 0
    for document, why_not in rows:
        if document.id not in known(store, key, (document.id,)):
            continue
        found += 1
        row, flags, left_out = _find(store, key, document.id)
        _describe(store, row, document, flags)
        settled = store.connection.execute("SELECT 1 FROM settled WHERE row = ?", (row,)).fetchone() is not None
        if why_not and not left_out and not settled:
            store.connection.execute("UPDATE document SET skipped = ? WHERE row = ?", (store.word(why_not), row))
            occurrences = _occurrences(store, row)
            _add(store, key, -occurrences, occurrences)
    return found


def _describe(store: Store, row: int, document: Document, flags: int) -> None:
    bits = flags_of(document)
    if store.handing:
        # Whether it waits decides on which pages it comes, and those may have passed: it stays where it was.
        bits = bits & ~INDEXING | flags & INDEXING
    if (bits ^ flags) & INDEXING:
        # A crashed session's mark says for waiting and for ready documents how far it got; one that changes sides would
        # lose its doubt.
        store.connection.execute(
            "INSERT OR IGNORE INTO unfinished SELECT ?, 0, ? WHERE EXISTS (SELECT 1 FROM handed h"
            " JOIN session o ON o.id = h.session JOIN dataset s ON s.provider = h.provider JOIN document d ON d.dataset = s.id"
            " WHERE d.row = ? AND h.row >= d.row AND h.waiting = ? AND h.session <> ? AND NOT o.clean)",
            (row, store.word("an earlier session crashed"), row, flags & INDEXING, store.session),
        )
    store.connection.execute(
        "UPDATE document SET name = ?, created_at = ?, status = ?, flags = ? WHERE row = ?",
        (safe(document.name), document.created_at, store.word(document.status), bits | flags & LISTED | SEEN, row),
    )


def finish_listing(store: Store, key: int, complete: bool, reason: str) -> Added:
    """The listing has come to its end, or to an end; the dataset's counts are returned."""
    store.connection.execute(
        "UPDATE dataset SET listing = ?, reason = ? WHERE id = ?",
        ("complete" if complete else "incomplete", safe(reason), key),
    )
    counts = store.connection.execute("SELECT listed, selected, skipped FROM dataset WHERE id = ?", (key,)).fetchone()
    return Added(*counts)


def drop_documents(store: Store, key: int) -> None:
    """Forget what a listing showed of a dataset, because it did not come to its end; what a line of targets names is kept."""
    store.index()
    find = "FROM document d WHERE d.dataset = ? AND d.flags & ? AND NOT EXISTS (SELECT 1 FROM duplicate x WHERE x.document = d.row)"
    asked = "EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row) OR EXISTS (SELECT 1 FROM unfinished u WHERE u.row = d.row)"
    if store.connection.execute(f"SELECT 1 {find} AND ({asked}) LIMIT 1", (key, LISTED)).fetchone() is not None:
        raise BrokenPromise(f"documents that were asked for cannot be forgotten: dataset {key} of {store.path}")
    selected, skipped = store.connection.execute(
        f"SELECT COALESCE(SUM(d.skipped IS NULL), 0), COALESCE(SUM(d.skipped IS NOT NULL), 0) {find}", (key, LISTED)
    ).fetchone()
    store.connection.execute(f"DELETE FROM document WHERE row IN (SELECT d.row {find})", (key, LISTED))
    _add(store, key, -selected, -skipped)


def end_dataset(store: Store, key: int, status: RunStatus, reason: str) -> None:
    store.connection.execute("UPDATE dataset SET status = ?, reason = ? WHERE id = ?", (status, safe(reason), key))


def verified(
    store: Store,
    key: int,
    now: float,
    remaining: int | None,
    new: tuple[Sequence[str], int],
    still_there: tuple[Sequence[str], int],
) -> None:
    """What a listing after the deletes showed."""
    store.connection.execute(
        "UPDATE dataset SET verified_at = ?, remaining = ?, new = ?, new_count = ?, still_there = ?, still_there_count = ?"
        " WHERE id = ?",
        (now, remaining, _names(new[0]), new[1], _names(still_there[0]), still_there[1], key),
    )


def known(store: Store, key: int, documents: Iterable[str]) -> dict[str, Known]:
    """Those of ``documents`` that are in the run."""
    store.index()
    found = {}
    for document in documents:
        one = store.connection.execute(
            "SELECT d.row, d.skipped IS NOT NULL, e.outcome FROM document d LEFT JOIN settled e ON e.row = d.row"
            " WHERE d.dataset = ? AND d.document = ?",
            (key, pack_id(document)),
        ).fetchone()
        if one is not None:
            found[document] = Known(one[0], bool(one[1]), WORDS.get(one[2]))
    return found


def _find(store: Store, key: int, document: str) -> tuple[int, int, bool]:
    found = store.connection.execute(
        "SELECT row, flags, skipped IS NOT NULL FROM document WHERE dataset = ? AND document = ?",
        (key, pack_id(document)),
    ).fetchone()
    if found is None:
        raise BrokenPromise(f"a document is no longer in the run that was there a moment ago: {store.path}")
    return found[0], found[1], bool(found[2])


def _duplicate(store: Store, row: int) -> None:
    store.connection.execute("INSERT INTO duplicate VALUES (?, ?)", (store.next_row, row))
    store.next_row += 1


def _occurrences(store: Store, row: int) -> int:
    further = store.connection.execute("SELECT COUNT(*) FROM duplicate WHERE document = ?", (row,)).fetchone()[0]
    return 1 + int(further)


def _add(store: Store, key: int, selected: int, skipped: int) -> None:
    store.connection.execute(
        "UPDATE dataset SET listed = listed + ?, selected = selected + ?, skipped = skipped + ? WHERE id = ?",
        (selected + skipped, selected, skipped, key),
    )


def _names(names: Iterable[str]) -> str:
    return json.dumps([safe(name) for name in list(names)[:NAMED]])
