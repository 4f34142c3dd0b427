"""The account of a run for people: what is gone, what is not and why, and what to do about each."""

from __future__ import annotations

from typing import get_args

from bulkdel.account import DatasetReport, Report
from bulkdel.cli.output import Samples
from bulkdel.cli.screen import drawn
from bulkdel.cli.values import many, spoken
from bulkdel.cli.world import World, is_terminal
from bulkdel.model import FULFILLED, Outcome, RunStatus
from bulkdel.text import safe

_WIDTH = 80

ADVICE: dict[Outcome, str] = {
    "archived": "the service keeps archived documents; --unarchive un-archives them first",
    "stuck_indexing": "still being indexed when the waiting ended; run again later, or with --indexing delete",
    "invalid_id": "the id would reach another route, so nothing was sent; correct the id",
    "refused": "the service refuses them for good; its words say why",
    "gave_up": "no clear answer in --attempts tries; run again, what is gone stays gone",
    "dataset_stopped": "their dataset does not exist, or the key may not touch it",
    "not_attempted": "nothing was sent for them; run again to go on",
}
"""What to do about each way of not being deleted, in one sentence each."""

HEADLINE: dict[RunStatus, str] = {
    "complete": "Complete",
    "incomplete": "Finished, but not everything is gone",
    "refused": "Refused: nothing was deleted",
    "stopped": "Stopped by the provider",
    "deadline": "The deadline came",
    "interrupted": "Interrupted",
}


def text(report: Report, samples: Samples, *, dry_run: bool = False) -> list[str]:
    """The summary as plain lines, most below 80 columns; ids are never cut."""
    lines = [_headline(report, dry_run=dry_run)]
    for dataset in report.datasets:
        lines += ["", _title(dataset), *(f"  {words}" for words in dataset_lines(dataset, dry_run=dry_run))]
    lines += _rejections(report, samples)
    lines += ["", _costs(report)]
    return lines


def _headline(report: Report, *, dry_run: bool) -> str:
    if dry_run and report.status == "complete":
        return f"Dry run, nothing was deleted: {report.selected} of {report.listed} documents would be"
    why = safe(report.reason)
    if report.status == "refused":
        return f"{HEADLINE['refused']}: {why}" if why else HEADLINE["refused"]
    if not report.selected and report.status != "complete":
        return f"{HEADLINE[report.status]}: nothing was deleted{f': {why}' if why else ''}"
    counts = counted(report.deleted, report.already_gone, report.counts.rejected, report.not_attempted)
    headline = f"{HEADLINE[report.status]}: {counts} of {report.selected}"
    return f"{headline} ({why})" if why else headline


def counted(deleted: int, already_gone: int, rejected: int, not_attempted: int) -> str:
    """The endings that came up, in words: ``997 deleted, 1 rejected``."""
    parts = [f"{deleted} deleted"]
    parts += [
        f"{n} {what}"
        for n, what in ((already_gone, "already gone"), (rejected, "rejected"), (not_attempted, "not attempted"))
        if n
    ]
    return ", ".join(parts)


def _title(dataset: DatasetReport) -> str:
    name = safe(dataset.name, 60)
    identity = safe(dataset.dataset)
    return f"{dataset.provider} / {name} ({identity})" if name else f"{dataset.provider} / {identity}"


def dataset_lines(dataset: DatasetReport, *, dry_run: bool = False) -> list[str]:
    """One dataset's part: its counts, what was left alone, what remains, what is new."""
    c = dataset.counts
    lines: list[str] = []
    if dataset.reason:
        lines.append(f"{dataset.status}: {safe(dataset.reason)}")
    if c.listed or not dataset.reason:
        if dry_run:
            lines.append(f"{c.listed} listed, {c.selected} would be deleted")
        else:
            endings = counted(c.deleted, c.already_gone, c.rejected, c.not_attempted)
            lines.append(f"{c.listed} listed, {c.selected} selected: {endings}")
    lines += [f"{n} left alone: {safe(why)}" for why, n in dataset.skipped_reasons.items() if n]
    if dataset.remaining == 0:
        lines.append("listed again: empty")
    elif dataset.remaining is not None:
        lines.append(f"listed again: {dataset.remaining} documents are still there{_as_expected(dataset)}")
    if dataset.still_there_count:
        lines.append(f"  {dataset.still_there_count} that the service called deleted:")
        lines += _named(dataset.still_there, dataset.still_there_count)
    if dataset.new_count:
        lines.append(f"  {dataset.new_count} that came during the run and were left alone:")
        lines += _named(dataset.new, dataset.new_count)
    return lines


def _as_expected(dataset: DatasetReport) -> str:
    """Whether what remains is just what the run itself did not delete."""
    c = dataset.counts
    kept = c.rejected + c.not_attempted + c.skipped
    return (
        ", just those that were rejected or left alone" if kept == dataset.remaining and not dataset.new_count else ""
    )


def _named(names: tuple[str, ...], count: int) -> list[str]:
    shown = [f"    {safe(name, 120)}" for name in names[:5]]
    return shown + ([f"    and {count - len(shown)} more"] if count > len(shown) else [])


def _rejections(report: Report, samples: Samples) -> list[str]:
    lines: list[str] = []
    outcomes: list[Outcome] = [o for o in get_args(Outcome) if o not in FULFILLED and report.reasons.get(o)]
    for outcome in outcomes:
        lines += ["", f"{report.reasons[outcome]} {outcome.replace('_', ' ')}: {ADVICE[outcome]}"]
        if outcome != "not_attempted":
            lines += [f"  {words}" for words in samples.words(outcome)]
    return lines


def _costs(report: Report) -> str:
    parts = [f"{many(report.requests, 'request')} in {spoken(report.elapsed_s)}"]
    if report.pauses:
        parts.append(many(report.pauses, "pause"))
    parts += [f"{n} asked again ({safe(cause).replace('_', ' ')})" for cause, n in report.requeued.items() if n]
    return ", ".join(parts)


def show(world: World, report: Report, samples: Samples, *, dry_run: bool = False, where: str = "stdout") -> None:
    """Write the summary: a table of the datasets on a terminal, plain lines elsewhere.

    :raises OSError: where the stream cannot be written
    """
    stream = world.stdout if where == "stdout" else world.stderr
    lines = [world.hide(words) for words in text(report, samples, dry_run=dry_run)]
    if len(report.datasets) > 1 and is_terminal(stream):
        lines += ["", *(world.hide(words) for words in table(report.datasets, _width(world)))]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def _width(world: World) -> int:
    columns = world.environ.get("COLUMNS", "")
    return int(columns) if columns.isascii() and columns.isdigit() and 40 <= int(columns) <= 200 else _WIDTH


def table(datasets: tuple[DatasetReport, ...], width: int = _WIDTH) -> list[str]:
    """One row for each dataset, in ``width`` columns; long names are folded, never cut away."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = len({d.provider for d in datasets}) > 1
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if several:
        grid.add_column("provider")
    grid.add_column("dataset", overflow="fold")
    for heading in ("listed", "deleted", "gone", "rejected", "left", "remaining"):
        grid.add_column(heading, justify="right")
    for d in datasets:
        c = d.counts
        numbers = (c.listed, c.deleted, c.already_gone, c.rejected, c.not_attempted + c.skipped)
        cells = [
            safe(d.name, 60) or safe(d.dataset),
            *map(str, numbers),
            "?" if d.remaining is None else str(d.remaining),
        ]
        grid.add_row(*map(Text, [d.provider, *cells] if several else cells))
    return [line for line in drawn(grid, width).splitlines() if line]
