"""``bulkdel job``: several providers and datasets in one run, each with its own limits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import OUTPUT, RUN, Options, takes, usage_error
from bulkdel.errors import ConfigurationError
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from bulkdel.cli.jobfile import Job
    from bulkdel.cli.keys import KeyPlace
    from bulkdel.cli.providers import ProviderSpec
    from bulkdel.cli.targets import TargetFile
    from bulkdel.model import PurgeRequest, Target
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
api_key_file in the place of api_key_env, and concurrency; with neither, the key is in the
variable of the provider's kind, whatever its name: DIFY_API_KEY for kind = "dify". Paths
count from the job file's folder. A [[delete]] without a provider reads it from each line
of its file. resume reads the keys from the same places.
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
    from bulkdel.cli import broker, run_files, runner
    from bulkdel.cli.keys import KEYS
    from bulkdel.cli.providers import header_files
    from bulkdel.cli.task import Task

    for option, given in (("--dry-run", options.dry_run), ("--no-run", options.no_run)):
        if plan and given:
            usage_error(f"--plan keeps a plan in a file and {option} keeps none")
    reading = JobReader(file, _read(file), app)
    places = {name: place.as_dict() for name, place in reading.places.items()}
    purges = reading.purges()
    headers = header_files(reading.specs)
    workers, distributed = broker.begin(options, places, app, plan=plan, header_files=bool(headers))
    with ExitStack() as stack:
        lists = reading.targets(stack)
        used = {purge.provider for purge in purges} | {provider for listed in lists for provider, _ in listed.counts}
        task = Task(
            act="plan" if plan else "job",
            options=options,
            providers=tuple(one for name, one in reading.providers.items() if name in used or not used),
            policy=reading.job.policy.policy(),
            label=os.path.splitext(os.path.basename(file))[0],
            purges=purges,
            targets=_Chained(lists) if lists else None,
            more={KEYS: places} | headers | distributed,
            resume_options=run_files.carried_options(options),
            confirm_by_name=not lists,
            workers=workers,
        )
        return runner.run(task, app)


@dataclass(frozen=True, slots=True)
class _Chained:
    """Several files of targets as one, which can be read again and again."""

    lists: list[TargetFile]

    def __iter__(self) -> Iterator[Target]:
        for one in self.lists:
            yield from one


def _read(file: str) -> Job:
    """:raises ConfigurationError: if it cannot be read or is wrong; the message names the file"""
    from bulkdel.cli import jobfile

    longest = 16 * 1024 * 1024  # bytes; a thousand datasets with their names are below 100 kB
    try:
        with open(file, "rb") as source:
            raw = source.read(longest + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the job file: {file}: {error.strerror or error}") from None
    if len(raw) > longest:
        raise ConfigurationError(f"the job file is longer than {longest // 1024**2} MiB: {file}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}: line {line}: not UTF-8 text") from None
    with _errors_in(file):
        return jobfile.read(text, time.time())


@contextmanager
def _errors_in(*places: str) -> Iterator[None]:
    """Put the job file's name, and a key's path that is known only here, before what is wrong."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(": ".join((*places, str(error))), hint=error.hint) from None


class JobReader:
    """Makes of a job file's words the providers, the datasets to purge and the targets; paths count from the file's folder.

    ``providers`` are by name, as ``specs`` describe them; ``places`` say where their keys are, so that resume finds them again.
    """

    def __init__(self, file: str, job: Job, app: AppContext) -> None:
        """:raises ConfigurationError: if a provider cannot be opened"""
        from bulkdel.cli.providers import open_provider

        self.job = job
        self.providers: dict[str, Provider] = {}
        self.places: dict[str, KeyPlace] = {}
        self.specs: list[ProviderSpec] = []
        self._file = file
        keys: dict[str, str] = {}
        for place, table in enumerate(job.provider):
            with _errors_in(file, f"provider[{place}]"):
                spec = self._spec(place, app)
                provider = open_provider(spec, app)
                same = keys.setdefault(provider.fingerprint, table.called)
                if same != table.called:
                    raise ConfigurationError(
                        f"has the address and the key of another provider: {sanitize(same)}",
                        hint="a limit belongs to a key: name the provider once, with all its datasets",
                    )
            self.specs.append(spec)
            self.providers[provider.name], self.places[provider.name] = provider, spec.key

    def _spec(self, place: int, app: AppContext) -> ProviderSpec:
        from bulkdel.cli.keys import KeyPlace
        from bulkdel.cli.providers import ProviderSpec, address

        table = self.job.provider[place]
        key = KeyPlace(file=self._path(table.api_key_file)) if table.api_key_file else KeyPlace(table.api_key_env)
        key = key if key.file or key.variable else KeyPlace.usual(table.kind)
        return ProviderSpec(
            kind=table.kind,
            key=key,
            key_hint=f"set {key.variable}, or name another place with api_key_env or api_key_file",
            name=table.called,
            base_url=table.base_url or address(table.kind, app),
            header_file=self._path(table.header_file) if table.header_file else "",
            rate=table.rate,
            concurrency=table.concurrency,
        )

    def _path(self, written: str) -> str:
        folder = os.path.dirname(os.path.abspath(self._file))
        return os.path.abspath(os.path.join(folder, os.path.expanduser(written)))

    def purges(self) -> list[PurgeRequest]:
        """:raises ConfigurationError: if a dataset cannot be one of its provider's, or is named twice"""
        from bulkdel.cli.providers import checked_datasets
        from bulkdel.model import PurgeRequest

        purges: list[PurgeRequest] = []
        seen: dict[tuple[str, str, str], str] = {}
        for place, table in enumerate(self.job.purge):
            path = f"purge[{place}].datasets"
            provider = self.providers[table.provider]
            with _errors_in(self._file, path):
                for dataset in checked_datasets(table.datasets, provider):
                    before = seen.setdefault((provider.kind, provider.base_url, dataset), path)
                    if before != path:
                        raise ConfigurationError(f"names a dataset that {before} names already: {sanitize(dataset)}")
                    purges.append(PurgeRequest(table.provider, dataset, table.selection()))
        return purges

    def targets(self, stack: ExitStack) -> list[TargetFile]:
        """The files of targets, each checked to its last line; ``stack`` closes them.

        :raises ConfigurationError: if one cannot be read, is wrong, or has targets in a dataset that is purged
        """
        from bulkdel.cli.targets import TargetFile, opened

        lists: list[TargetFile] = []
        purged = {self._identity(table.provider, ds) for table in self.job.purge for ds in table.datasets}
        for place, table in enumerate(self.job.delete):
            with _errors_in(self._file, f"delete[{place}].from"):
                source = stack.enter_context(opened(self._path(table.source)))
                listed = TargetFile(source, table.source, table.provider, self.providers)
                for provider, dataset in listed.counts:
                    if self._identity(provider, dataset) in purged:
                        raise ConfigurationError(
                            f"has targets in a dataset that a [[purge]] empties: {sanitize(dataset)}",
                            hint="keep one of the two, or make two jobs of it",
                        )
            lists.append(listed)
        return lists

    def _identity(self, name: str, dataset: str) -> tuple[str, str, str]:
        """Two providers of a job may be one service under two names."""
        provider = self.providers[name]
        return provider.kind, provider.base_url, provider.canonical(dataset)
