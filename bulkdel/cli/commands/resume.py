"""``bulkdel resume``: carry out a plan, or go on with a run that did not come to its end; the same act."""

from __future__ import annotations

import click

from bulkdel.cli import providers, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, POLICY, Options, takes, usage_error

EPILOG = """\b
Example:
  bulkdel resume old.run
  bulkdel resume 20260301-120000-dify-3fa2c1 --yes --json
  bulkdel resume old.run --retry-rejected --unarchive
\b
The key comes from the environment or --api-key-file, and may be another one than
before; the address is the run's own, and another one is refused.
\b
Exit status: as of bulkdel purge.
"""


@click.command(epilog=EPILOG, short_help="Carry out a plan, or go on with an interrupted run.")
@run_files.run_argument(only_unfinished=True)
@takes(
    "yes", "retry_rejected", "as_json", "settled", "metrics_file", *POLICY, "broker", *LIMITS, *CONNECTION, *OUTPUT, defaults=False
)  # fmt: skip
def resume(app: AppContext, /, run: str, options: Options) -> int:
    """Carry out the plan in RUN, or go on with the run in it: what is settled is not asked again, what is left is.

    RUN is a file, or a run's name as bulkdel runs shows it, or the beginning of one. Options that are not given are as
    the run was begun with; the account at the end is the whole run's.
    """
    from bulkdel.cli import broker, runner
    from bulkdel.store import Run

    if options.indexing == "skip":
        usage_error(
            "--indexing skip leaves documents out when they are listed, and this run has its documents; give wait or delete"
        )
    path = run_files.find(run)
    with Run.open(path, check=False) as recorded:
        header = recorded.header
    words = [word for word in app.argv[1:] if word != "--retry-rejected"]  # that was done
    words.remove(run)
    task = runner.Task(
        act="resume",
        options=options,
        providers=providers.from_run(header, options, app),
        policy=options.policy(header.policy),
        run=path,
        resume_options=words,
        workers=broker.again(header, options, app),
    )
    return runner.run(task, app)
