"""Providers as the user describes them: where each is, which key it takes and what it allows; opened here alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import Options
from bulkdel.cli.values import Auto
from bulkdel.credentials import KeyPlace, shown_place, variable
from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider
    from bulkdel.store import ProviderHeader, RunHeader

KEYS = "keys"
"""What a run's header calls the places of its keys and headers, by the provider's name."""


def _kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from bulkdel.providers import registry

    return [CompletionItem(kind) for kind in registry.kinds() if kind.startswith(incomplete)]


PROVIDER = click.argument("provider", shell_complete=_kinds)
"""The argument of the commands that are for one provider; a shell is offered the kinds that are installed."""


def key_place(kind: str, options: Options, before: KeyPlace | None = None) -> KeyPlace:
    """Where the secrets are: the files that the options name, else as ``before``, else the key is in the variable of the kind."""
    place = before or KeyPlace()
    if options.api_key_file is not None:
        place = replace(place, env="", file=os.path.abspath(options.api_key_file))
    elif not place.env and not place.file:
        place = replace(place, env=variable(kind, "API_KEY"))
    return place if options.header_file is None else replace(place, headers=os.path.abspath(options.header_file))


def from_run(header: RunHeader, options: Options, app: AppContext) -> tuple[Provider, ...]:
    """The providers of an earlier run, with what the options say now.

    :raises ConfigurationError: as ``open_provider``, and if an option that is for one provider meets a run that has several
    """
    if len(header.providers) > 1:
        for name in ("api_key_file", "base_url", "header_file", "rate", "concurrency"):
            if getattr(options, name) is not None:
                names = ", ".join(sanitize(p.name) for p in header.providers)
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} means one provider, and this run has {len(header.providers)}: {names}",
                    hint="each has its own, kept with the run",
                )
    opened = []
    places = places_of_run(header, options)
    for asked in header.providers:
        recorded = _recorded_place(header, asked.name)
        _check_still_there(recorded, options, alone=len(header.providers) == 1)
        # A job's providers may be several of one kind: the kind's own variable says nothing about the address of each.
        of_a_job = recorded.env or recorded.file
        elsewhere = options.base_url is not None or (not of_a_job and variable(asked.kind, "BASE_URL") in app.environ)
        here = options if elsewhere else replace(options, base_url=asked.base_url)
        opened.append(open_provider(asked.kind, here, app, places[asked.name], name=asked.name, before=asked))
    return tuple(opened)


def to_record(places: Mapping[str, KeyPlace]) -> dict[str, Any]:
    """What a run's header keeps of where keys and headers are, by the provider's name."""
    return {KEYS: {name: place.as_dict() for name, place in places.items()}}


def places_of_run(header: RunHeader, options: Options) -> dict[str, KeyPlace]:
    """Where the secrets of an earlier run's providers are, by name: as the options say now, else as the run's header has it."""
    return {p.name: key_place(p.kind, options, _recorded_place(header, p.name)) for p in header.providers}


def _check_still_there(recorded: KeyPlace, options: Options, *, alone: bool) -> None:
    """:raises ConfigurationError: if a file that an earlier run read has gone, and the options name no other"""
    for name, file in (("api_key_file", recorded.file), ("header_file", recorded.headers)):
        if file and getattr(options, name) is None and not os.path.exists(file):
            or_give = f", or give --{name.replace('_', '-')} FILE" if alone else ""
            raise ConfigurationError(
                f"a file that this run reads is not there any more: {file}", hint=f"put it there again{or_give}"
            )


def _recorded_place(header: RunHeader, provider: str) -> KeyPlace:
    """Empty for what the header does not say."""
    return KeyPlace(**header.more.get(KEYS, {}).get(provider, {}))


def _address(kind: str, app: AppContext, given: str | None) -> str:
    """The address that was ``given``, or that the environment has for this kind; empty if neither says one.

    :raises ConfigurationError: if it is there and empty: the key would go to the service's own cloud
    """
    name = variable(kind, "BASE_URL")
    found = app.environ.get(name) if given is None else given
    if found is None:
        # An address in a variable of another name is one that the user believes to have given.
        others = re.compile(variable(kind, r"(\w+_)?(URL|URI|BASE|BASEURL|ENDPOINT|HOST|SERVER|ADDRESS|DOMAIN)"))
        said = next(
            (other for other in sorted(app.environ) if others.fullmatch(other) and app.environ[other].strip()), ""
        )
        if said:
            app.warn(
                f"{said} is set, and {name} is not",
                f"bulkdel reads {name} alone; without it, the service's own cloud is meant",
            )
        return ""
    if not found.strip():
        raise ConfigurationError(
            f"the address is empty: {name if given is None else '--base-url'}",
            hint="give the service's address; without it at all, the service's own cloud is meant",
        )
    return found.strip()


def open_alone(kind: str, options: Options, app: AppContext) -> tuple[Provider, dict[str, Any]]:
    """The one provider of a command, and what the command's run keeps of it: where its headers are. Its key is in the usual variable.

    :raises ConfigurationError: as ``open_provider``
    """
    place = key_place(kind, options)
    kept = to_record({kind: KeyPlace(headers=place.headers)}) if place.headers else {}
    return open_provider(kind, options, app, place), kept


def open_provider(
    kind: str,
    options: Options,
    app: AppContext,
    place: KeyPlace,
    *,
    name: str = "",
    before: ProviderHeader | None = None,
    other_place: str = "give --api-key-file FILE",
) -> Provider:
    """The provider that the options describe; its key and its headers' values are hidden from now on in everything that is shown.

    :param place: where its secrets are
    :param name: what reports call it, empty for the kind
    :param before: the provider as an earlier run began with it
    :param other_place: what to do if the key's variable is not set, for the hint
    :raises ConfigurationError: for an unknown kind, a missing or impossible key or header, an empty or wrong address
    """
    from bulkdel.providers import registry

    base_url = _address(kind, app, options.base_url)
    build = registry.load(kind)
    key = place.key(kind, app.environ, hint=f"set {shown_place(place.env)}, or {other_place}", warn=app.warn)
    headers = place.extra_headers(app.warn)
    # Of "Bearer TOKEN" the token alone is as secret as the whole.
    for secret in (key, *(part for value in headers.values() for part in (value, *value.split()))):
        app.hide_from_now_on(secret)
    given = {"api_key": key, "base_url": base_url, "name": "" if name == kind else name}
    named: dict[str, Any] = {parameter: value for parameter, value in given.items() if value}
    provider = build(**named)
    if provider.warning:
        app.warn(provider.warning)
    # A limit that was given, now or for the earlier run, is kept to; one that was not is the provider's own, which may adapt it.
    rate = options.rate
    if (
        rate is None
        and before is not None
        and not (before.rate_is_default and before.limits.rate == provider.limits.rate)
    ):
        rate = before.limits.rate or "none"
    if rate is not None:
        kept = None if rate == "none" else rate
        provider = build(**named, limits=Limits(rate=kept))
    if headers:
        provider = provider.with_headers(headers)
    return _with_concurrency(provider, options.concurrency, before)


def _with_concurrency(provider: Provider, given: int | Auto | None, before: ProviderHeader | None) -> Provider:
    usual = provider.limits.concurrency or 1
    match given:
        case int():
            return provider.with_concurrency(given)
        case Auto(int() as up_to):
            return provider.with_concurrency(min(up_to, usual), up_to=up_to)
        case None if before is not None:
            return provider.with_concurrency(before.limits.concurrency or usual, up_to=before.max_concurrency or None)
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
