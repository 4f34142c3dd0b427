"""What a purge writes into its run, and asks of it: the plan, each document's one ending, and what it cost."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from bulkdel.engine.timeline import Sample
from bulkdel.errors import BrokenPromise
from bulkdel.model import MAY_BE_GONE, Document, Outcome, Settled, Target
from bulkdel.plan import LearnedRate, PlannedDataset
from bulkdel.report import DatasetReport, ProviderAccount
from bulkdel.store import account
from bulkdel.store.header import DOCUMENTS, dataset_key, given_target, pack_id, provider_key, to_json, unpack_id
from bulkdel.store.session import RunSession, written
from bulkdel.text import sanitize

DocumentState = Literal["skipped", "selected"] | Outcome
"""What became of a document: left by selection, not settled yet, or how it settled."""


LISTED = "name, created_at, status, indexing, ready, archived, enabled, synced"
"""The columns of a document that are what a listing said of it."""


class ListedRow(NamedTuple):
    """A listed document, and why it is not selected (empty if it is)."""

    document: Document
    skipped: str


class ClaimedRow(NamedTuple):
    """One document to delete, given to the engine's workers.

    ``row`` is its place in the input and its key for ``RunFile.settled``. ``document`` is its row in a listing, None if no
    listing showed it; its name is safe to show. ``in_doubt``: an attempt may have been carried out without our hearing of it
    (an earlier session crashed, or stopped before the answer came), so "not found" now means deleted. ``others`` are the rows
    of further lines with the same id, which settle together (S4), each with the target as the caller spelled it; this one is
    among them if its caller spelled it otherwise than its service.
    """

    row: int
    target: Target
    document: Document | None
    in_doubt: bool
    others: Mapping[int, Target]


class RunFile(RunSession):
    """One run's plan, journal and evidence, held by this process until it is closed; in memory if it has no path.

    Begin with ``await RunFile.create(...)`` or ``await RunFile.open(...)``, use it as an async context manager, and end with
    ``close``; leaving the block without having closed it is a session that crashed. All of it belongs to one
    event loop; every method may be called while others wait, and those that wait together share a commit.

    Every method raises RunFileError if the file cannot be written, now or earlier in this session: after such an error
    nothing more is written, so that what was acknowledged stays true. One that is given a provider that the run has not raises
    ConfigurationError.
    """

    # ------------------------------------------------------------------ the plan

    @written
    def begin_listing(self, db: sqlite3.Connection, provider: str, dataset: str, name: str = "") -> None:
        """A dataset's listing begins (anew): what was listed of it before is dropped. ``name`` is empty if it is not known."""
        key = _drop_listed(db, provider, dataset)
        db.execute(
            "UPDATE dataset SET listing = 'open', name = COALESCE(NULLIF(?, ''), name) WHERE id = ?",
            (sanitize(name), key),
        )

    @written
    def add_listed(
        self, db: sqlite3.Connection, provider: str, dataset: str, rows: Sequence[ListedRow]
    ) -> list[ListedRow]:
        """Keep rows that are not known yet, and return those; the same id again is the same document."""
        key = dataset_key(db, provider, dataset)
        new = [
            listed
            for listed in rows
            if db.execute(
                f"INSERT INTO document ({LISTED}, skipped, dataset, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (*_listed(listed.document), sanitize(listed.skipped) or None, key, pack_id(listed.document.id)),
            ).rowcount
        ]
        db.execute("UPDATE dataset SET listed = listed + ? WHERE id = ?", (len(new), key))
        return new

    @written
    def end_listing(
        self,
        db: sqlite3.Connection,
        provider: str,
        dataset: str,
        *,
        complete: bool,
        reason: str = "",
        counted: int | None = None,
    ) -> None:
        """The listing ended. If it is not complete its rows are dropped: nothing of it may be deleted (S15).

        ``counted`` is the service's own count, if the listing never shows as many.
        """
        key = dataset_key(db, provider, dataset) if complete else _drop_listed(db, provider, dataset)
        listing = "complete" if complete else "incomplete"
        db.execute(
            "UPDATE dataset SET listing = ?, reason = ?, counted = ? WHERE id = ?",
            (listing, sanitize(reason), counted, key),
        )

    @written
    def add_targets(
        self,
        db: sqlite3.Connection,
        targets: Sequence[Target],
        invalid: Mapping[int, str] | None = None,
        given: Mapping[int, Target] | None = None,
    ) -> None:
        """Keep explicit targets, every occurrence, before the first of them is claimed.

        By their place in ``targets``, from 0, ``invalid`` has those that are never sent, with why, and ``given`` those that the
        caller spelled otherwise than their service, as they were.
        """
        invalid, given = invalid or {}, given or {}
        counted = Counter(target[:2] for target in targets)  # datasets in the order in which they were named
        keys = {place: dataset_key(db, *place) for place in counted}
        db.executemany(
            "INSERT INTO document (dataset, document, invalid, given, occurrence) VALUES (?1, ?2, ?3, ?4, 1 + COALESCE("
            "(SELECT MAX(occurrence) FROM document WHERE dataset = ?1 AND document = ?2), 0))",
            [
                (
                    keys[target[:2]],
                    pack_id(target.document),
                    invalid.get(n),
                    to_json(given[n][1:]) if n in given else "",
                )
                for n, target in enumerate(targets)
            ],
        )
        db.executemany(
            "UPDATE dataset SET listed = listed + ? WHERE id = ?", [(n, keys[place]) for place, n in counted.items()]
        )

    @written
    def end_targets(self, db: sqlite3.Connection, *, complete: bool) -> dict[tuple[str, str], int]:
        """Explicit targets were given as far as they were read; ``complete``: there are no more.

        Returns how many of each dataset's repeat a document, by provider and dataset.
        """
        if complete:
            db.execute("UPDATE run SET targets = 'complete'")
        repeated = db.execute(
            f"SELECT p.name, s.dataset, COUNT(*) FROM {DOCUMENTS} WHERE d.occurrence > 1 GROUP BY s.id"
        )
        return {(provider, unpack_id(dataset)): n for provider, dataset, n in repeated}

    @written
    def describe(self, db: sqlite3.Connection, provider: str, dataset: str, documents: Sequence[Document]) -> int:
        """Keep what a listing shows of explicit targets; other documents are ignored. Returns how many were the run's."""
        key = dataset_key(db, provider, dataset)
        return sum(
            db.execute(
                f"UPDATE document SET ({LISTED}) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE dataset = ? AND document = ?",
                (*_listed(document), key, pack_id(document.id)),
            ).rowcount
            > 0
            for document in documents
        )

    @written
    def describe_plan(self, db: sqlite3.Connection, datasets: Iterable[PlannedDataset]) -> None:
        """Write into datasets of a plan what ``describe`` has kept of their targets: how many are archived, being indexed, ..."""
        account.describe_left(db, {dataset_key(db, of.provider, of.dataset): of for of in datasets})

    @written
    def record_consent(self, db: sqlite3.Connection, selected: int) -> None:
        """The guards and the user agreed to all ``selected`` documents of the run."""
        db.execute("UPDATE run SET agreed = ?", (selected,))

    @written
    def record_estimate(
        self, db: sqlite3.Connection, seconds: float | None, learned: Mapping[str, LearnedRate]
    ) -> None:
        """How long the deletes of a plan will take, in seconds, and the rates that an earlier run learned, by
        provider."""
        db.execute("UPDATE run SET estimate = ?", (to_json({"seconds": seconds, "learned": learned}),))

    @written
    def states(
        self, db: sqlite3.Connection, provider: str, dataset: str, ids: Sequence[str]
    ) -> list[DocumentState | None]:
        """What became of each document; None for one that is not in the run."""
        key = dataset_key(db, provider, dataset)
        found = [
            db.execute(
                "SELECT CASE WHEN skipped IS NULL THEN COALESCE(outcome, 'selected') ELSE 'skipped' END FROM document"
                " WHERE dataset = ? AND document = ? AND occurrence = 1",
                (key, pack_id(id)),
            ).fetchone()
            for id in ids
        ]
        return [None if row is None else row[0] for row in found]

    # ------------------------------------------------------------------ the journal

    async def pages(self, provider: str, size: int = 512) -> AsyncIterator[list[ClaimedRow]]:
        """The selected documents that have not settled, in pages of ``size``: ready ones first, those being indexed last.

        Each is claimed once a session, and is marked so on disk before it is given out: a page costs a commit. If documents are
        added after the last page, ask for pages again.
        """
        for indexing in (False, True):
            after = 0
            while page := await self._claim(provider, indexing, after, size):
                yield page
                after = page[-1].row

    @written
    def _claim(self, db: sqlite3.Connection, provider: str, indexing: bool, after: int, size: int) -> list[ClaimedRow]:
        """The next open documents behind the row ``after``, which are being indexed or are not, marked as claimed."""
        found = db.execute(
            f"SELECT d.row, place, d.document, in_doubt, given <> '' OR EXISTS (SELECT 1 FROM document o"
            f" WHERE o.dataset = d.dataset AND o.document = d.document AND o.occurrence = 2), {LISTED}"
            " FROM document d CROSS JOIN (SELECT id, dataset AS place, provider, listing FROM dataset) s"
            " ON s.id = d.dataset"
            # Nothing of a listing that is not complete may be deleted (S15).
            " WHERE row > ? AND provider = ? AND listing IN ('none', 'complete') AND indexing = ?"
            " AND occurrence = 1 AND skipped IS NULL AND outcome IS NULL AND claimed IS NOT ? ORDER BY row LIMIT ?",
            (after, provider_key(db, provider), indexing, self.session, size),
        ).fetchall()
        db.executemany("UPDATE document SET claimed = ? WHERE row = ?", [(self.session, row[0]) for row in found])
        rows = []
        for row, dataset, id, in_doubt, several, name, created_at, status, *words in found:
            target, document = Target(provider, unpack_id(dataset), unpack_id(id)), None
            if status is not None:
                document = Document(target.document, name, created_at, status, *map(bool, words))
            others = _others(db, row, target) if several else {}
            rows.append(ClaimedRow(row, target, document, bool(in_doubt), others))
        return rows

    @written
    def settled(self, db: sqlite3.Connection, batch: Sequence[tuple[int, Settled]]) -> None:
        """Write down how documents ended, each at the row it was claimed with; returns when it is on disk.

        ``not_attempted`` is no ending on disk: the document stays open, and if attempts were spent on it that is kept.
        The same ending again is ignored.

        :raises BrokenPromise: if a document has ended otherwise before (S9), was skipped, or is not at that row
        """
        ended, left = [], []
        for row, (target, outcome, reason, attempts, name, settled_at) in batch:
            if outcome != "not_attempted":
                words = sanitize(reason) if reason else ""
                ended.append((outcome, words, attempts, settled_at, sanitize(name), row, pack_id(target.document)))
            elif attempts:
                left.append((MAY_BE_GONE in reason, sanitize(reason), attempts, row))
        written = db.executemany(
            "UPDATE document SET outcome = ?, reason = ?, attempts = ?, settled_at = ?,"
            " name = CASE name WHEN '' THEN ? ELSE name END"
            " WHERE row = ? AND (document = ? OR given <> '') AND skipped IS NULL AND outcome IS NULL",
            ended,
        ).rowcount
        if written < len(batch):
            _check_endings(db, batch)
        # What was not attempted stays open. What was asked for and not refused may have been carried out.
        db.executemany("UPDATE document SET in_doubt = in_doubt OR ?, reason = ?, attempts = ? WHERE row = ?", left)

    @written
    def retry_rejected(self, db: sqlite3.Connection) -> int:
        """Open again everything that was rejected, because the user asks for it; how many documents.

        A terminal status never changes by itself (S9): the ending that each had stays in the file's history, with the session
        that was asked to try again, and what comes now is a second ending of a second ask. Fulfilled ones are never opened.
        """
        rejected = "outcome NOT IN ('deleted', 'already_gone')"
        db.execute(
            f"INSERT INTO history SELECT row, ?, outcome, reason, attempts, settled_at FROM document WHERE {rejected}",
            (self.session,),
        )
        (opened,) = db.execute(f"SELECT COUNT(*) FROM document WHERE {rejected} AND occurrence = 1").fetchone()
        # An answer that was given up may still have been carried out; every other rejection was an answer.
        db.execute(
            "UPDATE document SET in_doubt = outcome = 'gave_up', claimed = NULL, outcome = NULL, reason = '', attempts = 0,"
            f" settled_at = NULL WHERE {rejected}"
        )
        db.execute("UPDATE session SET retried = retried + ? WHERE id = ?", (opened, self.session))
        db.execute("UPDATE dataset SET status = '', reason = '' WHERE status <> 'complete'")
        return int(opened)

    @written
    def count_in_doubt(self, db: sqlite3.Connection, *, clean: bool) -> dict[tuple[str, str], int]:
        """How many documents of each dataset have not settled and may be gone all the same, by provider and dataset;
        ``clean`` as for ``close``."""
        return account.count_in_doubt(db, self.session if clean else None)

    @written
    def end_dataset(self, db: sqlite3.Connection, report: DatasetReport) -> None:
        """How a dataset came out, and what its verification showed if there was one."""
        key = dataset_key(db, report.provider, report.dataset)
        db.execute(
            "UPDATE dataset SET status = ?, reason = ? WHERE id = ?", (report.status, sanitize(report.reason), key)
        )
        if report.remaining is not None:
            db.execute(
                "INSERT INTO verification (dataset, verified_at, remaining, new_count, still_there_count, new, still_there)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, time.time(), report.remaining, report.new_count, report.still_there_count,
                 _names(report.new), _names(report.still_there)),
            )  # fmt: skip

    # ------------------------------------------------------------------ what it cost

    @written
    def record_costs(self, db: sqlite3.Connection, providers: Mapping[str, ProviderAccount]) -> None:
        """What each provider cost, over all sessions, in the place of what was written down before."""
        for name, cost in providers.items():
            db.execute("UPDATE provider SET cost = ? WHERE id = ?", (to_json(cost), provider_key(db, name)))

    @written
    def add_samples(self, db: sqlite3.Connection, provider: str, samples: Sequence[Sample]) -> None:
        """How one provider's part of this session went, stretch by stretch; once, when it ends."""
        values = (self.session, provider_key(db, provider), to_json(samples))
        db.execute("INSERT INTO timeline VALUES (?, ?, ?)", values)


def _drop_listed(db: sqlite3.Connection, provider: str, dataset: str) -> int:
    """Drop what was listed of the dataset, whose key is returned."""
    key = dataset_key(db, provider, dataset)
    db.execute("DELETE FROM document WHERE dataset = ?", (key,))
    db.execute("UPDATE dataset SET listed = 0 WHERE id = ?", (key,))
    return key


def _listed(document: Document) -> tuple[object, ...]:
    """The values of ``LISTED``."""
    d = document
    return sanitize(d.name), d.created_at, sanitize(d.status), d.indexing, d.ready, d.archived, d.enabled, d.synced


def _others(db: sqlite3.Connection, row: int, target: Target) -> dict[int, Target]:
    """``ClaimedRow.others`` of the first row with an id."""
    found = db.execute(
        "SELECT o.row, o.given FROM document d JOIN document o ON o.dataset = d.dataset AND o.document = d.document"
        " WHERE d.row = ? AND (o.row <> d.row OR o.given <> '') ORDER BY o.row",
        (row,),
    )
    return {n: given_target(target, given) for n, given in found}


def _check_endings(db: sqlite3.Connection, batch: Iterable[tuple[int, Settled]]) -> None:
    """Make sure that each row says now what it was said to say."""
    for row, settled in batch:
        found = db.execute(
            "SELECT outcome FROM document WHERE row = ? AND (document = ? OR given <> '') AND skipped IS NULL",
            (row, pack_id(settled.target.document)),
        ).fetchone()
        if found is None:
            raise BrokenPromise(f"something settled that was not selected: row {row}")
        before = found[0] or "not_attempted"
        if before != settled.outcome:
            raise BrokenPromise(
                f"a document that has settled as {before} cannot settle again as {settled.outcome}: row {row}"
            )


def _names(names: Iterable[str]) -> str:
    return json.dumps([sanitize(name) for name in list(names)[:20]])
