"""One thread that does everything to a run file, several callers' work in one commit."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bulkdel.errors import BrokenPromise, RunFileError
from bulkdel.store.database import Database, trouble

T = TypeVar("T")

Act = Callable[[sqlite3.Connection], T]
"""Something to do to the database, inside a transaction that the writer begins and commits."""


@dataclass(slots=True)
class _Job:
    """An act, who waits for it, and what became of it."""

    act: Act[Any]
    last: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Writer:
    """Takes acts from one event loop and does them in order in its own thread.

    Acts that wait at the same time share a commit, each in a savepoint of its own: one that breaks a promise is undone alone.
    A caller gets its result after the commit, so what is acknowledged is on disk. An error of the file is final: nothing of
    the group is acknowledged, and every later call fails with the same words.
    """

    def __init__(self, path: str, open_database: Callable[[], Database]) -> None:
        self._path = path
        self._open_database = open_database
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._closed = False
        self._failure: RunFileError | None = None  # written by the thread, read by both

    @property
    def closed(self) -> bool:
        return self._closed

    async def start(self, first: Act[T]) -> T:
        """Begin the thread, open the database in it and do the first act.

        :raises RunFileError: if the file cannot be opened; the thread has ended then
        """
        # A daemon, so that a program that forgets to close can end: nobody was promised that the rest is written.
        threading.Thread(target=self._run, name="bulkdel-run-file", daemon=True).start()
        try:
            return await self.do(first)
        except BaseException as error:
            # The thread must not keep the file. A caller that was cancelled does not wait for it, another does.
            self._closed = True
            end = self._put(lambda connection: None, last=True)
            if isinstance(error, Exception):
                with contextlib.suppress(RunFileError):
                    await end
            else:
                end.cancel()
            raise

    async def do(self, act: Act[T]) -> T:
        """Have ``act`` done and committed. Cancelling the wait does not take the work back.

        :raises RunFileError: if the file could not be written, now or earlier, or is closed
        :raises BrokenPromise: if ``act`` would have broken a promise of the file; it left no trace
        """
        result: T = await self.begin(act)
        return result

    def begin(self, act: Act[T]) -> asyncio.Future[T]:
        """Have ``act`` done after what was asked before, without waiting: the future is what ``do`` would bring.

        :raises RunFileError: if the file is closed
        """
        if self._closed:
            raise RunFileError(f"the run file is closed: {self._path}")
        return self._put(act)

    async def stop(self, act: Act[None]) -> None:
        """Do one last thing, let go of the file, and end the thread. The second time, nothing.

        :raises RunFileError: if the last thing could not be written; the file is let go all the same
        """
        if not self._closed:
            self._closed = True
            await self._put(act, last=True)

    def _put(self, act: Act[T], *, last: bool = False) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(act, last, loop, future))
        return future

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        database: Database | None = None
        try:
            database = self._open_database()
        except Exception as error:
            self._failure = trouble(self._path, error)
        last = False
        while not last:
            group = self._next_group()
            last = group[-1].last
            if database is not None and self._failure is None:
                self._commit(database, group)
            if self._failure is not None:
                for job in group:
                    job.error = _again(self._failure)
            if last and database is not None:
                try:
                    database.close()
                except Exception as error:  # what was promised is on disk; say so only if nothing worse was said
                    group[-1].error = group[-1].error or trouble(self._path, error)
            # One hop into the loop for the whole group: a hop costs 48 µs.
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                group[0].loop.call_soon_threadsafe(_resolve, group)

    def _next_group(self) -> list[_Job]:
        """Everything that waits now, at least one job."""
        group = [self._jobs.get()]
        while not group[-1].last:
            try:
                group.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return group

    def _commit(self, database: Database, group: list[_Job]) -> None:
        connection = database.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                connection.execute("SAVEPOINT job")
                self._do_one(connection, job)
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
            database.verify_identity()
        except Exception as error:
            self._failure = trouble(self._path, error)
            self._failure.__cause__ = error
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _do_one(self, connection: sqlite3.Connection, job: _Job) -> None:
        """Do one job; one that breaks a promise, or is the caller's mistake, is undone alone.

        :raises sqlite3.Error: if the file is in trouble, and so every job of the group; RunFileError and OSError, too
        """
        try:
            job.result = job.act(connection)
            return
        except (sqlite3.OperationalError, sqlite3.InternalError, RunFileError, OSError):
            raise
        except sqlite3.IntegrityError as error:
            job.error = BrokenPromise(f"{error}: {self._path}")
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # damage
                raise
            job.error = error
        except Exception as error:
            job.error = error
        connection.execute("ROLLBACK TO job")


class MemoryWriter(Writer):
    """The same for a database in memory, without a thread: there is no disk to wait for."""

    async def start(self, first: Act[T]) -> T:
        """Open the database and do the first act."""
        self._database = self._open_database()
        return await self.do(first)

    def _put(self, act: Act[T], *, last: bool = False) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        job = _Job(act, last, loop, loop.create_future())
        self._commit(self._database, [job])
        if self._failure is not None:
            job.error = self._failure
        if last:
            self._database.close()
        _resolve([job])
        return job.future


def _again(failure: RunFileError) -> RunFileError:
    """The same words in an exception of its own: one that is raised twice gathers both tracebacks."""
    error = RunFileError(str(failure), hint=failure.hint)
    error.__cause__ = failure.__cause__
    return error


def _resolve(group: list[_Job]) -> None:
    for job in group:
        if job.future.done():
            continue  # its caller was cancelled
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
