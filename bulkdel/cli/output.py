"""What goes to stdout and into files: the JSON object, the summary, and the settled lines."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TextIO, get_args

from bulkdel.cli.context import AppContext, drawn, wrapped
from bulkdel.errors import BulkdelError, ConfigurationError
from bulkdel.model import ANSWER_LOST, FULFILLED, Outcome, Policy, Settled
from bulkdel.plan import FIRST, Plan
from bulkdel.render.plan import describe, forecast
from bulkdel.render.wording import account, costs
from bulkdel.report import DatasetReport, Report
from bulkdel.text import NAME, document_title, sanitize, show_invisible


def write(app: AppContext, pieces: Iterable[str], *, stream: TextIO | None = None, what: str = "result") -> bool:
    """Write to stdout, or to ``stream``, without any key; whether that was possible, and if not, an error says why.

    A reader that went away is no error, because it has seen what it wanted, and what is done is done.
    """
    stream = stream or app.stdout
    try:
        stream.writelines(map(app.hide, pieces))
        stream.flush()
    except OSError as error:
        silence(stream)  # what its buffer still holds would fail once more at the exit
        if not isinstance(error, BrokenPipeError):
            app.screen.error(f"cannot write the {what}: {error.strerror or error}")
            return False
    return True


def write_lines(app: AppContext, *lines: str, stream: TextIO | None = None) -> bool:
    """Write lines; see ``write``."""
    return write(app, (f"{line}\n" for line in lines), stream=stream)


def write_json(app: AppContext, value: Any) -> bool:
    """One JSON value on one line, plain ASCII, so that no terminal, pipe or locale changes it; see ``write``."""
    return write_lines(app, json.dumps(value))


def silence(stream: TextIO) -> None:
    """Point a stream that cannot be written at the null device: the interpreter flushes it once more at its end."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


@dataclass(slots=True)
class Samples:
    """A few rejected documents for each way to be rejected, and how many count as deleted without an answer: what the summary
    shows, without keeping every document."""

    by_outcome: defaultdict[Outcome, list[Settled]] = field(default_factory=lambda: defaultdict(list))
    answers_lost: int = 0
    most: int = 3

    @classmethod
    def recorded(cls, path: str, reasons: Iterable[str]) -> Samples:
        """Those that a run file holds, whichever session settled them; none if it cannot be read."""
        from bulkdel.store import Run

        samples = cls()
        outcomes: list[Outcome] = [o for o in get_args(Outcome) if o in reasons and o != "not_attempted"]
        with suppress(BulkdelError), Run.open(path, check=False) as run:
            for outcome in outcomes:
                samples.add(list(islice(run.settled([outcome]), samples.most)))
            samples.answers_lost = run.answers_lost()
        return samples

    def add(self, page: Sequence[Settled]) -> None:
        for settled in page:
            if settled.outcome in FULFILLED:
                self.answers_lost += settled.reason.startswith(ANSWER_LOST)
            elif len(kept := self.by_outcome[settled.outcome]) < self.most:
                kept.append(settled)

    def words(self, outcome: Outcome) -> list[str]:
        """``document (name): reason``, a line for each."""
        return [
            f"{document_title(s.target.document, s.name)}: {sanitize(s.reason, 160) or 'no reason given'}"
            for s in self.by_outcome[outcome]
        ]


# ------------------------------------------------------------------ the summary


def summary(report: Report, samples: Samples, *, plan: Plan | None = None, policy: Policy | None = None) -> list[str]:
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


# ------------------------------------------------------------------ the settled lines


Lines = Callable[[Sequence[Settled]], None]


@contextmanager
def settled_lines(path: str | None, app: AppContext, failed: Callable[[OSError], None]) -> Iterator[Lines]:
    """Settled targets as JSON lines, written as they come to ``path``: a file that is created or appended to, ``-`` for stdout, or
    None for nowhere.

    It is appended to because the lines of an earlier part of the same work are evidence, and cannot be had again. A new file
    is its owner's alone (0600), as reports and run files are; one that is there keeps its mode.

    ``failed`` is called once, with the exception, when they can no longer be written: a disk that is full, a reader that
    went away. Nothing is raised into the engine, and nothing more is written then.

    :raises ConfigurationError: if the file cannot be written
    """
    file: TextIO | None = None
    if path is not None and path != "-":
        try:
            file = open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ConfigurationError(f"cannot write the settled lines to {path}: {why}") from None
    stream = app.stdout if path == "-" else file

    def add(page: Sequence[Settled]) -> None:
        nonlocal stream
        if stream is None:
            return
        try:
            stream.write(app.hide("".join(json.dumps(s.as_dict()) + "\n" for s in page)))
            stream.flush()
        except OSError as error:
            silence(stream)  # what its buffer still holds would fail once more when it is closed
            stream = None
            failed(error)

    try:
        yield add
    finally:
        if file is not None:
            with suppress(OSError):  # every page was flushed, and a failure reported
                file.close()
