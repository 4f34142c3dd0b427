"""A run file open to be read: its state and every question to it; never in the way of a process that writes it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from bulkdel.engine.timeline import Sample
from bulkdel.errors import RunFileError
from bulkdel.model import FULFILLED, Outcome, RunStatus, Selection, Settled
from bulkdel.process import Process
from bulkdel.report import Counts, DatasetReport, Plan
from bulkdel.store import places, schema
from bulkdel.store.counting import account_of, answers_lost, counters_of
from bulkdel.store.evidence import digest
from bulkdel.store.header import read_header
from bulkdel.store.lock import holder
from bulkdel.store.review import AGREED, left_to_do
from bulkdel.store.samples import endings_in, samples_of
from bulkdel.store.schema import OUTCOMES, Connect
from bulkdel.store.values import (
    Counters,
    PlannedRow,
    RunHeader,
    Session,
    State,
    selection_from,
    unpack_id,
)


class Run:
    """A run file, to be read: by any number of processes, while one writes it and afterwards.

    Nothing here is async: a report is read at once. ``with Run.open(path) as run:``; one thread uses it at a time.
    Every method raises RunFileError where the file turns out to be damaged.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Not for callers: ``open`` makes it."""
        self._path = path
        self._connection = connection
        self._header = read_header(connection, str(path))

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, check: bool = True, connect: Connect = schema.connect) -> Self:
        """The run at ``path``; ``check`` looks through the whole file for damage first (0.3 s a million documents).

        :raises RunFileError: where it does not exist, is foreign, newer or damaged
        """
        where = os.path.realpath(path)
        if not os.path.isfile(where):
            raise RunFileError(f"there is no such run file: {where}")
        queries = ["mode=rw"]  # SQLite may have to write to read: after a crash it plays the journal back
        if not any(os.path.exists(where + suffix) for suffix in ("-wal", "-journal")):
            queries.append("mode=ro&immutable=1")  # from a read-only disk, where no lock can be had and nobody writes
        for query in queries:
            connection: sqlite3.Connection | None = None
            try:
                connection = connect(schema.uri(where, query))
                connection.execute("PRAGMA query_only = 1")
                connection.execute(f"PRAGMA cache_size = -{schema.READ_CACHE_KIB}")
                schema.identify(connection, where)
                if check:
                    schema.check(connection, where)
                return cls(Path(where), connection)
            except (sqlite3.Error, RunFileError) as error:
                if connection is not None:
                    connection.close()
                cannot = getattr(error, "sqlite_errorcode", 0) & 0xFF in (
                    sqlite3.SQLITE_CANTOPEN,
                    sqlite3.SQLITE_READONLY,
                )
                if not cannot or query == queries[-1]:
                    raise schema.trouble(where, error) from error
        raise AssertionError("one of the ways returns or raises")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Where the file is, links resolved."""
        return self._path

    @property
    def header(self) -> RunHeader:
        """What was asked."""
        return self._header

    # ------------------------------------------------------------------ what became of it

    def sessions(self) -> list[Session]:
        """Every process that worked on it, in order."""
        rows = self._all(
            "SELECT id, act, version, pid, host, started_at, ended_at, elapsed, status, exit_status, reason, clean, retried"
            " FROM session ORDER BY id"
        )
        return [Session._make((*row[:11], bool(row[11]), row[12])) for row in rows]

    @property
    def state(self) -> State:
        """What became of it; ``running`` while its last session's process lives and says that it uses the file."""
        act, pid, host, born, ended_at, status = self._all(
            "SELECT act, pid, host, born, ended_at, status FROM session ORDER BY id DESC LIMIT 1"
        )[0]
        if ended_at is None:
            its = Process(pid, host, born)
            return "running" if holder(str(self._path)) == its and its.alive() else "crashed"
        if status is None:
            return "crashed"
        if act == "plan" and status == "complete":
            return "planned"
        return cast(RunStatus, status)

    def go_on(self) -> bool:
        """Whether resuming it makes sense: nobody works on it, it did not complete, and there is something left to do.

        Left to do is a selected document that has not settled, or, unless the dataset was stopped, a listing that did not
        end well or (where this is more than a plan) a dataset whose end was never written.
        """
        state = self.state
        if state in ("running", "complete"):
            return False
        if self.counts().not_attempted or state == "stopped":
            return True
        if state == "planned":
            return False
        left = self._all(
            "SELECT 1 FROM dataset WHERE listing <> 'none' AND status <> 'stopped'"
            " AND (listing <> 'complete' OR status = '') LIMIT 1"
        )
        return bool(left)

    def age(self, now: float) -> float:
        """Seconds since it was created, never negative: clocks are set back."""
        return max(0.0, now - (self._header.created_at or 0.0))

    @property
    def elapsed_s(self) -> float:
        """Seconds that its sessions took, as far as they ended."""
        return float(self._all("SELECT COALESCE(SUM(elapsed), 0) FROM session")[0][0])

    def counters(self, provider: str | None = None) -> Counters:
        """What it cost over all sessions, in all or at one provider."""
        return counters_of(self._all, provider)

    def samples(self) -> Mapping[int, Mapping[str, list[Sample]]]:
        """How its time went, by session and provider; a session that crashed left none."""
        return samples_of(self._all)

    def endings_in(self, since: float, until: float, most: int) -> tuple[float, Mapping[str, Mapping[int, int]]]:
        """How many documents settled from ``since`` to ``until`` (Unix seconds): the length of a stretch in seconds, at
        least 1 and so long that there are at most ``most``, and the numbers by provider and stretch, from 0."""
        return endings_in(self._all, since, until, most)

    # ------------------------------------------------------------------ counts

    def counts(self) -> Counts:
        """Counted from the rows; ``not_attempted`` are those that have not settled.

        :raises BrokenPromise: where they do not conserve (S21)
        """
        return Counts.of(self.datasets())

    def reasons(self) -> dict[str, int]:
        """How many targets were rejected for what, ``not_attempted`` included where there are any; most of all first."""
        return dict(self.account()[1].items())

    def datasets(self) -> list[DatasetReport]:
        """Each dataset's account, in the order they were asked for; one that has not ended yet says ``incomplete``.

        :raises RunFileError: where the rows are not those that were counted when they were written
        :raises BrokenPromise: where the counts do not conserve (S21)
        """
        return self.account()[0]

    def account(self) -> tuple[list[DatasetReport], dict[Outcome, int]]:
        """``datasets`` and ``reasons`` from one pass over the rows: 0.6 s a million."""
        with self._snapshot():
            return account_of(self._all, str(self._path))

    def answers_lost(self) -> int:
        """How many count as deleted without an answer that said so: asked for again, they were not there any more."""
        return answers_lost(self._all)

    def listings(self) -> dict[tuple[str, str], str]:
        """How far each dataset's listing got, by provider and dataset: ``none`` (explicit targets), ``open``, ``complete``,
        ``incomplete``."""
        rows = self._all(
            "SELECT p.name, s.dataset, s.listing FROM dataset s JOIN provider p ON p.id = s.provider ORDER BY s.id"
        )
        return {(provider, unpack_id(dataset)): listing for provider, dataset, listing in rows}

    @property
    def begun(self) -> bool:
        """Whether documents were handed over to be deleted."""
        return bool(self._all("SELECT 1 FROM handed LIMIT 1"))

    @property
    def agreed(self) -> bool:
        """Whether somebody said yes to all that it may delete: to as many as are selected, and nothing is still to be listed."""
        said = "SELECT 1 FROM counter WHERE what = ? AND cause = (SELECT COALESCE(SUM(selected), 0) FROM dataset)"
        if not self._all(said, (AGREED,)):
            return False
        # A plan deletes what it holds: what it could not list is no part of it.
        unlisted = "SELECT 1 FROM dataset WHERE listing NOT IN ('none', 'complete') LIMIT 1"
        return self._header.act == "plan" or not self._all(unlisted)

    def selection_of(self, provider: str, dataset: str) -> Selection:
        """Which of the dataset's documents the user wished for."""
        for name, id, selection in self._all(
            "SELECT p.name, s.dataset, s.selection FROM dataset s JOIN provider p ON p.id = s.provider"
        ):
            if (name, unpack_id(id)) == (provider, dataset) and selection is not None:
                return selection_from(selection)
        return self._header.selection

    @property
    def targets(self) -> str:
        """Explicit targets: ``none`` were asked for, ``open`` (there may be more than were written down), ``complete``."""
        return str(self._all("SELECT targets FROM run")[0][0])

    def plan(self) -> Plan:
        """What is left to delete, as a confirmation shows it: listed and skipped count all, the rest what has not settled."""
        return left_to_do(self._all, self.datasets())

    # ------------------------------------------------------------------ rows

    def settled(self, outcomes: Collection[Outcome] | None = None) -> Iterator[Settled]:
        """Every target that has settled, in input order, occurrences one by one; ``outcomes`` picks some of them."""
        return places.settled(self._all, outcomes)

    def rejected(self) -> Iterator[Settled]:
        """Every target that was rejected, in input order."""
        return self.settled([outcome for outcome in OUTCOMES if outcome not in FULFILLED])

    def not_attempted(self) -> Iterator[Settled]:
        """Every selected target that has not settled, in input order, as the endings they have so far; ``settled_at`` is
        the end of the last session that ended."""
        return places.not_attempted(self._all)

    def earlier_endings(self) -> Iterator[tuple[Settled, int]]:
        """Rejections that a user asked to try again, in input order, each with the number of the session that did."""
        return places.earlier_endings(self._all)

    def listed(self) -> Iterator[PlannedRow]:
        """Everything that was listed or named, in input order, each with why it is left out."""
        return places.listed(self._all)

    def digest(self) -> str:
        """SHA-256, in hex, over what has settled, so that a report can be matched to its run.

        Each settled target is one JSON array
        ``[provider, dataset, document, occurrence, name, outcome, reason, attempts, settled_at]`` with no space between its
        parts and no escape but those that JSON demands (half a surrogate pair, which UTF-8 cannot hold, as ``\\udxxx``);
        ``occurrence`` counts a document's places in the input from 1, ``settled_at`` is UTC as
        ``2026-11-21T19:30:00.123+00:00``. The arrays are sorted by provider, dataset and document (by their UTF-8 bytes, what
        UTF-8 cannot hold last) and occurrence, and each is followed by a newline.
        """
        return digest(self._all)

    # ------------------------------------------------------------------ how it is read

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise schema.trouble(str(self._path), error) from error

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever is written meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")
