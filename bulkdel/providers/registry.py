"""Which providers there are: bulkdel's own, and those of installed packages (entry-point group ``bulkdel.providers``).

A package adds one in its ``pyproject.toml``; the name before the equals sign is the provider's kind::

    [project.entry-points."bulkdel.providers"]
    mykb = "bulkdel_mykb:MyKB"

What it names is called like our own: ``MyKB(api_key=…, base_url=…, name=…, limits=…)``, all but the key optional, and what
that returns is a ``Provider``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from bulkdel.errors import ConfigurationError
from bulkdel.providers.dify import Dify
from bulkdel.providers.langdock import Langdock
from bulkdel.providers.protocol import Provider
from bulkdel.text import sanitize

GROUP: Final = "bulkdel.providers"

ProviderClass = Callable[..., Provider]

# Known without a look at the installed packages: a plug-in of the same name must not get a Dify user's key.
_OWN: Final[Mapping[str, ProviderClass]] = {"dify": Dify, "langdock": Langdock}

_MEMBERS: Final = [name for name, member in vars(Provider).items() if callable(member) and not name.startswith("_")]


def kinds() -> tuple[str, ...]:
    """Every kind that ``load`` knows, in alphabetical order."""
    return tuple(sorted({*_OWN, *_plugins()}))


def load(kind: str) -> ProviderClass:
    """The class of a provider.

    :raises ConfigurationError: if no package provides this kind, two do, or the one that does cannot be loaded
    """
    if kind in _OWN:
        return _OWN[kind]
    found = _plugins().get(kind, [])
    if not found:
        raise ConfigurationError(f"unknown provider: {sanitize(kind, 100)}", hint=f"there are: {', '.join(kinds())}")
    if len({point.value for point in found}) > 1:
        packages = ", ".join(sorted(_package(point) for point in found))
        raise ConfigurationError(f"more than one package provides {kind}: {packages}", hint="uninstall all but one")
    mend = f"fix or uninstall the package that provides it: {_package(found[0])}"
    try:
        loaded: Any = found[0].load()
    except Exception as error:  # whatever a module does while it is imported
        why = sanitize(f"{type(error).__name__}: {error}", 300)
        raise ConfigurationError(f"the provider {kind} cannot be loaded: {why}", hint=mend) from error
    missing = [name for name in _MEMBERS if not callable(getattr(loaded, name, None))]
    if not callable(loaded) or missing:
        what = f"it has no {', '.join(missing)}" if missing else "it is no class"
        raise ConfigurationError(f"what the provider {kind} names is not a provider: {what}", hint=mend)
    return cast(ProviderClass, loaded)


def _plugins() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
