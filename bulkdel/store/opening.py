"""Taking hold of a run file: the lock, the file itself, and the way it is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3

from bulkdel.errors import RunFileError
from bulkdel.store import schema
from bulkdel.store.lock import Lock, unwritable
from bulkdel.store.schema import Connect
from bulkdel.store.store import Store


def take_hold(path: str, *, wal: bool, connect: Connect, new: bool) -> Store:
    """Take the lock, open the database, make sure that it is ours and whole."""
    if new and os.path.lexists(path):
        raise RunFileError(
            f"there is a file already: {path}", hint="`bulkdel resume` goes on with a run; a new one takes a new name"
        )
    if not new and not os.path.isfile(path):
        raise RunFileError(f"there is no such run file: {path}")
    lock = Lock.take(path)
    connection: sqlite3.Connection | None = None
    created = False
    try:
        if new:
            created = _create_empty(path)
        connection = connect(schema.uri(path, "mode=rw"))
        if not new:
            schema.identify(connection, path)
            schema.check(connection, path)
        _configure(connection, wal)
        return Store(connection, path, lock, new=new)
    except BaseException:
        if connection is not None:
            connection.close()
        if created:
            with contextlib.suppress(OSError):
                os.unlink(path)
        lock.release()
        raise


def _create_empty(path: str) -> bool:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite gives its other files the same
        finally:
            os.close(descriptor)
        # The file's name is in its folder, and that is a file too.
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise unwritable(path, error) from error
    return True


def _configure(connection: sqlite3.Connection, wal: bool) -> None:
    connection.execute(f"PRAGMA cache_size = -{schema.CACHE_KIB}")
    if os.name == "posix" and not any(os.access(folder, os.W_OK | os.X_OK) for folder in _temporary_folders()):
        connection.execute("PRAGMA temp_store = MEMORY")  # an index is sorted there instead: 60 bytes a document
    mode = ""
    if wal:
        # A file system without shared memory says no by an error or by answering with the mode that stays.
        with contextlib.suppress(sqlite3.OperationalError):
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode == "wal":
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {schema.CHECKPOINT_PAGES}").fetchall()
    else:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        # FULL would leave the journal's removal unsynced: after a power failure it could come back and undo a commit.
        connection.execute("PRAGMA synchronous = EXTRA")


def _temporary_folders() -> list[str]:
    """Where SQLite looks for a place for what it sorts; a container that is read-only but for its volumes may have none."""
    named = [os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp", "."]
    return [folder for folder in named if folder]


def journal_of(connection: sqlite3.Connection) -> str:
    """``wal``, or ``delete`` for a rollback journal."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
