"""The options that commands share: each is declared once, as a field of the value that the commands get."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import click

from bulkdel.cli import values
from bulkdel.cli.context import AppContext
from bulkdel.model import Indexing, Missing, Policy, Rate, Selection


def parsed(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """The type of an option whose value a pure function reads; its ``ValueError`` becomes click's usage error."""

    @wraps(parse)
    def convert(given: Any) -> Any:
        try:
            return parse(given) if isinstance(given, str) else given
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


DURATION = parsed(values.duration)
RATE = parsed(values.rate)
FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=0)


def _option(*names: str, default: Any = None, default_text: str = "", **how: Any) -> Any:
    """A field of ``Options`` and the click option that fills it; ``default_text`` is said in ``--help``."""
    return field(default=default, metadata={"names": names, "default": default_text, "how": how})


def _flag(*names: str, help: str) -> Any:
    return _option(*names, default=False, is_flag=True, help=help)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user gave for the options that commands share; None, or empty, if nothing was given.

    A command offers some of them (``takes``); the others keep their defaults.
    """

    # What to do, and what to write.
    yes: bool = _flag(
        "-y", "--yes", help="Do not ask. With no terminal to ask at, a run without it is refused, exit 3."
    )
    dry_run: bool = _flag("--dry-run", help="List, select, show; send nothing but GET.")
    retry_rejected: bool = _flag("--retry-rejected", help="Ask again for what was rejected.")
    as_json: bool = _flag("--json", help="One JSON object on stdout at the end, and nothing else there.")
    settled: str | None = _option("--settled", type=click.Path(), metavar="FILE",
        help="Add every settled document to FILE as it settles, one JSON object a line; - is stdout.")  # fmt: skip
    metrics_file: Path | None = _option("--metrics-file", type=FILE, metavar="FILE",
        help="Write counts and durations by provider to FILE every 10 s and at the end, as Prometheus text.")  # fmt: skip
    run_file: Path | None = _option("-o", "--run", type=FILE, metavar="FILE",
        default_text="one in your state folder; bulkdel runs lists them", help="Keep the run in FILE, which must be new.")  # fmt: skip
    no_run: bool = _flag("--no-run", help="Keep no run file: such a run cannot be resumed or reported.")
    broker: str | None = _option("--broker", "--on", metavar="URL",
        help="Have the deletes made by the workers of this broker (redis://HOST:6379/0), which bulkdel worker starts; none: by this "
             "process.")  # fmt: skip

    # Which documents of a dataset.
    names: tuple[str, ...] = _option("--name", default=(), multiple=True, metavar="GLOB",
        help="Only documents whose name matches, whatever the case ('tmp-*'): * is any text, ? is one character, and everything else "
             "is itself, brackets included; repeatable, any may match.")  # fmt: skip
    created_before: tuple[float, ...] = _option("--created-before", default=(), multiple=True, metavar="WHEN",
        type=parsed(lambda words: values.when(words, time.time())),
        help="Only documents created before a date (2026-01-31, UTC) or longer ago than an age (90d); "
             "of several the earliest counts.")  # fmt: skip
    statuses: tuple[str, ...] = _option("--status", default=(), multiple=True, metavar="S",
        help="Only documents with this status, in the service's own word (error, SYNCED); repeatable.")  # fmt: skip

    # How fast the service may be asked.
    rate: Rate | Literal["none"] | None = _option("--rate", type=RATE, metavar="N/s|N/min|none",
        default_text="by provider and host", help="The provider's limit as you know it; pacing keeps below it.")  # fmt: skip
    concurrency: int | values.Auto | None = _option("--concurrency", metavar="N|auto|auto:N",
        type=parsed(values.concurrency),
        default_text="auto, as many as the service bears and its other users can spare",
        help="Requests in flight at most; auto:N searches up to N.")  # fmt: skip

    # How the run behaves.
    indexing: Indexing | None = _option("--indexing", type=click.Choice(get_args(Indexing)),
        default_text="wait",
        help="Documents still being indexed: wait until they are ready, delete them anyway, or leave them.")  # fmt: skip
    indexing_timeout: float | None = _option("--indexing-timeout", type=DURATION, default_text="15m",
        help="How long to wait for one document to be indexed.")  # fmt: skip
    unarchive: bool = _option("--unarchive", default=False, is_flag=True, default_text="they are rejected as archived",
        help="Un-archive archived documents first (Dify).")  # fmt: skip
    max_delete: int | None = _option("--max-delete", type=_COUNT, metavar="N",
        help="More selected than N: refused, nothing deleted, exit 3.")  # fmt: skip
    expect: int | None = _option("--expect", type=_COUNT, metavar="N",
        help="Not exactly N selected: refused, nothing deleted, exit 3.")  # fmt: skip
    attempts: int | None = _option("--attempts", type=click.IntRange(min=1), metavar="N", default_text="6",
        help="Attempts a document may cost before it is rejected; pauses and indexing waits are free.")  # fmt: skip
    missing: Missing | None = _option("--missing", type=click.Choice(get_args(Missing)), default_text="ok",
        help="Documents that were not there when first asked for: ok, they are already gone; fail, they are rejected, exit 1.")  # fmt: skip
    accept_incomplete: bool = _flag("--accept-incomplete",
        help="Delete what was seen of a dataset whose listing does not show all that the service counts, also with a selection.")  # fmt: skip
    timeout: float | None = _option("--timeout", type=DURATION, default_text="60s",
        help="How long one attempt may take.")  # fmt: skip
    deadline: float | None = _option("--deadline", type=DURATION, default_text="none",
        help="How long the run may take from now on; the rest stays not attempted, exit 5.")  # fmt: skip
    backoff: float | None = _option("--backoff", type=DURATION, metavar="BASE", default_text="1s (indexing: 5s)",
        help="First retry delay; doubles with full jitter up to a cap.")  # fmt: skip
    max_pause: float | None = _option("--max-pause", type=DURATION, default_text="1h",
        help="The longest pause that the service may ask for.")  # fmt: skip

    # Where the service is, and with which key.
    api_key_file: Path | None = _option("--api-key-file", type=FILE, metavar="FILE",
        help="Read the key from FILE instead of the environment variable NAME_API_KEY (DIFY_API_KEY, LANGDOCK_API_KEY).")  # fmt: skip
    base_url: str | None = _option("--base-url", metavar="URL",
        help="Where the service is; NAME_BASE_URL (DIFY_BASE_URL, LANGDOCK_BASE_URL) says it too.")  # fmt: skip
    header_file: Path | None = _option("--header-file", type=FILE, metavar="FILE",
        help="Send the headers in FILE, too (Name: value lines), as gateways want them; they are secret as the key is.")  # fmt: skip
    ca_file: Path | None = _option("--ca-file", type=FILE, metavar="FILE",
        help="Trust the certificate authorities in FILE (PEM) besides the system's.")  # fmt: skip

    # How much is said on stderr.
    quiet: bool = _flag("-q", "--quiet", help="Say only errors on stderr; no progress.")
    verbose: bool = _flag("-v", "--verbose", help="Say everything on stderr, each retry included.")
    log_json: bool = _flag(
        "--log-json", help="Log and progress as JSON lines; the log is that anyway if stderr is no terminal."
    )

    def policy(self, base: Policy | None = None) -> Policy:
        """The policy that is asked for; what was not given is as in ``base``, or the usual."""
        given = {name: value for name in POLICY if (value := getattr(self, name)) is not None and value is not False}
        policy = replace(base or Policy(), **given)
        if self.backoff is None:
            return policy
        return replace(
            policy,
            backoff_cap=max(self.backoff, policy.backoff_cap),
            indexing_backoff=self.backoff,
            indexing_backoff_cap=max(self.backoff, policy.indexing_backoff_cap),
        )

    def selection(self) -> Selection:
        """The documents that are asked for; of several moments the earliest counts."""
        given = {name: getattr(self, name) for name in SELECTION}
        return Selection(**given | {"created_before": min(self.created_before, default=None)})


RUN = ("yes", "dry_run", "as_json", "settled", "metrics_file", "run_file", "no_run")
SELECTION = tuple(field.name for field in fields(Selection))
LIMITS = ("rate", "concurrency")
POLICY = (
    "indexing", "indexing_timeout", "unarchive", "max_delete", "expect", "attempts", "missing",
    "accept_incomplete", "timeout", "deadline", "backoff", "max_pause",
)  # fmt: skip
CONNECTION = ("api_key_file", "base_url", "header_file", "ca_file")
OUTPUT = ("quiet", "verbose", "log_json")

Command = Callable[..., int]


def takes(*names: str, defaults: bool = True) -> Callable[[Command], Command]:
    """Give a command these options of ``Options``; its function gets the ``AppContext`` first, and ``options`` as a keyword.

    ``defaults``: whether ``--help`` says what is done if an option is not given; a resumed run has its own defaults.
    """
    offered = {f.name: f for f in fields(Options)}

    def wrap(function: Command) -> Command:
        @click.pass_obj
        @wraps(function)
        def command(app: AppContext, /, *args: Any, **given: Any) -> int:
            options = Options(**{name: given.pop(name) for name in names})
            _check(options)
            app.verbose, app.quiet = options.verbose, options.quiet
            return function(app, *args, options=options, **given)

        for name in reversed(names):
            option = offered[name]
            how = dict(option.metadata["how"])
            if defaults and option.metadata["default"]:
                how["help"] += f" Default: {option.metadata['default']}."
            command = click.option(*option.metadata["names"], name, default=option.default, **how)(command)
        return command

    return wrap


def _check(options: Options) -> None:
    """:raises click.UsageError: if two options contradict each other"""
    against = "--no-run" if options.no_run else "--dry-run" if options.dry_run else ""
    if options.run_file is not None and against:
        hint = "; bulkdel plan keeps a plan in a file" if against == "--dry-run" else ""
        usage_error(f"--run keeps a run file and {against} keeps none{hint}")
    if options.as_json and options.settled == "-":
        usage_error("--json and --settled - both write to stdout; give --settled a file")


def usage_error(message: str) -> NoReturn:
    """:raises click.UsageError: with ``message`` and the way to the command's help"""
    raise click.UsageError(message, click.get_current_context(silent=True))
