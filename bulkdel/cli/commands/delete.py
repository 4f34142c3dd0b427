"""``bulkdel delete``: settle the targets that a file or stdin lists."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import click

from bulkdel.cli import completion, run_files
from bulkdel.cli.context import AppContext, is_terminal
from bulkdel.cli.options import (
    act_options,
    connection_options,
    limit_options,
    policy_from,
    policy_options,
    talk_options,
)
from bulkdel.cli.output import check_streams
from bulkdel.cli.targets import TargetFile
from bulkdel.errors import ConfigurationError
from bulkdel.report import Report

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


@click.command(epilog=EPILOG, short_help="Delete the documents listed in FILE or on stdin (CSV or JSONL).")
@click.argument("provider", shell_complete=completion.kinds)
@click.argument("file", required=False, metavar="[FILE]", shell_complete=completion.files)
@act_options
@limit_options
@policy_options
@connection_options
@talk_options
@click.pass_obj
def delete(world: AppContext, /, provider: str, file: str | None, **given: Any) -> int:
    """Delete the documents that FILE or stdin (no FILE, or -) lists as CSV or JSONL.

    PROVIDER is dify, langdock, or the name of an installed plug-in.
    """
    from bulkdel.cli import opening, runner
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    check_streams(given["settled"], as_json=given["as_json"])
    run_files.check_options(given)
    opened = opening.open_provider(provider, given, world, Screen(world))
    with ExitStack() as stack:
        listed = TargetFile(
            stack.enter_context(_source(file, world)), "stdin" if file in (None, "-") else file, opened.name
        )

        def call(client: Any, **common: Any) -> Awaitable[Report]:
            # The run file holds them, so that they are read page by page; without one a file that changes now must not matter.
            targets = listed if common["run"] is not None else list(listed)
            done: Awaitable[Report] = client.delete(targets, **common)
            return done

        doing = runner.Act(
            kind="delete",
            providers=(opened,),
            policy=policy_from(given),
            call=call,
            place=lambda: run_files.place(given, world, opened.name),
            again=lambda path: run_files.resuming(path, run_files.carried(given)),
            targets=listed.counts,
            by_name=False,
            from_stdin=file in (None, "-"),
            **runner.shared(given),
        )
        return runner.start(doing, world)


@contextmanager
def _source(file: str | None, world: AppContext) -> Iterator[BinaryIO]:
    """The target file, to be read more than once; stdin, which can be read once only, is copied to a file without a name."""
    if file is not None and file != "-":
        with source(file) as opened:
            yield opened
        return
    if file is None and is_terminal(world.stdin):
        raise click.UsageError(
            "no targets: give a FILE, or pipe CSV or JSONL into stdin", click.get_current_context(silent=True)
        )
    with _copied(world.stdin_bytes(), "stdin") as copy:
        yield copy


@contextmanager
def source(file: str) -> Iterator[BinaryIO]:
    """A target file, to be read more than once; a pipe is copied.

    :raises ConfigurationError: where it cannot be read
    """
    try:
        opened = open(file, "rb")  # noqa: SIM115 - the with below would also catch the body's errors
    except OSError as error:
        raise _unreadable(file, error) from None
    with opened:
        if opened.seekable():
            yield opened
            return
        with _copied(opened, file) as copy:
            yield copy


@contextmanager
def _copied(source: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        try:
            shutil.copyfileobj(source, copy)
        except OSError as error:
            raise _unreadable(name, error) from None
        yield copy


def _unreadable(file: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot read the target file: {file}: {error.strerror or error}")
