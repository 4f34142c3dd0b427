"""``bulkdel plan``: list and select, delete nothing, and keep it in a run file to be reviewed and carried out."""

from __future__ import annotations

import click

from bulkdel.cli.commands.purge import purge_datasets
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, POLICY, SELECTION, Options, takes
from bulkdel.cli.providers import PROVIDER

EPILOG = """\b
Example: plan, review, carry out.
  bulkdel plan dify 6f1c2b34-... --created-before 90d -o old.run
  bulkdel report old.run
  bulkdel resume old.run
\b
resume deletes what the plan holds and nothing else: documents that came after it
are named and left alone. The options for deleting (--attempts, --unarchive ...)
are kept with the plan; resume takes them, too, to change them.
\b
Exit status: 0 planned, 1 a dataset could not be listed and is not in the plan,
2 wrong command, 3 refused by a guard, 4 stopped by the provider, 5 the deadline
came, 70 a bug, 130 or 143 interrupted. Nothing is deleted, whatever it is.
"""


@click.command(epilog=EPILOG, short_help="List and select, delete nothing; the plan is a run file.")
@PROVIDER
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@takes("run_file", "as_json", *SELECTION, *LIMITS, *POLICY, *CONNECTION, *OUTPUT)
def plan(app: AppContext, /, provider: str, datasets: tuple[str, ...], options: Options) -> int:
    """List datasets and select documents, send nothing but GET, and keep the plan for bulkdel resume to carry out.

    PROVIDER is dify, langdock, or the name of an installed plug-in; DATASET is the id of a Dify knowledge base or of a
    Langdock knowledge folder.
    """
    return purge_datasets("plan", provider, datasets, options, app)
