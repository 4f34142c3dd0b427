"""``bulkdel purge``: empty whole datasets, and verify."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli import completion, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import (
    act_options,
    connection_options,
    limit_options,
    policy_from,
    policy_options,
    selection_from,
    selection_options,
    talk_options,
)
from bulkdel.cli.output import check_streams
from bulkdel.errors import ConfigurationError
from bulkdel.report import Report

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider

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
that was interrupted or killed, bulkdel report shows every document of it.
\b
Exit status: 0 everything selected is gone and the listing shows it, 1 something
was rejected or is still there, 2 wrong command, 3 refused or not confirmed,
4 stopped by the provider, 5 the deadline came, 70 a bug, 130 or 143 interrupted.
"""


@click.command(epilog=EPILOG, short_help="Empty whole datasets, and verify.")
@click.argument("provider", shell_complete=completion.kinds)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@act_options
@selection_options
@limit_options
@policy_options
@connection_options
@talk_options
@click.pass_obj
def purge(world: AppContext, /, provider: str, datasets: tuple[str, ...], **given: Any) -> int:
    """Empty whole datasets, and list them again to prove it.

    PROVIDER is dify, langdock, or the name of an installed plug-in; DATASET is the id of a Dify knowledge base or of a
    Langdock knowledge folder (bulkdel datasets PROVIDER shows them). The datasets stay, empty.
    """
    from bulkdel.cli import opening, runner
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    check_streams(given["settled"], as_json=given["as_json"])
    run_files.check_options(given)
    opened = opening.open_provider(provider, given, world, Screen(world))
    wanted = checked(datasets, opened)
    select = selection_from(given)

    def call(client: Any, **common: Any) -> Awaitable[Report]:
        done: Awaitable[Report] = client.purge(opened.name, *wanted, select=select, **common)
        return done

    doing = runner.Act(
        kind="purge",
        providers=(opened,),
        policy=policy_from(given),
        call=call,
        place=lambda: run_files.place(given, world, opened.name),
        again=lambda path: run_files.resuming(path, run_files.carried(given)),
        **runner.shared(given),
    )
    return runner.start(doing, world)


def checked(datasets: tuple[str, ...], provider: Provider) -> tuple[str, ...]:
    """The datasets, each once.

    :raises ConfigurationError: where one cannot be a dataset of this provider
    """
    for dataset in datasets:
        wrong = provider.invalid(dataset)
        if wrong:
            raise ConfigurationError(
                f"cannot be a dataset of {provider.kind} ({wrong}): {dataset!r}",
                hint=f"bulkdel datasets {provider.kind} lists the ids that the key sees",
            )
    return tuple(dict.fromkeys(datasets))
