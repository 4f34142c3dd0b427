"""``bulkdel delete``: settle the targets that a file or stdin lists."""

from __future__ import annotations

import click

from bulkdel.cli import providers
from bulkdel.cli.context import AppContext, is_terminal
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, POLICY, RUN, Options, takes, usage_error

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
Between cells are commas, semicolons or tabs, as Excel writes them. As JSONL a
line is {"dataset": "...", "document": "..."}; an array of such objects is read,
too. Each bad line is named with its number before anything is sent. What is
already gone is no failure.
\b
Exit status: 0 all are gone, 1 something was rejected, 2 wrong command or file,
3 refused or not confirmed, 4 stopped by the provider, 5 the deadline came,
70 a bug, 130 or 143 interrupted.
"""


@click.command(epilog=EPILOG, short_help="Delete the documents listed in FILE or on stdin (CSV or JSONL).")
@providers.PROVIDER
@click.argument("file", required=False, metavar="[FILE]", type=click.Path())
@takes(*RUN, *LIMITS, *POLICY, *CONNECTION, *OUTPUT)
def delete(app: AppContext, /, provider: str, file: str | None, options: Options) -> int:
    """Delete the documents that FILE or stdin (no FILE, or -) lists as CSV, JSONL
    or a JSON array.

    PROVIDER is dify, langdock, or the name of an installed plug-in.
    """
    from bulkdel.cli import runner
    from bulkdel.cli.targets import TargetFile, opened

    service, kept = providers.open_alone(provider, options, app)
    if file is None and is_terminal(app.stdin):
        usage_error("no targets: give a FILE, or pipe CSV or JSONL into stdin")
    from_stdin = file is None or file == "-"
    name = "stdin" if file is None or from_stdin else file
    with opened(name, app.stdin_bytes() if from_stdin else None) as source:
        targets = TargetFile(source, name, service.name, {service.name: service})
        task = runner.Task(
            act="delete",
            options=options,
            providers=(service,),
            policy=options.policy(),
            targets=targets,
            more=kept,
        )
        return runner.run(task, app)
