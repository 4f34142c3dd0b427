"""Where a run file goes, which one is meant, and the command that goes on with it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from bulkdel.cli.options import Options
from bulkdel.errors import BulkdelError, ConfigurationError, RunFileError
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

    return new_path(label, folder=state_folder(), now=time.time())


def state() -> Path | None:
    """The user's state folder; None if there is none: then nothing is remembered, and limits are not shared."""
    from bulkdel.store.folder import state_folder

    try:
        return state_folder()
    except RunFileError:
        return None


def check_settled(settled: str | None, run: Path | None) -> None:
    """:raises ConfigurationError: if the settled lines would be written into the run file"""
    if settled is None or settled == "-" or run is None:
        return
    if os.path.realpath(settled) == os.path.realpath(run):
        raise ConfigurationError(f"--settled names the run file itself: {settled}", hint="give the lines another file")


def find(words: str) -> Path:
    """The run that ``words`` mean: a path, a name as ``bulkdel runs`` shows it, or the beginning of just one such name.

    :raises ConfigurationError: if there is none, or more than one
    :raises RunFileError: if the state folder cannot be found or read
    """
    from bulkdel.store.folder import SUFFIX, run_files, state_folder

    if os.path.isfile(words):
        return Path(words)
    known = [] if os.sep in words else run_files(state_folder())
    name = words.removesuffix(SUFFIX)
    names = {path.name.removesuffix(SUFFIX): path for path in known}
    meant = [name] if name in names else [one for one in names if name and one.startswith(name)]
    if len(meant) == 1:
        return names[meant[0]]
    if meant:
        shown = ", ".join(meant[:5]) + (", …" if len(meant) > 5 else "")
        raise ConfigurationError(f"more than one run begins with this: {sanitize(words)}", hint=f"they are: {shown}")
    raise ConfigurationError(
        f"there is no such run: {sanitize(words)}", hint="bulkdel runs lists the runs that there are"
    )


def resume_command(path: Path, more: Iterable[str] = ()) -> str:
    """``bulkdel resume PATH``, to be pasted into a shell, if the run at ``path`` can go on; empty if it cannot."""
    from bulkdel.render.overview import can_resume
    from bulkdel.store import Run

    try:
        with Run.open(path, check=False) as run:
            if not can_resume(run):
                return ""
            agreed = run.agreed
    except BulkdelError:
        return ""
    # A run that was agreed to as a whole does not ask again; else the yes was for what is still to be listed, too.
    words = [word for word in more if not (agreed and word in ("-y", "--yes"))]
    return shlex.join(["bulkdel", "resume", os.path.realpath(path), *words])


def carried_options(options: Options) -> list[str]:
    """The options that a run file does not hold and that going on needs: the yes, and where the key is."""
    words = ["--yes"] if options.yes else []
    for name, file in (("--api-key-file", options.api_key_file), ("--ca-file", options.ca_file)):
        if file is not None:
            words += [name, os.path.abspath(file)]
    return words


def discard_unused(path: Path) -> None:
    """Remove a run file if nothing was asked for and it cannot go on, so that its name is free for the next try."""
    from bulkdel.render.overview import can_resume
    from bulkdel.store import Run

    try:
        with Run.open(path, check=False) as run:
            if run.begun or can_resume(run):
                return
        path.unlink()
    except (BulkdelError, OSError):
        return
