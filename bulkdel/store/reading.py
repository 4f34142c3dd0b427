"""What a run file says as a whole: what was asked, and the account, for those that read it and for the one that writes it."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from bulkdel.model import Limits, Outcome, Policy, RunStatus, Selection
from bulkdel.report import Account, DatasetReport
from bulkdel.store.database import damaged
from bulkdel.store.journal import count_in_doubt
from bulkdel.store.records import AskedDataset, ProviderHeader, RunHeader, from_json, unpack_id


def read_header(db: sqlite3.Connection, path: str) -> RunHeader:
    """What was asked, out of the tables; raises SQLite's errors.

    :raises RunFileError: if what is there is no header
    """
    run = db.execute("SELECT act, version, created_at, policy, selection, more, targets FROM run").fetchone()
    if run is None:
        raise damaged(path, "what was asked is missing")
    act, version, created_at, policy, selection, more, targets = run
    providers = db.execute("SELECT name, kind, base_url, limits, fingerprint FROM provider ORDER BY id").fetchall()
    datasets = db.execute(
        "SELECT p.name, s.dataset, s.selection FROM dataset s JOIN provider p ON p.id = s.provider"
        " WHERE s.listing <> 'none' ORDER BY s.id"
    ).fetchall()
    return RunHeader(
        act=act,
        providers=tuple(
            ProviderHeader(
                name, kind, base_url, from_json(Limits, limits, path, f"provider.{name}.limits"), fingerprint
            )
            for name, kind, base_url, limits, fingerprint in providers
        ),
        version=version,
        policy=from_json(Policy, policy, path, "policy"),
        selection=from_json(Selection, selection, path, "selection"),
        datasets=tuple(
            AskedDataset(
                provider,
                unpack_id(dataset),
                None if own is None else from_json(Selection, own, path, f"dataset.{unpack_id(dataset)}.selection"),
            )
            for provider, dataset, own in datasets
        ),
        targets=targets != "none",
        created_at=created_at,
        more=from_json(dict[str, Any], more, path, "more"),
    )


def read_account(db: sqlite3.Connection, path: str, *, running: bool) -> Account:
    """A run's account, counted from its rows; raises SQLite's errors. What has not settled counts as not attempted.

    ``running``: its last session goes on, so it is not yet to have written down how its datasets ended and what it cost.

    :raises RunFileError: if the rows are not as many as were written
    :raises BrokenPromise: if the counts do not conserve (S21)
    """
    account = Account()
    by_key: dict[int, tuple[DatasetReport, str]] = {}
    expected: dict[int, int] = {}
    for key, provider, dataset, name, status, reason, listing, listed in db.execute(
        "SELECT s.id, p.name, s.dataset, s.name, s.status, s.reason, s.listing, s.listed"
        " FROM dataset s JOIN provider p ON p.id = s.provider ORDER BY s.id"
    ):
        report = account.dataset(provider, unpack_id(dataset))
        report.name, report.status, report.reason = name, status or "incomplete", reason
        by_key[key], expected[key] = (report, listing), listed
    # NOT INDEXED: by the index of ids a million documents take 4 s (each is looked up), by row 0.6 s.
    for key, skipped, outcome, n, repeated in db.execute(
        "SELECT dataset, skipped, outcome, COUNT(*), SUM(occurrence > 1) FROM document NOT INDEXED"
        " GROUP BY dataset, skipped, outcome"
    ):
        _count(account, by_key[key][0], skipped, outcome, n)
        by_key[key][0].repeated += repeated
    (last,) = db.execute("SELECT MAX(id) FROM session").fetchone()
    for place, n in count_in_doubt(db, but=last if running else None).items():
        account.datasets[place].in_doubt = n
    for key, remaining, new_count, new, still_there_count, still_there in db.execute(
        "SELECT dataset, remaining, new_count, new, still_there_count, still_there FROM verification ORDER BY id"
    ):
        report, _ = by_key[key]
        report.remaining, report.new_count, report.still_there_count = remaining, new_count, still_there_count
        report.new, report.still_there = tuple(json.loads(new)), tuple(json.loads(still_there))
    act, ended = db.execute(
        "SELECT act, status FROM session WHERE act <> 'verify' OR status IS NOT NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    account.input_truncated = bool(db.execute("SELECT 1 FROM run WHERE targets = 'open'").fetchall())
    for key, (report, listing) in by_key.items():
        if report.counts.listed != expected[key]:
            raise damaged(path, f"{expected[key]} documents were listed, and {report.counts.listed} are there")
        report.counts.check(f"dataset {report.dataset}")
        truncated = listing == "open" or (listing == "none" and account.input_truncated)
        report.reason = report.reason or (_why_truncated(report, listing, running) if truncated else "")
        report.status = _status(report, planned=act == "plan" and listing in ("complete", "none"), last=ended)
    _read_costs(db, account, running)
    return account


def _count(account: Account, report: DatasetReport, skipped: str | None, outcome: Outcome | None, n: int) -> None:
    """Count ``n`` documents of one dataset that came to the same."""
    report.counts.listed += n
    if skipped is not None:
        report.counts.skipped += n
        report.skipped_reasons[skipped] = report.skipped_reasons.get(skipped, 0) + n
    else:
        report.counts.selected += n
        account.settle(report.counts, outcome or "not_attempted", n)


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


def _read_costs(db: sqlite3.Connection, account: Account, running: bool) -> None:
    for (name,) in db.execute("SELECT name FROM provider ORDER BY id"):
        account.provider(name)
    for name, what, cause, n in db.execute(
        "SELECT p.name, c.what, c.cause, c.n FROM cost c JOIN provider p ON p.id = c.provider"
    ):
        provider = account.provider(name)
        match what:
            case "requests":
                provider.requests = int(n)
            case "pauses":
                provider.pauses = int(n)
            case "requeued":
                provider.requeued[cause] = int(n)
            case _:
                provider.waited_s[cause] = n
    account.elapsed_s, broken_off = db.execute(
        "SELECT COALESCE(SUM(elapsed_s), 0.0), SUM(status IS NULL) FROM session"
    ).fetchone()
    # A session writes down what it cost when it ends; one that is at work is about to.
    account.uncounted_sessions = broken_off - running
