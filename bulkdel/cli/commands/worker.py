"""``bulkdel worker``: delete what jobs submit through a broker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import DURATION, ca_option, talk_options
from bulkdel.errors import ConfigurationError

EPILOG = """\b
Example: a worker, and a job for it from another terminal
  export DIFY_API_KEY=dataset-...
  bulkdel worker --broker redis://127.0.0.1:6379/0 --concurrency 4
\b
  bulkdel job nightly.toml --yes --broker redis://127.0.0.1:6379/0
\b
A worker needs the keys of the providers whose jobs it works on, in the variables or
files that the job names. The broker's password may come from BULKDEL_BROKER_PASSWORD,
its whole address from BULKDEL_BROKER_URL. SIGTERM lets requests in flight end and
hands the rest to other workers; a second one stops at once.
\b
Exit status: 0 told to end, 1 it could not work, 2 wrong command.
"""


@click.command(epilog=EPILOG, short_help="Delete what jobs submit through a broker.")
@click.option("--broker", metavar="URL", help="The broker, redis://HOST:6379/0. Default: BULKDEL_BROKER_URL.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=4, show_default=True, metavar="N",
              help="Processes; each works on one shard (up to 1,000 documents) at a time.")  # fmt: skip
@click.option("--redeliver-after", type=DURATION, metavar="DURATION",
              help="How long a lost worker keeps its shard where the job that submitted it is lost, too; the same for all workers "
                   "of a broker. Default: 1h.")  # fmt: skip
@ca_option
@talk_options
@click.pass_obj
def worker(world: AppContext, /, broker: str | None, concurrency: int, **given: Any) -> int:
    """Delete what bulkdel job --broker submits, until told to end.

    The same as celery -A bulkdel.distributed.worker worker, with logs as of the other commands.
    """
    from bulkdel.cli import broker as crew
    from bulkdel.cli import logs
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    crew.installed()
    from bulkdel.distributed.app import VARIABLE, run_worker

    url = broker or world.environ.get(VARIABLE, "").strip()
    if not url:
        raise ConfigurationError("no broker was given", hint=f"--broker redis://HOST:6379/0, or {VARIABLE}")
    shown = crew.checked(url, world)
    ca_file: Path | None = given["ca_file"]
    if ca_file is not None:
        os.environ["BULKDEL_CA_FILE"] = os.path.abspath(ca_file)
    if given["redeliver_after"] is not None:
        os.environ["BULKDEL_REDELIVER_S"] = str(given["redeliver_after"])
    screen = Screen(world)
    with logs.configure_logging(
        screen,
        quiet=given["quiet"],
        verbose=given["verbose"],
        as_json=given["log_json"] or not screen.terminal,
        also=("celery", "kombu"),
    ) as log:
        log.info("worker", broker=shown, concurrency=concurrency, queue="bulkdel")
        return run_worker(url, concurrency)
