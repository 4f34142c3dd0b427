"""What a run file adds up to: the account of what became of its documents, and the plan of what is left of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkdel.model import RunStatus
from bulkdel.plan import LearnedRate, Plan, PlannedDataset
from bulkdel.report import Account, DatasetReport, ProviderAccount
from bulkdel.store.database import damaged
from bulkdel.store.header import DATASETS, DOCUMENTS, EVERY_DOCUMENT, from_json, unpack_id


def read_account(db: sqlite3.Connection, path: str, *, running: bool, own: int | None) -> Account:
    """Everything that is counted of a run; raises SQLite's errors. What has not settled counts as not attempted.

    ``running``: its last session goes on, so it is not yet to have written down how its datasets ended and what it cost.
    ``own`` is a session that is left out.

    :raises RunFileError: if the rows are not as many as were written
    :raises BrokenPromise: if the counts do not conserve (S21)
    """
    account = Account()
    account.input_truncated = db.execute("SELECT targets = 'open' FROM run").fetchone() == (1,)
    reports = _read_datasets(db, account)
    _count_documents(db, account, reports)
    sessions = db.execute(
        "SELECT id, act, status, elapsed_s FROM session WHERE id IS NOT ? ORDER BY id", (own,)
    ).fetchall()
    for place, n in count_in_doubt(db, sessions[-1][0] if running else None).items():
        account.datasets[place].in_doubt = n
    for key, remaining, new_count, new, still_there_count, still_there in db.execute(
        "SELECT dataset, remaining, new_count, new, still_there_count, still_there FROM verification ORDER BY id"
    ):
        report = reports[key]
        report.remaining, report.new_count, report.still_there_count = remaining, new_count, still_there_count
        report.new, report.still_there = tuple(json.loads(new)), tuple(json.loads(still_there))
    _, act, ended, _ = next(session for session in reversed(sessions) if session[1] != "verify")
    for key, listing, listed in db.execute("SELECT id, listing, listed FROM dataset"):
        report = reports[key]
        if report.counts.listed != listed:
            raise damaged(path, f"{listed} documents were listed, and {report.counts.listed} are there")
        report.counts.check(f"dataset {report.dataset}")
        if listing == "open" or (listing == "none" and account.input_truncated):
            report.reason = report.reason or _why_truncated(report, listing, running)
        report.status = _status(report, planned=act == "plan" and listing in ("complete", "none"), last=ended)
    for name, cost in db.execute("SELECT name, cost FROM provider ORDER BY id"):
        account.providers[name] = from_json(ProviderAccount, cost, path, f"provider.{name}.cost")
    account.elapsed_s = sum(elapsed_s or 0.0 for *_, elapsed_s in sessions)
    # A session writes down what it cost when it ends; one that is at work is about to.
    account.uncounted_sessions = sum(status is None for _, _, status, _ in sessions) - running
    return account


@dataclass(frozen=True)
class _Estimate:
    """What ``RunFile.record_estimate`` wrote."""

    seconds: float | None = None
    learned: dict[str, LearnedRate] = field(default_factory=dict)


def read_plan(db: sqlite3.Connection, path: str, account: Account) -> Plan:
    """What is left to delete of a run, whose ``account`` was just read; raises SQLite's errors."""
    planned = {
        key: PlannedDataset(
            provider=d.provider,
            dataset=d.dataset,
            name=d.name,
            listed=d.counts.not_attempted + d.counts.skipped,
            selected=d.counts.not_attempted,
            skipped=dict(d.skipped_reasons),
            explicit=listing == "none",
            stopped=d.reason if d.status == "stopped" else "",
            counted=counted,
        )
        for (key, listing, counted), d in zip(
            db.execute("SELECT id, listing, counted FROM dataset ORDER BY id"), account.datasets.values(), strict=True
        )
    }
    describe_left(db, planned)
    plan = Plan(list(planned.values()))
    if all(d.counts.not_attempted == d.counts.selected for d in account.datasets.values()):
        (text,) = db.execute("SELECT estimate FROM run").fetchone()
        estimate = from_json(_Estimate, text, path, "estimate")
        plan.seconds, plan.learned = estimate.seconds, estimate.learned
    return plan


def describe_left(db: sqlite3.Connection, planned: Mapping[int, PlannedDataset]) -> None:
    """Write into datasets of a plan, by their keys, what is left of them beyond how many documents."""
    left = f"FROM {EVERY_DOCUMENT} WHERE skipped IS NULL AND outcome IS NULL"
    for key, archived, indexing, synced, repeated, oldest, newest in db.execute(
        "SELECT dataset, SUM(archived), SUM(indexing), SUM(synced), SUM(occurrence > 1), MIN(created_at), MAX(created_at)"
        f" {left} GROUP BY dataset"
    ):
        if (one := planned.get(key)) is not None:
            one.archived, one.indexing, one.synced, one.repeated = archived, indexing, synced, repeated
            one.oldest, one.newest = oldest, newest
    for key, n, id, why, _ in db.execute(  # of each group SQLite shows the row that has the MIN()
        f"SELECT dataset, COUNT(*), document, invalid, MIN(row) {left} AND invalid IS NOT NULL GROUP BY dataset"
    ):
        if (one := planned.get(key)) is not None:
            one.invalid, one.first_invalid = n, f"{unpack_id(id)} ({why})"
    for key, newest in db.execute(
        "SELECT s.id, MAX(d.created_at) FROM dataset s JOIN document d ON d.dataset = s.id"
        " WHERE s.counted IS NOT NULL GROUP BY s.id"
    ):
        if (one := planned.get(key)) is not None:
            one.newest = newest  # what is newer than all that was seen came later


def count_in_doubt(db: sqlite3.Connection, but: int | None) -> dict[tuple[str, str], int]:
    """How many documents of each dataset may be gone without our knowing; ``but`` is a session that left no doubt."""
    found = db.execute(
        f"SELECT p.name, s.dataset, COUNT(*) FROM {DOCUMENTS} WHERE d.outcome IS NULL AND d.skipped IS NULL"
        " AND (d.in_doubt OR d.claimed IN (SELECT id FROM session WHERE clean = 0 AND id IS NOT ?)) GROUP BY s.id",
        (but,),
    )
    return {(provider, unpack_id(dataset)): n for provider, dataset, n in found}


def _read_datasets(db: sqlite3.Connection, account: Account) -> dict[int, DatasetReport]:
    """Each dataset of the run with its own words, by its key."""
    reports = {}
    for key, provider, dataset, name, status, reason in db.execute(
        f"SELECT s.id, p.name, s.dataset, s.name, s.status, s.reason FROM {DATASETS} ORDER BY s.id"
    ):
        report = reports[key] = account.dataset(provider, unpack_id(dataset))
        report.name, report.status, report.reason = name, status or "incomplete", reason
    return reports


def _count_documents(db: sqlite3.Connection, account: Account, reports: dict[int, DatasetReport]) -> None:
    for key, skipped, outcome, n, repeated in db.execute(
        f"SELECT dataset, skipped, outcome, COUNT(*), SUM(occurrence > 1) FROM {EVERY_DOCUMENT}"
        " GROUP BY dataset, skipped, outcome"
    ):
        report = reports[key]
        report.repeated += repeated
        report.counts.select(n, 0 if skipped is not None else n)
        if skipped is None:
            account.settle(report.counts, outcome or "not_attempted", n)
        else:
            report.skipped_reasons[skipped] = report.skipped_reasons.get(skipped, 0) + n


def _why_truncated(report: DatasetReport, listing: str, running: bool) -> str:
    """Why there may be more documents than the run holds."""
    if listing == "none":
        how = "is being read" if running else "was not read to its end"
        return f"the list of targets {how}: there may be more of them"
    if report.counts.listed:
        how = "is not at its end yet" if running else "was broken off"
        return f"its listing {how}: there may be more documents than these {report.counts.listed}"
    return "not listed yet" if running else "not listed: the run ended before that"


def _status(report: DatasetReport, *, planned: bool, last: str | None) -> RunStatus:
    """A dataset's word, if the last session (``last`` is its word) left it unsaid."""
    if report.status == "complete" and report.counts.rejected:
        return "incomplete"  # whichever session rejected it
    if report.status == "incomplete" and planned:
        return "complete"  # a plan is, once it is listed; its endings come with the session that resumes it
    if report.status == "incomplete" and last == "refused" and not report.reason and not report.counts.rejected:
        return "refused"  # all of it is still to go, for that one reason
    return report.status
