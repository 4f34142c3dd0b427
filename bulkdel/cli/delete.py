"""``bulkdel delete``: settle the targets that a file or stdin lists."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import click

from bulkdel.account import Report
from bulkdel.cli import targets
from bulkdel.cli.options import (
    act_options,
    connection_options,
    limit_options,
    policy_from,
    policy_options,
    talk_options,
)
from bulkdel.cli.output import check_streams
from bulkdel.cli.world import World, is_terminal
from bulkdel.errors import ConfigurationError
from bulkdel.model import Target

EPILOG = """\b
Example: targets.csv, more columns are ignored
  dataset,document
  6f1c2b34-...,0aa51c9e-...
  6f1c2b34-...,77d0e2b1-...
\b
  bulkdel delete dify targets.csv
  bulkdel delete dify targets.csv --yes --settled done.jsonl
  grep old targets.jsonl | bulkdel delete langdock --yes --json
\b
As JSONL a line is {"dataset": "...", "document": "..."}. Each bad line is named
with its number before anything is sent. What is already gone is no failure.
\b
Exit status: 0 all are gone, 1 something was rejected, 2 wrong command or file,
3 refused or not confirmed, 4 stopped by the provider, 5 the deadline came,
70 a bug, 130 or 143 interrupted.
"""


@click.command(epilog=EPILOG, short_help="Settle the targets listed in FILE or on stdin (CSV or JSONL).")
@click.argument("provider")
@click.argument("file", required=False, metavar="[FILE]")
@act_options
@limit_options
@policy_options
@connection_options
@talk_options
@click.pass_obj
def delete(world: World, /, provider: str, file: str | None, **given: Any) -> int:
    """Delete the documents that FILE or stdin (no FILE, or -) lists as CSV or JSONL.

    PROVIDER is dify, langdock, or the name of an installed plug-in.
    """
    from bulkdel.cli import act
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    check_streams(given["settled"], as_json=given["as_json"])
    opened = act.open_provider(provider, given, world, Screen(world))
    listed = _read(file, opened.name, world)

    def call(client: Any, **common: Any) -> Awaitable[Report]:
        done: Awaitable[Report] = client.delete(listed, **common)
        return done

    doing = act.Act(
        provider=opened,
        policy=policy_from(given),
        call=call,
        targets=listed,
        from_stdin=file in (None, "-"),
        **act.shared(given),
    )
    return act.start(doing, world)


def _read(file: str | None, provider: str, world: World) -> list[Target]:
    """The targets, checked to the last line."""
    if file is None or file == "-":
        if file is None and is_terminal(world.stdin):
            raise click.UsageError(
                "no targets: give a FILE, or pipe CSV or JSONL into stdin", click.get_current_context(silent=True)
            )
        return targets.read(world.stdin_bytes(), "stdin", provider)
    try:
        with open(file, "rb") as source:
            return targets.read(source, file, provider)
    except OSError as error:
        raise ConfigurationError(f"cannot read the target file: {file}: {error.strerror or error}") from None
