"""The ``bulkdel`` command: its group, its version, and the way from ``sys.argv`` to an exit status.

Only click and light modules are imported here and by the commands' modules: aiohttp, rich and structlog take four times as
long as ``--help`` itself, and are imported when a command needs them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from bulkdel.cli import streams
from bulkdel.cli.commands.completion import completion
from bulkdel.cli.commands.datasets import datasets
from bulkdel.cli.commands.delete import delete
from bulkdel.cli.commands.demo import demo
from bulkdel.cli.commands.job import job
from bulkdel.cli.commands.plan import plan
from bulkdel.cli.commands.purge import purge
from bulkdel.cli.commands.report import report
from bulkdel.cli.commands.resume import resume
from bulkdel.cli.commands.runs import runs
from bulkdel.cli.commands.simulate import simulate
from bulkdel.cli.commands.verify import verify
from bulkdel.cli.commands.worker import worker
from bulkdel.cli.context import AppContext
from bulkdel.cli.exits import guard

EPILOG = """\b
Try it with nothing to set up:
  bulkdel demo
\b
Empty a knowledge base:
  export DIFY_API_KEY=dataset-...
  bulkdel purge dify DATASET --base-url https://dify.example.com/v1
\b
Keys come from DIFY_API_KEY, LANGDOCK_API_KEY (in general NAME_API_KEY) or
--api-key-file FILE, never from the command line.
"""


class OrderedGroup(click.Group):
    """A group that lists its commands in the order of their use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"bulkdel {version('bulkdel')}")
        ctx.exit()


@click.group(
    cls=OrderedGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def bulkdel() -> None:
    """Empty whole knowledge bases (Dify, Langdock), completely, as fast as the service allows, and account for every
    document."""


for command in (purge, delete, plan, resume, runs, report, verify, job, worker, datasets, simulate, demo, completion):
    bulkdel.add_command(command)


def run(argv: Sequence[str], app: AppContext | None = None) -> int:
    """Run the command that ``argv`` (without the program's name) says, and return its exit status; raises nothing."""
    outside = app if app is not None else AppContext()
    outside.argv = tuple(argv)

    def call() -> Any:
        return bulkdel.main(list(argv), prog_name="bulkdel", standalone_mode=False, obj=outside)

    return guard(call, outside)


def main() -> NoReturn:
    """The console script."""
    streams.open_closed_streams()
    sys.stdout, sys.stderr = streams.buffered(sys.stdout), streams.buffered(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        # A name in a script that the terminal's encoding lacks must not end the run: it is shown escaped.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
