"""``bulkdel purge``: empty whole datasets, and verify."""

from __future__ import annotations

from typing import Literal

import click

from bulkdel.cli import providers
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, POLICY, RUN, SELECTION, Options, takes
from bulkdel.model import PurgeRequest

EPILOG = """\b
Example: empty one knowledge base of your own Dify, after looking at it.
  export DIFY_API_KEY=dataset-...
  export DIFY_BASE_URL=https://dify.example.com/v1
  bulkdel datasets dify
  bulkdel purge dify 6f1c2b34-... --dry-run
  bulkdel purge dify 6f1c2b34-...
\b
In a script, with the account as JSON and a guard against a wrong id:
  bulkdel purge dify 6f1c2b34-... --yes --max-delete 2000 --json
\b
The run is kept in a file: bulkdel runs lists them, bulkdel resume goes on with one
that was interrupted or killed, bulkdel report RUN names what is not gone and why,
and with --format csv every selected document.
\b
Exit status: 0 everything selected is gone and the listing shows it, 1 something
was rejected or is still there, 2 wrong command, 3 refused or not confirmed,
4 stopped by the provider, 5 the deadline came, 70 a bug, 130 or 143 interrupted.
"""


@click.command(epilog=EPILOG, short_help="Empty whole datasets, and verify.")
@providers.PROVIDER
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@takes(*RUN, *SELECTION, *LIMITS, *POLICY, *CONNECTION, *OUTPUT)
def purge(app: AppContext, /, provider: str, datasets: tuple[str, ...], options: Options) -> int:
    """Empty whole datasets, and list them again to prove it.

    PROVIDER is dify, langdock, or the name of an installed plug-in; DATASET is the id of a Dify knowledge base or of a
    Langdock knowledge folder (bulkdel datasets PROVIDER shows them). The datasets stay, empty.
    """
    return purge_datasets("purge", provider, datasets, options, app)


def purge_datasets(
    act: Literal["purge", "plan"], kind: str, datasets: tuple[str, ...], options: Options, app: AppContext
) -> int:
    """Empty the datasets of one provider, or plan it; returns the exit status."""
    from bulkdel.cli import runner

    provider, kept = providers.open_alone(kind, options, app)
    select = options.selection()
    task = runner.Task(
        act=act,
        options=options,
        providers=(provider,),
        policy=options.policy(),
        purges=[
            PurgeRequest(provider.name, dataset, select) for dataset in providers.checked_datasets(datasets, provider)
        ],
        more=kept,
    )
    return runner.run(task, app)
