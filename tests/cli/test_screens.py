"""What the command looks like at a terminal, screen by screen, against captures that a person looked at."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bulkdel.cli.logs import LEVEL_COLORS
from bulkdel.simulator import DifySimulator, Faults
from tests.cli.service import Beside, no_echo, with_dify
from tests.cli.terminal import at_a_terminal, same

COLOUR = re.compile(rb"\x1b\[([\d;]*)m")


@pytest.fixture
def run() -> Iterator[Path]:
    """Where a run file goes: a path as long in every run, since lines are broken by length."""
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        yield Path(folder) / "a.run"


def display(words: str) -> Callable[[str], bool]:
    """Whether the whole display is there with these words in it: its last line is drawn last."""
    return lambda text: words in picture(text) and text.endswith(("Ctrl-C stops gently", "once more stops at once"))


def picture(text: str) -> str:
    """The display at the bottom of the screen; as long as it is drawn anew, the one before."""
    return text[text.rfind("\ndify ") + 1 :]


def test_a_purge_from_the_question_to_the_command_that_goes_on(run: Path) -> None:
    """$ bulkdel purge dify ID...: the question, seven datasets in a pause, the window made small and large, ^C, the end."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--concurrency", "1", "--rate", "none", "--run", str(run))
        async with at_a_terminal(beside, *argv) as terminal:
            await terminal.shows("to delete for good (140):")
            same(terminal.text, "question")
            # So many requests, which delete one dataset and the beginning of another, and then a pause.
            simulator.set_faults(rate_limit=25, rate_window=3600.0, rate_style="429-retry-after")
            terminal.type("140\r")
            await terminal.shows(display("waiting for the end of a pause"))
            same(picture(terminal.text), "paused")
            terminal.resize(50, 24)
            await terminal.shows(display("…"))
            assert len(picture(terminal.text).splitlines()) == 10
            terminal.resize(120, 100)
            await terminal.shows(display("Rate limit exceeded"))
            same(picture(terminal.text), "wide")
            terminal.interrupt()
            assert await terminal.end() == 130
            same(terminal.text[terminal.text.rindex("stopping: ") :], "interrupted")

        simulator.set_faults(Faults())
        async with at_a_terminal(beside, "resume", str(run), rows=200, XDG_STATE_HOME=str(run.parent)) as terminal:
            assert await terminal.end() == 1
            same(terminal.text, "resumed")

    with_dify(work, documents=22, datasets=7, faults=Faults(archived=2))


def test_a_second_interrupt(run: Path) -> None:
    """^C says what it waits for and what the next one does; ^C^C says of how many requests the end is unknown."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--concurrency", "3", "--run", str(run))
        async with at_a_terminal(beside, *argv, rows=50) as terminal:
            await terminal.shows("to delete for good (Support articles):")
            simulator.set_faults(latency=3600.0)
            terminal.type("Support articles\r")
            await terminal.shows(display("waiting for 3 answers"))
            terminal.interrupt()
            await terminal.shows(display("Ctrl-C once more stops at once"))
            same(terminal.text, "stopping")
            await no_echo()
            terminal.interrupt()
            assert await terminal.end() == 130
            same(terminal.text[terminal.text.rindex("stopping at once") :], "stopped-at-once")

    with_dify(work, documents=8)


def test_waiting_for_indexing(run: Path) -> None:
    """What only waits for the service to index says so, and gives no number for the time left."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--yes", "--run", str(run))
        async with at_a_terminal(beside, *argv) as terminal:
            await terminal.shows(display("waiting for 2 documents to be indexed"))
            assert "2 requeued, 2 to go, " in terminal.text
            assert ", time left unknown" in terminal.text
            same(terminal.text, "indexing")

    with_dify(work, documents=5, faults=Faults(indexing=2, indexing_for=3600.0))


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}])
def test_colours_are_readable_on_light_and_on_dark(more: dict[str, str], run: Path) -> None:
    """Of the terminal's own sixteen green, magenta, bright red and bold, dim for the bar alone; never a background, or a colour of ours."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--yes", "--run", str(run))
        async with at_a_terminal(beside, *argv, **more) as terminal:
            await terminal.shows(display("waiting for 1 document to be indexed"))
            used = {code for found in COLOUR.findall(terminal.bytes) for code in found.decode().split(";")}
            assert used <= ({"", "0", "1", "2", "32", "35", "39", "91"} if not more else set())
            dim = re.findall(rb"\x1b\[2(?:;\d+)*m([^\x1b]*)", terminal.bytes)
            assert set(b"".join(dim).decode()) <= set("━╺╸")
            assert bool(used) is not bool(more)
            assert b"\x1b[" in terminal.bytes  # the display moves the cursor, with colours or without

    with_dify(work, documents=5, faults=Faults(indexing=1, indexing_for=3600.0, archived=1))


PALETTES = {  # background, text, red, green, magenta and bright red as each terminal comes with
    "xterm": ("ffffff 000000", "000000 e5e5e5", "cd0000 00cd00 cd00cd ff0000"),
    "macOS Terminal, Basic and Pro": ("ffffff 000000", "000000 f2f2f2", "990000 00a600 b200b2 e50000"),
    "GNOME": ("ffffff 171421", "1e1e1e d0cfcc", "c01c28 26a269 a347ba f66151"),
    "Solarized": ("fdf6e3 657b83", "002b36 839496", "dc322f 859900 d33682 cb4b16"),
}


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2.2 counts it: 1 is none, 21 is black on white."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", PALETTES)
def test_each_coloured_word_stands_out_from_white_and_from_black(palette: str) -> None:
    """A contrast of 3, which WCAG asks of bold words, in the palettes that terminals come with; every such word is bold."""
    light, dark, colours = (words.split() for words in PALETTES[palette])
    by_code = dict(zip(("31", "32", "35", "91"), colours, strict=True))
    for code in LEVEL_COLORS.values():
        bold, colour = code.split(";")
        assert bold == "1"
        for background, text in (light, dark):
            assert contrast(by_code[colour], background) >= 2.99, (code, background)
            assert contrast(text, background) >= 2.99


def test_a_dumb_terminal_gets_lines(run: Path) -> None:
    """TERM=dumb: no byte that moves a cursor or sets a colour, and lines that end before the edge."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--yes", "--run", str(run))
        async with at_a_terminal(beside, *argv, rows=50, TERM="dumb") as terminal:
            assert await terminal.end() == 1
            assert b"\x1b" not in terminal.bytes
            same(terminal.text, "dumb")

    with_dify(work, documents=5, faults=Faults(archived=1))
