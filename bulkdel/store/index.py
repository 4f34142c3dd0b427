"""The index of documents by their ids: kept beside the rows, but for many lines of targets made once, when they are all there.

An id is random and lands anywhere in an index, so that with a million of them each commit writes nearly all of it anew: 25 µs a
line, and 2.3 µs where it is made at the end.
"""

from __future__ import annotations

import sqlite3

NAME = "document_by_id"
CREATE = f"CREATE UNIQUE INDEX {NAME} ON document (dataset, document)"

WORTH_IT = 2_000
"""Lines from which on the index is made at the end: 1.6 µs of CPU a line then, 2.2 to 3 where it is kept meanwhile. In a short list
an id that stands twice is found at once; among many it is found when the index is made, which sorts them once more."""


def is_there(connection: sqlite3.Connection) -> bool:
    """Whether a document of the run can be found by its id, and stands in it once."""
    # The first bulkdel declared the index with the table, under a name of SQLite's.
    found = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM pragma_index_list('document') WHERE \"unique\")"
    ).fetchone()
    return bool(found[0])


def leave_out(connection: sqlite3.Connection, listed: int) -> bool:
    """Drop the index where it can be made again from the rows alone, because they are all lines of targets; whether it was.

    ``listed`` are the flags of which a document has one that a listing showed.
    """
    rows = f"SELECT 1 FROM document WHERE flags & {listed} OR skipped IS NOT NULL"
    more = f"SELECT EXISTS ({rows}) OR EXISTS (SELECT 1 FROM handed)"
    if connection.execute(more).fetchone()[0]:
        return False
    connection.execute(f"DROP INDEX IF EXISTS {NAME}")
    return not is_there(connection)


def make(connection: sqlite3.Connection) -> None:
    """Make the index anew; of lines that name the same document the first stays one, the others are its duplicates."""
    try:
        connection.execute(CREATE)
    except sqlite3.IntegrityError:
        connection.execute("CREATE INDEX by_id_for_now ON document (dataset, document)")
        connection.execute(
            "INSERT INTO duplicate SELECT d.row, f.row FROM"
            " (SELECT dataset, document, MIN(row) AS row FROM document GROUP BY dataset, document HAVING COUNT(*) > 1) f"
            " CROSS JOIN document d ON d.dataset = f.dataset AND d.document = f.document WHERE d.row <> f.row"
        )
        connection.execute("DELETE FROM document WHERE row IN (SELECT row FROM duplicate)")
        connection.execute("DROP INDEX by_id_for_now")
        connection.execute(CREATE)
