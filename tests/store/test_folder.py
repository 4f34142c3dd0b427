"""Where run files go if no place is given."""

from __future__ import annotations

import os
import pwd
import re
import stat
import time
from pathlib import Path

import pytest

from bulkdel.errors import RunFileError
from bulkdel.store.folder import new_path, run_files, state_folder


@pytest.mark.parametrize(
    ("state", "folder"),
    [(None, "/home/me/.local/state/bulkdel"), ("/state", "/state/bulkdel"), ("", "/home/me/.local/state/bulkdel")],
)
def test_the_state_folder(state: str | None, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own, or the one that XDG_STATE_HOME names."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if state is not None:
        monkeypatch.setenv("XDG_STATE_HOME", state)
    assert state_folder() == Path(folder)


@pytest.mark.parametrize(("name", "value"), [("HOME", "."), ("HOME", ""), ("XDG_STATE_HOME", "here")])
def test_a_relative_state_folder_is_not_used(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do not go into whatever folder the command stands in: the user database says where, or the run is refused."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(name, value)
    assert state_folder().is_absolute()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(RunFileError, match="no home folder") as caught:
        state_folder()
    assert "--run FILE" in caught.value.hint


def test_the_name_of_a_new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in UTC, provider, six hex digits; the folder is made for the user alone."""
    monkeypatch.setattr(time, "time", lambda: 1_795_289_400.9)
    folder = tmp_path / "a" / "bulkdel"
    path = new_path("dify", folder)
    assert path.parent == folder
    assert re.fullmatch(r"20261121-193000-dify-[0-9a-f]{6}\.run", path.name)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path != new_path("dify", folder)


@pytest.mark.parametrize(
    ("label", "plain"), [("Prod Dify", "prod-dify"), ("../../etc", "etc"), ("…", "run"), ("x" * 200, "x" * 40)]
)
def test_a_label_is_made_a_name(tmp_path: Path, label: str, plain: str) -> None:
    """A provider may be called anything; its runs stay in their folder."""
    path = new_path(label, tmp_path)
    assert path.parent == tmp_path
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-{plain}-[0-9a-f]{{6}}\.run", path.name)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is named, with what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFileError, match=f"cannot be made .*: {tmp_path}/file/bulkdel") as caught:
        new_path("dify", tmp_path / "file" / "bulkdel")
    assert "--no-run" in caught.value.hint


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    """By the time in the name, by the last change where there is none; nothing but run files."""
    for name in (
        "20261121-193000-dify-000001.run",
        "20261121-193001-dify-000000.run",
        "20251121-193000-dify-ffffff.run",
        "mine.run",
        "20261121-193001-dify-000000.run-wal",
        "20261121-193001-dify-000000.run.held",
        "notes.txt",
    ):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.run").mkdir()
    os.utime(tmp_path / "mine.run", (1_780_000_000, 1_780_000_000))  # 2026-05-28
    assert [path.name for path in run_files(tmp_path)] == [
        "20261121-193001-dify-000000.run",
        "20261121-193000-dify-000001.run",
        "mine.run",
        "20251121-193000-dify-ffffff.run",
    ]
    assert run_files(tmp_path / "nothing") == []
    with pytest.raises(RunFileError, match="cannot be read"):
        run_files(tmp_path / "notes.txt")
