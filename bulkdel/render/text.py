"""A run's account for people, line by line in flat memory: a summary, each dataset, everything rejected, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from bulkdel.model import FULFILLED, Outcome, Selection, Settled
from bulkdel.purging.recorded import recorded_report, unread
from bulkdel.render.overview import STATES, name_of, offered, unfinished_plan
from bulkdel.render.planned import describe, forecast
from bulkdel.render.summary import ADVICE, costs, counted, dataset_lines, headline, spent, unverified, without_answer
from bulkdel.render.words import clock, day, spoken
from bulkdel.report import Report
from bulkdel.store import PlannedRow, Run, Session
from bulkdel.text import many, safe, title


def text(run: Run) -> Iterator[str]:
    """The whole report, a line at a time."""
    for line in lines(run):
        yield line + "\n"


def lines(run: Run) -> Iterator[str]:
    """A plan is shown for review: what would be deleted and what not, and why; everything else by what became of it."""
    state, report = run.state, recorded_report(run)
    yield f"Run {safe(name_of(run.path))}: {STATES[state]}"
    yield from asked(run)
    yield ""
    if state == "planned":
        plan, policy = run.plan(), run.header.policy
        would = forecast(plan, policy, selected=report.selected, listed=report.listed)
        yield f"Planned, nothing was deleted: {would}"
        yield from describe(plan, policy, shown=None)
        yield from _for_review(run)
    else:
        yield told(run, report)
        for dataset in report.datasets:
            yield ""
            yield title(dataset.provider, dataset.dataset, dataset.name)
            for words in dataset_lines(dataset, named=None):
                yield f"  {words}"
        yield from _rejected(run, report)
        yield from _left(run, report)
        yield ""
        yield from without_answer(run.answers_lost())
        yield from unverified(report)
        yield costs(report)
        yield from spent(report)
    yield from _end(run)


def told(run: Run, report: Report) -> str:
    """What became of the run in one line, also of one that still goes or that was killed."""
    state = run.state
    all_of = f"at least {report.selected}" if unread(run) else str(report.selected)
    if state == "running":
        return f"Still running: {counted(report)} of {all_of} so far"
    if state == "crashed":
        return f"Crashed (it was killed, or the power failed): {counted(report)} of {all_of}"
    return headline(report)


def asked(run: Run) -> Iterator[str]:
    """What was asked, where, with which key, and who worked on it."""
    header = run.header
    what = {"purge": "purge datasets", "delete": "delete targets from a list", "plan": "plan a purge", "job": "a job"}
    yield f"  file: {run.path}"
    yield f"  asked: {what.get(header.act, safe(header.act))}, {clock(header.created_at or 0.0)}, bulkdel {safe(header.version)}"
    for p in header.providers:
        limit = "no known limit" if p.limits.rate is None else f"at most {p.limits.rate}"
        kind = "" if p.name == p.kind else f" ({p.kind})"
        yield f"  provider: {safe(p.name)}{kind} at {safe(p.base_url)}, {limit}, key fingerprint {p.fingerprint}"
    chosen = _chosen(header.selection)
    if chosen:
        yield f"  selected: {chosen}"
    for session in run.sessions():
        yield f"  session {session.id}: {_session(session)}"


def _chosen(selection: Selection) -> str:
    parts = []
    if selection.names:
        parts.append(f"name like {' or '.join(safe(name, 60) for name in selection.names)}")
    if selection.created_before is not None:
        parts.append(f"created before {clock(selection.created_before)}")
    if selection.statuses:
        parts.append(f"status {' or '.join(safe(status, 60) for status in selection.statuses)}")
    return ", ".join(parts)


def _session(session: Session) -> str:
    began = f"{safe(session.act)}, begun {clock(session.started_at)}"
    retried = f", asked again for {many(session.retried, 'rejected document')}" if session.retried else ""
    if session.ended_at is None:
        return f"{began}{retried}, no end on record"
    if session.status is None:
        return f"{began}{retried}, broken off ({safe(session.reason) or 'without a reason'})"
    took = "" if session.elapsed_s is None else f" after {spoken(session.elapsed_s)}"
    return f"{began}{retried}, {session.status}{took} (exit status {session.exit_status})"


def _for_review(run: Run) -> Iterator[str]:
    """Everything that was listed: first what would be deleted, then what would not, and why."""
    several = len(run.listings()) > 1
    for heading in ("To delete:", "Never sent, and rejected:", "Left alone:"):
        first = True
        for row in run.listed():
            if _under(row) != heading:
                continue
            if first:
                yield ""
                yield heading
                first = False
            why = row.why_not or row.invalid
            yield f"  {_planned(row, several)}{f': {safe(why)}' if why else ''}"


def _under(row: PlannedRow) -> str:
    if row.why_not:
        return "Left alone:"
    return "Never sent, and rejected:" if row.invalid else "To delete:"


def _planned(row: PlannedRow, several: bool) -> str:
    marks = [f"created {day(row.created_at)}"] if row.created_at is not None else []
    marks += [word for word, so in (("archived", row.archived), ("still being indexed", row.indexing)) if so]
    known = f" ({safe(row.name, 120)})" if row.name else ""
    return f"{_place(row.target.dataset, row.target.document, several)}{known}{', ' if marks else ''}{', '.join(marks)}"


def _place(dataset: str, document: str, several: bool) -> str:
    return f"{safe(dataset)} / {safe(document)}" if several else safe(document)


def _rejected(run: Run, report: Report) -> Iterator[str]:
    several = len(report.datasets) > 1
    outcomes: list[Outcome] = [o for o in get_args(Outcome) if o not in FULFILLED and report.reasons.get(o)]
    for outcome in outcomes:
        if outcome == "not_attempted":
            continue
        yield ""
        yield f"{report.reasons[outcome]} {outcome.replace('_', ' ')}: {ADVICE[outcome]}"
        for settled in run.settled([outcome]):
            yield f"  {_ending(settled, several)}: {safe(settled.reason) or 'no reason given'}"
    first = True
    for settled, session in run.earlier_endings():
        if first:
            yield ""
            yield "Asked again on request, after it had been rejected:"
            first = False
        why = safe(settled.reason) or settled.outcome.replace("_", " ")
        yield f"  {_ending(settled, several)}: {why}; again in session {session}"


def _left(run: Run, report: Report) -> Iterator[str]:
    if not report.not_attempted:
        return
    several = len(report.datasets) > 1
    yield ""
    over = report.status == "refused" and not offered(run)
    yield f"{report.not_attempted} not attempted, {'for the run was refused' if over else 'so they are still to go'}:"
    for settled in run.not_attempted():
        why = f": {safe(settled.reason)}" if settled.reason else ""
        yield f"  {_ending(settled, several)}{why}"


def _ending(settled: Settled, several: bool) -> str:
    known = f" ({safe(settled.name, 120)})" if settled.name else ""
    return f"{_place(settled.target.dataset, settled.target.document, several)}{known}"


def _end(run: Run) -> Iterator[str]:
    if unfinished_plan(run):
        yield ""
        yield "The plan did not come to its end, so there is nothing to carry out: make it again."
    elif offered(run):
        yield ""
        yield "This goes on with the rest: bulkdel resume RUN, with this run's name or file"
    yield ""
    yield f"digest: sha256:{run.digest()}"
