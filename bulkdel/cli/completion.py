"""What a shell is offered behind ``bulkdel``: kinds of provider, files and runs."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of provider that are installed."""
    from bulkdel.providers import registry

    return [CompletionItem(kind) for kind in registry.kinds() if kind.startswith(incomplete)]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whatever files the shell finds."""
    return [CompletionItem(incomplete, type="file")]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs of the state folder by name, newest first, each with what became of it; if none begins so, files."""
    return _runs(ctx, incomplete, only_unfinished=False)


def unfinished(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``runs``, but only those that can go on, behind ``--retry-rejected`` also those with something rejected."""
    return _runs(ctx, incomplete, only_unfinished=True)


def _runs(ctx: click.Context, incomplete: str, *, only_unfinished: bool) -> list[CompletionItem]:
    from bulkdel.errors import RunFileError
    from bulkdel.render.overview import overview, run_name
    from bulkdel.store.folder import run_files, state_folder

    try:
        there = run_files(state_folder())
    except RunFileError:
        there = []  # a shell that completes has no place for an error
    found = []
    for path in [path for path in there if path.name.startswith(incomplete)][:50]:
        one = overview(path)
        again = one.resumable or (one.counts.rejected and ctx.params.get("retry_rejected"))
        if only_unfinished and not again:
            continue
        state = one.state or "unreadable"
        found.append(CompletionItem(run_name(path), help=f"{state}, {one.counts.not_attempted} to go"))
    return found or [CompletionItem(incomplete, type="file")]
