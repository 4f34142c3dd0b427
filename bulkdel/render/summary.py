"""An account in words: what is gone, what is not and why, and what to do about each; pure."""

from __future__ import annotations

from bulkdel.model import Outcome, RunStatus
from bulkdel.render.words import spoken
from bulkdel.report import DatasetReport, Report
from bulkdel.text import many, safe

ADVICE: dict[Outcome, str] = {
    "archived": "the service keeps archived documents; --unarchive un-archives them first",
    "stuck_indexing": (
        "still being indexed when the waiting ended; ask again later with resume --retry-rejected, which waits once more, or"
        " with --indexing delete, which an old Dify refuses, too"
    ),
    "invalid_id": "the id would reach another route, so nothing was sent; correct the id",
    "refused": "the service refuses them; its words say why",
    "gave_up": "no clear answer in --attempts tries; run again, what is gone stays gone",
    "dataset_stopped": "their dataset does not exist, or the key may not touch it",
    "not_attempted": "not reached, or no answer came before the end; resume the run to go on",
}
"""What to do about each way of not being deleted, in one sentence each."""

CAUSES = {
    "us": "working",
    "service": "waiting for answers",
    "rate": "keeping to the rate",
    "pause": "pausing",
    "indexing": "waiting for indexing",
    "backoff": "waiting to ask again",
    "consumer": "waiting for the reader",
    "done": "done, while another went on",
    "confirm": "waiting to be confirmed",
}
"""What each cause of ``Report.waited_s`` means, in the order it is drawn, and so in the style sheet's colours."""

HEADLINE: dict[RunStatus, str] = {
    "complete": "Complete",
    "incomplete": "Finished, but not everything is gone",
    "refused": "Refused: nothing was deleted",
    "stopped": "Stopped by the provider",
    "deadline": "Out of time",
    "interrupted": "Interrupted",
}


def headline(report: Report) -> str:
    """The whole account in one line."""
    why = safe(report.reason).removeprefix("interrupted ")  # the headline says so already
    if report.status == "refused":
        # A run that goes on can be refused, too, and what is gone by then is gone.
        words = (
            "Refused: nothing more was deleted" if report.counts.settled > report.not_attempted else HEADLINE["refused"]
        )
        return f"{words}: {why}" if why else words
    if not report.selected and report.status != "complete":
        return f"{HEADLINE[report.status]}: nothing was deleted{f': {why}' if why else ''}"
    said = f"{HEADLINE[report.status]}: {counted(report)} of {report.selected}"
    return f"{said} ({why})" if why else said


def counted(of: Report | DatasetReport) -> str:
    """The endings that came up, in words: ``997 deleted, 1 rejected``."""
    c = of.counts
    parts = [f"{c.deleted} deleted"]
    parts += [
        f"{n} {what}"
        for n, what in ((c.already_gone, "already gone"), (c.rejected, "rejected"), (c.not_attempted, "not attempted"))
        if n
    ]
    return ", ".join(parts)


def dataset_lines(dataset: DatasetReport, *, named: int | None = 5) -> list[str]:
    """One dataset's part: its counts, what was left alone, what remains, what is new; ``named`` by name, None for all."""
    c = dataset.counts
    lines: list[str] = []
    if dataset.reason:
        lines.append(f"{dataset.status}: {safe(dataset.reason)}")
    if c.listed or not dataset.reason:
        lines.append(f"{c.listed} listed, {c.selected} selected: {counted(dataset)}")
    lines += [f"{n} left alone: {safe(why)}" for why, n in dataset.skipped_reasons.items() if n]
    if dataset.remaining == 0:
        lines.append("listed again: empty")
    elif dataset.remaining is not None:
        are = "is" if dataset.remaining == 1 else "are"
        lines.append(f"listed again: {many(dataset.remaining, 'document')} {are} still there{_as_expected(dataset)}")
    if dataset.still_there_count:
        lines.append(f"  {dataset.still_there_count} that the service called deleted:")
        lines += _named(dataset.still_there[:named], dataset.still_there_count)
    if dataset.new_count:
        lines.append(f"  {dataset.new_count} that came during the run and were left alone:")
        lines += _named(dataset.new[:named], dataset.new_count)
    return lines


def _as_expected(dataset: DatasetReport) -> str:
    """Whether what remains is just what the run itself did not delete."""
    c = dataset.counts
    kept = c.rejected + c.not_attempted + c.skipped
    return (
        ", just those that were rejected or left alone" if kept == dataset.remaining and not dataset.new_count else ""
    )


def _named(names: tuple[str, ...], count: int) -> list[str]:
    shown = [f"    {safe(name, 120)}" for name in names]
    return shown + ([f"    and {count - len(shown)} more"] if count > len(shown) else [])


def costs(report: Report) -> str:
    """What it took: requests, time, pauses, and what was asked again."""
    parts = [f"{many(report.requests, 'request')} in {spoken(report.elapsed_s)}"]
    if n := report.uncounted_sessions:
        were = "was" if n == 1 else "were"
        parts = [f"{parts[0]} without what {many(n, 'session')} took that {were} killed or broken off"]
    if report.pauses:
        parts.append(many(report.pauses, "pause"))
    parts += [f"{n} asked again ({safe(cause).replace('_', ' ')})" for cause, n in report.requeued.items() if n]
    return ", ".join(parts)


def spent(report: Report) -> list[str]:
    """Where every second went, the longest first: to what was waited for, or to bulkdel itself."""
    took = sorted(report.waited_s.items(), key=lambda item: -item[1])
    several = len({dataset.provider for dataset in report.datasets})
    parts = [f"{CAUSES.get(cause, safe(cause))} {spoken(seconds)}" for cause, seconds in took if seconds >= 0.05]
    added = f" (of {several} providers, added up)" if several > 1 else ""
    return [f"where the time went{added}: {', '.join(parts)}"] if parts else []


def without_answer(n: int) -> list[str]:
    """How many of the deleted no answer confirmed; nothing where there are none."""
    if not n:
        return []
    lost = "its answer was lost, and it was" if n == 1 else "their answers were lost, and they were"
    return [f"{n} of the deleted: {lost} found gone when asked for again"]


def unverified(report: Report) -> list[str]:
    """How much of what was to be listed again was not, where some of it was."""
    if report.remaining is None or not report.unverified:
        return []
    known = len(report.datasets) - report.unverified
    return [
        f"listed again: {known} of {many(len(report.datasets), 'dataset')}; what is still in the others is not known"
    ]
