"""The summary that a command ends with: ``render/wording.py``'s lines with a few examples, fitted to the screen, and a table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from bulkdel.cli.context import drawn, wrapped
from bulkdel.cli.output import Samples
from bulkdel.model import Outcome, Policy
from bulkdel.plan import FIRST, Plan
from bulkdel.render.plan import describe, forecast
from bulkdel.render.wording import account, costs
from bulkdel.report import DatasetReport, Report
from bulkdel.text import NAME, sanitize, show_invisible


def text(report: Report, samples: Samples, *, plan: Plan | None = None, policy: Policy | None = None) -> list[str]:
    """The summary as plain lines, most below 80 columns; ids are never cut.

    With ``plan`` nothing was to be deleted: it stands in the place of endings.
    """
    if plan is not None and report.status in ("complete", "incomplete"):
        lines = _planned(plan, policy or Policy(), kept=report.run is not None)
    else:
        # A refused run says why in its first line, and running it again would be refused again.
        without: tuple[Outcome, ...] = ("not_attempted",) if report.status == "refused" else ()
        lines = list(account(report, lambda outcome: _samples(outcome, report, samples), without=without))
    lines += ["", *costs(report, samples.answers_lost)]
    if report.run:
        lines.append(f"run file: {report.run}")
    return lines


def _planned(plan: Plan, policy: Policy, *, kept: bool) -> list[str]:
    """A plan; one that is ``kept`` in a run file names no documents, because its report names them all."""
    lines = [f"{'Planned' if kept else 'Dry run'}, nothing was deleted: {forecast(plan.datasets, policy)}"]
    lines += describe(plan, policy, named=0 if kept else FIRST)
    if any(dataset.unseen for dataset in plan.datasets) and not policy.accept_incomplete:
        needs = "carrying it out" if kept else "with a selection, deleting"
        lines.append(f"  what was not seen is not in the plan; {needs} needs --accept-incomplete")
    if not kept and any(dataset.selected > len(dataset.first) > 0 for dataset in plan.datasets):
        lines.append("  every document: bulkdel plan (or bulkdel job --plan), then bulkdel report")
    return lines


def _samples(outcome: Outcome, report: Report, samples: Samples) -> list[str]:
    """A few documents that ended so, and how many more there are; none of those that were not attempted, which say no more."""
    shown = samples.words(outcome) if outcome != "not_attempted" else []
    more = report.reasons[outcome] - len(shown)
    if not shown or not more:
        return shown
    where = f": {shlex.join(['bulkdel', 'report', report.run])}" if report.run else ""
    return [*shown, f"and {more} more{where}"]


def fitted(lines: Iterable[str], datasets: Sequence[DatasetReport], columns: int) -> list[str]:
    """The summary for a terminal of so many columns: wrapped, and with a table if there are several datasets."""
    return wrapped(lines, columns) + (["", *table(datasets, columns)] if len(datasets) > 1 else [])


def table(datasets: Sequence[DatasetReport], columns: int = 80) -> list[str]:
    """One row for each dataset, in so many columns; long names are folded, never cut away."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = len({d.provider for d in datasets}) > 1
    rows = [_numbers(d) for d in datasets]
    # Of the others only what holds something: there is no room to spare for zeros.
    always = ("listed", "deleted", "still there")
    headings = [heading for heading in rows[0] if heading in always or any(row[heading] for row in rows)]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("provider", "dataset") if several else ("dataset",):
        grid.add_column(heading, overflow="fold")
    for heading in headings:
        grid.add_column(heading.replace(" ", "\n"), justify="right", vertical="bottom")
    for d, row in zip(datasets, rows, strict=True):
        cells = [sanitize(d.name, NAME) or show_invisible(d.dataset), *(str(row[heading]) for heading in headings)]
        grid.add_row(*map(Text, [d.provider, *cells] if several else cells))
    return [line for line in drawn(grid, columns) if line]


def _numbers(dataset: DatasetReport) -> dict[str, int | str]:
    counts = {name.replace("_", " "): n for name, n in asdict(dataset.counts).items() if name != "selected"}
    return counts | {"still there": "?" if dataset.remaining is None else dataset.remaining}
