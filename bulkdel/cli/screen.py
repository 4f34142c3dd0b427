"""The command's stderr: lines that people read, above a progress display where there is one."""

from __future__ import annotations

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
    """Writes lines to stderr, each without any key, and never fails because nobody reads them any more.

    ``terminal`` is whether somebody looks, ``colour`` whether they want colours (``NO_COLOR`` and ``TERM=dumb`` say no),
    ``moving`` whether the cursor can be moved, which a live display needs.
    """

    def __init__(self, world: AppContext) -> None:
        self._world = world
        self._stream = world.stderr
        self.terminal = is_terminal(world.stderr)
        self.moving = self.terminal and world.environ.get("TERM", "") not in ("", "dumb")
        self.colour = wants_colour(world.stderr, world.environ)
        self._live: Live | None = None

    def say(self, line: str) -> None:
        """One line (it may hold colours), as it is; a live display stays below it."""
        line = self._world.hide(line)
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text.from_ansi(line), soft_wrap=True)
            return
        with suppress(OSError, ValueError):  # stderr closed: there is nobody left to tell
            self._stream.write(line + "\n")
            self._stream.flush()

    def ask(self, question: str) -> None:
        """Words with no line end behind them, for an answer to be typed there."""
        with suppress(OSError, ValueError):
            self._stream.write(self._world.hide(question))
            self._stream.flush()

    def tell(self, *lines: str) -> None:
        """Lines to be read, broken between words where a terminal shows them; what is to be copied is said."""
        hidden = map(self._world.hide, lines)
        for line in folded(hidden, width(self._stream, self._world.environ)) if self.terminal else hidden:
            self.say(line)

    def error(self, message: str, hint: str = "") -> None:
        self.tell(f"error: {message}")
        if hint:
            self.say(f"hint: {hint}")  # it may hold a command

    def warning(self, message: str, hint: str = "") -> None:
        self.tell(f"warning: {message}")
        if hint:
            self.say(f"hint: {hint}")

    @contextmanager
    def live(self) -> Iterator[None]:
        """A live display at the bottom of the terminal, wiped at the end; it shows what is drawn meanwhile."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def draw(self, what: RenderableType) -> None:
        """Show ``what`` in the live display, in the place of what it showed before; nothing while something is asked."""
        if self._live is not None:
            self._live.update(what, refresh=True)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Take the live display away while something is asked."""
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

        # Each time a new one: one that is started again believes that it stands where it stood, and wipes what was asked.
        self._live = Live(
            console=console(self._stream, colour=self.colour),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Colours only on a terminal that can show them and whose owner has not declined them (https://no-color.org)."""
    return is_terminal(stream) and not environ.get("NO_COLOR") and environ.get("TERM", "") not in ("", "dumb")


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

WIDTH = 80
"""Columns of a terminal that does not say how many it has."""


def width(stream: TextIO, environ: Mapping[str, str]) -> int:
    """The terminal's columns: ``COLUMNS``, or what it says itself; within 40 and 120, since longer lines are hard to read.

    None at all is what a terminal says that was never told its size: a serial console, a container's, one that a program made.
    """
    given = environ.get("COLUMNS", "")
    columns = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 0
    if not columns:
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
    return min(120, max(40, columns or WIDTH))


def folded(lines: Iterable[str], wide: int) -> list[str]:
    """``lines`` broken between words, what comes behind indented by two more; a path or an id is never broken."""
    return [part for line in lines for part in _parts(line, wide)]


def _parts(line: str, wide: int) -> Iterator[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    part = ""
    for word in re.split(r"(?<=\S) ", line):
        longer = f"{part} {word}" if part else word
        if part and _columns(longer) > wide:
            yield part
            longer = indent + word
        part = longer
    yield part


def _columns(words: str) -> int:
    """How wide it is on a terminal: colours take no room, some characters take two columns."""
    from rich.cells import cell_len

    return cell_len(_COLOURS.sub("", words))


def console(stream: TextIO, *, colour: bool, width: int | None = None) -> Console:
    """A rich console on ``stream`` that obeys nothing inside the words: no markup, no emoji, no highlighting."""
    from rich.console import Console

    return Console(
        file=stream,
        no_color=not colour,
        color_system="standard"
        if colour
        else None,  # a terminal's own sixteen, which its owner has chosen to be readable
        markup=False,
        emoji=False,
        highlight=False,
        width=width,
    )


def drawn(what: RenderableType, width: int = 80) -> str:
    """What ``what`` looks like without colours in ``width`` columns."""
    import io

    stream = io.StringIO()
    console(stream, colour=False, width=width).print(what)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
