"""``bulkdel job``: several providers and datasets in one run, each with its own limits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli import providers
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import LIMITS, OUTPUT, RUN, Options, takes, usage_error
from bulkdel.credentials import KeyPlace, read_small_file
from bulkdel.errors import ConfigurationError
from bulkdel.model import PurgeRequest
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from bulkdel.cli.jobfile import Job
    from bulkdel.cli.targets import TargetFile
    from bulkdel.providers.protocol import Provider

EPILOG = """\b
Example: nightly.toml
  [policy]
  max_delete = 5000
  indexing = "wait"
\b
  [[provider]]
  name = "prod"
  kind = "dify"
  base_url = "https://dify.example.com/v1"
  api_key_env = "PROD_DIFY_KEY"
  rate = "80/min"
\b
  [[purge]]
  provider = "prod"
  datasets = ["6f1c2b34-..."]
  name = ["tmp-*"]
  created_before = "90d"
\b
  [[delete]]
  provider = "prod"
  from = "targets.csv"
\b
  bulkdel job nightly.toml --dry-run
  bulkdel job nightly.toml --yes --json
  bulkdel job nightly.toml --plan -o nightly.run
  bulkdel resume nightly.run
\b
[policy] has the options of bulkdel purge, with underscores. A [[provider]] may have
api_key_file in the place of api_key_env; with neither, the key is in the variable of the
provider's kind, whatever its name: DIFY_API_KEY for kind = "dify". It may have header_file
and concurrency, too. Paths count from the job file's folder. A [[delete]] without a provider
reads it from each line of its file. resume reads keys and headers from the same places.
\b
Exit status: as of bulkdel purge; with --plan as of bulkdel plan.
"""


@click.command(epilog=EPILOG, short_help="Several providers and datasets in one run, each with its own limits.")
@click.argument("file", type=click.Path(), metavar="JOB.toml")
@click.option("--plan", "plan", is_flag=True,
              help="List and select, send nothing but GET, and keep the plan in the run file for bulkdel resume.")  # fmt: skip
@takes(*RUN, "broker", "ca_file", *OUTPUT)
def job(app: AppContext, /, file: str, plan: bool, options: Options) -> int:
    """Carry out a job file: purge datasets and delete listed targets of several providers at once, as one run with one
    account.
    """
    from bulkdel.cli import broker, runner

    for option, given in (("--dry-run", options.dry_run), ("--no-run", options.no_run)):
        if plan and given:
            usage_error(f"--plan keeps a plan in a file and {option} keeps none")
    # A thousand datasets with their names are below 100 kB.
    raw = read_small_file(file, "job file", 16 * 1024 * 1024, "16 MiB")
    with ExitStack() as stack:
        with _errors_in(file):
            asked = _read(raw)
            opened, places = _open_providers(file, asked, app)
            purges = _purges(asked, opened)
            lists = _targets(file, asked, opened, purges, stack)
        workers, distributed = broker.begin(options, places, app)
        used = {purge.provider for purge in purges} | {provider for listed in lists for provider, _ in listed.counts}
        task = runner.Task(
            act="plan" if plan else "job",
            options=options,
            providers=tuple(one for name, one in opened.items() if name in used or not used),
            policy=asked.policy.policy(),
            label=os.path.splitext(os.path.basename(file))[0],
            purges=purges,
            targets=chain.from_iterable(lists) if lists else None,
            more=providers.to_record(places) | distributed,
            workers=workers,
        )
        return runner.run(task, app)


@contextmanager
def _errors_in(place: str) -> Iterator[None]:
    """Put the job file's name, or a key's path that is known only here, before what is wrong."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}", hint=error.hint) from None


def _read(raw: bytes) -> Job:
    from bulkdel.cli import jobfile

    try:
        return jobfile.read(raw.decode("utf-8-sig"), time.time())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"line {line}: not UTF-8 text") from None


def _path(file: str, written: str) -> Path:
    """A path as the job ``file`` has it, which counts from its folder."""
    return Path(os.path.abspath(os.path.join(os.path.dirname(file), os.path.expanduser(written))))


def _open_providers(file: str, job: Job, app: AppContext) -> tuple[dict[str, Provider], dict[str, KeyPlace]]:
    """The providers by name, and where their keys are, so that resume finds them again.

    :raises ConfigurationError: if one cannot be opened, or two are the same
    """
    opened: dict[str, Provider] = {}
    places: dict[str, KeyPlace] = {}
    keys: dict[str, str] = {}
    for place, table in enumerate(job.provider):
        with _errors_in(f"provider[{place}]"):
            given: dict[str, Any] = {name: getattr(table, name) for name in ("base_url", *LIMITS)}
            files = {name: getattr(table, name) for name in ("api_key_file", "header_file")}
            options = Options(**given | {name: _path(file, found) for name, found in files.items() if found})
            key = providers.key_place(table.kind, options, KeyPlace(table.api_key_env))
            other_place = "name another place with api_key_env or api_key_file"
            provider = providers.open_provider(
                table.kind, options, app, key, name=table.called, other_place=other_place
            )
            same = keys.setdefault(provider.fingerprint, table.called)
            if same != table.called:
                raise ConfigurationError(
                    f"has the address and the key of another provider: {sanitize(same)}",
                    hint="a limit belongs to a key: name the provider once, with all its datasets",
                )
        opened[provider.name] = provider
        places[provider.name] = key
    return opened, places


def _purges(job: Job, opened: Mapping[str, Provider]) -> list[PurgeRequest]:
    """:raises ConfigurationError: if a dataset cannot be one of its provider's, or is named twice"""
    purges: list[PurgeRequest] = []
    seen: dict[tuple[str, str, str], str] = {}
    for place, table in enumerate(job.purge):
        path, provider = f"purge[{place}].datasets", opened[table.provider]
        with _errors_in(path):
            for dataset in providers.checked_datasets(table.datasets, provider):
                before = seen.setdefault(_identity(provider, dataset), path)
                if before != path:
                    raise ConfigurationError(f"names a dataset that {before} names already: {sanitize(dataset)}")
                purges.append(PurgeRequest(table.provider, dataset, table.selection()))
    return purges


def _targets(
    file: str, job: Job, opened: Mapping[str, Provider], purges: Sequence[PurgeRequest], stack: ExitStack
) -> list[TargetFile]:
    """The files of targets, each checked to its last line; ``stack`` closes them.

    :raises ConfigurationError: if one cannot be read, is wrong, or has targets in a dataset that is purged
    """
    from bulkdel.cli.targets import TargetFile
    from bulkdel.cli.targets import opened as open_targets

    lists: list[TargetFile] = []
    purged = {_identity(opened[purge.provider], purge.dataset) for purge in purges}
    for place, table in enumerate(job.delete):
        with _errors_in(f"delete[{place}].from"):
            source = stack.enter_context(open_targets(str(_path(file, table.source))))
            listed = TargetFile(source, table.source, table.provider, opened)
            for provider, dataset in listed.counts:
                if _identity(opened[provider], dataset) in purged:
                    raise ConfigurationError(
                        f"has targets in a dataset that a [[purge]] empties: {sanitize(dataset)}",
                        hint="keep one of the two, or make two jobs of it",
                    )
        lists.append(listed)
    return lists


def _identity(provider: Provider, dataset: str) -> tuple[str, str, str]:
    """Two providers of a job may be one service under two names."""
    return provider.kind, provider.base_url, provider.canonical(dataset)
