"""Providers with their keys: as the options, a job file or an earlier run describe them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkdel.cli import keys
from bulkdel.cli.context import AppContext
from bulkdel.cli.jobfile import JobProvider
from bulkdel.cli.screen import Screen
from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits
from bulkdel.text import safe

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider
    from bulkdel.store import ProviderHeader, RunHeader

Warn = Callable[[str, str], None]

KEYS = "keys"
"""What a run's header calls the places of its keys, by the provider's name."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is, which is no secret: the name of a variable, or a file."""

    variable: str = ""
    file: str = ""

    def read(self, kind: str, world: AppContext, warn: Warn, hint: str = "") -> str:
        """:raises ConfigurationError: where there is no key"""
        file = Path(self.file) if self.file else None
        return keys.read(kind, file, world.environ, warn, name=self.variable, hint=hint)

    def as_dict(self) -> dict[str, str]:
        return {"file": self.file} if self.file else {"env": self.variable}

    @classmethod
    def of(cls, more: Mapping[str, Any], provider: str) -> KeyPlace | None:
        """As a run's header holds it; None where it does not, or holds something else."""
        found = more.get(KEYS)
        place = found.get(provider) if isinstance(found, dict) else None
        if not isinstance(place, dict):
            return None
        variable, file = place.get("env", ""), place.get("file", "")
        if not (isinstance(variable, str) and isinstance(file, str) and (variable or file)):
            return None
        return cls(variable, file)


def warning(given: Mapping[str, Any], screen: Screen) -> Warn:
    """Where warnings go: to the screen, or nowhere where quiet was asked for."""
    return (lambda message, hint: None) if given.get("quiet") else screen.warning


def open_provider(kind: str, given: Mapping[str, Any], world: AppContext, screen: Screen) -> Provider:
    """The provider that the options, the environment and the key file describe.

    :raises ConfigurationError: for an unknown provider, a missing or impossible key, a wrong address
    """
    warn = warning(given, screen)
    build = _loaded(kind)
    key = keys.read(kind, given["api_key_file"], world.environ, warn)
    return _built(build, key, given["base_url"] or _address(kind, world), "", given, None, world, warn)


def open_again(header: RunHeader, given: Mapping[str, Any], world: AppContext, screen: Screen) -> tuple[Provider, ...]:
    """The providers of an earlier run, with keys from here: from where the options say, from where the run's job file had
    them, or from where the kind's are.

    :raises ConfigurationError: as ``open_provider``; and where an option that means one provider meets several
    """
    if len(header.providers) > 1:
        for option in ("api_key_file", "base_url", "rate", "concurrency"):
            if given[option] is not None:
                names = ", ".join(safe(p.name) for p in header.providers)
                raise ConfigurationError(
                    f"--{option.replace('_', '-')} means one provider, and this run has {len(header.providers)}: {names}",
                    hint="each has its own, kept with the run",
                )
    return tuple(_again(asked, header.more, given, world, screen) for asked in header.providers)


def _again(
    asked: ProviderHeader, more: Mapping[str, Any], given: Mapping[str, Any], world: AppContext, screen: Screen
) -> Provider:
    warn = warning(given, screen)
    build = _loaded(asked.kind)
    place = KeyPlace.of(more, asked.name)
    if place is None or given["api_key_file"] is not None:
        key = keys.read(asked.kind, given["api_key_file"], world.environ, warn)
    else:
        key = place.read(asked.kind, world, warn)
    # A job's providers may be several of one kind: the kind's own variable says nothing of each.
    base_url = given["base_url"] or ("" if place is not None else _address(asked.kind, world)) or asked.base_url
    name = asked.name if asked.name != asked.kind else ""
    return _built(build, key, base_url, name, given, asked.limits, world, warn)


def open_named(
    asked: JobProvider, folder: str, given: Mapping[str, Any], world: AppContext, screen: Screen
) -> tuple[Provider, KeyPlace, str]:
    """A job file's provider, where its key is, and the key; paths count from ``folder``.

    :raises ConfigurationError: as ``open_provider``
    """
    warn = warning(given, screen)
    build = _loaded(asked.kind)
    if asked.key_file:
        place = KeyPlace(file=os.path.abspath(os.path.join(folder, os.path.expanduser(asked.key_file))))
    else:
        place = KeyPlace(asked.key_env or keys.variable(asked.kind, "API_KEY"))
    key = place.read(
        asked.kind, world, warn, f"set {place.variable}, or name another place with api_key_env or api_key_file"
    )
    name = asked.name if asked.name != asked.kind else ""
    limits = {"rate": asked.rate, "concurrency": asked.concurrency}
    base_url = asked.base_url or _address(asked.kind, world)
    return _built(build, key, base_url, name, limits, None, world, warn), place, key


def _loaded(kind: str) -> Callable[..., Provider]:
    from bulkdel.providers import registry

    return registry.load(kind)


def _address(kind: str, world: AppContext) -> str:
    return world.environ.get(keys.variable(kind, "BASE_URL"), "").strip()


def _built(
    build: Callable[..., Provider],
    key: str,
    base_url: str,
    name: str,
    given: Mapping[str, Any],
    limits: Limits | None,
    world: AppContext,
    warn: Warn,
) -> Provider:
    """The provider; ``given`` has the limits that the user gave, ``limits`` are an earlier run's."""
    keys.remember(key, world.secrets)
    named: dict[str, Any] = {"api_key": key}
    if base_url:
        named["base_url"] = base_url
    if name:
        named["name"] = name
    provider = build(**named)
    if provider.warning:
        warn(provider.warning, "")
    # What nobody gave, now or for the earlier run, the provider chooses: what it chose it may adapt, what it was given not.
    own, before = provider.limits, provider.limits if limits is None else limits
    rate, concurrency = given["rate"], given["concurrency"]
    if rate is not None or before.rate != own.rate:
        provider = build(**named, limits=Limits(rate=before.rate if rate is None else rate.rate))
    n = before.concurrency if concurrency is None else concurrency.concurrency
    if n is None or (concurrency is None and n == own.concurrency):
        return provider
    return provider.with_concurrency(n)
