"""The question before anything is deleted: what will go, what stays and why, and an answer that is not typed by accident."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

import anyio

from bulkdel.cli.context import Screen, is_terminal
from bulkdel.model import Policy
from bulkdel.plan import Plan
from bulkdel.render.plan import counted_as, describe, to_delete
from bulkdel.text import NAME, sanitize

NO_TERMINAL = "not confirmed, and there is no terminal to ask at"

YES_HINT = "-y (--yes) deletes without asking"


def question(plan: Plan, policy: Policy) -> tuple[str, str]:
    """What to type, and what it is called: one dataset that has a name is confirmed by it, everything else, and documents that
    were named one by one, by the number of documents to delete."""
    if len(plan.datasets) == 1 and not plan.datasets[0].explicit:
        name = sanitize(plan.datasets[0].name, NAME).strip()  # of blanks alone, an empty line would be a yes
        if name:
            return name, "the dataset's name"
    return str(to_delete(plan.datasets, policy)), f"the number of {counted_as(plan.datasets)}s"


@dataclass(slots=True)
class Confirmation:
    """Shows a plan and asks the person at the terminal; the client awaits it before the first delete.

    ``question`` is there while the answer is waited for; ``refusal`` is why it was no, empty before. ``stopped``: a signal came.
    """

    screen: Screen
    stdin: TextIO
    policy: Policy
    stopped: bool = False
    question: anyio.CancelScope | None = None
    refusal: str = ""

    @property
    def possible(self) -> bool:
        """Whether a person can be asked, who types (stdin) and sees the question (stderr)."""
        return is_terminal(self.stdin) and self.screen.terminal

    async def __call__(self, plan: Plan) -> bool:
        # Invalid ids are never sent, so there is nothing to say yes to; archived ones may go yet, with --unarchive.
        if plan.selected == sum(dataset.invalid for dataset in plan.datasets):
            return True
        if not self.possible:
            self.refusal = NO_TERMINAL
            return False
        answer, called = question(plan, self.policy)
        with self.screen.display(live=False):
            self.screen.say("About to delete; this cannot be undone:")
            # A few documents are named if there is one dataset; with several, their lines would scroll away.
            self.screen.say_wrapped(*describe(plan, self.policy, named=3 if len(plan.datasets) == 1 else 0))
            if self.policy.indexing == "delete":
                self.screen.say_wrapped(
                    "  --indexing delete: documents that are still being indexed are deleted, too, which can leave parts of them behind"
                )
            self.screen.ask(f"Type {called} to delete for good ({answer}): ")
            typed = (await self._typed()).strip()
        if typed != answer:
            self.refusal = f"not confirmed: {f'what was typed is not {called}' if typed else 'nothing was typed'}"
        return typed == answer

    async def _typed(self) -> str:
        """The line that is typed, or nothing if a signal comes first."""
        typed = ""
        if self.stopped:
            return typed
        with anyio.CancelScope() as self.question:
            await anyio.wait_readable(self.stdin.fileno())
            with suppress(OSError):  # the terminal went away
                typed = os.read(self.stdin.fileno(), 4096).decode("utf-8", "replace")
        self.question = None
        return typed

    def stop(self) -> None:
        """Take a signal for a no."""
        self.stopped = True
        if self.question is not None:
            self.screen.say("")  # the cursor stands behind the question
            self.question.cancel()
