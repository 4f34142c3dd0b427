"""What stands at the end of stderr: why a run did not end well, what to do about it, and the command that goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from bulkdel.cli.run_files import discard_unused, resume_command
from bulkdel.cli.task import Task
from bulkdel.model import RunStatus
from bulkdel.report import Report
from bulkdel.store import Run
from bulkdel.text import pluralize, sanitize

RESUMABLE: frozenset[RunStatus] = frozenset({"stopped", "deadline", "interrupted"})
"""The endings after which the rest can still be done."""

GO_ON = "hint: what is gone stays gone; this goes on with the rest:"


def sentence(report: Report) -> str:
    """How a run ended that did not end well, in one sentence."""
    if report.status == "refused":
        return f"refused: {sanitize(report.reason)}" if report.reason else "refused"
    if not report.selected and report.reason:
        return f"{report.status}: nothing was deleted: {sanitize(report.reason)}"
    return sanitize(report.summary(), 2000)


def advice(report: Report, task: Task) -> str:
    """What to do about it: the report's own hint, or how to find the right id if the service does not know a dataset."""
    if report.hint:
        return sanitize(report.hint)
    unknown = "dataset_stopped" in report.reasons
    unknown |= any(dataset.status == "stopped" and not dataset.counts.listed for dataset in report.datasets)
    # A job's providers have no command of their own to list datasets with.
    if report.status != "incomplete" or task.act not in ("purge", "plan", "delete") or not unknown:
        return ""
    return f"this lists the datasets that the key sees: {shlex.join(['bulkdel', 'datasets', task.providers[0].name])}"


def way_on(report: Report, task: Task, argv: Sequence[str], path: Path | None) -> list[str]:
    """A hint and the command that goes on, if something can go on; the command comes last, whole, to be copied."""
    status, planning = report.status, task.act == "plan"
    if task.options.dry_run or task.act == "verify" or (status == "complete" and not planning):
        return []
    resume = "" if path is None else resume_command(path, task.resume_options)
    if planning and status not in RESUMABLE:
        # Nothing failed, and there is nothing to go on with before a person has looked at the plan.
        if not resume or status == "refused" or task.options.quiet:
            return []
        shown = shlex.join(["bulkdel", "report", str(path)])
        return [f"hint: {shown} lists it for review; this carries it out:", resume]
    if resume and not planning:
        return _resume(report, resume)
    if status in RESUMABLE or (path is None and report.counts.not_attempted):
        return _begin_again(report, task, argv, path)
    return _retry(report, task, path)


def _resume(report: Report, command: str) -> list[str]:
    """How a run goes on from its file."""
    if report.status == "refused":
        return []
    if not _must_fix(report):
        return [GO_ON, command]
    # If not even a listing came back the address may be what is wrong, and a run goes on at its own address alone.
    address = "" if report.listed else " (a wrong address needs a new run)"
    return [f"hint: fix that, then resume with{address}:", command]


def _begin_again(report: Report, task: Task, argv: Sequence[str], path: Path | None) -> list[str]:
    """How a run goes on that has no file, or none that can go on."""
    if task.act == "resume":
        return ["hint: what is gone stays gone; without its run file begin a new run"]
    if path is not None:
        discard_unused(path)
    command = "the same command with the same targets" if task.from_stdin else "the same command"
    if _must_fix(report):
        return [f"hint: fix that, then run {command}:", same_command(argv)]
    return [f"hint: what is gone stays gone; {command} goes on:", same_command(argv)]


def _must_fix(report: Report) -> bool:
    """Whether going on makes no sense before a person has done something: the report's hint says what."""
    return report.status == "stopped" and bool(report.hint)


def _retry(report: Report, task: Task, path: Path | None) -> list[str]:
    """How to ask again for what was rejected, which does not happen by itself; nothing if it cannot help."""
    # Asking again changes nothing for an id that is never sent, nor for what is not there: a document, or all of a dataset.
    helped = {"stuck_indexing", "refused", "gave_up"} | (set() if task.policy.unarchive else {"archived"})
    if path is None or not task.deletes or not helped & report.reasons.keys():
        return []
    with Run.open(path, check=False) as run:
        endings = run.retried()
    progress = any(before not in (None, now) for before, now, _ in endings)
    rejected = {(before, now) for before, now, _ in endings if now in helped}
    archived = any(now == "archived" for _, now in rejected)
    # The same command twice with the same result would be offered for ever.
    if any(before != now or (progress and now != "archived") for before, now in rejected):
        # The command deletes no more than was asked for: un-archiving is a choice of its own.
        choice = ["hint: archived documents stay; to un-archive and delete them, add: --unarchive"] if archived else []
        return [*choice, "hint: this asks again for what was rejected:", _again(task, path)]
    lines = []
    if any(now != "archived" for _, now in rejected):
        lines.append("hint: asking again changed nothing; look at the service and its log first")
    if archived:
        lines += [
            "hint: archived documents stay; this un-archives and deletes them:",
            _again(task, path, "--unarchive"),
        ]
    return lines


def _again(task: Task, path: Path, *more: str) -> str:
    kept = (word for word in task.resume_options if word not in ("-y", "--yes"))
    return shlex.join(["bulkdel", "resume", os.path.realpath(path), "--retry-rejected", *kept, *more])


def not_there(report: Report, task: Task) -> tuple[str, str]:
    """How many named documents were not there when first asked for, and a hint if that is all of them; empty for none.

    To the service a wrong dataset's id and a document that is gone look the same.
    """
    counts = report.counts
    missing = counts.already_gone + report.reasons.get("missing", 0)
    if not missing or task.purges or not task.deletes:
        return "", ""
    if missing < counts.selected:
        return f"{missing} of {pluralize(counts.selected, 'document')} were not there when first asked for", ""
    one = "the document was" if missing == 1 else f"none of the {missing} documents was"
    listed = f"bulkdel datasets {task.providers[0].kind} lists those that the key sees"
    return f"{one}{' not' if missing == 1 else ''} there when first asked for", f"is the dataset's id right? {listed}"


def same_command(argv: Sequence[str]) -> str:
    """The same command without ``--expect``, whose number the part that is done has changed, and without
    ``--retry-rejected``, which was done."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--expect":
            next(words, None)
        elif word != "--retry-rejected" and not word.startswith("--expect="):
            kept.append(word)
    return shlex.join(["bulkdel", *kept])
