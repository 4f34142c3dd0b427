"""A run file as SQLite sees it: laid out, recognised, looked through for damage, and held by one process for writing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bulkdel.errors import RunFileError
from bulkdel.store import lock

if TYPE_CHECKING:
    from filelock import FileLock

APPLICATION = 0x62756C6B  # "bulk", in the file's header: so that `file` and we know whose it is
VERSION = 2  # in user_version: how the file is laid out


def connect(path: str, query: str) -> sqlite3.Connection:
    """The database at ``path``, opened as SQLite's URI ``query`` says; what could be read as a query is percent-encoded."""
    # 30 s for another program's lock; readers of ours hold one for milliseconds. One thread at a time uses it, not always the same.
    uri = f"{Path(path).as_uri()}?{query}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30.0, check_same_thread=False)


def lay_out(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file, inside the caller's transaction."""
    script = resources.files("bulkdel.store").joinpath("schema.sql").read_text(encoding="utf-8")
    # executescript() would commit first, so the statements go one by one; a trigger ends with END, not at its first semicolon.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def identify(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that this is a run file that we can read.

    :raises RunFileError: if it is a foreign file, an empty one, or another bulkdel's
    """
    application, version, tables = (
        connection.execute(sql).fetchone()[0]
        for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master")
    )
    if application == version == tables == 0:
        raise RunFileError(
            f"the run file is empty: its run was ended before anything was written to it: {path}",
            hint="nothing was deleted; remove the file and begin again",
        )
    if application != APPLICATION or version < 1:
        raise RunFileError(f"this is not a run file of bulkdel: {path}")
    if version == 1:
        raise RunFileError(
            f"the run file is of an older format, which bulkdel 0.1.0 reads and this one does not: {path}"
        )
    if version > VERSION:
        raise RunFileError(
            f"the run file was written by a newer bulkdel (its format is {version}, this one reads {VERSION}): {path}",
            hint="upgrade bulkdel, and ask again",
        )


def check(connection: sqlite3.Connection, path: str) -> None:
    """Look through the file's structure for damage, 0.3 s a million documents.

    :raises RunFileError: if something is torn, cut off or missing
    """
    with_journal = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal") > 0
    connection.execute("BEGIN")
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if not with_journal and connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # SQLite reads a page that is cut off as if zeros followed; within a transaction the size cannot change.
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            size = connection.execute("PRAGMA page_size").fetchone()[0]
            if os.path.getsize(path) != pages * size:
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
    hint = ""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the primary code; errors of Python's own module have none
        case sqlite3.SQLITE_CORRUPT:
            return damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            words = "the disk is full, so the run file cannot be written"
            hint = "free some space; what the file holds is right, and what it could not take is asked for again"
        case sqlite3.SQLITE_READONLY:
            words = "the run file cannot be written, because it or its folder is read-only"
        case sqlite3.SQLITE_IOERR:
            words = f"the disk cannot read or write the run file ({error})"
        case sqlite3.SQLITE_NOTADB:
            words = "this is not a run file of bulkdel"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            words = "another program keeps the run file locked"
        case sqlite3.SQLITE_CANTOPEN:
            words = "the run file cannot be opened"
        case _:
            words = f"the run file cannot be used ({error})"
    return RunFileError(f"{words}: {path}", hint=hint)


class Database:
    """A run file that this process holds for writing: its connection, its lock, and which file it is."""

    def __init__(self, connection: sqlite3.Connection, path: str, held: FileLock, *, new: bool) -> None:
        self.connection = connection
        self._path = path
        self._held = held
        self._files: list[tuple[int, int] | None] = []  # once the first commit is made
        self._new = new

    @classmethod
    def open_exclusive(cls, path: str, *, new: bool) -> Self:
        """Take the lock, open the database, and make sure that it is ours and whole; ``new``: make an empty one.

        :raises RunFileError: if that cannot be done, or another process has the file, which is named
        """
        if new and os.path.lexists(path):
            raise RunFileError(
                f"there is a file already: {path}",
                hint="`bulkdel resume` goes on with a run; a new one takes a new name",
            )
        if not new and not os.path.isfile(path):
            raise RunFileError(f"there is no such run file: {path}")
        with ExitStack() as undo:
            held = lock.take(path)
            if held is None:
                raise RunFileError(
                    f"the run file is being used by {_holder(path)}: {path}", hint="wait until it has ended, or end it"
                )
            undo.callback(lock.release, held)
            if new:
                try:
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # as SQLite's files beside it
                except OSError as error:
                    raise lock.unwritable(path, error) from error
                undo.callback(_unlink, path)
            connection = connect(path, "mode=rw")
            undo.callback(connection.close)
            if not new:
                identify(connection, path)
                check(connection, path)
            _configure(connection)
            undo.pop_all()
            return cls(connection, path, held, new=new)

    def verify_identity(self) -> None:
        """Make sure that what was committed is what the path names.

        :raises RunFileError: if the file was deleted, moved or replaced while it was in use
        """
        found = [_identity(self._path), _identity(self._path + "-wal")]  # a rollback journal has no log
        self._files = self._files or found
        if found != self._files:
            raise RunFileError(f"the run file was deleted or replaced while it was in use: {self._path}")

    def close(self) -> None:
        """Let go of the file, leaving one plain file if that can be done: it can be read from any disk, read-only too."""
        try:
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA busy_timeout = 0")  # a reader is no reason to wait: WAL is as good
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            nothing = self._new and self.connection.execute("PRAGMA user_version").fetchone()[0] == 0
            self.connection.close()
            if nothing:  # its first commit failed: leave nothing that looks like a run
                _unlink(self._path)
        finally:
            lock.release(self._held)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        there = os.stat(path)
        return there.st_dev, there.st_ino
    return None


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _holder(path: str) -> str:
    """The process that works on the run, as the file itself says."""
    with suppress(sqlite3.Error), closing(connect(path, "mode=ro")) as connection:
        found = connection.execute("SELECT pid, host FROM session WHERE ended_at IS NULL ORDER BY id DESC").fetchone()
        if found is not None:
            return f"process {found[0]} on {found[1]}"
    return "another process"


def _configure(connection: sqlite3.Connection) -> None:
    # KiB: the index's upper levels at a million documents; 32 MiB save no CPU.
    connection.execute("PRAGMA cache_size = -8192")
    mode = ""
    # A file system without shared memory says no by an error or by answering with the mode that stays.
    with suppress(sqlite3.OperationalError):
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode == "wal":
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000").fetchall()  # 16 MB: one copying in about 100 commits
    else:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        # FULL would leave the journal's removal unsynced: after a power failure it could come back and undo a commit.
        connection.execute("PRAGMA synchronous = EXTRA")
