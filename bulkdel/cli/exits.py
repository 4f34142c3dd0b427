"""How an invocation ends: each way it can end, as one sentence on stderr and an exit status."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import click

from bulkdel.cli.context import AppContext
from bulkdel.cli.screen import Screen
from bulkdel.errors import BrokenPromise, ConfigurationError, Refused, RunFileError

WRONG = 2
REFUSED = 3
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell shows for a program whose reader went away


def guard(call: Callable[[], int | None], world: AppContext) -> int:
    """Run ``call`` and turn whatever it raises into a sentence on stderr and an exit status; raises nothing."""
    screen = Screen(world)
    status = _ended(call, world, screen)
    if status == WRONG and world.metrics is None:
        _find_metrics(world)
    if world.metrics is not None and status:
        world.metrics.broke_off(status, screen.warning)
    for words in world.last_words:
        screen.say(words)
    return status


def _find_metrics(world: AppContext) -> None:
    """The file of ``--metrics-file`` on a command line that click gave up on before it came to that option, as at an unknown one;
    of commands that have the option, so that nothing is written for the others."""
    if not world.argv or world.argv[0] not in ("purge", "delete", "job", "resume"):
        return
    words = world.argv[: world.argv.index("--")] if "--" in world.argv else world.argv
    for word, following in zip(words, (*words[1:], ""), strict=True):
        option, equals, value = word.partition("=")
        file = value if equals else following
        if option == "--metrics-file" and file and not file.startswith("-"):
            from bulkdel.cli.metrics import Metrics

            world.metrics = Metrics(Path(file))
            return


def _ended(call: Callable[[], int | None], world: AppContext, screen: Screen) -> int:
    try:
        return call() or 0
    except click.exceptions.NoArgsIsHelpError as error:
        screen.say(error.format_message())
        return WRONG
    except click.UsageError as error:
        screen.error(sentence(error.format_message()), _usage_hint(error))
        return WRONG
    except click.ClickException as error:
        screen.error(sentence(error.format_message()))
        return WRONG
    except (click.Abort, KeyboardInterrupt):
        screen.error("interrupted")
        return INTERRUPTED
    except (ConfigurationError, RunFileError) as error:
        screen.error(str(error), error.hint)
        return WRONG
    except Refused as error:
        screen.error(f"refused: {error}", error.hint)
        return REFUSED
    except BrokenPromise as error:
        _traceback(screen, world, error)
        screen.error(f"bulkdel broke a promise, which is a bug: {error}", _BUG_HINT)
        return BUG
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        _traceback(screen, world, error)
        screen.error(f"bulkdel ran into a bug: {_named(error)}", _BUG_HINT)
        return BUG


_BUG_HINT = "please report it with what the same command says under -v; running the command again does no harm"


def sentence(message: str) -> str:
    """click's message in our style: lower-case start, no full stop, its quotes around option names left out."""
    message = " ".join(message.split()).removesuffix(".")
    if not message[:1].isupper() or message[1:2].isupper():
        return message
    return message[0].lower() + message[1:]


def _usage_hint(error: click.UsageError) -> str:
    return f"{error.ctx.command_path} --help shows what is allowed" if error.ctx is not None else ""


def _named(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _traceback(screen: Screen, world: AppContext, error: Exception) -> None:
    """The plain traceback under ``-v``: places and lines only, never the values of variables, which may be keys."""
    if world.verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            screen.say(line)
