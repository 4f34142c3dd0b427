"""The file that processes keep their shared limits in: one row of SQLite for each key's fingerprint, never a key."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bulkdel.limits.joint import Joint, from_text, to_text

NAME = "limits.sqlite3"
VERSION = 1
_OPENING_S = 1.0
"""Seconds to wait for others at the opening alone; afterwards nobody waits for a lock, for the event loop would stand still."""


class Busy(Exception):
    """Raised when another process is at the file in this moment; a write takes some 10 to 100 µs."""


class Unusable(Exception):
    """Raised when the file cannot be used, now or later."""


class JointFile:
    """The states of shared limits. Every change is one short transaction; what a killed process left half done is undone.

    Nothing is forced to the disk: after a power cut the bucket is of no interest, and a file that it tore is ``Unusable``.

    :raises Unusable: where it cannot be made or read
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made for the user alone: SQLite gives the files beside it the same mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(self.path, isolation_level=None, timeout=_OPENING_S)
        except (OSError, sqlite3.Error) as error:
            raise Unusable(_words(error)) from error
        try:
            # WAL: 10 µs for a change in the mean and 60 at most; a rollback journal takes 20 and now and then 4,000.
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=OFF")
            with self._change():
                (version,) = self._file.execute("PRAGMA user_version").fetchone()
                if version not in (0, VERSION):
                    raise Unusable(f"it is of another version of bulkdel: {version}")
                self._file.execute(
                    "CREATE TABLE IF NOT EXISTS joint (fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID"
                )
                self._file.execute(f"PRAGMA user_version={VERSION}")
            self._file.execute("PRAGMA busy_timeout=0")
        except (sqlite3.Error, Busy) as error:
            self.close()
            raise Unusable(_words(error)) from error
        except Unusable:
            self.close()
            raise

    @contextmanager
    def locked(self, fingerprint: str) -> Iterator[Change]:
        """Nobody else changes the file in this block; what is put is written at its end, nothing where it raises.

        :raises Busy: where another process is at it
        :raises Unusable: where it cannot be read or written, or holds what we do not understand
        """
        try:
            with self._change():
                row = self._file.execute("SELECT state FROM joint WHERE fingerprint=?", (fingerprint,)).fetchone()
                try:
                    change = Change(None if row is None else from_text(row[0]))
                except ValueError as error:
                    raise Unusable(str(error)) from error
                yield change
                if change.after is not None:
                    self._file.execute("REPLACE INTO joint VALUES (?, ?)", (fingerprint, to_text(change.after)))
        except sqlite3.Error as error:
            raise Unusable(_words(error)) from error

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            self._file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy from error
            raise
        try:
            yield
            self._file.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file; may be done twice."""
        with suppress(sqlite3.Error):
            self._file.close()


class Change:
    """One key's state ``before``, None where there is none yet, and ``after``, None for unchanged."""

    __slots__ = ("after", "before")

    def __init__(self, before: Joint | None) -> None:
        self.before = before
        self.after: Joint | None = None


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
