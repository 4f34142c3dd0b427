"""The sentences that the summary, the report and the plan have in common, out of a ``Report``; pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import get_args

from bulkdel.model import Outcome, Rate, RunStatus
from bulkdel.report import DatasetReport, Report
from bulkdel.text import format_duration, format_measured, nonzero, pluralize, sanitize, title

ADVICE: dict[Outcome, str] = {
    "archived": "the service keeps archived documents; --unarchive un-archives them first",
    "stuck_indexing": (
        "still being indexed, or locked by the service, when the waiting ended, or not waited for with --indexing skip; ask again"
        " later with resume --retry-rejected --indexing wait, which waits, or with --indexing delete, which an old Dify refuses, too"
    ),
    "invalid_id": "no id that the service could have, so nothing was sent; correct the id",
    "missing": "not there when first asked for; check the ids and the dataset, or count them as gone with --missing ok",
    "refused": "the service refuses them; its words say why",
    "gave_up": "no clear answer in --attempts tries; run again, what is gone stays gone",
    "dataset_stopped": "their dataset does not exist, or no longer, or the key may not touch it; there is nothing to resume",
    "not_attempted": "not reached, or no answer came before the end",
}
"""What to do about each way of not being deleted, in one sentence each."""

CAUSES = {
    "client": "client (bulkdel itself)",
    "service": "waiting for answers",
    "rate": "waiting for the rate limit",
    "pause": "pausing",
    "indexing": "waiting for indexing",
    "backoff": "waiting to ask again",
    "consumer": "waiting for the reader of the outcomes",
    "done": "done, while another provider went on",
    "confirm": "waiting for the confirmation",
    "locked": "waiting for a lock of the service's",
}
"""What each cause of ``Report.waited_s`` means, in the order it is drawn, and so in the style sheet's colors."""

HEADLINE: dict[RunStatus, str] = {
    "complete": "Complete",
    "incomplete": "Finished, but not everything is gone",
    "refused": "Refused",
    "stopped": "Stopped by the provider",
    "deadline": "Out of time",
    "interrupted": "Interrupted",
}


def not_gone(report: Report) -> Iterator[tuple[Outcome, int, str]]:
    """Each way in which documents of this run are not gone: the outcome, how many, and what to do about them."""
    # If nothing can be deleted, nothing can be un-archived. (Behind an outage a dataset is stopped, too, and the run with it.)
    concerned = [dataset for dataset in report.datasets if dataset.counts.selected]
    stopped = [report.status == "incomplete" and dataset.status == "stopped" for dataset in concerned]
    outcomes: tuple[Outcome, ...] = get_args(Outcome)
    for outcome in outcomes:
        if n := report.reasons.get(outcome, 0):
            what_to_do = ADVICE[outcome]
            if outcome == "archived" and any(stopped):
                what_to_do = (
                    ADVICE["dataset_stopped"] if all(stopped) else f"{what_to_do}, if their dataset was not stopped"
                )
            if outcome == "not_attempted" and report.run and report.status != "refused":
                what_to_do += "; resume the run to go on"
            yield outcome, n, what_to_do


def headline(report: Report) -> str:
    """The whole account in one line."""
    if report.verified:
        return sanitize(report.verified)
    head, c = HEADLINE[report.status], report.counts
    if report.status == "incomplete" and c.deleted + c.already_gone == c.selected and not report.remaining:
        head = "Finished, with a problem"
    why = sanitize(report.reason).removeprefix("interrupted ")  # the headline says so already
    # A run that goes on can be refused, too, and what is gone by then is gone.
    if report.status == "refused" and c.settled > c.not_attempted:
        return ": ".join(filter(None, [f"{head}, nothing more was deleted", why]))
    if report.status == "refused" or (not c.selected and report.status != "complete"):
        return ": ".join(filter(None, [f"{head}, nothing was deleted", why]))
    if not c.selected:
        return f"{head}: {nothing_matched(c.listed) if c.listed else 'nothing to delete'}"
    return f"{head}: {counted(report)} of {_selected(report)}" + (f" ({why})" if why else "")


def nothing_matched(listed: int) -> str:
    """What a selection that selects none of the ``listed`` documents comes to."""
    return f"nothing matched, 0 of {pluralize(listed, 'document')} selected"


def _selected(report: Report) -> str:
    """How many were selected: targets and documents, if some targets name the same document."""
    repeated = report.listed - report.documents
    if not repeated:
        return str(report.selected)
    return f"{pluralize(report.selected, 'target')}, {pluralize(report.selected - repeated, 'document')}"


def account(
    report: Report,
    endings: Callable[[Outcome], Iterable[str]],
    *,
    result: str = "",
    named: int | None = 5,
    without: Container[Outcome] = (),
) -> Iterator[str]:
    """The account line by line: its first line (``result``, or the headline), each dataset, and each way of not being deleted.

    :param endings: the lines below the advice on a way of not being deleted
    :param named: documents that a dataset's part names, None for all
    :param without: ways that are left out
    """
    yield result or headline(report)
    for dataset in report.datasets:
        yield ""
        yield title(dataset.provider, dataset.dataset, dataset.name)
        yield from (f"  {line}" for line in dataset_lines(dataset, named=named))
    for outcome, n, what_to_do in not_gone(report):
        if outcome not in without:
            yield ""
            yield f"{n} {outcome.replace('_', ' ')}: {what_to_do}"
            yield from (f"  {line}" for line in endings(outcome))


def counted(of: Report | DatasetReport) -> str:
    """The endings that came up: ``997 deleted, 1 rejected``."""
    c = of.counts
    others = nonzero((c.already_gone, "already gone"), (c.rejected, "rejected"), (c.not_attempted, "not attempted"))
    return ", ".join([f"{c.deleted} deleted", *others])


def dataset_lines(dataset: DatasetReport, *, named: int | None = 5) -> list[str]:
    """One dataset's part: its counts, what was skipped, what remains, what is new; ``named`` by name, None for all."""
    c = dataset.counts
    lines: list[str] = []
    if dataset.reason:
        lines.append(f"{dataset.status}: {sanitize(dataset.reason)}")
    if c.listed or not dataset.reason or dataset.status == "complete":
        lines.append(f"{c.listed} listed, {c.selected} selected: {counted(dataset)}")
    lines += repeated_targets(c.listed, dataset.repeated)
    lines += skipped(dataset.skipped_reasons)
    if dataset.remaining == 0:
        lines.append("listed again: empty")
    elif dataset.remaining is not None:
        kept = c.rejected + c.not_attempted + c.skipped
        expected = kept == dataset.remaining and not dataset.new_count
        are = "is" if dataset.remaining == 1 else "are"
        lines.append(
            f"listed again: {pluralize(dataset.remaining, 'document')} {are} still there"
            f"{', just those that were rejected or skipped' if expected else ''}"
        )
    lines += _named("that the service called deleted", dataset.still_there[:named], dataset.still_there_count)
    lines += _named("that came during the run and were left alone", dataset.new[:named], dataset.new_count)
    return lines


def repeated_targets(targets: int, repeated: int) -> list[str]:
    """How many documents so many targets are, if ``repeated`` of them name one that another names, too."""
    documents = pluralize(targets - repeated, "document")
    return [f"{pluralize(targets, 'target')}, {documents}: some are named more than once"] if repeated else []


def skipped(reasons: Mapping[str, int]) -> list[str]:
    """How many documents were skipped, a line for each reason: ``2 skipped: name does not match``."""
    return nonzero(*((n, f"skipped: {sanitize(why)}") for why, n in reasons.items()))


def _named(what: str, names: tuple[str, ...], count: int) -> list[str]:
    """``count`` documents, some of them by name; nothing if there are none."""
    shown = [sanitize(name, 120) for name in names]
    more = [f"and {count - len(shown)} more"] if count > len(shown) else []
    return [f"  {count} {what}:", *(f"    {line}" for line in shown + more)] if count else []


def costs(report: Report, answers_lost: int = 0) -> list[str]:
    """What no answer confirmed, what was not there, what was not listed again, and what it took: requests, time, pauses.

    ``answers_lost`` is how many of the deleted were found gone when they were asked for again.
    """
    lines: list[str] = []
    if n := answers_lost:
        lost = "its answer was lost, and it was" if n == 1 else "their answers were lost, and they were"
        lines.append(f"{n} of the deleted: {lost} found gone afterwards")
    if n := report.already_gone:
        lines.append(f"{n} already gone: {'it was' if n == 1 else 'they were'} not there when first asked for")
    if n := report.in_doubt:
        were = (
            "is in doubt: it was asked for before, and" if n == 1 else "are in doubt: they were asked for before, and"
        )
        lines.append(f"{n} of those not attempted {were} may be gone")
    if report.remaining is not None and report.unverified:
        known, every = len(report.datasets) - report.unverified, pluralize(len(report.datasets), "dataset")
        lines.append(f"listed again: {known} of {every}; what is still in the others is not known")
    lines.append(_requests(report))
    # Where every second went, the longest first: to what was waited for, or to bulkdel itself.
    took = sorted(report.waited_s.items(), key=lambda item: -item[1])
    if parts := [f"{CAUSES.get(cause, sanitize(cause))} {format_duration(n)}" for cause, n in took if n >= 0.05]:
        providers = len({dataset.provider for dataset in report.datasets})
        added = f" (of {providers} providers, added up)" if providers > 1 else ""
        lines.append(f"where the time went{added}: {', '.join(parts)}")
    return lines


def _requests(report: Report) -> str:
    parts = [f"{pluralize(report.requests, 'request')} in {format_duration(report.elapsed_s)}"]
    if n := report.uncounted_sessions:
        were = "was" if n == 1 else "were"
        parts = [f"{parts[0]}, without what {pluralize(n, 'session')} took that {were} killed or broken off"]
    parts += [pluralize(report.pauses, "pause")] if report.pauses else []
    parts += nonzero(
        *((n, f"asked again ({sanitize(cause).replace('_', ' ')})") for cause, n in report.requeued.items())
    )
    return ", ".join(parts)


def format_rate(rate: Rate) -> str:
    """A rate as people read it: ``80/min``, ``50.2/s``; never more exact than it is known."""
    if rate.per not in (1, 60):
        rate = Rate(rate.per_second) if rate.per_second >= 1 else Rate(60 * rate.per_second, per=60)
    return str(Rate(float(format_measured(rate.n)), per=rate.per))


RATE_OVERRIDES = "--rate overrides (in a job file: rate)"


def learned(rate: Rate, age_s: float, refused: Rate | None = None) -> str:
    """``pacing at 80/min, learned 2 h ago (90/min was refused); --rate overrides (in a job file: rate)``.

    :param age_s: seconds
    """
    known = f" ({format_rate(refused)} was refused)" if refused is not None else ""
    return f"pacing at {format_rate(rate)}, learned {format_duration(age_s)} ago{known}; {RATE_OVERRIDES}"
