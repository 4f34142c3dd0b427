"""How a run file is laid out: its tables, the numbers that stand for words in them, and how it is told from other files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkdel.errors import RunFileError
from bulkdel.model import FULFILLED, Outcome
from bulkdel.store import index

APPLICATION = 0x62756C6B  # "bulk": in the file's header, so that `file` and we know whose it is
VERSION = 1  # in user_version; a file with a higher one was written by a newer bulkdel and is refused

BUSY_S = 30.0  # how long SQLite waits for another program's lock; readers of ours hold one for milliseconds
CACHE_KIB = 8 * 1024  # an index's upper levels and a commit's leaves at a million documents; 32 MB save no CPU
READ_CACHE_KIB = 4 * 1024  # an account goes through the rows in their order: with 32 MB a million took 36 MB more
CHECKPOINT_PAGES = 4000  # 16 MB of WAL: one copying of it in about 100 commits of random ids

OUTCOMES: Mapping[Outcome, int] = {
    "deleted": 1,
    "already_gone": 2,
    "archived": 3,
    "stuck_indexing": 4,
    "invalid_id": 5,
    "refused": 6,
    "gave_up": 7,
    "dataset_stopped": 8,
}
"""The endings that are final. ``not_attempted`` is none: on disk it is a document without an ending."""
WORDS: Mapping[int, Outcome] = {number: outcome for outcome, number in OUTCOMES.items()}

_FULFILLED = ", ".join(str(OUTCOMES[outcome]) for outcome in sorted(FULFILLED))

# Bits of document.flags.
INDEXING, READY, ARCHIVED, DISABLED, SYNCED = 1, 2, 4, 8, 16
LISTED = 32  # one of its occurrences is a row of a listing
SEEN = 64  # a listing showed it, so the other bits, the name, the time and the status are the service's
INVALID = 128  # its id would reach another route, so it is never sent; its status is no service's word but says why

SCHEMA = f"""
CREATE TABLE run (                  -- what was asked; one row
    id INTEGER PRIMARY KEY CHECK (id = 1),
    act TEXT NOT NULL,
    version TEXT NOT NULL,          -- of bulkdel
    created_at REAL NOT NULL,
    policy TEXT NOT NULL,           -- JSON, as are all of the next
    selection TEXT NOT NULL,
    more TEXT NOT NULL,
    targets TEXT NOT NULL           -- explicit targets: none, open (they are being read), complete
);
CREATE TABLE provider (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    base_url TEXT NOT NULL,
    limits TEXT NOT NULL,
    fingerprint TEXT NOT NULL       -- tells one key from another, never the key
);
CREATE TABLE session (              -- one process that worked on the run, from opening to closing
    id INTEGER PRIMARY KEY,
    act TEXT NOT NULL,
    version TEXT NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    born TEXT NOT NULL,             -- when the process began, as the system counts; empty where it does not say
    started_at REAL NOT NULL,
    ended_at REAL,
    elapsed REAL,
    status TEXT,
    exit_status INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    clean INTEGER NOT NULL DEFAULT 0,   -- 1: nothing was in flight at its end
    retried INTEGER NOT NULL DEFAULT 0  -- rejected documents that it was told to ask for again
);
CREATE TABLE dataset (
    id INTEGER PRIMARY KEY,
    provider INTEGER NOT NULL REFERENCES provider,
    dataset TEXT NOT NULL,
    name TEXT NOT NULL,
    selection TEXT,                 -- JSON where it is not the run's
    listing TEXT NOT NULL,          -- none (explicit targets), open, complete, incomplete
    status TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    listed INTEGER NOT NULL DEFAULT 0,
    selected INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    verified_at REAL,
    remaining INTEGER,
    new_count INTEGER NOT NULL DEFAULT 0,
    new TEXT NOT NULL DEFAULT '[]',
    still_there_count INTEGER NOT NULL DEFAULT 0,
    still_there TEXT NOT NULL DEFAULT '[]',
    UNIQUE (provider, dataset)
);
CREATE TABLE word (                 -- states and reasons: a few words for a million documents
    id INTEGER PRIMARY KEY,
    word TEXT NOT NULL UNIQUE
);
CREATE TABLE document (
    row INTEGER PRIMARY KEY,        -- the place in the input
    dataset INTEGER NOT NULL REFERENCES dataset,
    document TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at REAL,
    status INTEGER REFERENCES word,
    flags INTEGER NOT NULL,
    skipped INTEGER REFERENCES word   -- why it is left; null where it is selected
);
{index.CREATE};
CREATE TABLE duplicate (            -- a further place in the input of a document that is there already
    row INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES document
);
CREATE INDEX duplicate_of ON duplicate (document);
CREATE TABLE settled (
    row INTEGER PRIMARY KEY REFERENCES document,
    outcome INTEGER NOT NULL,
    reason INTEGER NOT NULL REFERENCES word,
    attempts INTEGER NOT NULL,
    settled_at INTEGER NOT NULL     -- Unix time in milliseconds
);
CREATE TABLE unfinished (           -- asked for, and then not attempted any more: it may have been carried out
    row INTEGER PRIMARY KEY REFERENCES document,
    attempts INTEGER NOT NULL,
    reason INTEGER NOT NULL REFERENCES word
);
CREATE TABLE history (              -- rejections that a user asked to try again
    row INTEGER NOT NULL REFERENCES document,
    session INTEGER NOT NULL REFERENCES session,  -- the session that tried again
    outcome INTEGER NOT NULL,
    reason INTEGER NOT NULL REFERENCES word,
    attempts INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    PRIMARY KEY (row, session)
) WITHOUT ROWID;
CREATE TABLE handed (               -- how far a session got: what lies before was handed to the engine
    session INTEGER NOT NULL REFERENCES session,
    provider INTEGER NOT NULL REFERENCES provider,
    waiting INTEGER NOT NULL,       -- 0: ready documents, 1: those being indexed
    row INTEGER NOT NULL,
    PRIMARY KEY (session, provider, waiting)
) WITHOUT ROWID;
CREATE TABLE counter (
    provider INTEGER NOT NULL REFERENCES provider,
    what TEXT NOT NULL,
    cause TEXT NOT NULL,
    n REAL NOT NULL,
    PRIMARY KEY (provider, what, cause)
) WITHOUT ROWID;
CREATE TABLE sample (               -- a stretch of a provider's time in a session: bulkdel.engine.timeline.Sample
    session INTEGER NOT NULL REFERENCES session,
    provider INTEGER NOT NULL REFERENCES provider,
    at REAL NOT NULL,               -- seconds since the session's call began
    span REAL NOT NULL,
    settled INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    requeued INTEGER NOT NULL,
    p50 REAL,
    p95 REAL,
    in_flight INTEGER NOT NULL,
    concurrency INTEGER NOT NULL,
    rate REAL,
    waited TEXT NOT NULL            -- JSON: seconds by cause
);

CREATE TRIGGER an_ending_never_changes BEFORE UPDATE ON settled BEGIN
    SELECT RAISE(ABORT, 'a document that has settled cannot settle again');
END;
CREATE TRIGGER an_ending_is_kept BEFORE DELETE ON settled
    WHEN OLD.outcome IN ({_FULFILLED}) OR NOT EXISTS (
        SELECT 1 FROM history WHERE row = OLD.row AND outcome = OLD.outcome AND settled_at = OLD.settled_at)
BEGIN
    SELECT RAISE(ABORT, 'an ending is never forgotten');
END;
CREATE TRIGGER history_never_changes BEFORE UPDATE ON history BEGIN
    SELECT RAISE(ABORT, 'history never changes');
END;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history BEGIN
    SELECT RAISE(ABORT, 'history is never forgotten');
END;
"""

Connect = Callable[[str], sqlite3.Connection]
"""Opens the SQLite database that a ``file:`` URI names, with ``isolation_level=None``."""

Fetch = Callable[[str, Sequence[object]], list[Any]]
"""Runs a query with its values, and gives all of its rows; RunFileError where the file turns out to be damaged."""


def connect(uri: str) -> sqlite3.Connection:
    """The ``Connect`` that is used where none is given. A connection may move between threads, used by one at a time."""
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)


def uri(path: str, query: str) -> str:
    """``path`` as SQLite's URI: what could be read as a query or a fragment is percent-encoded."""
    return f"{Path(path).as_uri()}?{query}"


def create(connection: sqlite3.Connection) -> None:
    """Lay out an empty file, inside the caller's transaction."""
    # executescript() would commit first, so the statements go one by one; a trigger ends with END, not at its first semicolon.
    for statement in _statements(SCHEMA):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _statements(script: str) -> list[str]:
    found, pending = [], ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def identify(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that this is a run file that we can read.

    :raises RunFileError: where it is a foreign file, an empty one, or a newer bulkdel's
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (
        application == 0
        and version == 0
        and connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
    ):
        raise RunFileError(
            f"the run file is empty: its run was ended before anything was written to it: {path}",
            hint="nothing was deleted; remove the file and begin again",
        )
    if application != APPLICATION or version < 1:
        raise RunFileError(f"this is not a run file of bulkdel: {path}")
    if version > VERSION:
        raise RunFileError(
            f"the run file was written by a newer bulkdel (its format is {version}, this one reads up to {VERSION}): {path}",
            hint="upgrade bulkdel, and ask again",
        )


def check(connection: sqlite3.Connection, path: str) -> None:
    """Look through the file's structure for damage, 0.3 s a million documents.

    :raises RunFileError: where something is torn, cut off or missing
    """
    with_journal = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal") > 0
    connection.execute("BEGIN")
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if not with_journal:
            # SQLite reads a page that is cut off as if zeros followed; within a transaction the size cannot change.
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            size = connection.execute("PRAGMA page_size").fetchone()[0]
            if (
                connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal"
                and os.path.getsize(path) != pages * size
            ):
                found = "its end is missing"
    finally:
        connection.execute("ROLLBACK")
    if found != "ok":
        raise damaged(path, found)


def damaged(path: str, detail: str) -> RunFileError:
    return RunFileError(
        f"the run file is damaged and cannot be used ({' '.join(detail.split())}): {path}",
        hint="begin a new run: what is deleted already is no longer listed",
    )


def trouble(path: str, error: Exception) -> RunFileError:
    """What an error of SQLite or of the system means for the run file, in words for its user."""
    if isinstance(error, RunFileError):
        return RunFileError(str(error), hint=error.hint)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return RunFileError(f"the disk is full, so the run file cannot be written: {path}", hint="free some space")
    if code == sqlite3.SQLITE_READONLY:
        return RunFileError(f"the run file cannot be written, because it or its folder is read-only: {path}")
    if code == sqlite3.SQLITE_IOERR:
        return RunFileError(f"the disk cannot read or write the run file ({error}): {path}")
    if code == sqlite3.SQLITE_NOTADB:
        return RunFileError(f"this is not a run file of bulkdel: {path}")
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RunFileError(f"another program keeps the run file locked: {path}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return RunFileError(f"the run file cannot be opened: {path}")
    return RunFileError(f"the run file cannot be used ({error}): {path}")
