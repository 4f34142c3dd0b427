"""``bulkdel simulate``: serve a simulated provider on loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from bulkdel.cli import values
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import DURATION, RATE, ParsedParam, usage_error
from bulkdel.model import Rate

if TYPE_CHECKING:
    from bulkdel.simulator import Simulator

EPILOG = """\b
Example, in one terminal:
  bulkdel simulate dify --port 8080 --documents 1230 --indexing 20 --errors 5%
It prints its base URL, its key, its datasets, and the command for another terminal.
\b
A service with a limit that answers as Dify Cloud does:
  bulkdel simulate dify --documents 200 --rate 100/min --signal 403
\b
A database that hides rows from a listing, and one whose listing lags:
  bulkdel simulate dify --documents 101 --ties
  bulkdel simulate dify --stale 30s
"""

_COUNT = click.IntRange(min=0)
_SHARE = ParsedParam("share", values.share)


_FAULTS: tuple[Callable[[Any], Any], ...] = (
    click.option("--indexing", type=_COUNT, metavar="N", default=0, help="So many documents are still being indexed."),
    click.option("--indexing-for", type=DURATION, default="5s", show_default=True,
                 help="How long they are being indexed, from the simulator's start on."),
    click.option("--stuck", type=_COUNT, metavar="N", default=0, help="So many documents are being indexed for ever."),
    click.option("--guard", is_flag=True,
                 help="Refuse to delete what is being indexed (old Dify); else it is deleted and leaves orphans."),
    click.option("--archived", type=_COUNT, metavar="N", default=0, help="So many documents are archived (Dify)."),
    click.option("--lock-for", type=DURATION,
                 help="How long un-archiving holds its lock. Default: 1s."),
    click.option("--locks-left", type=_COUNT, metavar="N",
                 help="So many documents keep that lock although its task is done (Dify)."),
    click.option("--lock-left-for", type=DURATION, help="How long they keep it. Default: 10m."),
    click.option("--synced", type=_COUNT, metavar="N", default=0, help="So many documents come from a synced source (Langdock)."),
    click.option("--nasty-names", is_flag=True, help="Some names hold terminal escapes, HTML and formulas."),
    click.option("--ties", is_flag=True,
                 help="Pages of one size show some documents twice and some never, as PostgreSQL does (Dify)."),
    click.option("--total-off", type=int, metavar="N", help="The total of a listing is N too high, for good (Dify)."),
    click.option("--stale", type=DURATION, help="A listing shows what is deleted for so long."),
    click.option("--comes-back", type=DURATION,
                 help="So long after a dataset was listed as empty, its documents are back."),
    click.option("--page-latency", type=DURATION,
                 help="How much longer a page of a listing takes."),
    click.option("--signal", "rate_style", default="429", show_default=True,
                 type=click.Choice(["429", "429-retry-after", "429-date", "429-reset", "403", "529", "1015"]),
                 help="How it says that the rate is too high."),
    click.option("--shape", "rate_shape", type=click.Choice(["sliding", "fixed", "bucket"]),
                 help="How it counts against the rate: in any window, in fixed ones, in a leaky bucket."),
    click.option("--burst", "rate_burst", type=click.IntRange(min=1), metavar="N",
                 help="How many requests the leaky bucket holds. Default: 20."),
    click.option("--pause-once", type=DURATION,
                 help="The first delete is answered 429 with this Retry-After, though there is no limit."),
    click.option("--errors", "error_500", type=_SHARE, metavar="5%", help="Share of deletes answered 500."),
    click.option("--errors-deleted", "error_500_deleted", type=_SHARE, metavar="1%",
                 help="Share of deletes answered 500 though they were carried out."),
    click.option("--lost", type=_SHARE, metavar="1%", help="Share of deletes carried out whose answer is lost."),
    click.option("--reset", type=_SHARE, metavar="1%",
                 help="Share of deletes whose connection breaks before they are carried out."),
    click.option("--behind-204", type=click.Choice(["chunk", "garbage"]), help="Bytes follow each 204 (Dify)."),
    click.option("--long-headers", is_flag=True, help="Each answer has a header of 20 KiB."),
    click.option("--strip-version", type=click.IntRange(min=1), is_flag=False, flag_value=1, metavar="[N]",
                 help="X-Version is missing, from the N-th answer on (Dify). Default: from the first."),
    click.option("--intercept", type=click.Choice(["login", "redirect", "forbidden", "stand-in"]),
                 help='A proxy answers instead: a login page, a redirect to it, 403, or {"data":[]}.'),
    click.option("--preflight", type=click.Choice(["500", "502", "503", "hang", "plugin-daemon"]),
                 help="What is asked about datasets fails, and nothing else."),
    click.option("--latency", type=DURATION, help="How long a request takes."),
    click.option("--keepalive", type=DURATION, help="Close connections that are idle for so long."),
    click.option("--outage-after", type=_COUNT, metavar="N", help="After N deletes the service is away."),
    click.option("--outage-for", type=DURATION, help="How long it is away. Default: 5s."),
    click.option("--outage-status", type=click.Choice([502, 503, 504]),
                 help="What is answered meanwhile. Default: 503."),
    click.option("--vanish-after", type=click.IntRange(min=1), metavar="N", help="After N deletes the dataset disappears."),
    click.option("--revoke-after", type=click.IntRange(min=1), metavar="N", help="After N deletes the key is refused."),
)  # fmt: skip
"""An option for each fault that can be asked for on a command line; its parameter is called as the field of ``Faults``."""


def _faults(command: Any) -> Any:
    for option in reversed(_FAULTS):
        command = option(command)
    return command


@click.command(epilog=EPILOG, short_help="Serve a simulated provider on loopback.")
@click.argument("service", type=click.Choice(["dify", "langdock"]), metavar="dify|langdock")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=0,
    help="Port on 127.0.0.1. Default: one that is free.",
)
@click.option(
    "--documents", type=_COUNT, metavar="N", default=100, show_default=True, help="Documents in each dataset."
)
@click.option("--datasets", type=_COUNT, metavar="N", default=1, show_default=True, help="Datasets.")
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    help="The same seed holds the same and fails the same.",
)
@click.option("--rate", type=RATE, metavar="N/s|N/min|N/h", help="Refuse more than so many requests.")
@click.option("--window", type=DURATION,
              help="Count them in windows of this length. Default: the unit of --rate.")  # fmt: skip
@_faults
@click.pass_obj
def simulate(
    app: AppContext, /, service: str, rate: Rate | Literal["none"] | None, window: float | None, **given: Any
) -> int:
    """Serve a service that behaves like the real one, faults included, on 127.0.0.1 until Ctrl-C."""
    import asyncio

    from bulkdel.cli.runner import run_async
    from bulkdel.cli.signals import handled
    from bulkdel.errors import ConfigurationError
    from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator

    held = {name: given.pop(name) for name in ("documents", "datasets", "seed", "port")}
    faults = {name: value for name, value in given.items() if value is not None}
    if isinstance(rate, Rate):
        window = window or rate.per
        limit = rate.n * window / rate.per
        if not limit.is_integer():
            usage_error(f"--rate must be a whole number of requests: {rate}")
        faults |= {"rate_limit": int(limit), "rate_window": window}
    simulator = (DifySimulator if service == "dify" else LangdockSimulator)(faults=Faults(**faults), **held)

    async def serve() -> None:
        ended = asyncio.Event()
        with handled(lambda number: ended.set()):
            async with simulator:
                for line in _announcement(service, simulator):
                    click.echo(line, file=app.stdout)
                app.stdout.flush()
                await ended.wait()

    try:
        run_async(serve)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on port {held['port']}: {error.strerror or error}",
            hint="leave out --port for one that is free",
        ) from None
    return 0


def _announcement(service: str, simulator: Simulator) -> list[str]:
    """What to know of a simulator, and the command that purges it; the key is as simulated as the rest."""
    ids, url, key, name = simulator.dataset_ids, simulator.base_url, simulator.key, service.upper()
    lines = [f"base URL: {url}", f"key: {key}"]
    lines += [f"dataset: {dataset} ({len(simulator.documents(dataset))} documents)" for dataset in ids]
    if ids:
        command = f"  bulkdel purge {service} {' '.join(ids[:3])}"
        lines += ["in another terminal:", f"  export {name}_BASE_URL={url} {name}_API_KEY={key}", command]
    return lines
