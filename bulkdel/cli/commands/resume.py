"""``bulkdel resume``: carry out a plan, or go on with a run that did not come to its end; the same act."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import click

from bulkdel.cli import broker, completion, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import connection_options, limit_options, policy_from, resume_options, talk_options
from bulkdel.cli.output import check_streams
from bulkdel.report import Report

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
@click.argument("run", shell_complete=completion.unfinished)
@resume_options
@broker.broker_option
@limit_options
@connection_options
@talk_options
@click.pass_obj
def resume(world: AppContext, /, run: str, **given: Any) -> int:
    """Carry out the plan in RUN, or go on with the run in it: what is settled is not asked again, what is left is.

    RUN is a file, or a run's name as bulkdel runs shows it, or the beginning of one. Options that are not given are as
    the run was begun with; the account at the end is the whole run's.
    """
    from bulkdel.cli import opening, runner
    from bulkdel.cli.screen import Screen
    from bulkdel.store import Run

    world.verbose = given["verbose"]
    check_streams(given["settled"], as_json=given["as_json"])
    path = run_files.find(run, world)
    with Run.open(path, check=False) as there:
        header, agreed = there.header, there.agreed
    providers = opening.open_again(header, given, world, Screen(world))
    policy = policy_from(given, header.policy)
    crew = broker.again(header, given, world)

    def call(client: Any, **common: Any) -> Awaitable[Report]:
        used = {name: common[name] for name in ("policy", "on_event", "on_plan", "confirm", "on_settled")}
        done: Awaitable[Report] = client.resume(path, retry_rejected=given["retry_rejected"], **used)
        return done

    def again(path: Path) -> str:
        options = [word for word in world.argv[1:] if word != "--retry-rejected"]  # that was done
        options.remove(run)
        return run_files.resuming(path, options)

    doing = runner.Act(
        kind="resume",
        providers=providers,
        policy=policy,
        call=call,
        place=lambda: path,
        again=again,
        by_name=not header.targets,
        asks=not agreed,
        crew=crew,
        **runner.shared(given),
    )
    return runner.start(doing, world)
