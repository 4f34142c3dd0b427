"""Where a run file goes, and which one is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from bulkdel.cli.options import Options
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.text import sanitize


def path_for(options: Options, label: str) -> Path | None:
    """Where the run file goes: ``--run FILE``, a new name in the user's state folder, or None if none is kept.

    :raises RunFileError: if there is no such folder and none can be made
    """
    if options.dry_run or options.no_run:
        return None
    if options.run_file is not None:
        return options.run_file
    from bulkdel.store.folder import new_path, state_folder

    return new_path(label, state_folder())


def state() -> Path | None:
    """The user's state folder; None if there is none: then nothing is remembered, and limits are not shared."""
    from bulkdel.store.folder import state_folder

    try:
        return state_folder()
    except RunFileError:
        return None


def find(words: str) -> Path:
    """The run that ``words`` mean: a path, a name as ``bulkdel runs`` shows it, or the beginning of just one such name.

    :raises ConfigurationError: if there is none, or more than one
    :raises RunFileError: if the state folder cannot be found or read
    """
    from bulkdel.render.overview import run_name
    from bulkdel.store.folder import run_files, state_folder

    if os.path.isfile(words):
        return Path(words)
    name = run_name(Path(words))
    names = {} if os.sep in words else {run_name(path): path for path in run_files(state_folder())}
    meant = [name] if name in names else [one for one in names if name and one.startswith(name)]
    if len(meant) == 1:
        return names[meant[0]]
    if meant:
        shown = ", ".join(meant[:5]) + (", …" if len(meant) > 5 else "")
        raise ConfigurationError(f"more than one run begins with this: {sanitize(words)}", hint=f"they are: {shown}")
    raise ConfigurationError(
        f"there is no such run: {sanitize(words)}", hint="bulkdel runs lists the runs that there are"
    )


def run_argument(*, only_unfinished: bool = False) -> Callable[[Any], Any]:
    """The argument of a command that reads a run. A shell is offered the runs of the state folder by name, newest first, each with
    what became of it; if none begins so, files.

    :param only_unfinished: offer those that can go on; behind ``--retry-rejected`` also those with something rejected
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from bulkdel.render.overview import overview
        from bulkdel.store.folder import run_files, state_folder

        try:
            there = run_files(state_folder())
        except RunFileError:
            there = []  # a shell that completes has no place for an error
        found = []
        for path in [path for path in there if path.name.startswith(incomplete)][:50]:
            one = overview(path)
            again = one.get("rejected") and ctx.params.get("retry_rejected")
            if one["command"] or again or not only_unfinished:
                words = f"{one['status'] or 'unreadable'}, {one.get('not_attempted', 0)} to go"
                found.append(CompletionItem(one["name"], help=words))
        return found or [CompletionItem(incomplete, type="file")]

    return click.argument("run", shell_complete=complete)
