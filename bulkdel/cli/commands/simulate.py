"""``bulkdel simulate``: serve a simulated provider on loopback."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import click

from bulkdel.cli import values
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import DURATION, RATE, parsed, usage_error
from bulkdel.model import Rate
from bulkdel.simulator.faults import Faults

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
_KINDS: dict[Any, dict[str, Any]] = {
    "flag": {"is_flag": True},
    "seconds": {"type": DURATION},
    "share": {"type": parsed(values.share), "metavar": "1%"},
    "any": {"type": int, "metavar": "N"},
    0: {"type": _COUNT, "metavar": "N"},
    1: {"type": click.IntRange(min=1), "metavar": "N"},
}
"""What click is to know of a fault of each kind; any other kind is a choice of words."""


def _faults(command: Any) -> Any:
    """An option for each fault that can be asked for on a command line; its parameter is called as the field of ``Faults``."""
    for fault in reversed(fields(Faults)):
        said = fault.metadata
        if said.get("help"):
            how = _KINDS.get(said["kind"]) or {"type": click.Choice(said["kind"])}
            option = f"--{said['option'] or fault.name.replace('_', '-')}"
            command = click.option(option, fault.name, help=said["help"], **how | said["shown"])(command)
    return command


@click.command(epilog=EPILOG, short_help="Serve a simulated provider on loopback.")
@click.argument("service", type=click.Choice(["dify", "langdock"]), metavar="dify|langdock")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", default=0,
              help="Port on 127.0.0.1. Default: one that is free.")  # fmt: skip
@click.option("--documents", type=_COUNT, metavar="N", default=100, show_default=True,
              help="Documents in each dataset.")  # fmt: skip
@click.option("--datasets", type=_COUNT, metavar="N", default=1, show_default=True, help="Datasets.")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True,
              help="The same seed holds the same and fails the same.")  # fmt: skip
@click.option("--rate", type=RATE, metavar="N/s|N/min|N/h", help="Refuse more than so many requests.")
@click.option("--window", type=DURATION, help="Count them in windows of this length. Default: the unit of --rate.")
@_faults
@click.pass_obj
def simulate(
    app: AppContext, /, service: str, rate: Rate | Literal["none"] | None, window: float | None, **given: Any
) -> int:
    """Serve a service that behaves like the real one, faults included, on 127.0.0.1 until Ctrl-C."""
    import asyncio

    from bulkdel.cli.runner import handled, run_async
    from bulkdel.errors import ConfigurationError
    from bulkdel.simulator import DifySimulator, LangdockSimulator

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
