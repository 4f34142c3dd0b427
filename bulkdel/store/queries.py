"""A run file read: its state, its account, and its rows one by one; never in the way of a process that writes it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast

from bulkdel.engine.timeline import Sample
from bulkdel.errors import RunFileError
from bulkdel.model import ANSWER_LOST, FULFILLED, Outcome, RunStatus, Settled, Target
from bulkdel.plan import Plan
from bulkdel.report import Account, Counts, first_reason
from bulkdel.store import database
from bulkdel.store.account import read_account, read_plan
from bulkdel.store.database import trouble
from bulkdel.store.header import DATASETS, DOCUMENTS, from_json, given_target, read_header, unpack_id
from bulkdel.store.lock import is_held

State = Literal["planned", "running", "crashed"] | RunStatus
"""What became of a run: the words of its report, or that it waits for its first delete, goes on now, or ended without
a word (killed, or the power failed)."""


class PlannedRow(NamedTuple):
    """One listed document or one line of targets as a report shows it; ``why_not`` is empty if it is selected, ``invalid``
    if its id may be sent."""

    target: Target
    name: str
    created_at: float | None
    status: str
    indexing: bool
    archived: bool
    why_not: str
    invalid: str


class Session(NamedTuple):
    """One process that worked on the run: ``status`` and ``exit_status`` are None if it crashed. Times in Unix seconds."""

    id: int
    act: str
    version: str
    pid: int
    host: str
    started_at: float
    ended_at: float | None
    elapsed_s: float | None
    status: RunStatus | None
    exit_status: int | None
    reason: str
    clean: bool
    retried: int


class Run:
    """A run file, to be read: by any number of processes, while one writes it and afterwards.

    Nothing here is async: a report is read at once. ``with Run.open(path) as run:``; one thread uses it at a time.
    Every method raises RunFileError if the file turns out to be damaged.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, own: int | None = None) -> None:
        """Not for callers: ``open`` makes it. ``own`` is the session of this process, if it holds the run and reads what the
        earlier ones left."""
        self.path = path  # links resolved
        self.header = read_header(connection, str(path))
        self._connection = connection
        self._own = own

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, check: bool = True) -> Self:
        """The run at ``path``; ``check`` looks through the whole file for damage first (0.3 s a million documents).

        :raises RunFileError: if it does not exist, is foreign, newer or damaged
        """
        where = os.path.realpath(path)
        if not os.path.isfile(where):
            raise RunFileError(f"there is no such run file: {where}")
        connection: sqlite3.Connection | None = None
        try:
            # Not mode=ro: to read, SQLite may have to play a crashed run's journal back.
            connection = database.connect(where, "mode=rw")
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -4096")  # KiB: rows are read in their order, which needs no more
            database.identify(connection, where)
            if check:
                database.check(connection, where)
            return cls(Path(where), connection)
        except (sqlite3.Error, RunFileError) as error:
            if connection is not None:
                connection.close()
            raise trouble(where, error) from error

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ what became of it

    def sessions(self) -> list[Session]:
        """Every process that worked on it, in order."""
        columns = ", ".join(Session._fields)
        rows = self._all(f"SELECT {columns} FROM session WHERE id IS NOT ? ORDER BY id", (self._own,))
        return [Session._make(row) for row in rows]

    @property
    def last_session(self) -> Session:
        """The session that says how the run ended: the last one that did more than verify."""
        return next(one for one in reversed(self.sessions()) if one.act != "verify")

    @property
    def running(self) -> bool:
        """Whether a process works on it now."""
        return self._own is None and self.sessions()[-1].ended_at is None and is_held(str(self.path))

    @property
    def status(self) -> RunStatus | None:
        """Its report's word, as its last session left it and a later verification changed it; None if the session crashed."""
        if not self._verified_later:
            return self.last_session.status
        reports = self.account().datasets.values()
        return "complete" if all(report.status == "complete" for report in reports) else "incomplete"

    @property
    def reason(self) -> str:
        """Why it ended as it did, empty if there is nothing to say; after a later verification what that found."""
        if not self._verified_later:
            return self.last_session.reason
        return first_reason(list(self.account().datasets.values()))

    @property
    def _verified_later(self) -> bool:
        """Whether it came to its end, and what a later verification found counts more than how it ended."""
        return self.last_session.status in ("complete", "incomplete") and self.sessions()[-1].act == "verify"

    @property
    def state(self) -> State:
        """What became of it."""
        if self.running:
            return "running"
        status = self.status
        if status is None:
            return "crashed"
        return "planned" if status == "complete" and self.last_session.act == "plan" else status

    @property
    def resumable(self) -> bool:
        """Whether resuming it has something to do: no process works on it, it did not complete, and it holds what was
        asked.

        What a guard or the user refused would be refused again; a refusal ends no run whose deletes had begun, and no plan
        that was made before it. Left to do is a selected document that has not settled, or, unless the dataset was stopped,
        a listing that did not end well or (if this is more than a plan) a dataset whose end was never written, or which was not
        listed again because the run was interrupted or its deadline came.
        """
        state, first = self.state, self.sessions()[0]
        if state in ("running", "complete") or self.targets == "open" or self.unfinished_plan:
            return False
        if state == "refused" and not self.begun and (first.act != "plan" or first.status == "refused"):
            return False
        ended = [one.status for one in self.sessions() if one.act != "verify" and one.status is not None]
        # A session that crashed has done nothing about why the one before it was stopped.
        if state in ("stopped", "crashed") and ended[-1:] == ["stopped"]:
            return True
        if self._any("SELECT 1 FROM document WHERE skipped IS NULL AND outcome IS NULL"):
            return True
        unfinished = "listing <> 'none' AND status <> 'stopped' AND (listing <> 'complete' OR status IN ('', 'interrupted', 'deadline'))"
        return state != "planned" and self._any(f"SELECT 1 FROM dataset WHERE {unfinished}")

    def account(self) -> Account:
        """Everything that is counted of the run, over all its sessions; what has not settled counts as not attempted.

        :raises RunFileError: if the rows are not as many as were written
        :raises BrokenPromise: if the counts do not conserve (S21)
        """
        with self._snapshot():
            return read_account(self._connection, str(self.path), running=self.running, own=self._own)

    def answers_lost(self) -> int:
        """How many count as deleted without an answer that said so: asked for again, they were not there any more."""
        lost = "outcome = 'deleted' AND reason GLOB ? || '*'"
        return int(self._all(f"SELECT COUNT(*) FROM document WHERE {lost}", (ANSWER_LOST,))[0][0])

    def counts(self) -> Counts:
        """The account's sums."""
        return Counts.of(self.account().datasets.values())

    def samples(self) -> Mapping[int, Mapping[str, list[Sample]]]:
        """How its time went, by session and provider; a session that crashed left none."""
        found: dict[int, dict[str, list[Sample]]] = {}
        for session, provider, samples in self._all(
            "SELECT t.session, p.name, t.samples FROM timeline t JOIN provider p ON p.id = t.provider ORDER BY t.rowid"
        ):
            found.setdefault(session, {})[provider] = from_json(list[Sample], samples, str(self.path), "timeline")
        return found

    def endings_in(self, since: float, until: float, most: int) -> tuple[float, Mapping[str, Mapping[int, int]]]:
        """How many documents settled from ``since`` to ``until`` (Unix seconds): the length of a stretch in seconds, at
        least 1 and so long that there are at most ``most``, and the numbers by provider and stretch, from 0."""
        within = "d.settled_at >= ? AND d.settled_at < ?"
        last = self._all(f"SELECT COALESCE(MAX(d.settled_at), ?) FROM document d WHERE {within}", (since, since, until))
        span_ms = int(last[0][0] * 1000) - int(since * 1000) + 1
        width = max(1000, math.ceil(span_ms / most)) / 1000
        found: dict[str, dict[int, int]] = {}
        for provider, stretch, n in self._all(
            f"SELECT p.name, CAST((d.settled_at - ?) / ? AS INTEGER) AS stretch, COUNT(*) FROM {DOCUMENTS}"
            f" WHERE {within} GROUP BY p.name, stretch ORDER BY p.name, stretch",
            (since, width, since, until),
        ):
            found.setdefault(provider, {})[stretch] = n
        return width, found

    # ------------------------------------------------------------------ what may be deleted

    @property
    def begun(self) -> bool:
        """Whether documents were given to workers."""
        return self._any("SELECT 1 FROM document WHERE claimed IS NOT NULL")

    @property
    def agreed(self) -> bool:
        """Whether the guards and the user agreed to all that it may delete: to as many as are selected, and nothing is still
        to be listed."""
        selected = "SELECT COUNT(*) FROM document WHERE skipped IS NULL"
        if not self._any(f"SELECT 1 FROM run WHERE agreed = ({selected})"):
            return False
        # A plan deletes what it holds: what it could not list is no part of it.
        unlisted = self._any("SELECT 1 FROM dataset WHERE listing NOT IN ('none', 'complete')")
        return self.header.act == "plan" or not unlisted

    @property
    def unfinished_plan(self) -> bool:
        """Whether it is a plan that ended before it held anything that could be carried out."""
        return self.header.act == "plan" and not {"complete", "none"} & set(self.listings().values())

    @property
    def input_truncated(self) -> bool:
        """Whether there may be more documents than it holds: a listing, or the reading of its targets, did not end."""
        return self.targets == "open" or "open" in self.listings().values()

    @property
    def targets(self) -> str:
        """Explicit targets: ``none`` were asked for, ``open`` (there may be more than were written down), ``complete``."""
        return str(self._all("SELECT targets FROM run")[0][0])

    def listings(self) -> dict[tuple[str, str], str]:
        """How far each dataset's listing got, by provider and dataset: ``none`` (explicit targets), ``open``, ``complete``,
        ``incomplete``."""
        rows = self._all(f"SELECT p.name, s.dataset, s.listing FROM {DATASETS} ORDER BY s.id")
        return {(provider, unpack_id(dataset)): listing for provider, dataset, listing in rows}

    def plan(self) -> Plan:
        """What is left to delete, as a confirmation shows it; ``skipped`` counts all that were.

        The time that it takes, and the rates that this counts with, are the plan's, which hold as long as nothing of it has
        settled.
        """
        account = self.account()
        with self._snapshot():
            return read_plan(self._connection, str(self.path), account)

    # ------------------------------------------------------------------ rows

    def settled(self, outcomes: Collection[Outcome] | None = None) -> Iterator[Settled]:
        """Every target that has settled, in input order, occurrences one by one; ``outcomes`` picks some of them."""
        columns = "p.name, s.dataset, d.document, d.given, d.outcome, d.reason, d.attempts, d.name, d.settled_at"
        for row in self._documents(columns, "d.outcome IS NOT NULL"):
            if outcomes is None or row[4] in outcomes:
                yield _settled(row)

    def rejected(self) -> Iterator[Settled]:
        """Every target that was rejected, in input order."""
        return (settled for settled in self.settled() if settled.outcome not in FULFILLED)

    def not_attempted(self) -> Iterator[Settled]:
        """Every selected target that has not settled, in input order, as the endings they have so far; ``settled_at`` is
        the end of the last session that ended."""
        ended = self._all("SELECT COALESCE(MAX(ended_at), MAX(started_at)) FROM session")[0][0]
        columns = "p.name, s.dataset, d.document, d.given, 'not_attempted', d.reason, d.attempts, d.name"
        for row in self._documents(columns, "d.outcome IS NULL AND d.skipped IS NULL"):
            yield _settled((*row, ended))

    def earlier_endings(self) -> Iterator[tuple[Settled, int]]:
        """Rejections that a user asked to try again, in input order, each with the number of the session that did."""
        columns = (
            "p.name, s.dataset, d.document, d.given, h.outcome, h.reason, h.attempts, d.name, h.settled_at, h.session"
        )
        for row in self._documents(
            columns, "d.occurrence = 1", joined="JOIN history h ON h.row = d.row", order="h.session"
        ):
            yield _settled(row[:-1]), row[-1]

    def retried(self) -> list[tuple[str | None, str | None, int]]:
        """How documents of datasets that were not stopped ended before the last retry of what was rejected (None: they were not
        part of it), how they end now (None: they have not settled), and how many."""
        return self._all(
            "SELECT h.outcome, d.outcome, COUNT(*) FROM document d JOIN dataset s ON s.id = d.dataset LEFT JOIN history h"
            " ON h.row = d.row AND h.session = (SELECT MAX(session) FROM history)"
            " WHERE s.status <> 'stopped' AND d.skipped IS NULL GROUP BY h.outcome, d.outcome"
        )

    def listed(self) -> Iterator[PlannedRow]:
        """Everything that was listed or named, in input order, each with why it is left out."""
        columns = (
            "p.name, s.dataset, d.document, d.name, d.created_at, COALESCE(d.status, ''), d.indexing, d.archived,"
            " COALESCE(d.skipped, ''), COALESCE(d.invalid, '')"
        )
        for provider, dataset, id, name, created_at, status, indexing, archived, *why in self._documents(columns):
            target = Target(provider, unpack_id(dataset), unpack_id(id))
            yield PlannedRow(target, name, created_at, status, bool(indexing), bool(archived), *why)

    def digest(self) -> str:
        """SHA-256, in hex, over what has settled, so that a report can be matched to its run.

        Each settled target is one JSON array
        ``[provider, dataset, document, occurrence, name, outcome, reason, attempts, settled_at]`` with no space between its
        parts and no escape but those that JSON demands (half a surrogate pair, which UTF-8 cannot hold, as ``\\udxxx``);
        ``occurrence`` counts a document's places in the input from 1, ``settled_at`` is UTC as
        ``2026-11-21T19:30:00.123+00:00``. The arrays are sorted by provider, dataset and document (by their UTF-8 bytes, what
        UTF-8 cannot hold last) and occurrence, and each is followed by a newline.
        """
        sha = hashlib.sha256()
        with self._snapshot():
            for key, provider, dataset in self._all(
                f"SELECT s.id, p.name, s.dataset FROM {DATASETS} ORDER BY p.name, s.dataset"
            ):
                for id, *more, at in self._connection.execute(
                    "SELECT document, occurrence, name, outcome, reason, attempts, settled_at FROM document"
                    " WHERE dataset = ? AND outcome IS NOT NULL ORDER BY document, occurrence",
                    (key,),
                ):
                    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
                    row = (provider, unpack_id(dataset), unpack_id(id), *more, when)
                    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
                    sha.update(text.encode("utf-8", "backslashreplace") + b"\n")
        return sha.hexdigest()

    # ------------------------------------------------------------------ how it is read

    def _documents(
        self, columns: str, where: str = "TRUE", *, joined: str = "", order: str = "d.row"
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of documents in input order, a thousand in memory at a time: a reader holds SQLite's lock for a few
        milliseconds, never while its caller works."""
        first = 0
        last = self._all("SELECT COALESCE(MAX(row), 0) FROM document")[0][0]
        while first <= last:
            yield from self._all(
                f"SELECT {columns} FROM {DOCUMENTS} {joined} WHERE d.row BETWEEN ? AND ? AND {where} ORDER BY d.row, {order}",
                (first, first + 999),
            )
            first += 1000

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise trouble(str(self.path), error) from error

    def _any(self, sql: str) -> bool:
        return bool(self._all(f"{sql} LIMIT 1"))

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever is written meanwhile."""
        self._connection.execute("SAVEPOINT snapshot")  # a transaction, or a part of the writer's
        try:
            yield
        except sqlite3.Error as error:
            raise trouble(str(self.path), error) from error
        finally:
            self._connection.execute("RELEASE snapshot")


def _settled(row: Sequence[Any]) -> Settled:
    provider, dataset, document, given, outcome, reason, attempts, name, settled_at = row
    target = given_target(Target(provider, unpack_id(dataset), unpack_id(document)), given)
    return Settled(target, cast(Outcome, outcome), reason, attempts, name, settled_at)
