"""The options that several commands share, and how a wrong value is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from bulkdel.cli import values
from bulkdel.cli.context import AppContext
from bulkdel.model import Indexing, Policy, Rate, Selection

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from bulkdel.cli.metrics import Metrics

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic from click 8.4 on, and 8.2 does as well


class Words(ParamType):
    """An option's value that a pure function reads; its ``ValueError`` becomes click's usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class GivenRate:
    """A rate that the user gave: ``None`` inside is the user's ``none``, which is not the same as giving nothing."""

    rate: Rate | None


@dataclass(frozen=True, slots=True)
class GivenConcurrency:
    """A concurrency that the user gave: ``None`` inside is the user's ``auto``."""

    concurrency: int | None


DURATION = Words("duration", values.duration)
RATE = Words("rate", lambda words: GivenRate(values.rate(words)))
CONCURRENCY = Words("concurrency", lambda words: GivenConcurrency(values.concurrency(words)))
WHEN = Words("when", lambda words: values.when(words, time.time()))
FILE = click.Path(path_type=Path)

_DEFAULT = Policy()


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def wrap(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return wrap


ca_option = click.option("--ca-file", type=FILE, metavar="FILE",
                         help="Trust the certificate authorities in FILE (PEM) besides the system's.")  # fmt: skip


def connection_options(function: F) -> F:
    """Where the service is and with which key."""
    return _all(
        click.option("--api-key-file", type=FILE, metavar="FILE",
                     help="Read the key from FILE instead of the environment variable NAME_API_KEY (DIFY_API_KEY, LANGDOCK_API_KEY)."),
        click.option("--base-url", metavar="URL",
                     help="Where the service is; NAME_BASE_URL (DIFY_BASE_URL, LANGDOCK_BASE_URL) says it too."),
        ca_option,
    )(function)  # fmt: skip


def limit_options(function: F) -> F:
    """How fast the service may be asked."""
    return _all(
        click.option("--rate", type=RATE, metavar="N/s|N/min|none",
                     help="The provider's limit as you know it; pacing keeps below it. Default: by provider and host."),
        click.option("--concurrency", type=CONCURRENCY, metavar="N|auto",
                     help="Requests in flight at most. Default: auto, as many as the service bears."),
    )(function)  # fmt: skip


def policy_options(function: F) -> F:
    """How a call behaves: what purge and delete share."""
    return _all(
        click.option("--indexing", type=click.Choice(get_args(Indexing)),
                     help="Documents still being indexed: wait until they are ready, delete them anyway, or leave them. "
                          "Default: wait; for targets from a list: delete."),
        click.option("--indexing-timeout", type=DURATION, metavar="DURATION",
                     help="How long to wait for one document to be indexed. Default: 15m."),
        click.option("--unarchive", is_flag=True,
                     help="Un-archive archived documents first (Dify). Default: they are rejected as archived."),
        click.option("--max-delete", type=click.IntRange(min=0), metavar="N",
                     help="More selected than N: refused, nothing deleted, exit 3."),
        click.option("--expect", type=click.IntRange(min=0), metavar="N",
                     help="Not exactly N selected: refused, nothing deleted, exit 3."),
        click.option("--attempts", type=click.IntRange(min=1), metavar="N",
                     help=f"Attempts a document may cost before it is rejected; pauses and indexing waits are free. Default: {_DEFAULT.attempts}."),
        click.option("--timeout", type=DURATION, metavar="DURATION", help="How long one attempt may take. Default: 60s."),
        click.option("--deadline", type=DURATION, metavar="DURATION",
                     help="How long the whole run may take; the rest stays not attempted, exit 5. Default: none."),
        click.option("--backoff", type=DURATION, metavar="BASE",
                     help="First retry delay; doubles with full jitter up to a cap. Default: 1s (indexing: 5s)."),
        click.option("--max-pause", type=DURATION, metavar="DURATION",
                     help="The longest pause that the service may ask for. Default: 1h."),
    )(function)  # fmt: skip


def selection_options(function: F) -> F:
    """Which documents of a dataset."""
    return _all(
        click.option("--name", "names", multiple=True, metavar="GLOB",
                     help="Only documents whose name matches, whatever the case ('tmp-*'); repeatable, any may match."),
        click.option("--created-before", type=WHEN, multiple=True, metavar="WHEN",
                     help="Only documents created before a date (2026-01-31, UTC) or longer ago than an age (90d); "
                          "of several the earliest counts."),
        click.option("--status", "statuses", multiple=True, metavar="S",
                     help="Only documents with this status, in the service's own word (error, SYNCED); repeatable."),
    )(function)  # fmt: skip


_YES = click.option("-y", "--yes", is_flag=True,
                    help="Do not ask. With no terminal to ask at, a run without it is refused, exit 3.")  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True,
                     help="One JSON object on stdout at the end, and nothing else there.")  # fmt: skip
_SETTLED = click.option("--settled", type=click.Path(), metavar="FILE",
                        help="Add every settled document to FILE as it settles, one JSON object a line; - is stdout.")  # fmt: skip


def _metrics(ctx: click.Context, param: click.Parameter, file: Path | None) -> Metrics | None:
    """Known to the world as soon as it is read, so that an error in what is read later ends in the file, too."""
    if file is None:
        return None
    from bulkdel.cli.metrics import Metrics

    metrics = Metrics(file)
    if isinstance(ctx.obj, AppContext):
        ctx.obj.metrics = metrics
    return metrics


_METRICS = click.option("--metrics-file", "metrics", type=FILE, metavar="FILE", callback=_metrics, is_eager=True,
                        help="Write counts and durations by provider to FILE every 10 s and at the end, as Prometheus text.")  # fmt: skip


def act_options(function: F) -> F:
    """Whether to ask, what to write, and where the run file goes."""
    return _all(
        _YES,
        click.option("--dry-run", is_flag=True, help="List, select, show; send nothing but GET."),
        _JSON,
        _SETTLED,
        _METRICS,
        click.option("-o", "--run", "run_file", type=FILE, metavar="FILE",
                     help="Keep the run in FILE, which must be new. Default: one in your state folder; bulkdel runs lists them."),
        click.option("--no-run", is_flag=True, help="Keep no run file: such a run cannot be resumed or reported."),
    )(function)  # fmt: skip


def plan_options(function: F) -> F:
    """Where a plan goes."""
    return _all(
        click.option("-o", "--run", "run_file", type=FILE, metavar="RUN",
                     help="Keep the plan in this run file, which must be new. Default: one in your state folder."),
        _JSON,
    )(function)  # fmt: skip


def resume_options(function: F) -> F:
    """Whether to ask, what to write, and what of the run's own policy to change; what is not given stays as it was."""
    return _all(
        click.option("-y", "--yes", is_flag=True,
                     help="Do not ask. A run is asked about before its first delete, and again where more has to be listed."),
        click.option("--retry-rejected", is_flag=True, help="Ask again for what was rejected."),
        _JSON,
        _SETTLED,
        _METRICS,
        click.option("--indexing", type=click.Choice(["wait", "delete"]),
                     help="Documents still being indexed: wait until they are ready, or delete them anyway."),
        click.option("--indexing-timeout", type=DURATION, metavar="DURATION", help="How long to wait for one document to be indexed."),
        click.option("--unarchive", is_flag=True, help="Un-archive archived documents first (Dify)."),
        click.option("--max-delete", type=click.IntRange(min=0), metavar="N",
                     help="A plan with more selected than N: refused, nothing deleted, exit 3."),
        click.option("--expect", type=click.IntRange(min=0), metavar="N",
                     help="A plan with not exactly N selected: refused, nothing deleted, exit 3."),
        click.option("--attempts", type=click.IntRange(min=1), metavar="N",
                     help="Attempts a document may cost before it is rejected."),
        click.option("--timeout", type=DURATION, metavar="DURATION", help="How long one attempt may take."),
        click.option("--deadline", type=DURATION, metavar="DURATION",
                     help="How long this part of the run may take; the rest stays not attempted, exit 5."),
        click.option("--backoff", type=DURATION, metavar="BASE", help="First retry delay."),
        click.option("--max-pause", type=DURATION, metavar="DURATION",
                     help="The longest pause that the service may ask for."),
    )(function)  # fmt: skip


def talk_options(function: F) -> F:
    """How much is said on stderr."""
    return _all(
        click.option("-q", "--quiet", is_flag=True, help="Say only errors on stderr; no progress."),
        click.option("-v", "--verbose", is_flag=True, help="Say everything on stderr, each retry included."),
        click.option("--log-json", is_flag=True, help="Log and progress as JSON lines; the log is that anyway where stderr is no terminal."),
    )(function)  # fmt: skip


def policy_from(given: dict[str, Any], base: Policy = _DEFAULT) -> Policy:
    """The policy that the options ask for; what was not given is as in ``base``."""
    named = {
        field: given[field]
        for field in ("indexing", "indexing_timeout", "max_delete", "expect", "attempts", "timeout", "deadline", "max_pause")
        if given[field] is not None
    }  # fmt: skip
    policy = replace(base, unarchive=given["unarchive"] or base.unarchive, **named)
    first = given["backoff"]
    if first is None:
        return policy
    return replace(
        policy,
        backoff=first,
        backoff_cap=max(first, policy.backoff_cap),
        indexing_backoff=first,
        indexing_backoff_cap=max(first, policy.indexing_backoff_cap),
    )


def selection_from(given: dict[str, Any]) -> Selection:
    """The selection that the options of ``selection_options`` ask for; of several moments the earliest counts."""
    moments: tuple[float, ...] = given["created_before"]
    return Selection(
        names=tuple(given["names"]),
        created_before=min(moments, default=None),
        statuses=tuple(given["statuses"]),
    )
