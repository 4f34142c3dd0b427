"""``bulkdel plan``: list and select, delete nothing, and keep it in a run file to be reviewed and carried out."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import click

from bulkdel.cli import completion, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import (
    connection_options,
    limit_options,
    plan_options,
    policy_from,
    policy_options,
    selection_from,
    selection_options,
    talk_options,
)
from bulkdel.report import Report

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
@click.argument("provider", shell_complete=completion.kinds)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@plan_options
@selection_options
@limit_options
@policy_options
@connection_options
@talk_options
@click.pass_obj
def plan(world: AppContext, /, provider: str, datasets: tuple[str, ...], **given: Any) -> int:
    """List datasets and select documents, send nothing but GET, and keep the plan for bulkdel resume to carry out.

    PROVIDER is dify, langdock, or the name of an installed plug-in; DATASET is the id of a Dify knowledge base or of a
    Langdock knowledge folder.
    """
    from bulkdel.cli import opening, runner
    from bulkdel.cli.commands.purge import checked
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    opened = opening.open_provider(provider, given, world, Screen(world))
    wanted = checked(datasets, opened)
    select = selection_from(given)

    def call(client: Any, **common: Any) -> Awaitable[Report]:
        used = {name: common[name] for name in ("policy", "on_event", "on_plan", "run")}
        done: Awaitable[Report] = client.plan(opened.name, *wanted, select=select, **used)
        return done

    doing = runner.Act(
        kind="plan",
        providers=(opened,),
        policy=policy_from(given),
        call=call,
        place=lambda: run_files.place(given, world, opened.name),
        again=lambda path: run_files.resuming(path, run_files.carried(given)),
        **runner.shared(given),
    )
    return runner.start(doing, world)
