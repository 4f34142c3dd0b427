"""A run's report as one HTML page: its template filled, its data embedded as JSON, its policy a hash of what may run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import resources
from itertools import chain, islice, starmap

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from bulkdel.model import Settled
from bulkdel.render.data import endings
from bulkdel.render.html.figures import COLORS, figures, timelines
from bulkdel.render.overview import needed_to_resume, run_name
from bulkdel.render.plan import describe
from bulkdel.render.text import asked, result
from bulkdel.render.wording import CAUSES, costs, dataset_lines, not_gone
from bulkdel.report import Report
from bulkdel.store import PlannedRow, Run
from bulkdel.store.recorded import recorded_report
from bulkdel.text import NAME, format_duration, pluralize, sanitize, show_invisible, title

Row = tuple[int, str, str, str, str, int, int | None]
"""Dataset (its place), document, name, outcome, reason, attempts, when (Unix milliseconds)."""


def page(run: Run, *, most: int = 100_000) -> Iterator[str]:
    """The page, in pieces; memory is flat.

    :param most: rows of each list that are embedded: 100,000 are about 15 MB, which a browser opens in a second or two
    """
    report, planned = recorded_report(run), run.state == "planned"
    folder = resources.files("bulkdel.render.html")
    style, script = (folder.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    yield from _template().generate(
        policy=_content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        name=sanitize(run_name(run.path)),
        page_title=_page_title(run, report),
        state=run.state,
        headline=result(run, report),
        facts=[line.strip().partition(": ")[::2] for line in asked(run)],
        plan=[line.strip() for line in describe(run.plan(), run.header.policy, shown=None)] if planned else [],
        counts=[(f.name.replace("_", " "), getattr(report.counts, f.name)) for f in fields(report.counts)],
        report=report,
        costs=costs(report, run.answers_lost()),
        reasons=[] if planned else list(_reasons(run, report)),
        timelines=[(timeline, list(figures(timeline))) for timeline in timelines(run)],
        causes=CAUSES,
        colors=COLORS,
        datasets=[(title(d.provider, d.dataset, d.name), d, dataset_lines(d, named=None)) for d in report.datasets],
        places=[[d.provider, show_invisible(d.dataset), sanitize(d.name)] for d in report.datasets],
        lists=_lists(run, report, most),
        most=most,
        resumable=run.resumable,
        needed=needed_to_resume(run),
        digest=run.digest(),
    )


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("bulkdel.render.html", ""), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "duration": format_duration, "number": "{:,}".format, "sanitize": sanitize, "whole_options": _whole_options,
    }  # fmt: skip
    return environment.get_template("report.html.jinja")


def _page_title(run: Run, report: Report) -> str:
    """What the page is of, for tabs, bookmarks and printed pages: what was done, where, how it ended, which run."""
    if len(report.datasets) == 1:
        (one,) = report.datasets
        where = f"{sanitize(one.name, NAME) or show_invisible(one.dataset, NAME)} ({sanitize(one.provider, NAME)})"
    else:
        providers = ", ".join(sanitize(p.name, NAME) for p in run.header.providers)
        where = f"{pluralize(len(report.datasets), 'dataset')} ({sanitize(providers, NAME)})"
    gone = f"{report.deleted + report.already_gone:,} of {report.selected:,} gone"
    counted = f"{report.selected:,} selected" if run.state == "planned" else gone
    what = {"purge": "purge of", "delete": "deletes in", "plan": "plan for", "job": "job on"}
    act = what.get(run.header.act, sanitize(run.header.act))
    return f"{act} {where}: {run.state}, {counted}, run {sanitize(run_name(run.path), NAME)}"


def _reasons(run: Run, report: Report) -> Iterator[tuple[str, int, str, Settled | None]]:
    """Each way of not being deleted: its name, how often, what to do about it, and one example."""
    for outcome, n, what_to_do in not_gone(report):
        some = run.not_attempted() if outcome == "not_attempted" else run.settled([outcome])
        yield outcome.replace("_", " "), n, what_to_do, next(some, None)


def _lists(run: Run, report: Report, most: int) -> Iterator[tuple[str, str, int, Iterator[Row]]]:
    """The searchable tables: what each is called in the page and by its heading, how many rows it has, and the first ``most``."""
    places = {(d.provider, d.dataset): place for place, d in enumerate(report.datasets)}

    def row(settled: Settled, ended: str = "") -> Row:
        when = round(settled.settled_at * 1000) if settled.settled_at else None
        place, ended = places[settled.target[:2]], ended or settled.outcome.replace("_", " ")
        document = show_invisible(settled.target.document)
        return place, document, settled.name, ended, settled.reason, settled.attempts, when

    def planned(found: PlannedRow) -> Row:
        word = "skipped" if found.why_not else "never sent" if found.invalid else "to delete"
        why = found.why_not or found.invalid
        return row(Settled(found.target, "not_attempted", why, 0, found.name, found.created_at or 0.0), word)

    def again(settled: Settled, session: int) -> Row:
        return row(settled, f"{settled.outcome.replace('_', ' ')}, asked again in session {session}")

    if run.state == "planned":
        yield "planned", "Every document", report.listed, islice(map(planned, run.listed()), most)
        return
    left, not_gone = report.counts.rejected + report.not_attempted, chain(run.rejected(), run.not_attempted())
    yield "rejected", "Not deleted", left, islice(map(row, not_gone), most)
    if retried := sum(session.retried for session in run.sessions()):
        heading = "Rejected before, and asked again on request"
        yield "again", heading, retried, islice(starmap(again, run.earlier_endings()), most)
    yield "settled", "Every selected document", report.selected, islice(map(row, endings(run)), most)


def _whole_options(words: str) -> Markup:
    """The words as text, with an option such as ``--unarchive`` kept on one line: a browser breaks it behind its hyphens."""
    return Markup(re.sub("--[a-z]+(-[a-z]+)*", r'<span class="option">\g<0></span>', str(escape(words))))


def _content_policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere, and nothing runs but our own script, which cannot turn text into markup."""
    sha = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none';"
        " form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ).format(*sha)
