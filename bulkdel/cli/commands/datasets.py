"""``bulkdel datasets``: what the key sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli import providers, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, Options, takes
from bulkdel.events import Event, Stopped
from bulkdel.model import Dataset
from bulkdel.report import EXIT_STATUS
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

EPILOG = """\b
Example:
  export LANGDOCK_API_KEY=sk-...
  bulkdel datasets langdock
  bulkdel datasets dify --base-url http://localhost/v1 --json
\b
Exit status: 0 listed, 1 not listed or not written to the end, 2 wrong command,
4 stopped by the provider.
"""


@click.command(epilog=EPILOG, short_help="The datasets that the key sees, with their document counts.")
@providers.PROVIDER
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout, and nothing else there.")
@takes(*LIMITS, *CONNECTION, *OUTPUT)
def datasets(app: AppContext, /, provider: str, as_json: bool, options: Options) -> int:
    """List the datasets that the key sees: id, documents, name.

    PROVIDER is dify, langdock, or the name of an installed plug-in.
    """
    from bulkdel.cli import logs, output, progress, runner

    service, _ = providers.open_alone(provider, options, app)

    async def listing(log: BoundLogger) -> Any:
        hear = logs.listener(log)

        def on_event(event: Event) -> None:
            if not isinstance(event, Stopped):  # the error at the end says so
                hear(event)

        # With the state folder, so that it keeps below the one limit of the key together with runs that go now.
        how = {"ca_file": options.ca_file, "state": run_files.state(), "on_event": on_event}
        async with (
            app.client(service, **how) as client,
            progress.show_progress(app.screen, log, options, client.progress, lambda: False),
        ):
            return await client.datasets(service.name)

    with logs.configure_logging(app.screen, options) as log:
        found = runner.run_async(lambda: listing(log))
    rows: tuple[Dataset, ...] = found.datasets
    if as_json:
        written = output.write_json(app, [as_dict(row) for row in rows])
    else:
        written = not rows or output.write_lines(app, *lines(rows))
    if not rows and not found.failure:
        nothing = f"no dataset is shared with this key: {provider} at {service.base_url}"
        if found.hint:
            app.screen.warning(nothing, found.hint)
        elif not as_json:
            app.screen.say(nothing)
    if found.failure:
        shown = f"; the {len(rows)} above came before" if rows else ""
        app.screen.error(
            f"the datasets could not be listed to the end{shown}: {sanitize(found.failure)}", sanitize(found.hint)
        )
        return EXIT_STATUS[found.status] or EXIT_STATUS["incomplete"]
    return int(not written)


def as_dict(dataset: Dataset) -> dict[str, Any]:
    """A dataset as the JSON list has it: ``documents`` is null if the service does not say."""
    out: dict[str, Any] = {"id": dataset.id, "name": sanitize(dataset.name), "documents": dataset.documents}
    if dataset.refusal:
        out["refusal"] = sanitize(dataset.refusal)
    return out


def lines(rows: tuple[Dataset, ...]) -> list[str]:
    """A table in plain columns: the id first, because that is what is copied."""
    wide = max(2, *(len(sanitize(row.id)) for row in rows))
    out = [f"{'id':<{wide}}  documents  name"]
    for row in rows:
        count = "?" if row.documents is None else str(row.documents)
        refusal = f"  (cannot be purged: {sanitize(row.refusal)})" if row.refusal else ""
        out.append(f"{sanitize(row.id):<{wide}}  {count:>9}  {sanitize(row.name, 80)}{refusal}")
    return out
