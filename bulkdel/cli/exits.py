"""How an invocation ends: each way it can end, as one sentence on stderr and an exit status."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.screen import Screen
from bulkdel.errors import BrokenPromise, ConfigurationError, Refused, RunFileError


def guard(call: Callable[[], int | None], app: AppContext) -> int:
    """Run ``call`` and turn whatever it raises into a sentence on stderr and an exit status; raises nothing."""
    screen = Screen(app)
    try:
        status = call() or 0
    except BaseException as error:
        status = _explained(error, screen, app)
        _write_metrics(status, screen, app)
        for line in app.last_lines:
            screen.say(line)
    return status


def _explained(error: BaseException, screen: Screen, app: AppContext) -> int:
    """Say what ``error`` means to the user; returns the exit status."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            screen.say(error.format_message())
            return 2
        case click.UsageError():
            hint = f"{error.ctx.command_path} --help shows what is allowed" if error.ctx is not None else ""
            screen.error(sentence(error.format_message()), hint)
            return 2
        case click.ClickException():
            screen.error(sentence(error.format_message()))
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


def sentence(message: str) -> str:
    """click's message in our style: lower-case start, no full stop."""
    message = " ".join(message.split()).removesuffix(".")
    if not message[:1].isupper() or message[1:2].isupper():
        return message
    return message[0].lower() + message[1:]


def _write_metrics(status: int, screen: Screen, app: AppContext) -> None:
    """Write the exit status into the file of ``--metrics-file``, so that a scheduler does not take the success of the time before
    for that of a command that never began."""
    if app.metrics is None and app.argv[:1] and app.argv[0] in ("purge", "delete", "job", "resume"):
        # Read from the command line itself: what is wrong may stand before that option.
        words = app.argv[: app.argv.index("--")] if "--" in app.argv else app.argv
        for word, following in zip(words, (*words[1:], ""), strict=True):
            option, equals, value = word.partition("=")
            file = value if equals else following
            if option == "--metrics-file" and file and not file.startswith("-"):
                from bulkdel.cli.metrics import Metrics

                app.metrics = Metrics(Path(file))
    if app.metrics is not None:
        app.metrics.broke_off(status, screen.warning)
