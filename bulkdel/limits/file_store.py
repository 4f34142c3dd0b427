"""Tokens between the processes of one machine: a small SQLite file in the user's state folder, one immediate transaction a lease."""

from __future__ import annotations

import logging
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bulkdel.limits.bucket import shared_bucket
from bulkdel.limits.limiter import Lease, shared_lease
from bulkdel.limits.memory_store import MemoryStore
from bulkdel.model import Rate

NAME = "limits.sqlite3"

SCHEMA = """
-- One limit: of one provider's address and key, by a fingerprint that the key cannot be read from.
CREATE TABLE IF NOT EXISTS bucket (
    fingerprint TEXT PRIMARY KEY,
    monotonic REAL NOT NULL,      -- both clocks at the last claim
    wall REAL NOT NULL,
    time REAL NOT NULL,           -- seconds that passed by both: no step of one, no restart and no sleep is taken for time
    paused_until REAL NOT NULL,   -- by "time"
    tokens REAL NOT NULL,         -- permits in the bucket at the last claim
    n REAL,                       -- the limit in force: at most n requests in any "per" seconds; null: no known limit
    per REAL
) WITHOUT ROWID;

-- The processes that want permits of it. The slowest limit that any of them wants is in force.
CREATE TABLE IF NOT EXISTS process (
    fingerprint TEXT NOT NULL,
    name TEXT NOT NULL,
    n REAL,                       -- the limit that it wants
    per REAL,
    seen REAL NOT NULL,           -- its last claim, by "time"
    PRIMARY KEY (fingerprint, name)
) WITHOUT ROWID;
"""

_log = logging.getLogger("bulkdel")


class FileStore:
    """Leases of a limit that all processes share that name this folder and fingerprint.

    If the file cannot be used, this process keeps the limit alone, with an empty bucket, and a warning is logged.

    :param folder: the user's state folder; made if it is missing
    :param fingerprint: of the provider's address and key
    :param monotonic: the machine's monotonic clock, the same for all processes
    :param wall: the wall clock, compared with it
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._fingerprint = fingerprint
        self._name = secrets.token_hex(8)
        self._monotonic, self._wall = monotonic, wall
        self._path = folder / NAME
        self._file: sqlite3.Connection | None = None
        self._alone: MemoryStore | None = None
        self._last: Lease | None = None
        self._stuck_since: float | None = None  # claims in a row have been of no use since then
        try:
            self._file = _open(self._path)
        except (OSError, sqlite3.Error) as error:
            self._go_on_alone(error, empty=False)

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        """A lease in one transaction of 10 to 100 µs; what a killed process left half done is undone by SQLite."""
        if self._alone is not None:
            return await self._alone.take(rate, pause_s)
        now = self._monotonic()
        try:
            lease = self._transaction(rate, pause_s)
        except (sqlite3.Error, TypeError, ValueError) as error:
            if not _is_busy(error):
                self._go_on_alone(error)
                return await self.take(rate, pause_s)
            lease = None
        if lease is not None and self._monotonic() - now <= lease.use_within_s:
            self._stuck_since, self._last = None, lease
            return lease
        # Another process is at the file, which takes it 0.1 ms and rarely some milliseconds; or the file is slower than a lease
        # lives. If nothing else happens for 10 s, a process was stopped in the midst of a write, or the disk will not do.
        if self._stuck_since is None:
            self._stuck_since = now
        if now - self._stuck_since > 10.0:
            self._go_on_alone(OSError("another process has it locked" if lease is None else "it is too slow"))
            return await self.take(rate, pause_s)
        return replace(self._last or Lease(0, rate), permits=0, retry_s=0.002, paused_s=-math.inf)

    def _transaction(self, wanted: Rate | None, pause_s: float) -> Lease:
        assert self._file is not None
        ask, key = self._file.execute, self._fingerprint
        with self._file:
            ask("BEGIN IMMEDIATE")
            monotonic, wall = self._monotonic(), self._wall()
            row: Any = ask("SELECT * FROM bucket WHERE fingerprint=?", (key,)).fetchone()
            # The first use of this limit: the bucket is full.
            row = row or (key, monotonic, wall, 0.0, -math.inf, math.inf, *_columns(wanted))
            _, last_monotonic, last_wall, at, paused_until, tokens, n, per = row
            passed = max(0.0, min(monotonic - last_monotonic, wall - last_wall))
            at += passed
            # Without a limit the bucket stays empty: what leaves meanwhile is not known, so the first limit grants no burst.
            old = None if n is None else shared_bucket(Rate(n, per))
            tokens = 0.0 if old is None else min(old.size, tokens + old.per_second * passed)
            if pause_s > 0:
                paused_until = max(paused_until, at + pause_s)
            rate, processes = self._in_force(wanted, at)
            granted, wait = 0, 0.0
            if rate is not None:
                bucket = shared_bucket(rate)
                # What the bucket held stays as far as it fits: a change of the limit grants no burst.
                tokens = min(tokens, bucket.size)
                # 1e-9: what came in is a sum of floats, and a lease's worth may be a rounding short of it.
                if at >= paused_until and tokens >= bucket.lease - 1e-9:
                    granted, tokens = bucket.lease, tokens - bucket.lease
                wait = max(0.0, bucket.lease - tokens) / bucket.per_second
            ask(
                "REPLACE INTO bucket VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, monotonic, wall, at, paused_until, tokens, *_columns(rate)),
            )
        paused_s = paused_until - at
        return shared_lease(granted, rate, max(wait, paused_s), paused_s, processes)

    def _in_force(self, wanted: Rate | None, at: float) -> tuple[Rate | None, int]:
        """Note this process; returns the limit in force and how many processes want permits."""
        assert self._file is not None
        ask, key = self._file.execute, self._fingerprint
        # A process that was silent for 15 s has ended, or wants nothing: one that waits claims every 5 s.
        ask("DELETE FROM process WHERE fingerprint=? AND seen<?", (key, at - 15.0))
        ask("REPLACE INTO process VALUES (?, ?, ?, ?, ?)", (key, self._name, *_columns(wanted), at))
        all_wanted = ask("SELECT n, per FROM process WHERE fingerprint=?", (key,)).fetchall()
        rates = [Rate(n, per) for n, per in all_wanted if n is not None]
        return min(rates, key=lambda rate: rate.per_second, default=None), len(all_wanted)

    def _go_on_alone(self, error: Exception, *, empty: bool = True) -> None:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _log.warning(
            "the limit is not shared with other processes of bulkdel: the file for it cannot be used (%s): %s",
            words or type(error).__name__,
            self._path,
        )
        self._close()
        # What was taken from the file is not granted a second time.
        self._alone = MemoryStore(empty=empty)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None

    async def aclose(self) -> None:
        """Leave the limit to the others: a slower limit that this process wanted lapses at once."""
        if self._file is not None:
            with suppress(sqlite3.Error), self._file:
                self._file.execute(
                    "DELETE FROM process WHERE fingerprint=? AND name=?", (self._fingerprint, self._name)
                )
            self._close()


def _columns(rate: Rate | None) -> tuple[float | None, float | None]:
    return (None, None) if rate is None else (rate.n, rate.per)


def _open(path: Path) -> sqlite3.Connection:
    """The file, also if another process is just opening it: for a second at most, before anything is sent.

    :raises OSError, sqlite3.Error: if it cannot be made or read, or is of a later version
    """
    for _ in range(100):
        try:
            return _open_once(path)
        except sqlite3.Error as error:
            # SQLite itself waits for locks, but not for that of another process that changes the journal.
            if not _is_busy(error):
                raise
        time.sleep(0.01)
    return _open_once(path)


def _open_once(path: Path) -> sqlite3.Connection:
    """The file, made for the user alone: SQLite gives the files beside it the same mode.

    Nothing is forced to the disk: after a power cut the bucket is of no interest.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    file = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        # WAL: 10 µs for a change in the mean and 60 at most; a rollback journal takes 20 and now and then 4,000.
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=OFF")
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version > 2:
            raise OSError(f"it is of another version of bulkdel: {version}")
        if version < 2:
            file.executescript(f"BEGIN IMMEDIATE; {SCHEMA} DROP TABLE IF EXISTS joint; PRAGMA user_version=2; COMMIT;")
        # From now on this process does not wait for a lock, because the event loop would stand still.
        file.execute("PRAGMA busy_timeout=0")
    except BaseException:
        file.close()
        raise
    return file


def _is_busy(error: Exception) -> bool:
    code = error.sqlite_errorcode if isinstance(error, sqlite3.OperationalError) else 0
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
