"""A run's report as one HTML page: its template filled, its data embedded as JSON, its policy a hash of what may run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from itertools import chain, islice
from typing import TypedDict, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bulkdel.model import Outcome, Settled
from bulkdel.purging.recorded import recorded_report
from bulkdel.render.overview import STATES, name_of, offered
from bulkdel.render.page.figures import Figure, colour_of, figures
from bulkdel.render.planned import describe, forecast
from bulkdel.render.rows import endings
from bulkdel.render.story import Story, stories
from bulkdel.render.summary import ADVICE, CAUSES, costs, dataset_lines, without_answer
from bulkdel.render.text import asked, told
from bulkdel.render.words import spoken
from bulkdel.report import Report
from bulkdel.store import PlannedRow, Run, State
from bulkdel.text import NAME, many, safe, title

MOST = 100_000
"""Rows of a list that the page holds: about 15 MB, which a browser opens in a second or two; the other formats have no end."""

_BLOCK = 1000  # rows turned to JSON at a time

Row = tuple[int, str, str, int, int, int, int | None]
"""Dataset, document, name, outcome, reason, attempts, when (Unix milliseconds); words are places in the block's own table, so that
memory stays flat where every reason is another."""


class Block(TypedDict):
    words: list[str]
    rows: list[Row]


@dataclass(slots=True)
class Listing:
    """A searchable table of the page. ``blocks`` can be read once; its memory is one block's."""

    id: str
    title: str
    total: int
    rows: Iterable[tuple[str, Settled]]
    datasets: dict[tuple[str, str], int]
    most: int

    def blocks(self) -> Iterator[Block]:
        rows = islice(self.rows, self.most)
        while some := list(islice(rows, _BLOCK)):
            words: dict[str, int] = {}
            block = [self._row(outcome, settled, words) for outcome, settled in some]
            yield {"words": list(words), "rows": block}

    def _row(self, outcome: str, of: Settled, words: dict[str, int]) -> Row:
        place = self.datasets[of.target.provider, of.target.dataset]
        ended, why = (words.setdefault(word, len(words)) for word in (outcome, of.reason))
        when = round(of.settled_at * 1000) if of.settled_at else None
        return place, of.target.document, of.name, ended, why, of.attempts, when


def page(run: Run, *, most: int = MOST) -> Iterator[str]:
    """The page, in pieces; memory is flat.

    :param most: rows of each list that are embedded
    """
    report, state = recorded_report(run), run.state
    style, script = _asset("report.css"), _asset("report.js")
    told_of = [(story, figures(story)) for story in stories(run)]
    environment = Environment(
        loader=PackageLoader("bulkdel.render.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"spoken": spoken, "number": lambda n: f"{n:,}"}
    environment.filters |= {"safe_words": safe, "whole_options": _whole_options}
    template = environment.get_template("report.html.jinja")
    yield from template.generate(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        name=safe(name_of(run.path)),
        page_title=_page_title(run, state, report),
        state=state,
        state_words=STATES[state],
        headline=_headline(run, state, report),
        facts=[line.strip().partition(": ")[::2] for line in asked(run)],
        plan=[line.strip() for line in describe(run.plan(), run.header.policy, shown=None)]
        if state == "planned"
        else [],
        counts=[(f.name.replace("_", " "), getattr(report.counts, f.name)) for f in fields(report.counts)],
        report=report,
        costs=costs(report),
        without_answer=without_answer(run.answers_lost()),
        reasons=[] if state == "planned" else _reasons(run, report),
        timelines=[_Timeline(story, drawn) for story, drawn in told_of],
        datasets=[(title(d.provider, d.dataset, d.name), d, dataset_lines(d, named=None)) for d in report.datasets],
        places=[[d.provider, d.dataset, safe(d.name)] for d in report.datasets],
        lists=_lists(run, report, most),
        most=most,
        goes_on=offered(run),
        digest=run.digest(),
    )


@dataclass(frozen=True, slots=True)
class _Timeline:
    """One provider's drawings and where its time went."""

    story: Story
    figures: Sequence[Figure]

    @property
    def drawn(self) -> list[tuple[Figure, Markup]]:
        return [(figure, Markup(figure.svg)) for figure in self.figures]

    @property
    def shares(self) -> list[tuple[str, str, float, float]]:
        """Colour, meaning, seconds and share of each cause, the longest first."""
        total = sum(self.story.waited_s.values())
        found = [
            (colour_of(cause), CAUSES[cause], seconds, 100 * seconds / total)
            for cause, seconds in self.story.waited_s.items()
            if cause in CAUSES and seconds > 0
        ]
        return sorted(found, key=lambda share: -share[2])


def _headline(run: Run, state: State, report: Report) -> str:
    if state == "planned":
        would = forecast(run.plan(), run.header.policy, selected=report.selected, listed=report.listed)
        return f"Planned, nothing was deleted: {would}"
    return told(run, report)


_OF = {"purge": "purge of", "delete": "deletes in", "plan": "plan for", "job": "job on"}


def _page_title(run: Run, state: State, report: Report) -> str:
    """What the page is of, for tabs, bookmarks and printed pages: what was done, where, how it ended, which run."""
    several = len(report.datasets)
    if several == 1:
        (one,) = report.datasets
        where = f"{safe(one.name, NAME) or safe(one.dataset, NAME)} ({safe(one.provider, NAME)})"
    else:
        providers = ", ".join(safe(p.name, NAME) for p in run.header.providers)
        where = f"{many(several, 'dataset')} ({safe(providers, NAME)})"
    gone = report.deleted + report.already_gone
    counted = f"{report.selected:,} selected" if state == "planned" else f"{gone:,} of {report.selected:,} gone"
    act = _OF.get(run.header.act, safe(run.header.act))
    return f"{act} {where}: {STATES[state]}, {counted}, run {safe(name_of(run.path), NAME)}"


def _reasons(run: Run, report: Report) -> list[tuple[str, int, str, Settled | None]]:
    """Each way of not being deleted: its name, how often, what to do about it, and one example."""
    found = []
    for outcome in get_args(Outcome):
        if n := report.reasons.get(outcome, 0):
            some = run.not_attempted() if outcome == "not_attempted" else run.settled([outcome])
            found.append((_words(outcome), n, ADVICE[outcome], next(some, None)))
    return found


def _lists(run: Run, report: Report, most: int) -> list[Listing]:
    datasets = {(d.provider, d.dataset): place for place, d in enumerate(report.datasets)}
    if run.state == "planned":
        rows = (_planned(row) for row in run.listed())
        return [Listing("planned", "Every document", report.listed, rows, datasets, most)]
    left = ((_words(s.outcome), s) for s in chain(run.rejected(), run.not_attempted()))
    every = ((_words(s.outcome), s) for s in endings(run))
    lists = [
        Listing("rejected", "Not deleted", report.counts.rejected + report.not_attempted, left, datasets, most),
        Listing("settled", "Every selected document", report.selected, every, datasets, most),
    ]
    again = sum(session.retried for session in run.sessions())
    if again:
        earlier = (
            (f"{_words(s.outcome)}, asked again in session {session}", s) for s, session in run.earlier_endings()
        )
        lists.insert(1, Listing("again", "Rejected before, and asked again on request", again, earlier, datasets, most))
    return lists


def _whole_options(words: str) -> Markup:
    """The words as text, with an option such as ``--unarchive`` kept on one line: a browser breaks it behind its hyphens."""
    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(words))))


_OPTION = re.compile("--[a-z]+(-[a-z]+)*")


def _words(outcome: Outcome) -> str:
    return outcome.replace("_", " ")


def _planned(row: PlannedRow) -> tuple[str, Settled]:
    word = "left alone" if row.why_not else "never sent" if row.invalid else "to delete"
    why = row.why_not or row.invalid
    return word, Settled(row.target, "not_attempted", why, 0, row.name, row.created_at or 0.0)


def _asset(name: str) -> str:
    return resources.files("bulkdel.render.page").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere, and nothing runs but our own script, which cannot turn text into markup."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_sha(style)}'",
            f"script-src '{_sha(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _sha(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
