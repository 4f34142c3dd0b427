"""What the command looks like at a terminal, screen by screen, against captures that a person looked at."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
            await terminal.shows("to delete for good (154):")
            same(terminal.text, "question")
            # So many requests, which delete one dataset and the beginning of another, and then a pause.
            simulator.set_faults(rate_limit=25, rate_window=3600.0, rate_style="429-retry-after")
            terminal.type("154\r")
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
        async with at_a_terminal(beside, "resume", str(run), rows=100, XDG_STATE_HOME=str(run.parent)) as terminal:
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
    """Green, yellow, red, bold and dim of the terminal's own, never black, white, a background or a colour of ours."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--yes", "--run", str(run))
        async with at_a_terminal(beside, *argv, **more) as terminal:
            await terminal.shows(display("waiting for 1 document to be indexed"))
            used = {code for found in COLOUR.findall(terminal.bytes) for code in found.decode().split(";")}
            assert used <= ({"", "0", "1", "2", "31", "32", "33", "39"} if not more else set())
            assert bool(used) is not bool(more)
            assert b"\x1b[" in terminal.bytes  # the display moves the cursor, with colours or without

    with_dify(work, documents=5, faults=Faults(indexing=1, indexing_for=3600.0, archived=1))


def test_a_dumb_terminal_gets_lines(run: Path) -> None:
    """TERM=dumb: no byte that moves a cursor or sets a colour, and lines that end before the edge."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        argv = ("purge", "dify", *simulator.dataset_ids, "--yes", "--run", str(run))
        async with at_a_terminal(beside, *argv, rows=50, TERM="dumb") as terminal:
            assert await terminal.end() == 1
            assert b"\x1b" not in terminal.bytes
            same(terminal.text, "dumb")

    with_dify(work, documents=5, faults=Faults(archived=1))
