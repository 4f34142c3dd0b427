"""Where run files go if no place was named: the user's state folder, and their names in it."""

from __future__ import annotations

import os
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from bulkdel.errors import RunFileError

SUFFIX = ".run"
_STAMPED = re.compile(r"\d{8}-\d{6}-")


def state_folder() -> Path:
    """The folder for this user's runs, which need not exist: ``$XDG_STATE_HOME/bulkdel`` or ``~/.local/state/bulkdel``, and
    each other system's own place.

    :raises RunFileError: if the user has no home folder
    """
    from platformdirs import user_state_path

    try:
        return user_state_path("bulkdel", appauthor=False)
    except RuntimeError:
        raise RunFileError(
            "there is no home folder to keep the run file in",
            hint="set XDG_STATE_HOME to an absolute path, choose a place with --run FILE, or --no-run for none",
        ) from None


def new_path(label: str, folder: Path) -> Path:
    """A path for a new run in ``folder``, which is made if it is missing (for the user alone).

    Its name is the time in UTC, ``label`` (a provider's name) and six random hex digits:
    ``20261121-193000-dify-ab12cd.run``.

    :raises RunFileError: if the folder cannot be made
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunFileError(
            f"the folder for run files cannot be made ({error.strerror or error}): {folder}",
            hint="choose a place with --run FILE, or --no-run for none",
        ) from error
    plain = re.sub(r"[^a-z0-9]+", "-", label.casefold()).strip("-")[:40] or "run"
    return folder / f"{_stamp(time.time())}-{plain}-{secrets.token_hex(3)}{SUFFIX}"


def run_files(folder: Path) -> list[Path]:
    """The run files in ``folder``, newest first by the time in their names, by their last change if there is none.

    A folder that does not exist has none.

    :raises RunFileError: if it cannot be read
    """
    try:
        found = [
            (entry.name if _STAMPED.match(entry.name) else _stamp(entry.stat().st_mtime), entry.name)
            for entry in os.scandir(folder)
            if entry.name.endswith(SUFFIX) and entry.is_file()
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunFileError(f"the folder of run files cannot be read ({error.strerror or error}): {folder}") from error
    return [folder / name for _, name in sorted(found, reverse=True)]


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d-%H%M%S")
