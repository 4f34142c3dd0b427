"""Providers as the user describes them: where each is, which key it takes and what it allows; opened here alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkdel.cli.context import AppContext
from bulkdel.cli.keys import KeyPlace, headers_in, variable
from bulkdel.cli.options import Options
from bulkdel.cli.values import Auto
from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits, Rate
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider
    from bulkdel.store import ProviderHeader, RunHeader

HEADER_FILES = "header_files"
"""What a run's header calls the files of its extra headers, by the provider's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One provider as the options, a job file or an earlier run describe it.

    ``name`` is what reports call it, empty for the kind; ``base_url`` is empty for the service's own cloud. ``rate`` and
    ``concurrency`` are what the user gives now, ``before`` the limits that an earlier run began with. ``key_hint`` says how to
    give a key. ``header_file`` has extra headers, empty for none.
    """

    kind: str
    key: KeyPlace
    key_hint: str
    name: str = ""
    base_url: str = ""
    header_file: str = ""
    rate: Rate | Literal["none"] | None = None
    concurrency: int | Auto | None = None
    before: Limits | None = None


def from_options(kind: str, options: Options, app: AppContext) -> ProviderSpec:
    """The provider of a command that names one.

    :raises ConfigurationError: if its address is empty
    """
    key = KeyPlace.usual(kind, options.api_key_file)
    return ProviderSpec(
        kind=kind,
        key=key,
        key_hint=f"set {key.variable}, or give --api-key-file FILE",
        base_url=address(kind, app, options.base_url),
        header_file=_absolute(options.header_file),
        rate=options.rate,
        concurrency=options.concurrency,
    )


def from_run(header: RunHeader, options: Options, app: AppContext) -> list[ProviderSpec]:
    """The providers of an earlier run, with what the options say now.

    :raises ConfigurationError: if an option that is for one provider meets a run that has several
    """
    if len(header.providers) > 1:
        for name in ("api_key_file", "base_url", "header_file", "rate", "concurrency"):
            if getattr(options, name) is not None:
                names = ", ".join(sanitize(p.name) for p in header.providers)
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} means one provider, and this run has {len(header.providers)}: {names}",
                    hint="each has its own, kept with the run",
                )
    return [_from_run(asked, header.more, options, app) for asked in header.providers]


def _from_run(asked: ProviderHeader, more: Mapping[str, Any], options: Options, app: AppContext) -> ProviderSpec:
    recorded = KeyPlace.recorded(more, asked.name)
    key = recorded if recorded and options.api_key_file is None else KeyPlace.usual(asked.kind, options.api_key_file)
    base_url = asked.base_url
    # A job's providers may be several of one kind: the kind's own variable says nothing about the address of each.
    if options.base_url is not None or (recorded is None and variable(asked.kind, "BASE_URL") in app.environ):
        base_url = address(asked.kind, app, options.base_url)
    files = more.get(HEADER_FILES)
    before = files.get(asked.name, "") if isinstance(files, dict) else ""
    return ProviderSpec(
        kind=asked.kind,
        key=key,
        key_hint=f"set {key.variable}, or give --api-key-file FILE",
        name=asked.name,
        base_url=base_url,
        header_file=_absolute(options.header_file) or str(before),
        rate=options.rate,
        concurrency=options.concurrency,
        before=asked.limits,
    )


def _absolute(file: Path | None) -> str:
    return "" if file is None else os.path.abspath(file)


def address(kind: str, app: AppContext, given: str | None = None) -> str:
    """The address that was ``given``, or that the environment has for this kind; empty if neither says one.

    :raises ConfigurationError: if it is there and empty: the key would go to the service's own cloud
    """
    name = variable(kind, "BASE_URL")
    found = app.environ.get(name) if given is None else given
    if found is None:
        _warn_of_other_names(kind, name, app)
        return ""
    if not found.strip():
        raise ConfigurationError(
            f"the address is empty: {name if given is None else '--base-url'}",
            hint="give the service's address; without it at all, the service's own cloud is meant",
        )
    return found.strip()


def _warn_of_other_names(kind: str, name: str, app: AppContext) -> None:
    """An address in a variable of another name is one that the user believes to have given."""
    for other in (
        "API_URL",
        "API_BASE",
        "API_BASE_URL",
        "BASEURL",
        "BASE",
        "API_ENDPOINT",
        "API_HOST",
        "URL",
        "ENDPOINT",
        "HOST",
        "SERVER",
    ):
        said = variable(kind, other)
        if app.environ.get(said, "").strip():
            app.warn(
                f"{said} is set, and {name} is not",
                f"bulkdel reads {name} alone; without it, the service's own cloud is meant",
            )
            return


def header_files(specs: Iterable[ProviderSpec]) -> dict[str, dict[str, str]]:
    """What a run's header keeps of them, so that resume reads the same files."""
    files = {spec.name or spec.kind: spec.header_file for spec in specs if spec.header_file}
    return {HEADER_FILES: files} if files else {}


def open_provider(spec: ProviderSpec, app: AppContext) -> Provider:
    """The provider; its key is hidden from now on in everything that is shown.

    :raises ConfigurationError: for an unknown kind, a missing or impossible key or header, a wrong address
    """
    from bulkdel.providers import registry

    build = registry.load(spec.kind)
    key = spec.key.read(spec.kind, app, spec.key_hint)
    app.hide_from_now_on(key)
    named: dict[str, Any] = {"api_key": key}
    if spec.base_url:
        named["base_url"] = spec.base_url
    if spec.name and spec.name != spec.kind:
        named["name"] = spec.name
    provider = build(**named)
    if provider.warning:
        app.warn(provider.warning)
    # A limit that was given, now or for the earlier run, is kept to; one that was not is the provider's own, which may adapt it.
    own, before = provider.limits, spec.before or provider.limits
    if spec.rate is not None or before.rate != own.rate:
        rate = before.rate if spec.rate is None else None if spec.rate == "none" else spec.rate
        provider = build(**named, limits=Limits(rate=rate))
    if spec.header_file:
        provider = provider.with_headers(headers_in(Path(spec.header_file), app))
    usual = own.concurrency or 1
    match spec.concurrency:
        case int() as concurrency:
            return provider.with_concurrency(concurrency)
        case Auto(int() as up_to):
            return provider.with_concurrency(min(up_to, usual), up_to=up_to)
        case None if before.concurrency not in (None, usual):
            return provider.with_concurrency(before.concurrency or usual)
        case _:
            return provider


def checked_datasets(datasets: Iterable[str], provider: Provider) -> tuple[str, ...]:
    """The datasets, each once, in the spelling of their service.

    :raises ConfigurationError: if one cannot be a dataset of this provider
    """
    for dataset in datasets:
        if wrong := provider.invalid(dataset):
            raise ConfigurationError(
                f"cannot be a dataset of {provider.kind} ({wrong}): {dataset!r}",
                hint=f"bulkdel datasets {provider.kind} lists the ids that the key sees",
            )
    return tuple(dict.fromkeys(map(provider.canonical, datasets)))
