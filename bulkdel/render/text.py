"""``bulkdel report`` as text, out of a run file: what was asked, then ``wording.py``'s lines with every document that is not gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bulkdel.model import Outcome, PurgeRequest, Selection, Settled
from bulkdel.render.overview import needed_to_resume, run_name
from bulkdel.render.plan import describe, forecast
from bulkdel.render.wording import account, costs, counted, headline
from bulkdel.report import Report
from bulkdel.store import PlannedRow, Run, Session
from bulkdel.store.recorded import recorded_report
from bulkdel.text import document_title, format_day, format_duration, format_time, pluralize, sanitize, show_invisible


def lines(run: Run) -> Iterator[str]:
    """A plan is shown for review: what would be deleted and what not, and why; everything else by what became of it."""
    report = recorded_report(run)
    several = len(report.datasets) > 1
    yield f"Run {sanitize(run_name(run.path))}: {run.state}"
    yield from asked(run)
    yield ""
    if run.state == "planned":
        yield result(run, report)
        yield from describe(run.plan(), run.header.policy, shown=None)
        # Everything that was listed: first what would be deleted, then what would not, and why.
        to_delete = (row for row in run.listed() if not (row.why_not or row.invalid))
        yield from _under("To delete:", (_planned(row, several) for row in to_delete))
        never_sent = (row for row in run.listed() if row.invalid and not row.why_not)
        yield from _under("Never sent, and rejected:", (_planned(row, several) for row in never_sent))
        yield from _skipped(run, several)
    else:
        yield from _account(run, report, several)
    if run.unfinished_plan:
        yield from ("", "The plan did not come to its end, so there is nothing to carry out: make it again.")
    elif run.resumable:
        command = " ".join(["bulkdel resume RUN", *needed_to_resume(run)])
        yield from ("", f"This goes on with the rest: {command}, with this run's name or file")
    yield from ("", f"digest: sha256:{run.digest()}")


def _account(run: Run, report: Report, several: bool) -> Iterator[str]:
    """What became of the documents, each that is not gone by name, and what it took."""

    def named(settled: Settled, why: str) -> str:
        return f"{_document(settled, several)}: {sanitize(settled.reason) or why}"

    def endings(outcome: Outcome) -> Iterator[str]:
        return (named(settled, "no reason given") for settled in run.settled([outcome]))

    yield from account(report, endings, result=result(run, report), named=None, without=("not_attempted",))
    again = (f"{named(old, old.outcome.replace('_', ' '))}; again in session {n}" for old, n in run.earlier_endings())
    yield from _under("Asked again on request, after it had been rejected:", again)
    if report.not_attempted:
        over = report.status == "refused" and not run.resumable
        why = "for the run was refused" if over else "so they are still to go"
        left = (named(one, "") if one.reason else _document(one, several) for one in run.not_attempted())
        yield from _under(f"{report.not_attempted} not attempted, {why}:", left)
    yield from _skipped(run, several)
    yield ""
    yield from costs(report, run.answers_lost())


def _skipped(run: Run, several: bool) -> Iterator[str]:
    return _under("Skipped:", (_planned(row, several) for row in run.listed() if row.why_not))


def result(run: Run, report: Report) -> str:
    """What became of the run in one line, also of a plan, of one that still runs and of one that was killed."""
    total = f"at least {report.selected}" if run.input_truncated else str(report.selected)
    match run.state:
        case "planned":
            return f"Planned, nothing was deleted: {forecast(run.plan().datasets, run.header.policy)}"
        case "running":
            return f"Still running: {counted(report)} of {total} so far"
        case "crashed":
            return f"Crashed (it was killed, or the power failed): {counted(report)} of {total}"
        case _:
            return headline(report)


def asked(run: Run) -> Iterator[str]:
    """What was asked, at which service, with which key, and each process that worked on it."""
    header = run.header
    what = {"purge": "purge datasets", "delete": "delete targets from a list", "plan": "plan a purge", "job": "a job"}
    created = format_time(header.created_at or 0.0)
    yield f"  file: {run.path}"
    yield f"  asked: {what.get(header.act, sanitize(header.act))}, {created}, bulkdel {sanitize(header.version)}"
    for p in header.providers:
        limit = "no known limit" if p.limits.rate is None else f"at most {p.limits.rate}"
        kind = "" if p.name == p.kind else f" ({p.kind})"
        yield f"  provider: {sanitize(p.name)}{kind} at {sanitize(p.base_url)}, {limit}, key fingerprint {p.fingerprint}"
    for selected in _selected(header.datasets):
        yield f"  selected: {selected}"
    for session in run.sessions():
        yield f"  session {session.id}: {_session(session)}"


def _selected(datasets: Sequence[PurgeRequest]) -> Iterator[str]:
    """What was selected; if not the same in all datasets, each selection and where it holds."""
    places: dict[Selection, list[str]] = {}
    for asked_for in datasets:
        places.setdefault(asked_for.select, []).append(show_invisible(asked_for.dataset))
    for selection, where in places.items():
        if len(places) > 1:
            more = f" and {len(where) - 3} more" if len(where) > 3 else ""
            yield f"{str(selection) or 'all'} (of {', '.join(where[:3])}{more})"
        elif words := str(selection):
            yield words


def _session(session: Session) -> str:
    began = f"{sanitize(session.act)}, begun {format_time(session.started_at)}"
    if session.retried:
        began += f", asked again for {pluralize(session.retried, 'rejected document')}"
    if session.ended_at is None:
        return f"{began}, no end on record"
    if session.status is None:
        return f"{began}, broken off ({sanitize(session.reason) or 'without a reason'})"
    took = "" if session.elapsed_s is None else f" after {format_duration(session.elapsed_s)}"
    return f"{began}, {session.status}{took} (exit status {session.exit_status})"


def _under(heading: str, items: Iterable[str]) -> Iterator[str]:
    """``items`` under a heading; nothing at all if there are none."""
    for place, item in enumerate(items):
        if place == 0:
            yield from ("", heading)
        yield f"  {item}"


def _planned(row: PlannedRow, several: bool) -> str:
    marks = [_document(row, several)]
    marks += [f"created {format_day(row.created_at)}"] if row.created_at is not None else []
    marks += ["archived"] if row.archived else []
    marks += ["still being indexed"] if row.indexing else []
    why = row.why_not or row.invalid
    return ", ".join(marks) + (f": {sanitize(why)}" if why else "")


def _document(found: Settled | PlannedRow, several: bool) -> str:
    """A document, with its dataset if the run has several."""
    place = f"{show_invisible(found.target.dataset)} / " if several else ""
    return f"{place}{document_title(found.target.document, found.name, 120)}"
