"""``bulkdel worker``: delete what jobs submit through a broker."""

from __future__ import annotations

import os

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import DURATION, OUTPUT, Options, takes
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
Exit status: 0 ended by a signal, 1 it could not work, 2 wrong command.
"""


@click.command(epilog=EPILOG, short_help="Delete what jobs submit through a broker.")
@click.option("--broker", metavar="URL", help="The broker, redis://HOST:6379/0. Default: BULKDEL_BROKER_URL.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=4, show_default=True, metavar="N",
              help="Processes; each works on one shard (up to 1,000 documents) at a time.")  # fmt: skip
@click.option("--redeliver-after", type=DURATION,
              help="How long a lost worker keeps its shard before another gets it; the same for all workers and jobs of a broker. "
                   "Default: 100s.")  # fmt: skip
@takes("ca_file", *OUTPUT)
def worker(
    app: AppContext, /, broker: str | None, concurrency: int, redeliver_after: float | None, options: Options
) -> int:
    """Delete what bulkdel job --broker submits, until a signal ends it.

    The same as celery -A bulkdel.distributed.worker worker, with logs as of the other commands.
    """
    from bulkdel.cli import logs
    from bulkdel.cli.broker import checked

    url = broker or app.environ.get("BULKDEL_BROKER_URL", "").strip()
    if not url:
        raise ConfigurationError("no broker was given", hint="--broker redis://HOST:6379/0, or BULKDEL_BROKER_URL")
    shown = checked(url, app)  # first, because it finds what is not installed
    from bulkdel.distributed.app import run_worker

    if options.ca_file is not None:
        os.environ["BULKDEL_CA_FILE"] = os.path.abspath(options.ca_file)
    if redeliver_after is not None:
        os.environ["BULKDEL_REDELIVER_S"] = str(redeliver_after)
    with logs.configure_logging(app.screen, options, also=("celery", "kombu")) as log:
        log.info("worker", broker=shown, concurrency=concurrency, queue="bulkdel")
        return run_worker(url, concurrency)
