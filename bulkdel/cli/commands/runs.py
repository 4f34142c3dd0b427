"""``bulkdel runs``: the run files there are, newest first, and how to go on with each."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli.context import AppContext
from bulkdel.text import format_age, sanitize

if TYPE_CHECKING:
    from bulkdel.render.overview import Overview

EPILOG = """\b
Example:
  bulkdel runs
  bulkdel runs --json
\b
The folder is $XDG_STATE_HOME/bulkdel, or ~/.local/state/bulkdel; runs that were
kept elsewhere with --run FILE are not in it.
\b
Exit status: 0 listed, 2 wrong command, or the folder cannot be read.
"""


@click.command(epilog=EPILOG, short_help="The run files there are, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout, and nothing else there.")
@click.pass_obj
def runs(app: AppContext, /, as_json: bool) -> int:
    """List the runs in your state folder: name, status, age, counts, and the command that goes on with one."""
    from bulkdel.cli import output
    from bulkdel.render.overview import overview
    from bulkdel.store.folder import run_files, state_folder

    folder = state_folder()
    found = [overview(path) for path in run_files(folder)]
    if as_json:
        output.write_json(app, [as_dict(one, time.time()) for one in found])
    elif found:
        output.write(app, "\n".join(lines(found, time.time())))
    else:
        app.screen.say(f"no runs in: {folder}")
    return 0


def as_dict(one: Overview, now: float) -> dict[str, Any]:
    """A run as the JSON list has it; ``command`` is null if there is nothing to go on with."""
    out = one.as_dict()
    if one.created_at is not None:
        out["age_s"] = round(_age(one, now), 3)
    return out | {"command": command(one) or None}


def lines(found: Sequence[Overview], now: float) -> list[str]:
    """A table in plain columns, 80 of them unless a name is longer. Under a run stands the command that goes on with it, or why it was
    refused or cannot be read."""
    wide = max(4, *(len(sanitize(one.name)) for one in found))
    out = [f"{'name':<{wide}}  {'status':<11} {'age':>6} {'selected':>8} {'gone':>6} {'rejected':>8} {'to go':>6}"]
    for one in found:
        c = one.counts
        if one.problem:
            out += [f"{sanitize(one.name):<{wide}}  unreadable", f"  {sanitize(one.problem)}"]
            continue
        age = format_age(_age(one, now))
        gone = c.deleted + c.already_gone
        over = one.state == "refused" and not one.resumable
        left = "-" if over else str(c.not_attempted)  # what was refused is not to go
        selected = f"{c.selected}+" if one.input_truncated else str(c.selected)
        out.append(
            f"{sanitize(one.name):<{wide}}  {one.state:<11} {age:>6} {selected:>8} {gone:>6} {c.rejected:>8} {left:>6}"
        )
        if over:
            out.append(f"  nothing was deleted{f': {sanitize(one.reason)}' if one.reason else ''}")
        if one.resumable:
            out.append(f"  {command(one)}")
    return out


def command(one: Overview) -> str:
    """What goes on with the run, by its name; empty if nothing does."""
    return shlex.join(["bulkdel", "resume", one.name]) if one.resumable else ""


def _age(one: Overview, now: float) -> float:
    return max(0.0, now - (one.created_at or now))  # clocks are set back
