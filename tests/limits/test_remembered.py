"""What a run found of a key's rate, and what the next one makes of it."""

from __future__ import annotations

import logging
import math
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.limits.pace import FOLDER, RateMemory, Remembered, from_text, to_text
from bulkdel.limits.rate import Known

KEY = "0123456789abcdef"
NOW = 1_800_000_000.0
DAY = 86_400.0
FOUND = Known(passed=1.6, refused=1.75, window_s=60.0)


def test_what_one_run_found_the_next_one_knows(tmp_path: Path) -> None:
    """It comes back with its age and with how well it is known, for this key alone."""
    RateMemory(tmp_path, KEY).remember(FOUND, NOW)
    assert RateMemory(tmp_path, KEY).recall(NOW + 7200) == Remembered(FOUND, 7200.0)
    assert RateMemory(tmp_path, "fedcba9876543210").recall(NOW) is None


@pytest.mark.parametrize(("ago", "known"), [(-3600.0, True), (0.0, True), (7 * DAY, True), (7 * DAY + 1, False)])
def test_it_is_believed_for_a_week(ago: float, known: bool, tmp_path: Path) -> None:
    """After that it is nothing; a clock that was set back makes it new."""
    RateMemory(tmp_path, KEY).remember(FOUND, NOW)
    recalled = RateMemory(tmp_path, KEY).recall(NOW + ago)
    assert recalled == (Remembered(FOUND, max(0.0, ago)) if known else None)


@given(st.floats(1e-6, 1e6), st.floats(1.0001, 2.0) | st.just(math.inf), st.floats(0.01, 60))
def test_what_is_written_is_what_is_read(passed: float, above: float, window_s: float) -> None:
    """Every rate survives the file."""
    known = Known(passed, passed * above, window_s)
    assert from_text(to_text(known, NOW), NOW) == Remembered(known, 0.0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[1]", "{}", '{"version": 1, "n": 80, "per": 60, "found": true, "at": 0}',
     to_text(FOUND, NOW).replace("1.6", "-1"), to_text(FOUND, NOW).replace("1.6", '"x"'), to_text(FOUND, NOW).replace("1.6", "2"),
     to_text(FOUND, NOW).replace("60.0", "0"), to_text(FOUND, NOW).replace("1800000000.0", "NaN"), "\ud800"],
)  # fmt: skip
def test_a_torn_file_is_nothing_found(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in the file, an earlier version's included, there is no error and no rate, and no warning."""
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / f"{KEY}.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with caplog.at_level(logging.DEBUG, "bulkdel"):
        assert RateMemory(tmp_path, KEY).recall(NOW) is None
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    memory = RateMemory(tmp_path, KEY)
    memory.remember(FOUND, NOW)
    assert memory.recall(NOW) == Remembered(FOUND, 0.0)


def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If a file stands in the folder's place nothing is remembered, and only the debug log says so."""
    (tmp_path / "state").write_text("no folder")
    memory = RateMemory(tmp_path / "state", KEY)
    with caplog.at_level(logging.DEBUG, "bulkdel"):
        memory.remember(FOUND, NOW)
        assert memory.recall(NOW) is None
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


@pytest.mark.parametrize("fingerprint", ["", "../../etc", "a/b", "x" * 16, "0123456789ABCDEF"])
def test_only_a_hex_number_becomes_a_path(fingerprint: str, tmp_path: Path) -> None:
    """A plug-in's fingerprint that is none is not written anywhere."""
    memory = RateMemory(tmp_path / "state", fingerprint)
    memory.remember(FOUND, NOW)
    assert memory.recall(NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_the_users_alone_and_whole(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700, and nothing is left beside it."""
    memory = RateMemory(tmp_path / "state", KEY)
    for n in range(1, 4):
        memory.remember(Known(n, n + 1), NOW)
    (path,) = (tmp_path / "state" / FOLDER).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_only_news_is_written_during_a_run(tmp_path: Path) -> None:
    """A change of some percent is not worth a write; a larger one is, and what is forgotten is gone."""
    memory = RateMemory(tmp_path, KEY)
    memory.remember(Known(100, 110), NOW, only_news=True)
    memory.remember(Known(102, 110), NOW, only_news=True)
    assert memory.recall(NOW) == Remembered(Known(100, 110), 0.0)
    memory.remember(Known(50, 60), NOW, only_news=True)
    assert memory.recall(NOW) == Remembered(Known(50, 60), 0.0)
    memory.remember(None, NOW)
    assert memory.recall(NOW) is None
