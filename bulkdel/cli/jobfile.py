"""A job file's words, read into values: which providers, what to purge, what to delete, and how; pure.

What is wrong is named with the path of its key (``provider[0].rate``), and what is no TOML with its line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from bulkdel.cli import values
from bulkdel.cli.options import SELECTION, Options
from bulkdel.errors import ConfigurationError
from bulkdel.model import Indexing, Missing, Policy, Rate, Selection
from bulkdel.text import sanitize


def _show(found: Any) -> str:
    return sanitize(repr(found), 60)


def _written(found: Any) -> str:
    """A number or a date of TOML's own as the string that it is written as."""
    if isinstance(found, date):
        return found.isoformat()
    if isinstance(found, str) or type(found) is int:
        return str(found).strip()
    raise ValueError(f"must be a string: {_show(found)}")


def _parsed(parse: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda found: parse(_written(found)))


def _moment(found: Any, info: ValidationInfo) -> float:
    return values.when(_written(found), info.context["now"] if info.context else 0.0)


def _list(found: Any) -> Any:
    return found if isinstance(found, list) else [found]


Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[float, _parsed(values.duration)]
Count = Annotated[int, Field(ge=0)]
# A list that is there and empty selects nothing in the eyes of its writer: it must not select everything.
Texts = Annotated[list[Text], BeforeValidator(_list), Field(min_length=1)]
Moments = Annotated[list[Annotated[float, BeforeValidator(_moment)]], BeforeValidator(_list), Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)


class PolicyTable(_Table):
    """The options' names, with underscores."""

    accept_incomplete: bool = False
    attempts: Annotated[int, Field(ge=1)] | None = None
    backoff: Duration | None = None
    deadline: Duration | None = None
    expect: Count | None = None
    indexing: Indexing | None = None
    indexing_timeout: Duration | None = None
    max_delete: Count | None = None
    max_pause: Duration | None = None
    missing: Missing | None = None
    timeout: Duration | None = None
    unarchive: bool = False

    def policy(self) -> Policy:
        return Options(**self.model_dump()).policy()


class ProviderTable(_Table):
    """A service and a key, under the name that targets and reports call it: empty for its kind.

    ``api_key_env`` is a variable's name and ``api_key_file`` a path; both are empty if the kind's own variable holds the key.
    ``header_file`` has extra headers.
    """

    name: Text = ""
    kind: Text
    base_url: Text | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[^=\x00]+$")] = ""
    api_key_file: Text = ""
    header_file: Text = ""
    rate: Annotated[Rate | Literal["none"], _parsed(values.rate)] | None = None
    concurrency: Annotated[int | values.Auto, _parsed(values.concurrency)] | None = None

    @field_validator("api_key_file")
    @classmethod
    def _one_key(cls, found: str, info: ValidationInfo) -> str:
        if info.data.get("api_key_env"):
            raise ValueError("the key comes from api_key_env already; keep one of the two")
        return found

    @property
    def called(self) -> str:
        return self.name or self.kind


class PurgeTable(_Table):
    """Whole datasets of one provider, and which of their documents, each key as its option."""

    provider: Text
    datasets: Texts
    names: Annotated[Texts, Field(alias="name")] = []
    created_before: Moments = []
    statuses: Annotated[Texts, Field(alias="status")] = []

    def selection(self) -> Selection:
        return Options(**self.model_dump(include=set(SELECTION))).selection()


class DeleteTable(_Table):
    """A file of targets; ``provider`` is empty if each of its lines names one."""

    provider: Text = ""
    source: Annotated[Text, Field(alias="from")]


class Job(_Table):
    """Everything that a job file says."""

    policy: PolicyTable = PolicyTable()
    provider: list[ProviderTable] = []
    purge: list[PurgeTable] = []
    delete: list[DeleteTable] = []


def read(text: str, now: float) -> Job:
    """The job that ``text`` describes; ages count back from ``now`` (Unix seconds).

    :raises ConfigurationError: naming what is wrong, each key with its path
    """
    try:
        whole = tomllib.loads(text + "\n")  # else a fault in a last line without an end is reported as the file's end
    except tomllib.TOMLDecodeError as error:
        words = str(error)
        raise ConfigurationError(f"not TOML: {words[:1].lower()}{words[1:]}", hint=_unquoted(text, words)) from None
    except RecursionError:
        raise ConfigurationError("not TOML that can be read: nested too deeply") from None
    try:
        job = Job.model_validate(whole, context={"now": now})
    except ValidationError as error:
        raise _wrong(error, whole) from None
    return _checked(job)


def _checked(job: Job) -> Job:
    """The job, each [[delete]] with the provider that it means.

    :raises ConfigurationError: if its tables do not fit together
    """
    if not job.provider:
        raise ConfigurationError("provider: there is none", hint="begin one with [[provider]]")
    names = [one.called for one in job.provider]
    for place, name in enumerate(names):
        if names.index(name) != place:
            raise ConfigurationError(f"provider[{place}].name: two providers have one name: {_show(name)}")
    if not job.purge and not job.delete:
        raise ConfigurationError("there is nothing to do", hint="add a [[purge]] or a [[delete]]")
    tables: list[tuple[str, Sequence[PurgeTable | DeleteTable]]] = [("purge", job.purge), ("delete", job.delete)]
    for key, found in tables:
        for place, one in enumerate(found):
            if one.provider and one.provider not in names:
                raise ConfigurationError(
                    f"{key}[{place}].provider: no [[provider]] has this name: {_show(one.provider)}",
                    hint=f"there are: {', '.join(sanitize(name, 60) for name in names)}",
                )
    only = names[0] if len(names) == 1 else ""
    deletes = [one.model_copy(update={"provider": one.provider or only}) for one in job.delete]
    return job.model_copy(update={"delete": deletes})


_TABLES: dict[str, type[BaseModel]] = {
    "policy": PolicyTable, "provider": ProviderTable, "purge": PurgeTable, "delete": DeleteTable
}  # fmt: skip


def _wrong(error: ValidationError, whole: dict[str, Any]) -> ConfigurationError:
    """What pydantic found, each fault behind the path of its key."""
    said: list[str] = []
    for one in error.errors(include_url=False):
        path = _path(one["loc"], whole)
        if one["type"] == "extra_forbidden" and one["loc"][-1] == "api_key":
            return ConfigurationError(
                f"{path}: a key does not belong in a file that is copied and committed",
                hint="name the variable that holds it (api_key_env), or a file (api_key_file)",
            )
        said.append(f"{path}: {_words(one, str(one['loc'][-1]))}")
    more = f"; and {len(said) - 10} more" if len(said) > 10 else ""
    return ConfigurationError("; ".join(said[:10]) + more)


def _path(place: Sequence[int | str], whole: Any) -> str:
    """``provider[0].rate``, as the file has it: a value that stands alone has no number, though it is read as a list of one."""
    path = ""
    for step in place:
        if isinstance(step, str):
            path += f".{step}" if path else step
        elif isinstance(whole, list):
            path += f"[{step}]"
        try:
            whole = whole[step]
        except (KeyError, IndexError, TypeError):
            whole = None
    return path


_WORDS = {
    "missing": "is missing",
    "string_type": "must be a string: {input}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be the name of a variable",
    "too_short": "must not be empty",
    "int_type": "must be a whole number: {input}",
    "greater_than_equal": "must be at least {ge}: {input}",
    "bool_type": "must be true or false: {input}",
    "literal_error": "must be {expected}: {input}",
    "model_type": "must be a table, written {table}",
    "list_type": "must be a list of tables, each begun with {table}",
    "value_error": "{error}",
}
"""pydantic's errors in the words of the command line, by their type."""


def _words(error: Any, key: str) -> str:
    first = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        table = _TABLES[first] if len(error["loc"]) > 1 else Job
        known = [field.alias or name for name, field in table.model_fields.items()]
        close = difflib.get_close_matches(key, known, 1)
        meant = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        return f"there is no such key; {meant}"
    table_head = "[policy]" if first == "policy" else f"[[{first}]]"
    words = _WORDS.get(error["type"], error["msg"]).format(
        input=_show(error["input"]), table=table_head, **error.get("ctx", {})
    )
    optional = error["type"] == "too_short" and key != "datasets"
    return f"{words}; leave it out to select all" if optional else words


def _unquoted(text: str, message: str) -> str:
    """A hint if the line that tomllib names has a word or a duration without quotes, else nothing."""
    place = re.search(r"\(at line ([0-9]{1,9}),", message)
    lines = text.split("\n")
    if place is None or int(place[1]) > len(lines):
        return ""
    bare = r"\s*([A-Za-z0-9_-]{1,40})\s*=\s*([\w.*/:-]*[A-Za-z][\w.*/:-]*)\s*(?:#.*)?"
    found = re.fullmatch(bare, lines[int(place[1]) - 1])
    return f'strings stand in quotes: {found[1]} = "{sanitize(found[2], 60)}"' if found is not None else ""
