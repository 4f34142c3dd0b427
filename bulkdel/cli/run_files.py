"""Where a run file goes, which one is meant, and the command that goes on with it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from bulkdel.cli.context import AppContext
from bulkdel.errors import BulkdelError, ConfigurationError
from bulkdel.text import sanitize


def place(given: Mapping[str, Any], world: AppContext, label: str) -> Path | None:
    """Where the run file goes: ``--run FILE``, a new name in the user's state folder, or None where none is kept.

    :raises RunFileError: where there is no such folder and none can be made
    """
    if given.get("dry_run") or given.get("no_run"):
        return None
    if given["run_file"] is not None:
        return Path(given["run_file"])
    from bulkdel.store.folder import new_path, state_folder

    return new_path(label, folder=state_folder(world.environ), now=time.time())


def state(world: AppContext) -> Path | None:
    """The user's state folder, None where there is none: then nothing is remembered, and limits are shared with nobody."""
    from bulkdel.errors import RunFileError
    from bulkdel.store.folder import state_folder

    try:
        return state_folder(world.environ)
    except RunFileError:
        return None


def check_options(given: Mapping[str, Any]) -> None:
    """:raises click.UsageError: where a run file is both wished for and not"""
    if given["run_file"] is None:
        return
    against = "--no-run" if given["no_run"] else "--dry-run" if given["dry_run"] else ""
    if against:
        hint = "; bulkdel plan keeps a plan in a file" if against == "--dry-run" else ""
        raise click.UsageError(
            f"--run keeps a run file and {against} keeps none{hint}", click.get_current_context(silent=True)
        )


def check_settled(settled: str | None, run: Path | None) -> None:
    """:raises ConfigurationError: where the settled lines would be written into the run file"""
    if settled is None or settled == "-" or run is None:
        return
    if os.path.realpath(settled) == os.path.realpath(run):
        raise ConfigurationError(f"--settled names the run file itself: {settled}", hint="give the lines another file")


def find(words: str, world: AppContext) -> Path:
    """The run that ``words`` mean: a path, a name as ``bulkdel runs`` shows it, or the beginning of just one such name.

    :raises ConfigurationError: where there is none, or more than one
    :raises RunFileError: where the state folder cannot be found or read
    """
    from bulkdel.render.overview import run_name
    from bulkdel.store.folder import SUFFIX, run_files, state_folder

    if os.path.isfile(words):
        return Path(words)
    separated = os.sep in words or (os.altsep is not None and os.altsep in words)
    known = [] if separated else run_files(state_folder(world.environ))
    name = words.removesuffix(SUFFIX)
    for path in known:
        if run_name(path) == name:
            return path
    meant = [path for path in known if name and path.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        shown = ", ".join(run_name(path) for path in meant[:5]) + (", …" if len(meant) > 5 else "")
        raise ConfigurationError(f"more than one run begins with this: {sanitize(words)}", hint=f"they are: {shown}")
    raise ConfigurationError(
        f"there is no such run: {sanitize(words)}", hint="bulkdel runs lists the runs that there are"
    )


def resuming(path: Path, more: Iterable[str] = ()) -> str:
    """``bulkdel resume PATH``, to be pasted into a shell, where the run at ``path`` can go on; empty where it cannot."""
    from bulkdel.render.overview import can_resume
    from bulkdel.store import Run

    try:
        with Run.open(path, check=False) as run:
            if not can_resume(run):
                return ""
            agreed = run.agreed
    except BulkdelError:
        return ""
    # Whoever has said yes to all of a run is not asked again; else the yes was for what is still to be listed, too.
    words = [word for word in more if not (agreed and word in ("-y", "--yes"))]
    return shlex.join(["bulkdel", "resume", os.path.realpath(path), *words])


def carried(given: Mapping[str, Any]) -> list[str]:
    """The options that a run file does not hold and that going on needs: the yes, and where the key is."""
    words = ["--yes"] if given.get("yes") else []
    for name in ("api_key_file", "ca_file"):
        if given.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", os.path.abspath(given[name])]
    return words


def discard(path: Path) -> None:
    """Take a run file away that nothing was asked for and that cannot go on, so that its name is free for the next try."""
    from bulkdel.render.overview import can_resume
    from bulkdel.store import Run

    try:
        with Run.open(path, check=False) as run:
            if run.begun or can_resume(run):
                return
        path.unlink()
    except (BulkdelError, OSError):
        return
