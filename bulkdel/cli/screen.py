"""The command's stderr: lines that people read, above a progress display if there is one."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from bulkdel.cli.context import AppContext, is_terminal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


class Screen:
    """Writes lines to stderr, each without any key, and never fails because its reader went away.

    ``terminal``: stderr is a terminal. ``color``: it can show colors, and its owner has not declined them (``NO_COLOR``).
    ``moving``: its cursor can be moved, which a live display needs.
    """

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._stream = app.stderr
        self.terminal = is_terminal(app.stderr)
        self.moving = self.terminal and app.environ.get("TERM", "") not in ("", "dumb")
        self.color = self.moving and not app.environ.get("NO_COLOR")  # https://no-color.org
        self._live: Live | None = None

    @property
    def columns(self) -> int:
        """How many columns the terminal has now."""
        return width(self._stream, self._app.environ)

    def say_wrapped(self, *lines: str) -> None:
        """Lines to be read; a terminal shows them wrapped between words."""
        hidden = map(self._app.hide, lines)
        for line in wrapped(hidden, self.columns) if self.terminal else hidden:
            self.say(line)

    def say(self, line: str) -> None:
        """One line as it is, never wrapped, so that a command or a path in it can be copied; a live display stays below it."""
        line = self._app.hide(line)
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text.from_ansi(line), soft_wrap=True)
        else:
            self._write(line + "\n")

    def ask(self, question: str) -> None:
        """A question without an end of line, for the answer to be typed behind it."""
        self._write(self._app.hide(question))

    def warning(self, message: str, hint: str = "") -> None:
        self.error(message, hint, level="warning")

    def error(self, message: str, hint: str = "", *, level: str = "error") -> None:
        self.say_wrapped(f"{level}: {message}")
        if hint:
            self.say(f"hint: {hint}")  # it may hold a command

    def _write(self, words: str) -> None:
        with suppress(OSError, ValueError):  # stderr is closed: nothing can be said any more
            self._stream.write(words)
            self._stream.flush()

    # ------------------------------------------------------------------ the live display

    @contextmanager
    def live(self) -> Iterator[None]:
        """A live display at the bottom of the terminal, wiped at the end; it shows what is drawn meanwhile."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def draw(self, what: RenderableType) -> None:
        """Show ``what`` in the live display, in the place of what it showed before; nothing while a question is asked."""
        if self._live is not None:
            self._live.update(what, refresh=True)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Take the live display away while a question is asked."""
        if self._live is None:
            yield
            return
        self._end()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        from rich.live import Live

        # A new one each time: one that is started again believes that it stands where it stood, and wipes the question.
        self._live = Live(
            console=console(self._stream, color=self.color),
            auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._live.start()

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def width(stream: TextIO, environ: Mapping[str, str]) -> int:
    """The terminal's columns: ``COLUMNS``, or its own word, or 80; within 40 and 120, because longer lines are hard to read.

    A terminal that was never given a size says 0: a serial console, a container's, one that a program made.
    """
    given = environ.get("COLUMNS", "")
    columns = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 0
    if not columns:
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(stream.fileno()).columns
    return min(120, max(40, columns or 80))


def wrapped(lines: Iterable[str], columns: int) -> list[str]:
    """``lines`` broken between words, what follows indented by two more; a path or an id is never broken."""
    return [part for line in lines for part in _parts(line, columns)]


def _parts(line: str, columns: int) -> Iterator[str]:
    from rich.cells import cell_len

    indent = " " * (len(line) - len(line.lstrip()) + 2)
    part = ""
    for word in re.split(r"(?<=\S) ", line):
        longer = f"{part} {word}" if part else word
        # Colors take no column, some characters take two.
        if part and cell_len(re.sub(r"\x1b\[[0-9;]*m", "", longer)) > columns:
            yield part
            longer = indent + word
        part = longer
    yield part


def console(stream: TextIO, *, color: bool, width: int | None = None) -> Console:
    """A rich console on ``stream`` that obeys nothing inside the words: no markup, no emoji, no highlighting."""
    from rich.console import Console

    # Colors are the terminal's own sixteen, which its owner has chosen to be readable.
    return Console(
        file=stream, no_color=not color, color_system="standard" if color else None, markup=False, emoji=False,
        highlight=False, width=width,
    )  # fmt: skip


def drawn(what: RenderableType, columns: int = 80) -> list[str]:
    """The lines that ``what`` takes in so many columns, without colors."""
    stream = io.StringIO()
    console(stream, color=False, width=columns).print(what)
    return [line.rstrip() for line in stream.getvalue().splitlines()]
