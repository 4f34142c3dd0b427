"""What progress says in one line: how far, how fast, how long still, and why it waits."""

from __future__ import annotations

import asyncio
import io
import os
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.cli.context import AppContext, console, drawn, width, wrapped
from bulkdel.cli.logs import configure_logging
from bulkdel.cli.options import Options
from bulkdel.cli.progress import active_datasets, how_far, line, live_display, show_progress
from bulkdel.engine.progress import DatasetProgress
from bulkdel.model import Rate
from tests import virtual
from tests.cli.outside import PROGRESS, Terminal


@pytest.mark.parametrize(
    ("changes", "elapsed", "words"),
    [
        ({}, 12.0, "[12 s] dify: 120 of 1230 deleted (9 %), 1 rejected, 3 requeued, 1109 to go, 80/s, about 14 s left"),
        (
            {"rate": Rate(45, per=60), "per_second": 0.74, "eta_s": 1480.0, "wait": "rate", "requeued": 0, "rejected": 0},
            600.0,
            "[10 min] dify: 120 of 1230 deleted (9 %), 1109 to go, 44/min of 45/min, about 24 min 40 s left, "
            "waiting for the rate limit of 45/min",
        ),
        (
            {"rate": Rate(1), "per_second": 1.0, "eta_s": 60.0, "wait": "rate", "rate_is_anothers": True, "requeued": 0},
            60.0,
            "[1 min] dify: 120 of 1230 deleted (9 %), 1 rejected, 1109 to go, 60/min of 60/min, about 1 min left, "
            "waiting for the rate limit of 1/s, which another process with this key wants",
        ),
        (
            {"rate": Rate(100), "per_second": 0.0, "eta_s": None, "wait": "pause", "why": "Too many\x1b[2J requests", "wait_s": 42.0},
            61.0,
            "[1 min 01 s] dify: 120 of 1230 deleted (9 %), 1 rejected, 3 requeued, 1109 to go, 0/s of 100/s, time left unknown, "
            "waiting for the end of a pause (42 s more): Too many requests",
        ),
        (
            {"rate": Rate(100), "per_second": 0.0, "eta_s": None, "wait": "pause", "why": "Too many requests", "wait_s": 0.04},
            61.0,
            "[1 min 01 s] dify: 120 of 1230 deleted (9 %), 1 rejected, 3 requeued, 1109 to go, 0/s of 100/s, time left unknown, "
            "waiting for the end of a pause: Too many requests",
        ),
        (
            {"phase": "preflight", "total": 0, "complete": False, "deleted": 0, "rejected": 0, "requeued": 0, "left": 0, "per_second": 0.0,
             "eta_s": 0.0, "wait": "service", "in_flight": 1},
            0.3,
            "[0.3 s] dify: checking key, address and datasets, 0/s, time left unknown, waiting for 1 answer",
        ),
        (
            {"phase": "listing", "total": 300, "complete": False, "deleted": 0, "rejected": 0, "requeued": 0, "left": 0, "per_second": 0.0,
             "eta_s": None},
            2.0,
            "[2 s] dify: listing, 300 documents so far, 0/s, time left unknown",
        ),
        (
            {"complete": False, "wait": "indexing", "indexing": 2, "eta_s": None},
            2.0,
            "[2 s] dify: 120 deleted of at least 1230, 1 rejected, 3 requeued, 1109 to go, 80/s, time left unknown, "
            "waiting for 2 documents to be indexed",
        ),
        (
            {"wait": "locked", "indexing": 2, "locked": 2, "wait_s": 590.0, "eta_s": None},
            12.0,
            "[12 s] dify: 120 of 1230 deleted (9 %), 1 rejected, 3 requeued, 1109 to go, 80/s, time left unknown, "
            "waiting for the service's lock on 2 documents (9 min 50 s at most)",
        ),
        (
            {"wait": "indexing", "indexing": 3, "locked": 2, "requeued": 0, "rejected": 0, "eta_s": None}, 1.0,
            "[1 s] dify: 120 of 1230 deleted (9 %), 1109 to go, 80/s, time left unknown, "
            "waiting for 1 document to be indexed and the service's lock on 2 documents",
        ),
        (
            {"phase": "verifying", "deleted": 1229, "left": 0, "requeued": 0, "per_second": 0.5, "eta_s": 0.0},
            20.0,
            "[20 s] dify: listing again to verify, 1229 of 1230 deleted, 1 rejected, 30/min, time left unknown",
        ),
        ({"deleted": 1229, "left": 0, "requeued": 0, "in_flight": 0, "rate": Rate(80), "per_second": 0.0, "eta_s": 0.0, "wait": "rate"},
         20.0, "[20 s] dify: 1229 of 1230 deleted (99 %), 1 rejected, done"),
        ({"phase": "done", "deleted": 1229, "left": 0, "requeued": 0, "per_second": 0.0}, 20.0,
         "[20 s] dify: 1229 of 1230 deleted (99 %), 1 rejected, done"),
        ({"phase": "verifying", "deleted": 1229, "left": 0, "requeued": 0, "wait": "backoff", "why": "the listing still shows 3 deleted documents"},
         20.0, "[20 s] dify: listing again to verify, 1229 of 1230 deleted, 1 rejected, 80/s, time left unknown, "
         "waiting for the next look: the listing still shows 3 deleted documents"),
        ({"wait": "backoff", "eta_s": 0.1}, 1.0,
         "[1 s] dify: 120 of 1230 deleted (9 %), 1 rejected, 3 requeued, 1109 to go, 80/s, almost done, "
         "waiting for the next try after a failure"),
    ],
)  # fmt: skip
def test_a_line_says_rate_time_left_and_why_it_waits(changes: dict[str, Any], elapsed: float, words: str) -> None:
    """Every state of a run has its words, the service's own made safe."""
    assert line(replace(PROGRESS, **changes), elapsed) == words


@given(
    st.builds(
        replace,
        st.just(PROGRESS),
        phase=st.sampled_from(["preflight", "listing", "deleting", "verifying", "done"]),
        total=st.integers(0, 10**6),
        complete=st.booleans(),
        deleted=st.integers(0, 10**6),
        left=st.integers(0, 10**6),
        in_flight=st.integers(0, 100),
        indexing=st.integers(0, 100),
        per_second=st.floats(0, 1e5),
        rate=st.none() | st.builds(Rate, st.floats(0.01, 1e5), per=st.sampled_from([1.0, 60.0, 3600.0])),
        wait=st.sampled_from(["", "rate", "pause", "indexing", "service", "backoff", "consumer", "confirm"]),
        why=st.text(max_size=300),
        wait_s=st.none() | st.floats(0, 1e6),
        eta_s=st.none() | st.floats(0, 1e9),
        gives_up_s=st.none() | st.floats(0, 1e6),
    ),
    st.floats(0, 1e9),
)
def test_whatever_a_run_does_it_is_one_line_that_can_be_shown(progress: Any, elapsed: float) -> None:
    """One line, nothing that a terminal obeys, and always the time left or that it is not known."""
    words = line(progress, elapsed)
    assert "\n" not in words
    assert words.isascii() or "\x1b" not in words
    assert "left" in words or "done" in words
    assert how_far(progress) in words


def test_the_live_picture_fits_eighty_columns() -> None:
    """The display of two providers fits the terminal, and the service's words cannot break out of their line."""
    looks = (
        replace(PROGRESS, rate=Rate(45, per=60), wait="pause", why="[red]no[/red] " * 40),
        replace(PROGRESS, provider="langdock"),
    )
    rows = drawn(live_display(looks, 12.0))
    assert len(rows) == 8
    assert all(len(row) <= 80 for row in rows)
    assert rows[0].startswith("all ")
    assert "240 of 2460 deleted" in rows[0]
    assert "120 of 1230 deleted" in rows[1]
    assert "about 14 s left" in rows[2]
    assert "[red]no[/red]" in rows[3]


@pytest.mark.parametrize("columns", [40, 60, 120, 200])
def test_the_live_display_fits_a_terminal_of_any_width(columns: int) -> None:
    """No row is wider than the terminal, and how many of how many is seen on the narrowest."""
    rows = drawn(live_display((replace(PROGRESS, provider="dify"),), 12.0, columns=columns), columns)
    assert all(len(row) <= columns for row in rows)
    assert "120 of 1230" in rows[0]
    assert "stops gently" in rows[-1]


def test_what_waits_for_indexing_says_when_it_gives_up() -> None:
    """The time left is not known while documents wait, but when the waiting ends at the latest is: as a clock on the wall shows it."""
    waiting = replace(PROGRESS, indexing=150, eta_s=None, gives_up_s=60.0)
    found = re.search(r", time left unknown, gives up at (?:[\d-]+ )?(\d\d):(\d\d)$", line(waiting, 12.0))
    assert found is not None
    hours, minutes = map(int, found.groups())
    now = time.localtime()
    assert (60 * hours + minutes - 60 * now.tm_hour - now.tm_min) % 1440 in (0, 1)
    locked = replace(waiting, locked=150, wait="locked", wait_s=60.0)
    words = r", time left unknown, (?:[\d-]+ )?\d\d:\d\d at the latest, waiting for the service's lock on 150 documents"
    assert re.search(rf"{words} \(1 min at most\)$", line(locked, 12.0))
    assert re.search(r"gives up at \d{4}-\d\d-\d\d \d\d:\d\d$", line(replace(waiting, gives_up_s=172_800.0), 12.0))


def test_what_stops_has_no_time_left() -> None:
    """Between the first Ctrl-C and the end the display says what the next one does."""
    rows = drawn(live_display((PROGRESS,), 12.0, stopping=True))
    assert rows[1].endswith(", stopping")
    assert rows[-1] == "  12 s so far; Ctrl-C once more stops at once"


def test_a_run_with_many_providers_fits_the_screen() -> None:
    """Seven providers of six datasets each: 24 lines at most."""
    datasets = tuple(DatasetProgress(f"id{n}", "", 9, 0, 0, 9) for n in range(6))
    for n in range(1, 8):
        looks = tuple(replace(PROGRESS, provider=f"p{i}", datasets=datasets) for i in range(n))
        assert len(drawn(live_display(looks, 1.0))) <= 24


def test_datasets_under_way_are_shown() -> None:
    """Of several datasets those with something left, six at most, those that have begun first; names are made safe."""
    datasets = [
        DatasetProgress(f"id{n}", "Man\x1b[2Juals" if n == 8 else "", 100, 5 * (n == 8), 0, 100 - 5 * (n == 8))
        for n in range(9)
    ]
    gone = DatasetProgress("gone", "", 7, 7, 0, 0)
    rows = active_datasets(replace(PROGRESS, datasets=(gone, *datasets)))
    assert rows[0] == "Manuals: 5 of 100 deleted, 95 to go"
    assert rows[1:6] == [f"id{n}: 0 of 100 deleted, 100 to go" for n in range(5)]
    assert rows[6] == "and 3 more datasets"
    assert active_datasets(replace(PROGRESS, datasets=(gone,))) == []
    assert active_datasets(replace(PROGRESS, phase="verifying", datasets=(gone, *datasets))) == []


@pytest.mark.parametrize(
    ("terminal", "term", "quiet", "log_json", "how"),
    [
        (True, "xterm", False, False, "live"), (True, "dumb", False, False, "lines"), (True, "", False, False, "lines"),
        (False, "xterm", False, False, "lines"), (True, "xterm", True, False, "none"), (False, "", True, True, "none"),
        (True, "xterm", False, True, "log"), (False, "", False, True, "log"),
    ],
)  # fmt: skip
def test_how_progress_is_shown(terminal: bool, term: str, quiet: bool, log_json: bool, how: str) -> None:
    """Live on a terminal that can move its cursor, lines elsewhere, events where the log is JSON, nothing under -q."""
    stderr = Terminal() if terminal else io.StringIO()
    screen, options = AppContext(environ={"TERM": term}, stderr=stderr).screen, Options(quiet=quiet, log_json=log_json)

    async def main() -> None:
        with configure_logging(screen, options) as log:
            async with show_progress(screen, log, options, lambda: [PROGRESS], lambda: False):
                await asyncio.sleep(11)

    virtual.run(main())
    words = stderr.getvalue()
    marks = {"live": "Ctrl-C stops gently", "lines": r"(?m)^\[10 s\] dify: 120 of", "log": '"event": "progress"'}
    assert [each for each, mark in marks.items() if re.search(mark, words)] == [each for each in marks if each == how]
    assert words or how == "none"


@pytest.mark.parametrize(
    ("terminal", "environ", "colour"),
    [
        (True, {"TERM": "xterm"}, True), (True, {"TERM": "xterm", "NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True), (False, {"TERM": "xterm"}, False),
    ],
)  # fmt: skip
def test_colours_are_for_terminals_whose_owner_wants_them(
    terminal: bool, environ: dict[str, str], colour: bool
) -> None:
    """NO_COLOR and TERM=dumb are obeyed."""
    assert AppContext(environ=environ, stderr=Terminal() if terminal else io.StringIO()).screen.color == colour


def test_a_terminals_lines_are_broken_between_words() -> None:
    """Ids, paths and commands stay whole, to be copied; the width is the terminal's own, within reason."""
    path = "/home/somebody/.local/state/bulkdel/20261121-210402-dify-351df1-with-a-long-name-that-goes-on-and-on.run"
    assert wrapped(["  five words in a line", "", path], 14) == ["  five words", "    in a line", "", path]
    for columns, wide in (("72", 72), ("7", 40), ("1000", 120), ("many", 80), ("", 80)):
        assert width(io.StringIO(), {"COLUMNS": columns}) == wide


def test_a_terminal_that_tells_no_size_has_the_usual_one() -> None:
    """A serial console or a container's terminal says 0 columns, and COLUMNS=0 says as much: 80, not the narrowest."""
    ours, theirs = os.openpty()  # it has not been given a size
    try:
        with os.fdopen(theirs, "w") as stream:
            assert os.get_terminal_size(stream.fileno()).columns == 0
            assert [width(stream, environ) for environ in ({}, {"COLUMNS": "0"}, {"COLUMNS": "60"})] == [80, 80, 60]
            assert console(stream, color=False).width == 80
    finally:
        os.close(ours)
