"""The command at a terminal: a process on a pseudo-terminal, and an emulator that shows what its user sees."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

from tests.cli.service import COMMAND, Beside

SCREENS = Path(__file__).parent / "screens"
"""What screens looked like when a person looked at them and found them good."""

_VARY = (
    (r"\d\d:\d\d:\d\d", "HH:MM:SS"),
    (r"\d{4}-\d\d-\d\d(?: to \d{4}-\d\d-\d\d)?", "YYYY-MM-DD"),
    (r"/tmp/run-\w{8}", "/tmp/run-xxxxxxxx"),
    (r"\d+/(?:s|min)(?: of [\d.]+/(?:s|min))?", "N/s"),
    (r"about [^,\n]* left|almost done|time left unknown", "about N s left"),
    (r"gives up at (?:YYYY-MM-DD )?\d\d:\d\d", "gives up at HH:MM"),  # tomorrow, if it is late
    (r"(?:59 min \d+ s|1 h) more", "1 h more"),
    (r"^  .* so far", "  N s so far"),
    (r"in [\d.]+ s", "in N s"),
    (r"learned [\d.]+ s ago", "learned N s ago"),
    (r"pacing at [\d.]+/\w+", "pacing at N/min"),
    (r"where the time went:[^\n]*\n(?:  [^\n]*\n)*", ""),  # not there where it went in no time
)
"""What differs from run to run: moments, lengths of time, measured speeds, and the folder of a test."""


class Terminal:
    """What is on the screen, and the keyboard."""

    def __init__(self, descriptor: int, columns: int, rows: int) -> None:
        self._descriptor = descriptor
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._arrived = asyncio.Event()
        self.bytes = b""
        self.process: asyncio.subprocess.Process | None = None

    def read(self) -> None:
        """Take what the process wrote."""
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # the process has ended
            asyncio.get_running_loop().remove_reader(self._descriptor)
            data = b""
        self.bytes += data
        self._stream.feed(data)
        self._arrived.set()

    @property
    def text(self) -> str:
        """The screen, without blanks at the ends of its lines and empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    async def shows(self, words: str | Callable[[str], object]) -> None:
        """Wait until ``words`` are on the screen, or until they say that they are satisfied with it."""
        there = words if callable(words) else lambda text: words in text
        while not there(self.text):
            self._arrived.clear()
            await self._arrived.wait()

    def type(self, words: str) -> None:
        os.write(self._descriptor, words.encode())

    def interrupt(self) -> None:
        """Ctrl-C. It is no session with this terminal: the end of one throws away what is not read yet."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)

    def resize(self, columns: int, rows: int) -> None:
        """Drag the window's corner."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def end(self) -> int:
        """Wait until the process has ended and everything that it wrote is on the screen; returns its exit status."""
        assert self.process is not None
        status = await self.process.wait()
        os.set_blocking(self._descriptor, False)
        before = None
        while before != self.bytes:
            before = self.bytes
            self.read()
        return status


@asynccontextmanager
async def at_a_terminal(
    beside: Beside, *argv: str, columns: int = 80, rows: int = 24, **more: str
) -> AsyncIterator[Terminal]:
    """``bulkdel`` with ``argv`` at a terminal of this size; ``more`` is of its environment."""
    ours, theirs = pty.openpty()
    terminal = Terminal(ours, columns, rows)
    terminal.resize(columns, rows)
    environ = {name: value for name, value in beside.environ.items() if name not in ("LINES", "NO_COLOR")}
    terminal.process = await asyncio.create_subprocess_exec(
        *COMMAND, *argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environ | {"TERM": "xterm-256color"} | more,
    )  # fmt: skip
    os.close(theirs)
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        if terminal.process.returncode is None:
            terminal.process.kill()
            await terminal.process.wait()
        os.close(ours)


def normal(text: str) -> str:
    """``text`` with a word in the place of everything that varies."""
    for pattern, word in _VARY:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    # Datasets are listed again at the same time, and each is named as its listing ends: in any order.
    return re.sub("(?:^.* listed again .*\n)+", _sorted, text, flags=re.MULTILINE)


def _sorted(lines: re.Match[str]) -> str:
    return "".join(sorted(lines[0].splitlines(keepends=True)))


def same(text: str, name: str) -> None:
    """What is on the screen is what a person saw and kept."""
    kept = (SCREENS / f"{name}.txt").read_text("utf-8").rstrip("\n")
    assert normal(text) == normal(kept), f"the screen is:\n{normal(text)}"
