"""``bulkdel demo``: simulate both providers on loopback and purge them at once; the main job, with nothing to set up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import talk_options
from bulkdel.text import format_duration, pluralize, sanitize

if TYPE_CHECKING:
    from bulkdel.report import Report

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

SEED = 4
"""Decides which documents are special and which deletes fail: any number will do, the same one shows the same."""
LIMIT = 20
"""Requests a second that the simulated Langdock allows, so that 200 documents take 10 s at its limit and not a blink."""


@click.command(
    epilog=EPILOG, short_help="Simulate both providers and purge them: the main job, with nothing to set up."
)
@talk_options
@click.pass_obj
def demo(world: AppContext, /, **given: Any) -> int:
    """Purge a simulated Dify and a simulated Langdock at once, over real HTTP on this machine.

    Some of the 400 documents are still being indexed, some are archived, some deletes fail or lose their answer, and one
    service has a rate limit. It takes about 15 seconds, needs no key and touches nothing but itself.
    """
    from bulkdel.cli import logs
    from bulkdel.cli.runner import run_async
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    screen = Screen(world)
    if not given["quiet"]:
        for words in INTRODUCTION:
            screen.say(words)
    as_json = given["log_json"] or not screen.terminal
    # Rejections and pauses are what the demo is about, but its table tells them better than a log does.
    quiet = given["quiet"] or not (given["verbose"] or given["log_json"])
    with logs.configure_logging(screen, quiet=quiet, verbose=given["verbose"], as_json=as_json) as log:
        outcome = run_async(lambda: _play(world, screen, log, given))
    return tell(world, screen, outcome)


INTRODUCTION = (
    "Two knowledge services are simulated on this machine; nothing else is touched:",
    "  a Dify whose 200 documents are partly archived or still being indexed, and",
    "    some of whose deletes fail or lose their answer",
    f"  a Langdock with 200 documents that allows {LIMIT} requests a second",
    "bulkdel now purges both at once, as bulkdel purge does with real ones",
)


@dataclass(frozen=True, slots=True)
class Played:
    """What one simulated service looks like afterwards: our report of it, and its own word."""

    title: str
    report: Report
    held_before: int
    holds: int
    refused: int
    danger: int


async def _play(world: AppContext, screen: Any, log: Any, given: dict[str, Any]) -> list[Played]:
    import asyncio

    from bulkdel.cli import logs, progress
    from bulkdel.cli.signals import Interrupts, once_more, watched
    from bulkdel.model import Limits, Policy, Rate
    from bulkdel.providers.dify import Dify
    from bulkdel.providers.langdock import Langdock
    from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator

    policy = Policy(unarchive=True, backoff=0.2, indexing_backoff=1.0)
    flaky = Faults(indexing=10, indexing_for=4.0, archived=8, error_500=0.05, lost=0.04, latency=0.01, lock_for=0.2)
    limited = Faults(rate_limit=LIMIT, rate_window=1.0, rate_style="429-retry-after", error_500=0.02, latency=0.02)
    async with (
        DifySimulator(documents=[120, 80], faults=flaky, seed=SEED) as dify,
        LangdockSimulator(documents=[120, 80], faults=limited, seed=SEED) as langdock,
    ):
        held = {"dify": dify.remaining, "langdock": langdock.remaining}
        providers = (
            Dify(api_key=dify.key, base_url=dify.base_url),
            Langdock(api_key=langdock.key, base_url=langdock.base_url, limits=Limits(Rate(LIMIT, per=1), 4)),
        )
        work: list[asyncio.Task[Report]] = []
        async with world.client(*providers) as client:

            def gently(number: int) -> None:
                client.stop(signal=number)
                screen.say(f"stopping: letting requests in flight end; {once_more(number)}")

            def at_once() -> None:
                for task in work:
                    task.cancel()

            interrupts = Interrupts(gently, at_once)
            how = progress.style(screen, quiet=given["quiet"], log_json=given["log_json"])
            with watched(interrupts.hear):
                async with progress.show_progress(
                    how, screen, log, client.progress, lambda: interrupts.signal is not None, every=DEMO_LINE_EVERY
                ):
                    for name, simulator in (("dify", dify), ("langdock", langdock)):
                        call = client.purge(
                            name, *simulator.dataset_ids, policy=policy, on_event=logs.listener(log), keep=False
                        )
                        work.append(asyncio.ensure_future(call))
                    try:
                        reports = await asyncio.gather(*work)
                    except asyncio.CancelledError:
                        raise KeyboardInterrupt from None
        return [
            Played(title, report, held[name], simulator.remaining, simulator.refused, simulator.danger)
            for title, name, simulator, report in zip(
                ("Dify (simulated)", "Langdock (simulated)"), held, (dify, langdock), reports, strict=True
            )
        ]


DEMO_LINE_EVERY = 3.0
"""Seconds between two lines where there is no terminal: the demo is over before the usual ten have come twice."""


def tell(world: AppContext, screen: Any, outcome: Sequence[Played]) -> int:
    """Show the table and what it means; returns the exit status."""
    from bulkdel.cli import output

    output.write(world, "\n".join(lines(outcome)))
    empty = all(played.report.ok and played.holds == 0 and played.danger == 0 for played in outcome)
    if empty:
        return 0
    screen.error("the demo did not end as it should: not everything is gone")
    return max(played.report.exit_status for played in outcome) or 1


def lines(outcome: Sequence[Played]) -> list[str]:
    """The end of the demo in words that a newcomer understands, in 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from bulkdel.cli.screen import drawn

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("knowledge base", overflow="fold")
    for heading in ("documents", "deleted", "still there", "status"):
        grid.add_column(heading, justify="right")
    for played in outcome:
        grid.add_row(Text(played.title))
        for dataset in played.report.datasets:
            c = dataset.counts
            left = "?" if dataset.remaining is None else str(dataset.remaining)
            grid.add_row(
                Text(f"  {sanitize(dataset.name, 40)}"),
                Text(str(c.listed)),
                Text(str(c.deleted + c.already_gone)),
                Text(left),
                Text(dataset.status),
            )
    out = [line for line in drawn(grid) if line]
    for played in outcome:
        report = played.report
        again = sum(report.requeued.values())
        out.append(
            f"{played.title}: {report.requests} requests in {format_duration(report.elapsed_s)}, "
            f"{played.refused} of them refused for the rate"
        )
        if again:
            out.append(f"  asked again {pluralize(again, 'time')}: {_causes(report.requeued)}")
    holds = sum(played.holds for played in outcome)
    before = sum(played.held_before for played in outcome)
    out.append("")
    if holds == 0:
        out.append(f"All {before} documents are gone: bulkdel listed every knowledge base again and found")
        out.append("it empty, and the simulated services themselves say that they hold none")
        out.append("")
        out.append("Next, with your own: bulkdel purge --help")
        out.append("The demo keeps no run file; your own runs are kept: bulkdel runs lists them")
    else:
        out.append(f"{holds} of {before} documents are still there, say the simulated services themselves")
    return out


def _causes(requeued: dict[str, int]) -> str:
    return ", ".join(f"{n} {sanitize(cause).replace('_', ' ')}" for cause, n in requeued.items() if n)
