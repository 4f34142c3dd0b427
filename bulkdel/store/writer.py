"""One thread that does everything to a run file, several callers' work in one commit."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from bulkdel.errors import BrokenPromise, RunFileError
from bulkdel.store.database import Database, trouble

T = TypeVar("T")

Act = Callable[[sqlite3.Connection], T]
"""Something to do to the database, inside a transaction that the writer begins and commits."""


@dataclass(slots=True)
class _Job:
    """An act, the future of its caller, and what became of it; ``last``: the file is let go afterwards."""

    act: Act[Any]
    future: asyncio.Future[Any]
    last: bool
    result: Any = None
    error: Exception | None = None


class Writer:
    """Takes acts from one event loop and does them in order in its own thread; in the loop itself if there is no file.

    Acts that wait while a commit is under way share the next one, each in a savepoint of its own: one that breaks a promise is
    undone alone. A caller gets its result after the commit, so what is acknowledged is on disk. An error of the file is final:
    nothing of the group is acknowledged, and every later call fails with the same words.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, new: bool) -> None:
        self.path = None if path is None else os.path.realpath(path)
        self.closed = False
        self._new = new
        self._thread = None if path is None else ThreadPoolExecutor(1, "bulkdel-run-file")
        self._connection: sqlite3.Connection | None = None
        self._file: Database | None = None
        self._waiting: list[_Job] = []
        self._writing = False
        self._failure: Exception | None = None

    async def start(self, first: Act[T]) -> T:
        """Open the database and do the first act.

        :raises RunFileError: if the file cannot be opened; it is let go then
        """
        try:
            return await self.do(first)
        except Exception:
            with suppress(RunFileError):
                await self.stop(lambda db: None)
            raise
        except BaseException:
            self.closed = True
            self._put(
                lambda db: None, last=True
            ).cancel()  # whoever is cancelled does not wait until the file is let go
            raise

    async def do(self, act: Act[T]) -> T:
        """Have ``act`` done and committed. Cancelling the wait does not take the work back.

        :raises RunFileError: if the file could not be written, now or earlier, or is closed
        :raises BrokenPromise: if ``act`` would have broken a promise of the file; it left no trace
        """
        if self.closed:
            raise RunFileError(f"the run file is closed: {self.path}")
        return await self._put(act)

    async def stop(self, act: Act[None]) -> None:
        """Do one last thing, let go of the file, and end the thread. The second time, nothing.

        :raises RunFileError: if the last thing could not be written; the file is let go all the same
        """
        if not self.closed:
            self.closed = True
            await self._put(act, last=True)

    def _put(self, act: Act[T], *, last: bool = False) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(act, future, last))
        if not self._writing:
            self._write_next()
        return future

    def _write_next(self) -> None:
        group, self._waiting = self._waiting, []
        if self._thread is None:
            self._write(group)
            self._written(group)
            return
        self._writing = True
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
        done.add_done_callback(lambda _: self._written(group))

    def _written(self, group: list[_Job]) -> None:
        self._writing = False
        for job in group:
            if job.future.done():
                continue  # its caller was cancelled
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        if self._waiting:
            self._write_next()
        elif self._thread is not None and group[-1].last:
            self._thread.shutdown(wait=False)

    # ------------------------------------------------------------------ in the thread

    def _write(self, group: list[_Job]) -> None:
        try:
            if self._failure is None:
                self._commit(group)
        except Exception as error:
            self._failure = error
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
        if self._failure is not None:
            for job in group:
                # An exception of its own: one that is raised twice gathers both tracebacks.
                job.error = trouble(str(self.path), self._failure)
                job.error.__cause__ = self._failure
        if group[-1].last and self._connection is not None:
            try:
                (self._file or self._connection).close()
            except Exception as error:  # what was promised is on disk; say so only if nothing worse was said
                group[-1].error = group[-1].error or trouble(str(self.path), error)

    def _commit(self, group: list[_Job]) -> None:
        connection = self._connection or self._open()
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            connection.execute("SAVEPOINT job")
            self._do_one(connection, job)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
        if self._file is not None:
            self._file.verify_identity()

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
        else:
            self._file = Database.open_exclusive(self.path, new=self._new)
            self._connection = self._file.connection
        return self._connection

    def _do_one(self, connection: sqlite3.Connection, job: _Job) -> None:
        """Do one job; one that breaks a promise, or is the caller's mistake, is undone alone.

        :raises sqlite3.Error: if the file is in trouble, and so every job of the group; RunFileError and OSError, too
        """
        try:
            job.result = job.act(connection)
        except (sqlite3.OperationalError, sqlite3.InternalError, RunFileError, OSError):
            raise
        except Exception as error:
            if type(error) is sqlite3.DatabaseError:  # damage
                raise
            broken = isinstance(error, sqlite3.IntegrityError)
            job.error = BrokenPromise(f"{error}: {self.path}") if broken else error
            connection.execute("ROLLBACK TO job")
