"""``bulkdel completion``: the script that lets a shell complete commands, options, providers, files and runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bulkdel.cli.context import AppContext

EPILOG = """\b
Example: for this shell, and for all to come
  eval "$(bulkdel completion bash)"
  bulkdel completion bash > ~/.local/share/bash-completion/completions/bulkdel
\b
  bulkdel completion zsh > ~/.zfunc/_bulkdel     # ~/.zfunc in fpath, before compinit
  bulkdel completion fish > ~/.config/fish/completions/bulkdel.fish
\b
Exit status: 0 printed, 1 could not be written, 2 wrong command.
"""


@click.command(epilog=EPILOG, short_help="Print the script that lets a shell complete commands, options and runs.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="bash|zsh|fish")
@click.pass_obj
def completion(app: AppContext, /, shell: str) -> int:
    """Print the script that lets bash, zsh or fish complete commands, options, providers, files and runs."""
    from bulkdel.cli import output

    made = get_completion_class(shell)
    group = click.get_current_context().find_root().command
    assert made is not None
    script = made(group, {}, "bulkdel", "_BULKDEL_COMPLETE")
    # Not source(), which for bash runs a bash to ask for its version: the script may be for another machine.
    return int(not output.write_lines(app, (script.source_template % script.source_vars()).strip()))
