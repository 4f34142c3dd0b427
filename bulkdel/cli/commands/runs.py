"""``bulkdel runs``: the run files there are, newest first, and how to go on with each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
Exit status: 0 listed, 1 the list could not be written, 2 wrong command, or the
folder cannot be read.
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
        return int(not output.write_json(app, found))
    if found:
        return int(not output.write_lines(app, *lines(found)))
    app.screen.say(f"no runs in: {folder}")
    return 0


def lines(found: Sequence[Overview]) -> list[str]:
    """A table in plain columns, 80 of them unless a name is longer. Under a run stands the command that goes on with it, or why it was
    refused or cannot be read."""
    wide = max(4, *(len(sanitize(one["name"])) for one in found))
    out = [f"{'name':<{wide}}  {'status':<11} {'age':>6} {'selected':>8} {'gone':>6} {'rejected':>8} {'to go':>6}"]
    for one in found:
        name = f"{sanitize(one['name']):<{wide}}"
        if one["status"] is None:
            out += [f"{name}  unreadable", f"  {sanitize(one['problem'])}"]
            continue
        over = one["status"] == "refused" and not one["command"]
        left = "-" if over else str(one["not_attempted"])  # what was refused is not to go
        selected, gone = f"{one['selected']}{'+' * one['input_truncated']}", one["deleted"] + one["already_gone"]
        age = format_age(one.get("age_s", 0.0))
        out.append(f"{name}  {one['status']:<11} {age:>6} {selected:>8} {gone:>6} {one['rejected']:>8} {left:>6}")
        why = f": {sanitize(one['reason'])}" if one["reason"] else ""
        if over:
            out.append(f"  nothing was deleted{why}")
        if one["command"]:
            out.append(f"  {one['command']}")
    return out
