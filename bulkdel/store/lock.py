"""One process at a time: an operating-system lock on a file beside the run file, which dies with its process."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bulkdel.errors import RunFileError

if TYPE_CHECKING:
    from filelock import FileLock

# The lock is on a file of its own: SQLite's own locks on the database are the process's (POSIX), and closing any other
# descriptor of the database would drop them (https://www.sqlite.org/howtocorrupt.html, 2.2).
SUFFIX = ".held"  # not .lock: SQLite locks with that name itself if a file system has no locks


def take(path: str) -> FileLock | None:
    """The lock of the run file at ``path``, held until ``release`` or the end of the process; None if another one holds it.

    :raises RunFileError: if the folder cannot be written, or its file system has no locks
    """
    from filelock import Timeout  # half of what aiohttp takes to import, and only runs with a file need it

    try:
        # filelock would make a folder that is missing, and wait for a file that can never be made, as below /proc.
        os.close(os.open(path + SUFFIX, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        # A moment of trying: a reader that looks whether the lock is held holds it for a moment itself.
        return _acquire(path, 0.2)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        raise RunFileError(
            f"the run file cannot be locked ({getattr(error, 'strerror', None) or error}): {path}",
            hint="put it into a folder of a local disk",
        ) from error


def release(lock: FileLock) -> None:
    """Remove the lock's file, then let go of it, in this order: no lock is ever on a file that another process removes."""
    with suppress(OSError):
        os.unlink(lock.lock_file)
    lock.release()


def is_held(path: str) -> bool:
    """Whether a process works on the run file at ``path`` now; False if a lock cannot be taken there."""
    if not os.path.exists(path + SUFFIX):
        return False
    from filelock import Timeout

    try:
        release(_acquire(path, 0.0))  # a killed process left the file behind
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        pass
    return False


def _acquire(path: str, timeout: float) -> FileLock:
    """The lock, held, after ``timeout`` seconds of trying; raises filelock's errors.

    The holder before us removes the file as it goes: filelock sees that a lock is on a removed file, and looks again.
    """
    from filelock import FileLock

    lock = FileLock(path + SUFFIX, timeout=timeout, mode=0o600, thread_local=False, fallback_to_soft=False)
    lock.acquire()
    return lock


def unwritable(path: str, error: OSError) -> RunFileError:
    """What to say if the run file's folder takes no file."""
    return RunFileError(
        f"no run file can be written there ({error.strerror or error}): {path}",
        hint="choose another place with --run FILE, or --no-run for none",
    )
