"""``bulkdel job``: several providers and datasets in one run, each with its own limits."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from bulkdel.cli import broker, run_files
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import act_options, ca_option, talk_options
from bulkdel.cli.output import check_streams
from bulkdel.errors import ConfigurationError
from bulkdel.report import Report
from bulkdel.text import safe

if TYPE_CHECKING:
    from bulkdel.cli.jobfile import Job
    from bulkdel.cli.targets import TargetFile
    from bulkdel.providers.protocol import Provider
    from bulkdel.purging.flow import Wish

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
api_key_file in the place of api_key_env, and concurrency; with neither, the key is in the
variable of the provider's kind, whatever its name: DIFY_API_KEY for kind = "dify". Paths
count from the job file's folder. A [[delete]] without a provider reads it from each line
of its file. resume reads the keys from the same places.
\b
Exit status: as of bulkdel purge; with --plan as of bulkdel plan.
"""

_MOST = 16 * 1024 * 1024
"""Bytes of a job file; a thousand datasets with their names are below 100 kB."""


@click.command(epilog=EPILOG, short_help="Several providers and datasets in one run, each with its own limits.")
@click.argument("file", type=click.Path(), metavar="JOB.toml")
@click.option("--plan", "plan", is_flag=True,
              help="List and select, send nothing but GET, and keep the plan in the run file for bulkdel resume.")  # fmt: skip
@act_options
@broker.broker_option
@ca_option
@talk_options
@click.pass_obj
def job(world: AppContext, /, file: str, **given: Any) -> int:
    """Carry out a job file: purge datasets and delete listed targets of several providers at once, as one run with one
    account.
    """
    from bulkdel.cli import runner
    from bulkdel.cli.screen import Screen

    world.verbose = given["verbose"]
    check_streams(given["settled"], as_json=given["as_json"])
    _check_plan(given)
    run_files.check_options(given)
    asked = _read(file)
    folder = os.path.dirname(os.path.abspath(file))
    providers, more = _open(asked, file, folder, given, world, Screen(world))
    wishes = _wishes(asked, file, providers)
    crew = broker.begin(given, world, more)
    with ExitStack() as stack:
        lists = _targets(asked, file, folder, providers, stack)
        _apart(asked, file, providers, lists)
        counts: dict[tuple[str, str], int] = {}
        for listed in lists:
            for of, n in listed.counts.items():
                counts[of] = counts.get(of, 0) + n
        used = {wish.provider for wish in wishes} | {provider for provider, _ in counts}

        def call(client: Any, **common: Any) -> Awaitable[Report]:
            targets = _Chained(lists) if lists else None
            if targets is not None and common["run"] is None:
                targets = list(targets)  # type: ignore[assignment]  # a file that changes now must not matter
            if given["plan"]:
                common |= {"dry_run": True, "confirm": None}
            done: Awaitable[Report] = client.carry_out(
                wishes, targets=targets, act="plan" if given["plan"] else "job", more=more, **common
            )
            return done

        doing = runner.Act(
            kind="plan" if given["plan"] else "job",
            providers=tuple(provider for name, provider in providers.items() if name in used or not used),
            policy=asked.policy,
            call=call,
            place=lambda: run_files.place(given, world, os.path.splitext(os.path.basename(file))[0]),
            again=lambda path: run_files.resuming(path, run_files.carried(given)),
            targets=counts or None,
            by_name=not lists,
            crew=crew,
            **runner.shared(given),
        )
        return runner.start(doing, world)


class _Chained:
    """Several files of targets as one, which can be read again and again."""

    def __init__(self, lists: list[TargetFile]) -> None:
        self._lists = lists

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._lists)


def _check_plan(given: Mapping[str, Any]) -> None:
    """:raises click.UsageError: where --plan meets an option that means the opposite"""
    for name in ("dry_run", "no_run"):
        if given["plan"] and given[name]:
            raise click.UsageError(
                f"--plan keeps a plan in a file and --{name.replace('_', '-')} keeps none",
                click.get_current_context(silent=True),
            )


def _read(file: str) -> Job:
    """:raises ConfigurationError: where it cannot be read or is wrong; the message names the file"""
    from bulkdel.cli import jobfile

    try:
        with open(file, "rb") as source:
            raw = source.read(_MOST + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the job file: {file}: {error.strerror or error}") from None
    if len(raw) > _MOST:
        raise ConfigurationError(f"the job file is longer than {_MOST // 1024**2} MiB: {file}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}: line {line}: not UTF-8 text") from None
    with _named(file):
        return jobfile.read(text, time.time())


class _named:
    """Puts the job file's name, and a key's path where it is known only here, before what is wrong."""

    def __init__(self, file: str, path: str = "") -> None:
        self._before = f"{file}: {path}: " if path else f"{file}: "

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ConfigurationError):
            raise ConfigurationError(f"{self._before}{error}", hint=error.hint) from None


def _open(
    asked: Job, file: str, folder: str, given: Mapping[str, Any], world: AppContext, screen: Any
) -> tuple[dict[str, Provider], dict[str, Any]]:
    """The providers by name, and what the run's header keeps so that resume finds their keys again."""
    from bulkdel.cli import opening

    opened: dict[str, Provider] = {}
    places: dict[str, dict[str, str]] = {}
    seen: dict[tuple[str, str, str], str] = {}
    for place, one in enumerate(asked.providers):
        with _named(file, f"provider[{place}]"):
            provider, key_place, key = opening.open_named(one, folder, given, world, screen)
            same = seen.setdefault((provider.kind, provider.base_url, key), one.name)
            if same != one.name:
                raise ConfigurationError(
                    f"has the address and the key of another provider: {safe(same)}",
                    hint="a limit belongs to a key: name the provider once, with all its datasets",
                )
        opened[provider.name] = provider
        places[provider.name] = key_place.as_dict()
    return opened, {opening.KEYS: places}


def _wishes(asked: Job, file: str, providers: Mapping[str, Provider]) -> list[Wish]:
    from bulkdel.cli.commands.purge import checked
    from bulkdel.purging.flow import Wish

    wishes: list[Wish] = []
    seen: dict[tuple[str, str, str], str] = {}
    for place, one in enumerate(asked.purges):
        path = f"purge[{place}].datasets"
        provider = providers[one.provider]
        with _named(file, path):
            checked(one.datasets, provider)
            for dataset in one.datasets:
                before = seen.setdefault((provider.kind, provider.base_url, dataset), path)
                if before != path:
                    raise ConfigurationError(f"names a dataset that {before} names already: {safe(dataset)}")
                wishes.append(Wish(one.provider, dataset, one.select))
    return wishes


def _targets(
    asked: Job, file: str, folder: str, providers: Mapping[str, Provider], stack: ExitStack
) -> list[TargetFile]:
    """The files of targets, each checked to its last line."""
    from bulkdel.cli.commands.delete import source
    from bulkdel.cli.targets import TargetFile

    lists: list[TargetFile] = []
    for place, one in enumerate(asked.deletes):
        where = os.path.abspath(os.path.join(folder, os.path.expanduser(one.source)))
        with _named(file, f"delete[{place}].from"):
            lists.append(TargetFile(stack.enter_context(source(where)), one.source, one.provider, providers))
    return lists


def _apart(asked: Job, file: str, providers: Mapping[str, Provider], lists: list[TargetFile]) -> None:
    """:raises ConfigurationError: where one dataset is both emptied and deleted from by name"""
    emptied = {
        (providers[p.provider].kind, providers[p.provider].base_url, d) for p in asked.purges for d in p.datasets
    }
    for place, listed in enumerate(lists):
        for name, dataset in listed.counts:
            if (providers[name].kind, providers[name].base_url, dataset) in emptied:
                raise ConfigurationError(
                    f"{file}: delete[{place}].from: has targets in a dataset that a [[purge]] empties: {safe(dataset)}",
                    hint="keep one of the two, or make two jobs of it",
                )
