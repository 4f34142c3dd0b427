"""One process at a time: an operating-system lock beside the run file, which dies with its process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict

from bulkdel.errors import RunFileError
from bulkdel.process import Process, this_process
from bulkdel.text import safe

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# The lock is on a file of its own: SQLite's own locks on the database are the process's (POSIX), and closing any other
# descriptor of the database would drop them (https://www.sqlite.org/howtocorrupt.html, 2.2).
SUFFIX = ".held"  # not .lock: SQLite locks with that name itself where a file system has no locks
_BYTE = 1 << 30  # Windows locks are mandatory: lock a byte that nobody reads


def holder(path: str) -> Process | None:
    """The process that says it uses the run file at ``path``, None where none says so. Takes no lock."""
    try:
        with open(path + SUFFIX, "rb") as file:
            said = json.loads(file.read(4096))
        return Process(int(said["pid"]), str(said["host"]), str(said["born"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Lock:
    """Held from ``take`` to ``release``, or until the process ends, however it ends."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: str) -> Lock:
        """The lock of the run file at ``path``.

        :raises RunFileError: where another process holds it (it is named), or the folder cannot be written
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        while True:
            try:
                descriptor = os.open(path + SUFFIX, flags, 0o600)
            except OSError as error:
                raise unwritable(path, error) from error
            try:
                if not _try(descriptor):
                    raise _held(path)
                # The one before us removes the file when it is done: then ours is a lock on nothing, so look again.
                if _same(descriptor, path + SUFFIX):
                    if hasattr(os, "fchmod"):
                        with contextlib.suppress(PermissionError):  # left behind by another user: theirs to say
                            os.fchmod(descriptor, 0o600)  # whatever the umask
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(asdict(this_process())).encode())
                    return cls(path + SUFFIX, descriptor)
            except OSError as error:
                os.close(descriptor)
                raise RunFileError(
                    f"the run file cannot be locked ({error.strerror or error}): {path}",
                    hint="put it into a folder of a local disk",
                ) from error
            except RunFileError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def release(self) -> None:
        """Remove the lock's file and let go; removing first, so that nobody takes a lock that is about to vanish."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._descriptor)
        if sys.platform == "win32":  # an open file cannot be removed there
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def unwritable(path: str, error: OSError) -> RunFileError:
    """What to say where the run file's folder takes no file."""
    return RunFileError(
        f"no run file can be written there ({error.strerror or error}): {path}",
        hint="choose another place with --run FILE, or --no-run for none",
    )


def _try(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same(descriptor: int, path: str) -> bool:
    if sys.platform == "win32":
        return True
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _held(path: str) -> RunFileError:
    by = holder(path)
    who = "another process" if by is None else f"process {by.pid} on {safe(by.host, 100)}"
    return RunFileError(
        f"the run file is being used by {who}: {path}",
        hint="wait until it has ended, or end it",
    )
