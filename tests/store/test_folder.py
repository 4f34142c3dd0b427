"""Where run files go when nobody says where."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from bulkdel.errors import RunFileError
from bulkdel.store.folder import new_path, run_files, state_folder


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/home/me"}, "linux", "/home/me/.local/state/bulkdel"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "/state"}, "linux", "/state/bulkdel"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": ""}, "linux", "/home/me/.local/state/bulkdel"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "here"}, "linux", "/home/me/.local/state/bulkdel"),
        ({"XDG_STATE_HOME": "/state"}, "linux", "/state/bulkdel"),
        ({"HOME": "/Users/me"}, "darwin", "/Users/me/Library/Application Support/bulkdel"),
        ({"HOME": "/Users/me", "XDG_STATE_HOME": "/state"}, "darwin", "/state/bulkdel"),
        ({"LOCALAPPDATA": "/c/local"}, "win32", "/c/local/bulkdel"),
        ({"USERPROFILE": "/c/me"}, "win32", "/c/me/AppData/Local/bulkdel"),
    ],
)
def test_the_state_folder(environ: Mapping[str, str], platform: str, folder: str) -> None:
    """Each system's own place, and the XDG variable where it is an absolute path."""
    assert state_folder(environ, platform) == Path(folder)


def test_without_home_the_system_is_asked() -> None:
    """No HOME, or a relative one, is not the working directory: the user database says where, or nobody does."""
    for environ in ({}, {"HOME": ""}, {"HOME": "."}):
        try:
            folder = state_folder(environ, "linux")
        except RunFileError as error:
            assert "--run FILE" in error.hint  # noqa: PT017 - a user that nobody named
        else:
            assert folder.is_absolute()


def test_the_name_of_a_new_run(tmp_path: Path) -> None:
    """Time in UTC, provider, six hex digits; the folder is made for the user alone."""
    folder = tmp_path / "a" / "bulkdel"
    path = new_path("dify", folder=folder, now=1_795_289_400.9, token="ab12cd")
    assert path == folder / "20261121-193000-dify-ab12cd.run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = new_path("dify", folder=folder, now=1_795_289_400.9)
    assert again != new_path("dify", folder=folder, now=1_795_289_400.9)
    assert len(again.name) == len(path.name)


@pytest.mark.parametrize(
    ("label", "plain"), [("Prod Dify", "prod-dify"), ("../../etc", "etc"), ("…", "run"), ("x" * 200, "x" * 40)]
)
def test_a_label_is_made_a_name(tmp_path: Path, label: str, plain: str) -> None:
    """A provider may be called anything; its runs stay in their folder."""
    path = new_path(label, folder=tmp_path, now=0, token="000000")
    assert path == tmp_path / f"19700101-000000-{plain}-000000.run"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is named, with what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFileError, match=f"cannot be made .*: {tmp_path}/file/bulkdel") as caught:
        new_path("dify", folder=tmp_path / "file" / "bulkdel", now=0)
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
