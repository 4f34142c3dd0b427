"""The ``bulkdel`` command: its group, its streams, and the way from ``sys.argv`` to an exit status, whatever happens.

Only click and light modules are imported here and by the commands' modules: aiohttp, rich and structlog take four times as
long as ``--help`` itself, and are imported when a command needs them.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click

from bulkdel.cli.commands.completion import completion
from bulkdel.cli.commands.datasets import datasets
from bulkdel.cli.commands.delete import delete
from bulkdel.cli.commands.demo import demo
from bulkdel.cli.commands.job import job
from bulkdel.cli.commands.plan import plan
from bulkdel.cli.commands.purge import purge
from bulkdel.cli.commands.report import report
from bulkdel.cli.commands.resume import resume
from bulkdel.cli.commands.runs import runs
from bulkdel.cli.commands.simulate import simulate
from bulkdel.cli.commands.verify import verify
from bulkdel.cli.commands.worker import worker
from bulkdel.cli.context import AppContext
from bulkdel.cli.output import silence
from bulkdel.errors import BrokenPromise, ConfigurationError, Refused, RunFileError

EPILOG = """\b
Try it with nothing to set up:
  bulkdel demo
\b
Empty a knowledge base:
  export DIFY_API_KEY=dataset-...
  bulkdel purge dify DATASET --base-url https://dify.example.com/v1
\b
Keys come from DIFY_API_KEY, LANGDOCK_API_KEY (in general NAME_API_KEY) or
--api-key-file FILE, never from the command line.
"""


class OrderedGroup(click.Group):
    """A group that lists its commands in the order of their use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=OrderedGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="bulkdel", message="%(package)s %(version)s")
def bulkdel() -> None:
    """Empty whole knowledge bases (Dify, Langdock), completely, as fast as the service allows, and account for every
    document."""


for command in (purge, delete, plan, resume, runs, report, verify, job, worker, datasets, simulate, demo, completion):
    bulkdel.add_command(command)


def run(argv: Sequence[str], app: AppContext | None = None) -> int:
    """Run the command that ``argv`` (without the program's name) says, and return its exit status; raises nothing."""
    app = app if app is not None else AppContext()
    app.argv = tuple(argv)
    try:
        status: int | None = bulkdel.main(list(argv), prog_name="bulkdel", standalone_mode=False, obj=app)
        return status or 0
    except BaseException as error:
        status = _explained(error, app)
        _write_metrics(status, app)
        for line in app.screen.last_lines:
            app.screen.say(line)
        return status


def main() -> NoReturn:
    """The console script."""
    _open_closed_streams()
    sys.stdout, sys.stderr = buffered(sys.stdout), buffered(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        # A name in a script that the terminal's encoding lacks must not end the run: it is shown escaped.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (
            OSError
        ):  # a full disk: what is lost is said in the status; flushed once more at the exit, it would be 120
            silence(stream)
    sys.exit(status)


# ------------------------------------------------------------------ the streams, whatever the parent did to them


def _open_closed_streams() -> None:
    """Open the null device as each of stdin, stdout and stderr that Python found closed.

    If they stayed closed, their numbers would go to whatever is opened next: uvloop aborts the process when it closes a socket
    of such a number (an assertion of libuv's), and what is written to stdout would go to a file or a service.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the lowest free number, which is that of the closed one: these go in order.
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
            setattr(sys, name, stream)


def buffered(stream: TextIO) -> TextIO:
    """``stream`` with a buffer under it if it has none (``PYTHONUNBUFFERED``, as in many container images).

    Text over a bare file takes no notice of how much was written: a terminal takes 2,048 bytes when a signal is on its way,
    and the rest of an account was lost. Every line is still written when it ends.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    whole = io.BufferedWriter(raw)
    return io.TextIOWrapper(whole, encoding=stream.encoding, errors=stream.errors, line_buffering=True)


# ------------------------------------------------------------------ what was raised, as a sentence and an exit status


def _explained(error: BaseException, app: AppContext) -> int:
    """Say what ``error`` means to the user; returns the exit status."""
    screen = app.screen
    match error:
        case click.exceptions.NoArgsIsHelpError():
            screen.say(error.format_message())
            return 2
        case click.ClickException():
            ctx = error.ctx if isinstance(error, click.UsageError) else None
            screen.error(
                _sentence(error.format_message()), f"{ctx.command_path} --help shows what is allowed" if ctx else ""
            )
            return 2
        case click.Abort() | KeyboardInterrupt():
            screen.error("interrupted")
            return 130
        case ConfigurationError() | RunFileError():
            screen.error(str(error), error.hint)
            return 2
        case Refused():
            screen.error(f"refused: {error}", error.hint)
            return 3
        case BrokenPipeError():
            return 141  # 128 + SIGPIPE: what a shell shows for a program whose reader went away
        case BrokenPromise():
            words = f"bulkdel broke a promise, which is a bug: {error}"
        case Exception():
            message = " ".join(str(error).split())
            words = f"bulkdel ran into a bug: {type(error).__name__}{f': {message}' if message else ''}"
        case _:
            raise error
    if app.verbose:
        # Places and lines only, never the values of variables, which may be keys.
        for line in "".join(traceback.format_exception(error)).splitlines():
            screen.say(line)
    screen.error(
        words, "please report it with what the same command says under -v; running the command again does no harm"
    )
    return 70


def _sentence(message: str) -> str:
    """click's message in our style: lower-case start, no full stop."""
    message = " ".join(message.split()).removesuffix(".")
    if not message[:1].isupper() or message[1:2].isupper():
        return message
    return message[0].lower() + message[1:]


def _write_metrics(status: int, app: AppContext) -> None:
    """Write the exit status into the file of ``--metrics-file``, so that a scheduler does not take the success of the time before
    for that of a command that never began."""
    command = bulkdel.commands.get(app.argv[0]) if app.argv else None
    if app.metrics is None and command is not None:
        # Read once more, as far as it is understood: what is wrong may stand before that option.
        understood = command.make_context(
            command.name, list(app.argv[1:]), resilient_parsing=True, ignore_unknown_options=True
        )
        file = understood.params.get("metrics_file")
        if file is not None and not str(file).startswith("-"):
            from bulkdel.cli.metrics import Metrics

            app.metrics = Metrics(file)
    if app.metrics is not None:
        app.metrics.finish(status, app.screen.warning)
