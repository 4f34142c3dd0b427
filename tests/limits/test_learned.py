"""What a run learned about a key's rate, and what the next one makes of it."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.limits.learned import FOLDER, KEPT_S, TRUSTED_S, Learned, Memory, from_text, to_text
from bulkdel.model import Rate

KEY = "0123456789abcdef"
NOW = 1_800_000_000.0


def test_what_one_run_learned_the_next_one_knows(tmp_path: Path) -> None:
    """The rate comes back with its age, for this key alone."""
    Memory(tmp_path, KEY).remember(Rate(80, 60), True, NOW)
    assert Memory(tmp_path, KEY).recall(NOW + 7200) == Learned(Rate(80, 60), True, 7200.0)
    assert Memory(tmp_path, "fedcba9876543210").recall(NOW) is None


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (-3600.0, Learned(Rate(80, 60), True, 0.0)),  # the clock was set back
        (0.0, Learned(Rate(80, 60), True, 0.0)),
        (TRUSTED_S, Learned(Rate(80, 60), True, TRUSTED_S)),
        (TRUSTED_S + 1, Learned(Rate(80, 60), False, TRUSTED_S + 1)),
        (KEPT_S, Learned(Rate(80, 60), False, KEPT_S)),
        (KEPT_S + 1, None),
    ],
)
def test_it_is_believed_for_a_week_and_forgotten_in_the_end(ago: float, expected: Learned | None) -> None:
    """A week it holds; then it is where the search begins; after 90 days it is nothing."""
    assert from_text(to_text(Rate(80, 60), True, NOW), NOW + ago) == expected


@given(st.builds(Rate, st.floats(0.01, 1e6), st.floats(0.01, 1e5)), st.booleans())
def test_what_is_written_is_what_is_read(rate: Rate, found: bool) -> None:
    """Every rate survives the file."""
    assert from_text(to_text(rate, found, NOW), NOW) == Learned(rate, found, 0.0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[1]", "{}", '{"version": 2}', to_text(Rate(1), True, NOW).replace("1.0", "-1"),
     '{"version": 1, "n": "80", "per": 60, "found": true, "at": 0}', '{"version": 1, "n": 0, "per": 60, "found": true, "at": 0}',
     '{"version": 1, "n": 80, "per": 60, "found": true, "at": "x"}', '{"version": 1, "n": 80, "per": 60, "found": true, "at": NaN}',
     "\ud800"],
)  # fmt: skip
def test_a_torn_file_is_nothing_learned(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in the file, there is no error and no rate, and nobody is warned."""
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / f"{KEY}.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with caplog.at_level(logging.DEBUG, "bulkdel"):
        assert Memory(tmp_path, KEY).recall(NOW) is None
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    memory = Memory(tmp_path, KEY)
    memory.remember(Rate(5), True, NOW)
    assert memory.recall(NOW) == Learned(Rate(5), True, 0.0)


def test_a_folder_that_cannot_be_written_remembers_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a file stands in the folder's place nothing is remembered, and only the debug log says so."""
    (tmp_path / "state").write_text("no folder")
    memory = Memory(tmp_path / "state", KEY)
    with caplog.at_level(logging.DEBUG, "bulkdel"):
        memory.remember(Rate(5), True, NOW)
        assert memory.recall(NOW) is None
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


@pytest.mark.parametrize("fingerprint", ["", "../../etc", "a/b", "x" * 16, "0123456789ABCDEF"])
def test_a_fingerprint_that_is_none_never_becomes_a_path(fingerprint: str, tmp_path: Path) -> None:
    """A plug-in's fingerprint that is no hex number is not written anywhere."""
    memory = Memory(tmp_path / "state", fingerprint)
    memory.remember(Rate(5), True, NOW)
    assert memory.recall(NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_the_users_alone_and_whole(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700, and nothing is left beside it."""
    memory = Memory(tmp_path / "state", KEY)
    for n in range(1, 4):
        memory.remember(Rate(n), True, NOW)
    (path,) = (tmp_path / "state" / FOLDER).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_only_news_is_written_during_a_run(tmp_path: Path) -> None:
    """A change of some percent is not worth a write; a larger one is, and so is what was known before this run."""
    memory = Memory(tmp_path, KEY)
    memory.note(Rate(100), True, NOW)
    memory.note(Rate(102), True, NOW)
    assert memory.recall(NOW) == Learned(Rate(100), True, 0.0)
    memory.note(Rate(50), True, NOW)
    assert memory.recall(NOW) == Learned(Rate(50), True, 0.0)
    again = Memory(tmp_path, KEY)
    again.recall(NOW)
    again.note(Rate(51), True, NOW + 5)
    assert again.recall(NOW + 5) == Learned(Rate(50), True, 5.0)
