"""``bulkdel report``: what a run was asked and what became of each document, for people, programs and auditors."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click

from bulkdel.cli import run_files
from bulkdel.cli.context import AppContext, is_terminal
from bulkdel.cli.options import FILE
from bulkdel.errors import ConfigurationError
from bulkdel.render import Format, render

EPILOG = """\b
Example:
  bulkdel report old.run
  bulkdel report old.run --format csv -o old.csv
  bulkdel report old.run --format html -o old.html
\b
text   for people: the summary first, each dataset, every rejected document with its
       reason, what is left; of a plan everything that it would delete or leave
json   the account as one JSON object
jsonl  every document with its ending, one JSON object a line, as of --settled
csv    the same for a spreadsheet, which keeps every id as it is; bulkdel delete reads it
html   one page with plots and searchable lists, in a file that needs no network
       (up to 100,000 documents)
\b
text, json and html end with a digest: the SHA-256 of every ending, counted from the run
file, so that a report can be matched to its run later.
\b
Exit status: 0 written, 1 could not be written to the end, 2 wrong command or run file.
"""


@click.command(epilog=EPILOG, short_help="What became of a run's documents: text, JSON, JSONL, CSV or HTML.")
@run_files.run_argument()
@click.option("--format", "form", type=click.Choice(get_args(Format)), default="text", help="Default: text.")
@click.option("-o", "--output", type=FILE, metavar="FILE",
              help="Write to FILE, which appears when it is whole and is yours alone (0600); - is stdout.")  # fmt: skip
@click.pass_obj
def report(app: AppContext, /, run: str, form: Format, output: Path | None) -> int:
    """Show what RUN was asked and what became of each document.

    RUN is a file, or a run's name as bulkdel runs shows it, or the beginning of one.
    """
    from bulkdel.cli.screen import Screen
    from bulkdel.render.saving import save
    from bulkdel.store import Run

    to_file = output is not None and str(output) != "-"
    if form == "html" and not to_file and is_terminal(app.stdout):
        raise ConfigurationError("an HTML page cannot be read on a terminal", hint="name a file for it: -o report.html")
    path = run_files.find(run)
    with Run.open(path) as there:
        pieces = render(there, form)
        if output is not None and to_file:
            try:
                # A spreadsheet takes a CSV file without a byte-order mark for one of its own encoding.
                save(output, chain(["\ufeff"], pieces) if form == "csv" else pieces)
            except OSError as error:
                raise ConfigurationError(f"cannot write the report to {output}: {error.strerror or error}") from None
            return 0
        try:
            _print(app, pieces)
        except OSError as error:
            Screen(app).error(f"cannot write the report: {error.strerror or error}")
            return 1
    return 0


def _print(app: AppContext, pieces: Iterable[str]) -> None:
    """:raises OSError: if stdout cannot be written; a reader that went away has seen what they wanted"""
    from bulkdel.cli.output import silence

    stream: Any = app.stdout
    try:
        for piece in pieces:
            stream.write(piece)
        stream.flush()
    except OSError as error:
        silence(stream)  # what its buffer holds still would fail once more at the exit
        if not isinstance(error, BrokenPipeError):
            raise
