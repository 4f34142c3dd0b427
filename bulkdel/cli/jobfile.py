"""A job file's words, read into values: which providers, what to purge, what to delete, and how; pure.

Every wrong value is told with the path of its key (``provider[0].rate``), and what is no TOML with its line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar, get_args

from bulkdel.cli import values
from bulkdel.cli.options import GivenConcurrency, GivenRate, policy_from
from bulkdel.errors import ConfigurationError
from bulkdel.model import Indexing, Policy, Selection
from bulkdel.text import safe

T = TypeVar("T")

_SHOWN = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True, slots=True)
class JobProvider:
    """A service and a key, under the name that targets and reports call it.

    ``key_env`` is a variable's name and ``key_file`` a path as it is written there; both are empty where the kind's own
    variable holds the key. ``base_url`` is empty for the kind's own. ``rate`` and ``concurrency`` are None where the file
    says nothing.
    """

    name: str
    kind: str
    base_url: str = ""
    key_env: str = ""
    key_file: str = ""
    rate: GivenRate | None = None
    concurrency: GivenConcurrency | None = None


@dataclass(frozen=True, slots=True)
class JobPurge:
    """Whole datasets of one provider, and which of their documents."""

    provider: str
    datasets: tuple[str, ...]
    select: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class JobDelete:
    """A file of targets, as it is written there; ``provider`` is empty where each of its lines names one."""

    provider: str
    source: str


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a job file says."""

    policy: Policy
    providers: tuple[JobProvider, ...]
    purges: tuple[JobPurge, ...]
    deletes: tuple[JobDelete, ...]


def read(text: str, now: float) -> Job:
    """The job that ``text`` describes; ages count back from ``now`` (Unix seconds).

    :raises ConfigurationError: at the first thing that is wrong, unknown keys all at once; the message begins with the path of its key
    """
    try:
        whole = tomllib.loads(text + "\n")  # a last line without an end would be told as the end of the file
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_toml(str(error)), hint=_bare(text, str(error))) from None
    except RecursionError:
        raise ConfigurationError("not TOML that can be read: nested too deeply") from None
    _check_keys(whole)
    top = _Table("", whole)
    policy = _policy(top.table("policy"))
    providers = tuple(_provider(one) for one in top.tables("provider"))
    if not providers:
        raise ConfigurationError("provider: there is none", hint="begin one with [[provider]]")
    names = [provider.name for provider in providers]
    for place, name in enumerate(names):
        if names.index(name) != place:
            raise ConfigurationError(f"provider[{place}].name: two providers have one name: {_show(name)}")
    purges = tuple(_purge(one, names, now) for one in top.tables("purge"))
    deletes = tuple(_delete(one, names) for one in top.tables("delete"))
    if not purges and not deletes:
        raise ConfigurationError("there is nothing to do", hint="add a [[purge]] or a [[delete]]")
    return Job(policy, providers, purges, deletes)


_POLICY = (
    "attempts", "backoff", "deadline", "expect", "indexing", "indexing_timeout", "max_delete", "max_pause", "timeout", "unarchive",
)  # fmt: skip
_PROVIDER = ("name", "kind", "base_url", "api_key_env", "api_key_file", "rate", "concurrency")
_PURGE = ("provider", "datasets", "name", "created_before", "status")
_DELETE = ("provider", "from")
_TABLES = {"policy": _POLICY, "provider": _PROVIDER, "purge": _PURGE, "delete": _DELETE}

_UNKNOWN_SHOWN = 10  # unknown keys that one message names; the rest is counted


def _check_keys(whole: Mapping[str, Any]) -> None:
    """:raises ConfigurationError: where there are keys that nobody knows: all are named, whatever else is wrong"""
    unknown: list[tuple[str, str]] = []
    top = _Table("", whole)
    for table, known in [(top, tuple(_TABLES)), *_inside(top, whole)]:
        for key in table:
            if key == "api_key":
                raise ConfigurationError(
                    f"{table.of(key)}: a key does not belong in a file that is copied and committed",
                    hint="name the variable that holds it (api_key_env), or a file (api_key_file)",
                )
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
                unknown.append((table.of(key), hint))
    if not unknown:
        return
    if len(unknown) == 1:
        ((path, hint),) = unknown
        raise ConfigurationError(f"{path}: there is no such key", hint=hint)
    shown = unknown[:_UNKNOWN_SHOWN]
    more = f" and {len(unknown) - len(shown)} more" if len(unknown) > len(shown) else ""
    raise ConfigurationError(
        f"{', '.join(path for path, _ in shown)}{more}: there are no such keys",
        hint="; ".join(f"{path}: {hint}" for path, hint in shown),
    )


def _inside(top: _Table, whole: Mapping[str, Any]) -> Iterable[tuple[_Table, tuple[str, ...]]]:
    """Every table of the file with its known keys; what should be a table and is none is told later."""
    for key, known in _TABLES.items():
        found = whole.get(key)
        if isinstance(found, dict):
            yield _Table(top.of(key), found), known
        elif isinstance(found, list):
            for place, one in enumerate(found):
                if isinstance(one, dict):
                    yield _Table(f"{top.of(key)}[{place}]", one), known


class _Table:
    """A TOML table that knows its own path."""

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        self._path = path
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def of(self, key: str) -> str:
        shown = key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else repr(safe(key, _SHOWN))
        return f"{self._path}.{shown}" if self._path else shown

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def wrong(self, key: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self.of(key)}: {what}")

    def table(self, key: str) -> _Table:
        found = self._values.get(key, {})
        if not isinstance(found, dict):
            raise self.wrong(key, f"must be a table, written [{key}]")
        return _Table(self.of(key), found)

    def tables(self, key: str) -> Iterable[_Table]:
        found = self._values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.wrong(key, f"must be a list of tables, each begun with [[{key}]]")
        for place, one in enumerate(found):
            yield _Table(f"{self.of(key)}[{place}]", one)

    def words(self, key: str) -> str:
        """A string that is not empty, or the empty string where the key is missing."""
        if key not in self._values:
            return ""
        found = self._values[key]
        if not isinstance(found, str):
            raise self.wrong(key, f"must be a string: {_show(found)}")
        if not found.strip():
            raise self.wrong(key, "must not be empty")
        return found.strip()

    def needed(self, key: str) -> str:
        found = self.words(key)
        if not found:
            raise ConfigurationError(f"{self.of(key)}: is missing")
        return found

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """What ``parse`` makes of a string, or of a whole number as it is written; None where the key is missing."""
        if key not in self._values:
            return None
        found = self._values[key]
        number = isinstance(found, int) and not isinstance(found, bool)
        return self._parse(self.of(key), str(found) if number else found, parse)

    def _parse(self, path: str, found: Any, parse: Callable[[str], T]) -> T:
        if not isinstance(found, str):
            raise ConfigurationError(f"{path}: must be a string: {_show(found)}")
        try:
            return parse(found)
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}") from None

    def whole(self, key: str, least: int) -> int | None:
        if key not in self._values:
            return None
        found = self._values[key]
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            raise self.wrong(key, f"must be a whole number of at least {least}: {_show(found)}")
        return found

    def flag(self, key: str) -> bool:
        found = self._values.get(key, False)
        if not isinstance(found, bool):
            raise self.wrong(key, f"must be true or false: {_show(found)}")
        return found

    def several(self, key: str, parse: Callable[[str], T]) -> list[T]:
        """A list of strings, or one string alone; TOML's own dates count as the strings they are written as."""
        if key not in self._values:
            return []
        found = self._values[key]
        if not isinstance(found, list):
            return [self._parse(self.of(key), _written(found), parse)]
        return [self._parse(f"{self.of(key)}[{n}]", _written(one), parse) for n, one in enumerate(found)]


def _policy(table: _Table) -> Policy:
    indexing = table.words("indexing")
    if indexing and indexing not in get_args(Indexing):
        raise table.wrong("indexing", f"must be one of {', '.join(get_args(Indexing))}: {_show(indexing)}")
    durations = ("indexing_timeout", "timeout", "deadline", "backoff", "max_pause")
    given: dict[str, Any] = {key: table.parsed(key, values.duration) for key in durations}
    given |= {"max_delete": table.whole("max_delete", 0), "expect": table.whole("expect", 0)}
    given |= {"attempts": table.whole("attempts", 1), "unarchive": table.flag("unarchive")}
    given["indexing"] = indexing or None
    return policy_from(given)


def _provider(table: _Table) -> JobProvider:
    kind = table.needed("kind")
    if "api_key_env" in table and "api_key_file" in table:
        raise table.wrong("api_key_file", "the key comes from api_key_env already; keep one of the two")
    variable = table.words("api_key_env")
    if "=" in variable or "\0" in variable:
        raise table.wrong("api_key_env", "must be the name of a variable")
    return JobProvider(
        name=table.words("name") or kind,
        kind=kind,
        base_url=table.words("base_url"),
        key_env=variable,
        key_file=table.words("api_key_file"),
        rate=table.parsed("rate", lambda words: GivenRate(values.rate(words))),
        concurrency=table.parsed("concurrency", lambda words: GivenConcurrency(values.concurrency(words))),
    )


def _purge(table: _Table, names: list[str], now: float) -> JobPurge:
    provider = _named(table, names, table.needed("provider"))
    datasets = table.several("datasets", _filled)
    if not datasets:
        raise table.wrong("datasets", "is missing" if "datasets" not in table else "must not be empty")
    moments = table.several("created_before", lambda words: values.when(words, now))
    select = Selection(
        # A list that is there and empty selects nothing in the eyes of who wrote it: everything must not be what it means.
        names=tuple(_some(table, "name")),
        created_before=min(moments, default=None),
        statuses=tuple(_some(table, "status")),
    )
    if "created_before" in table and not moments:
        raise table.wrong("created_before", _EMPTY)
    return JobPurge(provider, tuple(dict.fromkeys(datasets)), select)


_EMPTY = "must not be empty; leave it out to select all"


def _some(table: _Table, key: str) -> list[str]:
    found = table.several(key, _filled)
    if key in table and not found:
        raise table.wrong(key, _EMPTY)
    return found


def _delete(table: _Table, names: list[str]) -> JobDelete:
    provider = table.words("provider")
    if provider:
        _named(table, names, provider)
    elif len(names) == 1:
        provider = names[0]
    return JobDelete(provider, table.needed("from"))


def _named(table: _Table, names: list[str], provider: str) -> str:
    if provider not in names:
        shown = ", ".join(safe(name, _SHOWN) for name in names)
        raise ConfigurationError(
            f"{table.of('provider')}: no [[provider]] has this name: {_show(provider)}", hint=f"there are: {shown}"
        )
    return provider


def _filled(words: str) -> str:
    if not words.strip():
        raise ValueError("must not be empty")
    return words.strip()


def _written(found: Any) -> Any:
    return found.isoformat() if isinstance(found, date) else found


def _show(found: Any) -> str:
    return safe(repr(found), _SHOWN)


_LINE = re.compile(r"\(at line ([0-9]{1,9}),")
_BARE = re.compile(r"\s*([A-Za-z0-9_-]{1,40})\s*=\s*([\w.*/:-]*[A-Za-z][\w.*/:-]*)\s*(?:#.*)?")


def _bare(text: str, message: str) -> str:
    """A hint where the line that tomllib names has a word or a duration without quotes, else nothing."""
    place = _LINE.search(message)
    lines = text.split("\n")
    if place is None or int(place[1]) > len(lines):
        return ""
    found = _BARE.fullmatch(lines[int(place[1]) - 1])
    return f'strings stand in quotes: {found[1]} = "{safe(found[2], _SHOWN)}"' if found is not None else ""


def _toml(message: str) -> str:
    """tomllib's message, its place first: ``line 3, column 5: expected '=' after a key``."""
    what, _, place = message.rpartition(" (at ")
    if not what:
        return f"not TOML: {message}"
    place = place.removesuffix(")").replace("end of document", "the end of the file")
    return f"{place}: {what[:1].lower()}{what[1:]}"
