"""A run file open for writing: its connection, its lock, its session, and what is remembered of its tables."""

from __future__ import annotations

import contextlib
import os
import sqlite3

from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import RunStatus
from bulkdel.process import this_process
from bulkdel.store import index
from bulkdel.store.lock import Lock
from bulkdel.store.schema import LISTED, SEEN
from bulkdel.store.values import pack_id, unpack_id
from bulkdel.text import safe

KEPT = 4096  # words and datasets remembered; a million distinct reasons must not become a million strings in memory


class Store:
    """One run file, for the one thread that writes it.

    ``session`` is the number of the session, 0 before it began. ``next_row`` is the input's next place. ``handing`` names
    the providers whose documents this session has begun to hand over.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, lock: Lock, *, new: bool) -> None:
        self.connection = connection
        self.path = path
        self.session = 0
        self.next_row = 1
        self.handing: set[str] = set()
        self._empty = new
        self._indexed: bool | None = None  # None: not known
        self._index_stays = False
        self._lock = lock
        self._identity = _identity(path)
        self._wal: tuple[int, int] | None = None
        self._providers: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._datasets: dict[tuple[int, str], int] = {}
        self._names: dict[int, str] = {}

    # ------------------------------------------------------------------ the file

    def still_there(self) -> None:
        """Make sure that what was committed is what the path names.

        :raises RunFileError: where the file was deleted, moved or replaced while it was in use
        """
        try:
            same = _identity(self.path) == self._identity
            if same and self._wal is None:
                with contextlib.suppress(FileNotFoundError):  # a rollback journal has none
                    self._wal = _identity(self.path + "-wal")
            elif same:
                same = _identity(self.path + "-wal") == self._wal
        except FileNotFoundError:
            same = False
        if not same:
            raise RunFileError(f"the run file was deleted or replaced while it was in use: {self.path}")
        self._empty = self._empty and not self.session

    def forget(self) -> None:
        """Something was rolled back: what is remembered of the tables may never have been there."""
        self._providers.clear()
        self._words.clear()
        self._datasets.clear()
        self._names.clear()
        self._indexed = None

    def close(self) -> None:
        """Let go of the file, leaving one plain file where it can be done: it can be read from any disk, read-only too."""
        try:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("PRAGMA busy_timeout = 0")  # a reader is no reason to wait: WAL is as good
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            self.connection.close()
            if self._empty:  # its first commit failed: leave nothing that looks like a run
                with contextlib.suppress(OSError):
                    if _identity(self.path) == self._identity:
                        os.unlink(self.path)
        finally:
            self._lock.release()

    @property
    def indexed(self) -> bool:
        """Whether documents can be found by their ids: where not, lines of targets are coming in (see ``index``)."""
        if self._indexed is None:
            self._indexed = index.is_there(self.connection)
        return self._indexed

    def leave_index_out(self) -> None:
        """Many lines of targets come: the index waits for the last of them, where that can be done."""
        if not self._index_stays and self.indexed:
            self._indexed = self._index_stays = not index.leave_out(self.connection, LISTED | SEEN)

    def index(self) -> None:
        """Whoever looks for documents, or hands them over, calls this first."""
        if not self.indexed:
            index.make(self.connection)
            self._indexed = self._index_stays = True

    # ------------------------------------------------------------------ who works on it

    def begin(self, act: str, version: str, now: float) -> int:
        """Begin a session; its number is returned."""
        me = this_process()
        cursor = self.connection.execute(
            "INSERT INTO session (act, version, pid, host, born, started_at) VALUES (?, ?, ?, ?, ?, ?)",
            (act, version, me.pid, me.host, me.born, now),
        )
        self.session = int(cursor.lastrowid or 0)
        # A row that was handed over and then forgotten is not given to another document, which would inherit its doubt.
        for table in ("document", "duplicate", "handed"):
            last = self.connection.execute(f"SELECT COALESCE(MAX(row), 0) FROM {table}").fetchone()[0]
            self.next_row = max(self.next_row, last + 1)
        return self.session

    def end(
        self, now: float, elapsed: float, status: RunStatus | None, exit_status: int | None, reason: str, clean: bool
    ) -> None:
        """End the session; ``clean``: nothing that it handed over was in flight any more."""
        self.connection.execute(
            "UPDATE session SET ended_at = ?, elapsed = ?, status = ?, exit_status = ?, reason = ?, clean = ? WHERE id = ?",
            (now, elapsed, status, exit_status, safe(reason), clean, self.session),
        )

    # ------------------------------------------------------------------ numbers that stand for words

    def provider(self, name: str) -> int:
        """:raises ConfigurationError: where the run was not asked for this provider"""
        if not self._providers:
            self._providers = dict(self.connection.execute("SELECT name, id FROM provider"))
        number = self._providers.get(name)
        if number is None:
            raise ConfigurationError(f"this run has no provider of that name: {name!r}")
        return number

    def dataset(self, provider: str, dataset: str) -> int:
        """The key of a dataset, which is written down where it is new."""
        number = self.provider(provider)
        key = self._datasets.get((number, dataset))
        if key is None:
            packed = pack_id(dataset)
            self.connection.execute(
                "INSERT INTO dataset (provider, dataset, name, listing) VALUES (?, ?, '', 'none')"
                " ON CONFLICT (provider, dataset) DO NOTHING",
                (number, packed),
            )
            find = "SELECT id FROM dataset WHERE provider = ? AND dataset = ?"
            key = int(self.connection.execute(find, (number, packed)).fetchone()[0])
            if len(self._datasets) >= KEPT:
                self._datasets.clear()
            self._datasets[number, dataset] = key
        return key

    def dataset_at(self, key: int) -> str:
        """The id of the dataset with this key."""
        dataset = self._names.get(key)
        if dataset is None:
            stored = self.connection.execute("SELECT dataset FROM dataset WHERE id = ?", (key,)).fetchone()[0]
            if len(self._names) >= KEPT:
                self._names.clear()
            dataset = self._names[key] = unpack_id(stored)
        return dataset

    def word(self, word: str) -> int:
        """The number of a state or a reason, made safe."""
        number = self._words.get(word)
        if number is None:
            stored = safe(word)
            self.connection.execute("INSERT INTO word (word) VALUES (?) ON CONFLICT (word) DO NOTHING", (stored,))
            number = int(self.connection.execute("SELECT id FROM word WHERE word = ?", (stored,)).fetchone()[0])
            if len(self._words) >= KEPT:
                self._words.clear()
            self._words[word] = number
        return number


def _identity(path: str) -> tuple[int, int]:
    there = os.stat(path)
    return there.st_dev, there.st_ino
