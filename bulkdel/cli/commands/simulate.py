"""``bulkdel simulate``: serve a simulated provider on loopback."""

from __future__ import annotations

from typing import Any

import click

from bulkdel.cli import values
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import DURATION, GivenRate, Words

SERVICES = ("dify", "langdock")
SIGNALS = ("429", "429-retry-after", "429-date", "429-reset", "403", "529", "1015")

EPILOG = """\b
Example, in one terminal:
  bulkdel simulate dify --port 8080 --documents 1230 --indexing 20 --errors 5%
It prints its base URL, its key, its datasets, and the command for another terminal.
\b
A service with a limit that answers as Dify Cloud does:
  bulkdel simulate dify --documents 200 --rate 100/min --signal 403
"""

SHARE = Words("share", values.share)
RATE = Words("rate", lambda words: GivenRate(values.rate(words)))
COUNT = click.IntRange(min=0)


@click.command(epilog=EPILOG, short_help="Serve a simulated provider on loopback.")
@click.argument("service", type=click.Choice(SERVICES), metavar="dify|langdock")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1. Default: one that is free.")
@click.option("--documents", type=COUNT, default=100, show_default=True, help="Documents in each dataset.")
@click.option("--datasets", type=COUNT, default=1, show_default=True, help="Datasets.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed holds the same and fails the same.")
@click.option("--indexing", type=COUNT, default=0, help="So many documents are still being indexed.")
@click.option(
    "--indexing-for",
    type=DURATION,
    default="5s",
    show_default=True,
    help="How long they are being indexed, from the simulator's start on.",
)
@click.option("--stuck", type=COUNT, default=0, help="So many documents are being indexed for ever.")
@click.option(
    "--guard",
    is_flag=True,
    help="Refuse to delete what is being indexed (old Dify); else it is deleted and leaves orphans.",
)
@click.option("--archived", type=COUNT, default=0, help="So many documents are archived (Dify).")
@click.option("--synced", type=COUNT, default=0, help="So many documents come from a synced source (Langdock).")
@click.option("--nasty-names", is_flag=True, help="Some names hold terminal escapes, HTML and formulas.")
@click.option("--ties", is_flag=True, help="The order of a listing differs from page to page.")
@click.option("--rate", type=RATE, metavar="N/s|N/min|N/h", help="Refuse more than so many requests.")
@click.option(
    "--signal",
    "rate_style",
    type=click.Choice(SIGNALS),
    default="429",
    show_default=True,
    help="How it says that the rate is too high.",
)
@click.option("--errors", type=SHARE, default="0%", metavar="5%", help="Share of deletes answered 500.")
@click.option(
    "--errors-deleted",
    type=SHARE,
    default="0%",
    metavar="1%",
    help="Share of deletes answered 500 though they were carried out.",
)
@click.option(
    "--lost", type=SHARE, default="0%", metavar="1%", help="Share of deletes carried out whose answer is lost."
)
@click.option(
    "--reset",
    type=SHARE,
    default="0%",
    metavar="1%",
    help="Share of deletes whose connection breaks before they are carried out.",
)
@click.option("--latency", type=DURATION, metavar="DURATION", help="How long a request takes.")
@click.option("--keepalive", type=DURATION, metavar="DURATION", help="Close connections that are idle for so long.")
@click.option("--outage-after", type=COUNT, metavar="N", help="After N deletes the service is away for 5 s.")
@click.option("--vanish-after", type=COUNT, metavar="N", help="After N deletes the dataset disappears.")
@click.option("--revoke-after", type=COUNT, metavar="N", help="After N deletes the key is refused.")
@click.pass_obj
def simulate(
    world: AppContext, /, service: str, port: int, documents: int, datasets: int, seed: int, **given: Any
) -> int:
    """Serve a service that behaves like the real one, faults included, on 127.0.0.1 until Ctrl-C."""
    import asyncio

    from bulkdel.cli.runner import run_async
    from bulkdel.cli.signals import watched
    from bulkdel.errors import ConfigurationError
    from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator

    faults = Faults(**faults_from(given))
    build = {"dify": DifySimulator, "langdock": LangdockSimulator}[service]
    simulator = build(documents=documents, datasets=datasets, faults=faults, seed=seed, port=port)

    async def serve() -> None:
        ended = asyncio.Event()
        with watched(lambda number: ended.set()):
            async with simulator:
                held = [(dataset, len(simulator.documents(dataset))) for dataset in simulator.dataset_ids]
                for words in announcement(service, simulator.base_url, simulator.key, held):
                    click.echo(words, file=world.stdout)
                world.stdout.flush()
                await ended.wait()

    try:
        run_async(serve)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on port {port}: {error.strerror or error}", hint="leave out --port for one that is free"
        ) from None
    return 0


def faults_from(given: dict[str, Any]) -> dict[str, Any]:
    """The simulator's own names for what the options ask for.

    :raises click.UsageError: for a rate that no sliding window of whole requests can keep
    """
    named: dict[str, Any] = {
        name: given[name]
        for name in (
            "indexing", "indexing_for", "stuck", "guard", "archived", "synced", "nasty_names", "ties", "rate_style",
            "lost", "reset", "outage_after", "vanish_after", "revoke_after",
        )
        if given[name] is not None
    }  # fmt: skip
    named["error_500"] = given["errors"]
    named["error_500_deleted"] = given["errors_deleted"]
    for name in ("latency", "keepalive"):
        if given[name] is not None:
            named[name] = given[name]
    rate: GivenRate | None = given["rate"]
    if rate is not None and rate.rate is not None:
        if not float(rate.rate.n).is_integer():
            raise click.UsageError(f"--rate must be a whole number of requests: {rate.rate}")
        named["rate_limit"], named["rate_window"] = int(rate.rate.n), rate.rate.per
    return named


def announcement(service: str, base_url: str, key: str, datasets: list[tuple[str, int]]) -> list[str]:
    """What to know of a simulator, and the command that purges it; the key is as simulated as the rest."""
    lines = [f"base URL: {base_url}", f"key: {key}"]
    lines += [f"dataset: {dataset} ({count} documents)" for dataset, count in datasets]
    if datasets:
        name = service.upper()
        ids = " ".join(dataset for dataset, _ in datasets[:3])
        lines += [
            "in another terminal:",
            f"  export {name}_BASE_URL={base_url} {name}_API_KEY={key}",
            f"  bulkdel purge {service} {ids}",
        ]
    return lines
