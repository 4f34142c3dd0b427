"""What stands at the end of stderr: why a run did not end well, what to do about it, and the command that goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bulkdel.cli.options import Options
from bulkdel.cli.providers import places_of_run
from bulkdel.errors import BulkdelError
from bulkdel.model import RunStatus, Selection
from bulkdel.render.overview import needed_to_resume
from bulkdel.report import Counts, Report
from bulkdel.store import Run
from bulkdel.text import pluralize, sanitize, title

if TYPE_CHECKING:
    from bulkdel.cli.runner import Task

RESUMABLE: frozenset[RunStatus] = frozenset({"stopped", "deadline", "interrupted"})
"""The endings after which the rest can still be done."""

YES = ("-y", "--yes")

GO_ON = "hint: what is gone stays gone; this goes on with the rest:"


def sentence(report: Report, task: Task) -> str:
    """How a run ended that did not end well, in one sentence."""
    only_plans = task.act == "plan" or task.options.dry_run
    if report.status == "incomplete" and report.selected and report.reason and only_plans:
        return f"the plan is incomplete: {sanitize(report.reason)}"
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
    return f"this lists the datasets that the key sees: {_datasets_command(task)}"


def _datasets_command(task: Task) -> str:
    """The command that lists the datasets that the key sees, at the place that was given."""
    options, words = task.options, ["bulkdel", "datasets", task.providers[0].name]
    words += ["--base-url", options.base_url] if options.base_url is not None else []
    words += ["--header-file", os.path.abspath(options.header_file)] if options.header_file is not None else []
    return shlex.join([*words, *_key_words(options)])


def way_on(report: Report, task: Task, argv: Sequence[str], path: Path | None) -> list[str]:
    """A hint and the command that goes on, if something can go on; the command comes last, whole, to be copied."""
    if path is not None:
        with suppress(BulkdelError), Run.open(path, check=False) as run:  # the file may have gone away meanwhile
            return _way_on(report, task, argv, path, run)
    return _way_on(report, task, argv, path, None)


def _way_on(report: Report, task: Task, argv: Sequence[str], path: Path | None, run: Run | None) -> list[str]:
    status, planning = report.status, task.act == "plan"
    if status == "incomplete" and run is not None and (lines := _delete_again(report, task, run)):
        return lines
    if task.options.dry_run or task.act == "verify" or (status == "complete" and not planning):
        return []
    resume = "" if run is None else _resume(run, task)
    # If a person has to do something first, the report's own hint says what.
    fix = status == "stopped" and bool(report.hint)
    again = status == "deadline" and task.policy.deadline is not None
    longer = ", with the same deadline again (--deadline gives it longer)" if again else ""
    if planning and status not in RESUMABLE:
        # Nothing failed, and there is nothing to go on with before a person has looked at the plan.
        if not resume or status == "refused" or task.options.quiet:
            return []
        shown = shlex.join(["bulkdel", "report", str(path)])
        return [f"hint: {shown} lists it for review; this carries it out:", resume]
    if resume and not planning:
        if status == "refused" or (status == "incomplete" and report.hint):
            return []  # it would be refused again: the hint says what to change
        # If not even a listing came back the address may be what is wrong, and a run goes on at its own address alone.
        address = "" if report.listed else " (a wrong address needs a new run)"
        go_on = f"{GO_ON.removesuffix(':')}{longer}:"
        return [f"hint: fix that, then resume with{address}:" if fix else go_on, resume]
    if status not in RESUMABLE and (path is not None or not report.counts.not_attempted):
        return [] if run is None else _retry(report, task, run) or _look_again(report, task, run)
    # It has no run file, or none that can go on.
    if task.act == "resume":
        return ["hint: what is gone stays gone; without its run file begin a new run"]
    if run is not None and not run.begun and not resume:
        # Nothing was asked for: its name is free for the next try.
        with suppress(OSError):
            run.path.unlink()
    if status == "refused":
        return []  # the same command would be refused again
    command = "the same command with the same targets" if task.act == "delete" else "the same command"
    hint = f"fix that, then run {command}:" if fix else f"what is gone stays gone; {command} goes on{longer}:"
    return [f"hint: {hint}", same_command(argv)]


def after_a_bug(path: Path, task: Task) -> list[str]:
    """A hint and the command that goes on with the run at ``path``; nothing if it cannot go on."""
    with suppress(BulkdelError), Run.open(path, check=False) as run:
        if resume := _resume(run, task):
            return [GO_ON, resume]
    return []


def _resume(run: Run, task: Task) -> str:
    if not run.resumable:
        return ""
    needed = needed_to_resume(run)
    # A run that was agreed to as a whole does not ask again; else the yes was for what is still to be listed, too.
    words = [word for word in _carried_words(task) if word not in needed and not (run.agreed and word in YES)] + needed
    return shlex.join(["bulkdel", "resume", str(run.path), *words])


def _carried_words(task: Task) -> list[str]:
    """What a run file does not hold and going on needs: all options of a resume, else the yes and where the key is."""
    if task.act == "resume":
        return list(task.resume_options)
    return (["--yes"] if task.options.yes else []) + _key_words(task.options)


def _key_words(options: Options) -> list[str]:
    files = (("--api-key-file", options.api_key_file), ("--ca-file", options.ca_file))
    return [word for name, file in files if file is not None for word in (name, os.path.abspath(file))]


def _retry(report: Report, task: Task, run: Run) -> list[str]:
    """How to ask again for what was rejected, which does not happen by itself; nothing if it cannot help."""
    # Asking again changes nothing for an id that is never sent, nor for what is not there: a document, or all of a dataset.
    helped = {"stuck_indexing", "refused", "gave_up"} | (set() if task.policy.unarchive else {"archived"})
    if not task.deletes or not helped & report.reasons.keys():
        return []
    endings = run.retried()
    progress = any(before not in (None, now) for before, now, _ in endings)
    rejected = {(before, now) for before, now, _ in endings if now in helped}
    archived = any(now == "archived" for _, now in rejected)
    kept = [word for word in _carried_words(task) if word not in YES]
    if task.policy.indexing == "skip" and any(now == "stuck_indexing" for _, now in rejected):
        kept += ["--indexing", "wait"]  # the run would leave them once more
    again = shlex.join(["bulkdel", "resume", str(run.path), "--retry-rejected", *kept])
    # The same command twice with the same result would be offered for ever.
    if any(now != "archived" and (progress or before != now) for before, now in rejected):
        # Asking others again deletes no more than was asked for: un-archiving is a choice of its own.
        choice = ["hint: archived documents stay; to un-archive and delete them, add: --unarchive"] if archived else []
        return [*choice, "hint: this asks again for what was rejected:", again]
    lines = []
    if any(now != "archived" for _, now in rejected):
        lines.append("hint: asking again changed nothing; look at the service and its log first")
    if archived:
        lines += ["hint: archived documents stay; this un-archives and deletes them:", f"{again} --unarchive"]
    return lines


def _look_again(report: Report, task: Task, run: Run) -> list[str]:
    """How to list again later what the service called deleted and still lists; nothing if there is nothing of the kind."""
    if not any(dataset.still_there_count for dataset in report.datasets):
        return []
    again = shlex.join(["bulkdel", "verify", str(run.path), *_key_words(task.options)])
    return ["hint: a listing may lag behind the deletes; this lists it again, later:", again]


def _delete_again(report: Report, task: Task, run: Run) -> list[str]:
    """How to delete what is listed again, which the run itself has settled; nothing if nothing is."""
    verified, header = task.act == "verify", run.header
    there = any(d.came_back or (verified and d.still_there_count) for d in report.datasets)
    if not there or (report.not_attempted and not verified):
        return []
    hint, kind = "hint: this run has settled them; a new run deletes what is listed again", header.providers[0].kind
    if header.act == "job" or len(header.providers) > 1:
        return [f"{hint}: the same bulkdel job once more"]
    if header.targets:
        return [f"{hint}: bulkdel delete {kind} with the same targets"]
    datasets = [request.dataset for request in header.datasets]
    words = shlex.join(["bulkdel", "purge", kind, *datasets])
    if any(request.select != Selection() for request in header.datasets):
        return [f"{hint}: {words} with the same selection"]
    # The run's header keeps where the headers are, and a new command has to be given them.
    headers = places_of_run(header, task.options)[header.providers[0].name].headers
    more = ["--header-file", headers] if headers else []
    where = shlex.join(["--base-url", header.providers[0].base_url, *_key_words(task.options), *more])
    return [f"{hint}, and what came newly:", f"{words} {where}"]


def not_there(report: Report, task: Task) -> tuple[str, str]:
    """How many named documents were not there when first asked for, and a hint if those are all of a dataset; empty for none.

    To the service a wrong dataset's id and a document that is gone look the same.
    """
    # What was listed first and is gone when its turn comes is no wrong id.
    spelled = {provider.name: provider.canonical for provider in task.providers}
    emptied = {(one.provider, spelled[one.provider](one.dataset)) for one in task.purges}
    named = [d for d in report.datasets if d.remaining is None and (d.provider, d.dataset) not in emptied]
    counts, what = Counts.of(named), "target" if any(d.repeated for d in named) else "document"
    missing = counts.already_gone
    if len(named) == len(report.datasets):  # those that count as rejected are known of the run as a whole
        missing += report.reasons.get("missing", 0)
    if not missing or not task.deletes:
        return "", ""
    if missing < counts.selected:
        were = "was" if missing == 1 else "were"
        said = f"{missing} of {pluralize(counts.selected, what)} {were} not there when first asked for"
    elif missing == 1:
        said = f"the {what} was not there when first asked for"
    else:
        said = f"none of the {pluralize(missing, what)} was there when first asked for"
    wrong = [dataset for dataset in named if 0 < dataset.counts.selected == dataset.counts.already_gone]
    if missing < counts.selected and wrong:
        more = f", nor of {pluralize(len(wrong) - 1, 'more dataset')}" if len(wrong) > 1 else ""
        said += f"; none was of {title(wrong[0].provider, wrong[0].dataset, wrong[0].name)}{more}"
    elif missing < counts.selected:
        return said, ""
    lists = f" {_datasets_command(task)} lists those that the key sees" if task.act == "delete" else ""
    return said, f"is the dataset's id right?{lists}"


def same_command(argv: Sequence[str]) -> str:
    """The same command without ``--expect``, whose number the part that is done has changed."""
    words = pairwise(("", *argv))
    kept = [word for before, word in words if "--expect" not in (before, word) and not word.startswith("--expect=")]
    return shlex.join(["bulkdel", *kept])
