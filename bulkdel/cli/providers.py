"""Providers as the user describes them: where each is, which key it takes and what it allows; read and opened here alone."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import Options
from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits, Rate
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider
    from bulkdel.store import ProviderHeader, RunHeader

KEYS = "keys"
"""What a run's header calls the places of its keys, by the provider's name."""


def variable(kind: str, what: str) -> str:
    """The environment variable of a provider: ``variable("my-docs", "API_KEY")`` is ``MY_DOCS_API_KEY``."""
    return f"{re.sub('[^A-Z0-9]', '_', kind.upper())}_{what}"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is, which is no secret: an environment variable, or a file."""

    variable: str = ""
    file: str = ""

    @classmethod
    def usual(cls, kind: str, file: Path | None = None) -> KeyPlace:
        """``file`` if it was given, else the variable of the kind."""
        return cls(file=str(file)) if file is not None else cls(variable(kind, "API_KEY"))

    @classmethod
    def recorded(cls, more: Mapping[str, Any], provider: str) -> KeyPlace | None:
        """As a run's header holds it; None if it does not, or holds something else."""
        places = more.get(KEYS)
        place = places.get(provider) if isinstance(places, dict) else None
        if not isinstance(place, dict):
            return None
        env, file = place.get("env", ""), place.get("file", "")
        return cls(env, file) if isinstance(env, str) and isinstance(file, str) and (env or file) else None

    def as_dict(self) -> dict[str, str]:
        return {"file": self.file} if self.file else {"env": self.variable}

    def read(self, kind: str, app: AppContext, hint: str) -> str:
        """The key, without blanks around it. What a key may look like is the provider's to say.

        A file that others on the machine can read is warned of. ``hint`` is for a variable that is not set.

        :raises ConfigurationError: if there is none; the message never holds it
        """
        if self.file:
            return _key_in(Path(self.file), app)
        key = app.environ.get(self.variable, "").strip()
        if not key:
            raise ConfigurationError(f"no key for {kind}: {self.variable} is not set", hint=hint)
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One provider as the options, a job file or an earlier run describe it.

    ``name`` is what reports call it, empty for the kind; ``base_url`` is empty for the service's own cloud. ``rate`` and
    ``concurrency`` are what the user gives now, ``before`` the limits that an earlier run began with. ``key_hint`` says how to
    give a key.
    """

    kind: str
    key: KeyPlace
    key_hint: str
    name: str = ""
    base_url: str = ""
    rate: Rate | Literal["none"] | None = None
    concurrency: int | Literal["auto"] | None = None
    before: Limits | None = None


def from_options(kind: str, options: Options, app: AppContext) -> ProviderSpec:
    """The provider of a command that names one."""
    key = KeyPlace.usual(kind, options.api_key_file)
    return ProviderSpec(
        kind=kind,
        key=key,
        key_hint=f"set {key.variable}, or give --api-key-file FILE",
        base_url=options.base_url or address(kind, app),
        rate=options.rate,
        concurrency=options.concurrency,
    )


def from_run(header: RunHeader, options: Options, app: AppContext) -> list[ProviderSpec]:
    """The providers of an earlier run, with what the options say now.

    :raises ConfigurationError: if an option that is for one provider meets a run that has several
    """
    if len(header.providers) > 1:
        for name in ("api_key_file", "base_url", "rate", "concurrency"):
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
    # A job's providers may be several of one kind: the kind's own variable says nothing about the address of each.
    here = "" if recorded else address(asked.kind, app)
    return ProviderSpec(
        kind=asked.kind,
        key=key,
        key_hint=f"set {key.variable}, or give --api-key-file FILE",
        name=asked.name,
        base_url=options.base_url or here or asked.base_url,
        rate=options.rate,
        concurrency=options.concurrency,
        before=asked.limits,
    )


def address(kind: str, app: AppContext) -> str:
    """The address that the environment gives for this kind; empty if it gives none."""
    return app.environ.get(variable(kind, "BASE_URL"), "").strip()


def open_provider(spec: ProviderSpec, app: AppContext) -> Provider:
    """The provider; its key is hidden from now on in everything that is shown.

    :raises ConfigurationError: for an unknown kind, a missing or impossible key, a wrong address
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
    if spec.concurrency is None and before.concurrency not in (None, own.concurrency):
        return provider.with_concurrency(before.concurrency)
    return provider.with_concurrency(spec.concurrency) if isinstance(spec.concurrency, int) else provider


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


def _key_in(file: Path, app: AppContext) -> str:
    longest = 64 * 1024  # bytes; a key is below 200
    try:
        with open(file, "rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            raw = source.read(longest + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the key file: {file}: {error.strerror or error}") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        app.warn(f"others on this machine can read the key file: {file}", f"chmod 600 {file}")
    if len(raw) > longest:
        raise ConfigurationError(f"the key file is longer than any key: {file}")
    try:
        key = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file is not text: {file}") from None
    wrong = "is empty" if not key else "has more than one line" if len(key.splitlines()) > 1 else ""
    if wrong:
        raise ConfigurationError(f"the key file {wrong}: {file}", hint="put the key alone into it, on one line")
    return key
