"""The question before anything is deleted: what will go, what stays and why, and words that nobody types by accident."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TextIO

from bulkdel.cli.screen import Screen
from bulkdel.model import Policy
from bulkdel.render.plan import describe, to_delete
from bulkdel.report import Plan
from bulkdel.text import NAME, sanitize

NAMED = 3
"""Documents that the question names, of a single dataset: of several its lines would scroll away."""

Ask = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Question:
    """What to type, and what it is called."""

    answer: str
    called: str


def question(plan: Plan, policy: Policy, *, by_name: bool) -> Question:
    """One dataset with a name is confirmed by its name, everything else by the number of documents to delete."""
    if by_name and len(plan.datasets) == 1:
        name = sanitize(plan.datasets[0].name, NAME).strip()  # of blanks alone, an empty line would be a yes
        if name:
            return Question(name, "the dataset's name")
    return Question(str(sum(to_delete(dataset, policy) for dataset in plan.datasets)), "the number of documents")


def is_yes(asked: Question, typed: str) -> bool:
    """Whether what was typed is what was asked for; blanks around it are forgiven, nothing else is."""
    return typed.strip() == asked.answer


def confirmation(
    screen: Screen, ask: Ask, policy: Policy, *, by_name: bool, note: Callable[[str], None]
) -> Callable[[Plan], Awaitable[bool]]:
    """A ``confirm`` for the engine that shows the plan and asks; ``note`` is told why the answer was no."""

    async def confirm(plan: Plan) -> bool:
        if plan.selected == sum(dataset.invalid for dataset in plan.datasets):
            # Nothing is ever sent for these, so there is nothing to say yes to; archived ones may go yet, with --unarchive.
            return True
        asked = question(plan, policy, by_name=by_name)
        with screen.still():
            screen.say("About to delete; this cannot be undone:")
            screen.say_wrapped(*describe(plan, policy, named=NAMED if len(plan.datasets) == 1 else 0))
            screen.ask(f"Type {asked.called} to delete for good ({asked.answer}): ")
            typed = await ask()
        if is_yes(asked, typed):
            return True
        note(f"what was typed is not {asked.called}" if typed.strip() else "nothing was typed")
        return False

    return confirm


def typed_line(stdin: TextIO) -> Ask:
    """Reads one line from a terminal without holding up the event loop.

    A thread of its own reads the descriptor itself, so that no lock of ``sys.stdin`` is held while nobody types; it is a
    daemon, so that Ctrl-C at the question ends the process though nothing was typed.
    """

    async def ask() -> str:
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[str] = loop.create_future()

        def tell(words: str) -> None:
            if not typed.done():
                typed.set_result(words)

        def read() -> None:
            try:
                words = os.read(stdin.fileno(), 4096).decode("utf-8", "replace")
            except (OSError, ValueError):
                words = ""
            try:
                loop.call_soon_threadsafe(tell, words)
            except RuntimeError:
                return  # the loop is closed: nobody waits for the answer any more

        threading.Thread(target=read, name="bulkdel-question", daemon=True).start()
        return await typed

    return ask
