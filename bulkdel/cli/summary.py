"""The account of a run for people: what is gone, what is not and why, and what to do about each."""

from __future__ import annotations

import shlex
from typing import get_args

from bulkdel.cli.context import AppContext, is_terminal
from bulkdel.cli.output import Samples
from bulkdel.cli.screen import WIDTH, drawn, folded, width
from bulkdel.model import FULFILLED, Outcome, Policy
from bulkdel.render.planned import describe, forecast
from bulkdel.render.summary import ADVICE, costs, dataset_lines, headline, spent, unverified, without_answer
from bulkdel.report import FIRST, DatasetReport, Plan, Report
from bulkdel.text import safe, title


def text(report: Report, samples: Samples, *, plan: Plan | None = None, policy: Policy | None = None) -> list[str]:
    """The summary as plain lines, most below 80 columns; ids are never cut.

    With ``plan`` nothing was to be deleted: it is shown in the place of endings.
    """
    if plan is not None and report.status in ("complete", "incomplete"):
        how = "Planned" if report.run else "Dry run"
        by = policy or Policy()
        would = forecast(plan, by, selected=report.selected, listed=report.listed)
        lines = [f"{how}, nothing was deleted: {would}", *describe(plan, by, named=0 if report.run else FIRST)]
        if not report.run and any(d.selected > len(d.first) > 0 for d in plan.datasets):
            lines.append("  every document: bulkdel plan (or bulkdel job --plan), then bulkdel report")
    else:
        lines = [headline(report)]
        for dataset in report.datasets:
            lines += ["", title(dataset.provider, dataset.dataset, dataset.name)]
            lines += [f"  {words}" for words in dataset_lines(dataset)]
        lines += _rejections(report, samples)
    lines += ["", *without_answer(samples.answers_lost), *unverified(report), costs(report), *spent(report)]
    if report.run:
        lines.append(f"run file: {report.run}")
    return lines


def _rejections(report: Report, samples: Samples) -> list[str]:
    lines: list[str] = []
    outcomes: list[Outcome] = [o for o in get_args(Outcome) if o not in FULFILLED and report.reasons.get(o)]
    if report.status == "refused":  # the headline says why; running it again would be refused again
        outcomes = [outcome for outcome in outcomes if outcome != "not_attempted"]
    for outcome in outcomes:
        lines += ["", f"{report.reasons[outcome]} {outcome.replace('_', ' ')}: {ADVICE[outcome]}"]
        if outcome != "not_attempted":
            shown = samples.words(outcome)
            lines += [f"  {words}" for words in shown]
            more = report.reasons[outcome] - len(shown)
            if shown and more > 0:
                where = f": {shlex.join(['bulkdel', 'report', report.run])}" if report.run else ""
                lines.append(f"  and {more} more{where}")
    return lines


def show(
    world: AppContext,
    report: Report,
    samples: Samples,
    *,
    plan: Plan | None = None,
    policy: Policy | None = None,
    where: str = "stdout",
) -> None:
    """Write the summary: a table of the datasets on a terminal, plain lines elsewhere.

    :raises OSError: where the stream cannot be written
    """
    stream = world.stdout if where == "stdout" else world.stderr
    lines = [world.hide(words) for words in text(report, samples, plan=plan, policy=policy)]
    if is_terminal(stream):
        wide = width(stream, world.environ)
        lines = folded(lines, wide)
        if plan is None and len(report.datasets) > 1:
            lines += ["", *(world.hide(words) for words in table(report.datasets, wide))]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def table(datasets: tuple[DatasetReport, ...], width: int = WIDTH) -> list[str]:
    """One row for each dataset, in ``width`` columns; long names are folded, never cut away."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = len({d.provider for d in datasets}) > 1
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if several:
        grid.add_column("provider")
    grid.add_column("dataset", overflow="fold")
    headings = [heading for heading in _COLUMNS if heading in _ALWAYS or any(_number(d, heading) for d in datasets)]
    for heading in headings:
        grid.add_column(heading.replace(" ", "\n"), justify="right", vertical="bottom")
    for d in datasets:
        cells = [safe(d.name, 60) or safe(d.dataset), *(str(_number(d, heading)) for heading in headings)]
        grid.add_row(*map(Text, [d.provider, *cells] if several else cells))
    return [line for line in drawn(grid, width).splitlines() if line]


_COLUMNS = ("listed", "left alone", "deleted", "already gone", "rejected", "not attempted", "still there")
_ALWAYS = ("listed", "deleted", "still there")
"""The columns that are there though they hold nothing; the others have no room to spare for noughts."""


def _number(dataset: DatasetReport, heading: str) -> int | str:
    c = dataset.counts
    match heading:
        case "left alone":
            return c.skipped
        case "still there":
            return "?" if dataset.remaining is None else dataset.remaining
        case _:
            return int(getattr(c, heading.replace(" ", "_")))
