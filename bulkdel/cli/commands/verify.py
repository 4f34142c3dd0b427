"""``bulkdel verify``: list a run's datasets again, later, and add what is found to the run."""

from __future__ import annotations

import click

from bulkdel.cli import providers, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, Options, takes

EPILOG = """\b
Example: the next morning
  bulkdel verify 20260301-120000-dify-3fa2c1
  bulkdel verify old.run --json
\b
A listing may lag behind the deletes, and a base may fill again: a synced source, a
restored backup. What came back and what came newly is named, here and in bulkdel report.
\b
Exit status: 0 everything that was deleted is still gone, 1 something of it is listed
again or could not be listed, 2 wrong command or run file, 4 stopped by the provider,
5 the deadline came, 70 a bug, 130 or 143 interrupted. Nothing is deleted, whatever it is.
"""


@click.command(epilog=EPILOG, short_help="List a run's datasets again, later, and add what is found to the run.")
@run_files.run_argument()
@takes("as_json", "timeout", "deadline", *LIMITS, *CONNECTION, *OUTPUT, defaults=False)
def verify(app: AppContext, /, run: str, options: Options) -> int:
    """List the datasets of RUN again, send nothing but GET, and add what is found to the run and its report.

    RUN is a file, or a run's name as bulkdel runs shows it, or the beginning of one.
    """
    from bulkdel.cli import runner
    from bulkdel.store import Run

    path = run_files.find(run)
    with Run.open(path, check=False) as recorded:
        header = recorded.header
    task = runner.Task(
        act="verify",
        options=options,
        providers=providers.from_run(header, options, app),
        policy=options.policy(header.policy),
        run=path,
    )
    return runner.run(task, app)
