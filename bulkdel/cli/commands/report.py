"""``bulkdel report``: what a run was asked and what became of each document, for people, programs and auditors."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import get_args

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
       reason, what is left and what was skipped; of a plan everything that it would
       delete or skip
json   the account as one JSON object
jsonl  every selected document with its ending, one JSON object a line, as of --settled
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
@click.option("-o", "--output", "file", type=FILE, metavar="FILE",
              help="Write to FILE, which appears when it is whole and is yours alone (0600); - is stdout.")  # fmt: skip
@click.pass_obj
def report(app: AppContext, /, run: str, form: Format, file: Path | None) -> int:
    """Show what RUN was asked and what became of each document.

    RUN is a file, or a run's name as bulkdel runs shows it, or the beginning of one.
    """
    from bulkdel.cli import output
    from bulkdel.render.saving import save
    from bulkdel.store import Run

    file = None if str(file) == "-" else file
    if form == "html" and file is None and is_terminal(app.stdout):
        raise ConfigurationError("an HTML page cannot be read on a terminal", hint="name a file for it: -o report.html")
    with Run.open(run_files.find(run)) as there:
        pieces = render(there, form)
        if file is None:
            return int(not output.write(app, pieces, what="report"))
        try:
            # A spreadsheet takes a CSV file without a byte-order mark for one of its own encoding.
            save(file, chain(["\ufeff"], pieces) if form == "csv" else pieces)
        except OSError as error:
            raise ConfigurationError(f"cannot write the report to {file}: {error.strerror or error}") from None
    return 0
