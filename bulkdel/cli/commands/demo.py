"""``bulkdel demo``: simulate both providers on loopback and purge them at once; the main job, with nothing to set up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import OUTPUT, Options, takes
from bulkdel.model import Limits, Policy, PurgeRequest, Rate

if TYPE_CHECKING:
    from bulkdel.cli.runner import Task
    from bulkdel.simulator import Simulator

EPILOG = """\b
Example:
  bulkdel demo
\b
The same on a simulated service that stays up for your own tries:
  bulkdel simulate dify
\b
Exit status: 0 everything is gone, 1 something is not, 2 wrong command, 70 a bug,
130 interrupted. It keeps no run file, so there is nothing to resume or report.
"""

INTRODUCTION = """\
Two knowledge services are simulated on this machine; nothing else is touched:
  a Dify whose 200 documents are partly archived or still being indexed, and
    some of whose deletes fail or lose their answer
  a Langdock with 200 documents that allows 20 requests a second
bulkdel now purges both at once, as bulkdel purge does with real ones"""

EMPTY = """
All {} documents are gone: bulkdel listed every knowledge base again and found
it empty, and the simulated services themselves say that they hold none

Next, with your own: bulkdel purge --help
The demo keeps no run file; your own runs are kept: bulkdel runs lists them"""


@click.command(
    epilog=EPILOG, short_help="Simulate both providers and purge them: the main job, with nothing to set up."
)
@takes(*OUTPUT)
def demo(app: AppContext, /, options: Options) -> int:
    """Purge a simulated Dify and a simulated Langdock at once, over real HTTP on this machine.

    Some of the 400 documents are still being indexed, some are archived, some deletes fail or lose their answer, and one
    service has a rate limit. It takes about 15 seconds, needs no key and touches nothing but itself.
    """
    from anyio.from_thread import start_blocking_portal

    from bulkdel.cli import output, runner
    from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator

    if not options.quiet:
        for line in INTRODUCTION.splitlines():
            app.screen.say(line)
    flaky = Faults(indexing=10, indexing_for=4.0, archived=8, error_500=0.05, lost=0.04, latency=0.01, lock_for=0.2)
    # 20 requests a second, so that 200 documents take 10 s at the limit and not a blink.
    limited = Faults(rate_limit=20, rate_window=1.0, rate_style="429-retry-after", error_500=0.02, latency=0.02)
    # The seed decides which documents are special and which deletes fail: any number will do, the same one shows the same.
    dify = DifySimulator(documents=[120, 80], faults=flaky, seed=4)
    langdock = LangdockSimulator(documents=[120, 80], faults=limited, seed=4)
    # In a thread of their own, as servers elsewhere would be.
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(dify),
        portal.wrap_async_context_manager(langdock),
    ):
        before = dify.remaining + langdock.remaining
        status = runner.run(_task(dify, langdock, options), app)
        left = dify.remaining + langdock.remaining
    if left == 0 and status == 0 and dify.danger + langdock.danger == 0:
        return int(not output.write_lines(app, EMPTY.format(before)))
    app.screen.error("the demo did not end as it should: not everything is gone")
    output.write_lines(app, f"\n{left} of {before} documents are still there, say the simulated services themselves")
    return status or 1


def _task(dify: Simulator, langdock: Simulator, options: Options) -> Task:
    """What ``bulkdel job`` would make of a job file that purges both."""
    from bulkdel.cli.runner import Task
    from bulkdel.providers.dify import Dify
    from bulkdel.providers.langdock import Langdock

    return Task(
        act="job",
        options=replace(options, yes=True, no_run=True),
        providers=(
            Dify(api_key=dify.key, base_url=dify.base_url),
            Langdock(api_key=langdock.key, base_url=langdock.base_url, limits=Limits(Rate(20, per=1), 4)),
        ),
        policy=Policy(unarchive=True, backoff=0.2, indexing_backoff=1.0),
        purges=[
            *(PurgeRequest("dify", dataset) for dataset in dify.dataset_ids),
            *(PurgeRequest("langdock", dataset) for dataset in langdock.dataset_ids),
        ],
        # Failures and pauses are what the demo is about, but its account explains them better than a log does.
        demo=True,
    )
