"""What the command touches outside itself, as one value: its streams, its environment and its client; and what it says on stderr."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from bulkdel.cli.metrics import Metrics
    from bulkdel.client import Client
    from bulkdel.providers.protocol import Provider


def _client(*providers: Provider, **options: Any) -> Client:
    from bulkdel.client import Client  # imports aiohttp, which --help and a refusal can do without

    return Client(*providers, **options)


@dataclass(slots=True)
class AppContext:
    """The outside of one invocation; tests give another.

    ``argv`` is what the user typed behind ``bulkdel``. ``quiet`` and ``verbose`` are set once the options are read. ``secrets`` holds the keys
    that were read: nothing shown may hold one. ``metrics`` is the file that ``--metrics-file`` asks for, which gets the exit
    status of an invocation that raised, too. ``screen`` is stderr, for people.
    """

    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdin_bytes: Callable[[], BinaryIO] = lambda: sys.stdin.buffer
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    client: Callable[..., Any] = _client
    quiet: bool = False
    verbose: bool = False
    secrets: list[str] = field(default_factory=list, repr=False)
    metrics: Metrics | None = None
    screen: Screen = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.screen = Screen(self)

    def warn(self, message: str, hint: str = "") -> None:
        """A warning on stderr, unless quiet was asked for; nothing if there is no message."""
        if message and not self.quiet:
            self.screen.warning(message, hint)

    def hide_from_now_on(self, secret: str) -> None:
        """Have ``secret`` hidden in everything that is shown."""
        # A shorter "key" is a word, and hiding it would tear holes into every message.
        if len(secret) >= 8 and secret not in self.secrets:
            self.secrets.append(secret)

    def hide(self, words: str) -> str:
        """``words`` without any key that was read, should a service or a library have repeated one."""
        for secret in self.secrets:
            words = words.replace(secret, "(key)")
        return words


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal; a closed or missing one is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


# ------------------------------------------------------------------ stderr


class Screen:
    """Writes lines to stderr, each without any key, and never fails because its reader went away.

    ``terminal``: stderr is a terminal. ``color``: it can show colors, and its owner has not declined them (``NO_COLOR``).
    ``moving``: its cursor can be moved, which a live display needs. ``last_lines`` end it if the run raised: how to go on.
    """

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._stream = app.stderr
        self.terminal = is_terminal(app.stderr)
        self.moving = self.terminal and app.environ.get("TERM", "") not in ("", "dumb")
        self.color = self.moving and not app.environ.get("NO_COLOR")  # https://no-color.org
        self.last_lines: list[str] = []
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
    def display(self, *, live: bool) -> Iterator[None]:
        """While the context lasts a live display at the bottom of the terminal, or none, as for a question; then as before."""
        before = self._live is not None
        self._switch(live=live)
        try:
            yield
        finally:
            self._switch(live=before)

    def draw(self, what: RenderableType) -> None:
        """Show ``what`` in the live display, in the place of what it showed before; nothing if there is none now."""
        if self._live is not None:
            self._live.update(what, refresh=True)

    def _switch(self, *, live: bool) -> None:
        if self._live is not None and not live:
            shown, self._live = self._live, None
            shown.stop()
        elif self._live is None and live:
            from rich.live import Live

            # A new one each time: one that is started again believes that it stands where it stood, and wipes the question.
            self._live = Live(
                console=console(self._stream, color=self.color),
                auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._live.start()


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
