"""A file of ours, written whole or not at all, and never over a run file."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bulkdel.errors import ConfigurationError
from bulkdel.store.lock import SUFFIX as LOCK


def save(path: Path, pieces: Iterable[str]) -> None:
    """Write a report to ``path``, which appears when it is whole; a device or a pipe is written straight.

    The file is its owner's alone (0600), as the run file is: it has the names of documents.

    :raises ConfigurationError: if ``path`` is a run file, which is evidence
    :raises OSError: if it cannot be written; what was there is still there
    """
    where = os.path.realpath(path)
    if is_run_file(where):
        raise ConfigurationError(
            f"the report would overwrite a run file: {path}", hint="give the report a name of its own"
        )
    if os.path.exists(where) and not stat.S_ISREG(os.stat(where).st_mode):
        with open(where, "w", encoding="utf-8", newline="") as stream:
            stream.writelines(pieces)
        return
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(where), prefix=f".{os.path.basename(where)[:100]}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, where)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def is_run_file(path: str) -> bool:
    """Whether there is a run file at ``path``, whatever its state: one that is being written has its mark in its log only, so
    any SQLite database counts as one."""
    if os.path.exists(path + LOCK) or os.path.exists(path + "-wal"):
        return True
    magic = b"SQLite format 3\x00"  # https://www.sqlite.org/fileformat.html, 1.3
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
