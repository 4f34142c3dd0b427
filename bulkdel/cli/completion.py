"""What a shell completes behind ``bulkdel``, and ``bulkdel completion``, which prints what the shell needs for it."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from bulkdel.cli.world import World

SHELLS = ("bash", "zsh", "fish")

MOST = 50
"""Runs that a shell is offered: each is opened to say what became of it, which takes about a millisecond."""

EPILOG = """\b
Example: for this shell, and for all to come
  eval "$(bulkdel completion bash)"
  bulkdel completion bash > ~/.local/share/bash-completion/completions/bulkdel
\b
  bulkdel completion zsh > ~/.zfunc/_bulkdel     # ~/.zfunc in fpath, before compinit
  bulkdel completion fish > ~/.config/fish/completions/bulkdel.fish
\b
Exit status: 0 printed, 2 wrong command.
"""


@click.command(epilog=EPILOG, short_help="Print the script that lets a shell complete commands, options and runs.")
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.pass_obj
def completion(world: World, /, shell: str) -> int:
    """Print the script that lets bash, zsh or fish complete commands, options, providers, files and runs."""
    from bulkdel.cli import output

    made = get_completion_class(shell)
    group = click.get_current_context().find_root().command
    assert made is not None
    script = made(group, {}, "bulkdel", "_BULKDEL_COMPLETE")
    # Not source(), which for bash runs a bash to ask for its version: the script may be for another machine.
    output.write(world, (script.source_template % script.source_vars()).strip())
    return 0


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of provider that are installed."""
    from bulkdel.providers import registry

    return [CompletionItem(kind) for kind in registry.kinds() if kind.startswith(incomplete)]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whatever files the shell finds."""
    return [CompletionItem(incomplete, type="file")]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs of the state folder by name, newest first, each with what became of it; where none begins so, files."""
    return _runs(ctx, incomplete, only_unfinished=False)


def unfinished(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``runs``, but only those that can go on, behind ``--retry-rejected`` also those with something rejected."""
    return _runs(ctx, incomplete, only_unfinished=True)


def _runs(ctx: click.Context, incomplete: str, *, only_unfinished: bool) -> list[CompletionItem]:
    from bulkdel.errors import RunFileError
    from bulkdel.render.overview import STATES, look, name_of
    from bulkdel.store.folder import run_files, state_folder

    world = ctx.find_object(World)
    environ: Any = os.environ if world is None else world.environ
    try:
        there = run_files(state_folder(environ))
    except RunFileError:
        there = []  # a shell that completes has no place for an error
    found = []
    for path in [path for path in there if path.name.startswith(incomplete)][:MOST]:
        one = look(path)
        again = one.goes_on or (one.counts.rejected and ctx.params.get("retry_rejected"))
        if only_unfinished and not again:
            continue
        state = STATES[one.state] if one.state is not None else "unreadable"
        found.append(CompletionItem(name_of(path), help=f"{state}, {one.counts.not_attempted} to go"))
    return found or [CompletionItem(incomplete, type="file")]
