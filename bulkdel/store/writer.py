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
from bulkdel.store.schema import trouble
from bulkdel.store.store import Store

T = TypeVar("T")

GROUP = 2_000
"""Rows in one commit, which is what the engine hands over at a time and a little more: 93,000 rows a second are written by the
thousand, 2,300 with one commit a row."""


@dataclass(slots=True)
class _Job:
    act: Callable[[Store], Any]
    rows: int
    last: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Done:
    """What became of a job: a result, or an error."""

    job: _Job
    result: Any = None
    error: Exception | None = None


class Writer:
    """Takes jobs from one event loop and does them in order in its own thread.

    A job is a function of the store. Jobs that wait at the same time share a commit of up to ``GROUP`` rows, each in a
    savepoint of its own: one that breaks a promise is undone alone. A caller gets its result after the commit, so what is
    acknowledged is on disk. An error of the file is final: nothing of the group is acknowledged, and every later call fails
    with the same words.
    """

    def __init__(self, path: str, make: Callable[[], Store]) -> None:
        self._path = path
        self._make = make
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._closed = False
        self._failure: RunFileError | None = None  # written by the thread, read by both

    @property
    def failed(self) -> bool:
        """Whether the file took its last word: nothing more can be written."""
        return self._failure is not None

    @property
    def closed(self) -> bool:
        return self._closed

    async def start(self, first: Callable[[Store], T]) -> T:
        """Begin the thread, open the store in it and do the first job.

        :raises RunFileError: where the file cannot be opened; the thread has ended then
        """
        # A daemon, so that a program that forgets to close can end: what it was not told is written was never promised.
        threading.Thread(target=self._run, name="bulkdel-run-file", daemon=True).start()
        try:
            return await self.do(first)
        except BaseException as error:
            # The thread must not keep the file. A caller that was cancelled does not wait for it, another does.
            self._closed = True
            end = self._put(lambda store: None, 1, last=True)
            if isinstance(error, Exception):
                with contextlib.suppress(RunFileError):
                    await end
            else:
                end.cancel()
            raise

    async def do(self, act: Callable[[Store], T], rows: int = 1) -> T:
        """Have ``act`` done and committed; ``rows`` is about how many rows it writes.

        Cancelling the wait does not take the work back.

        :raises RunFileError: where the file could not be written, now or earlier, or is closed
        :raises BrokenPromise: where ``act`` would have broken a promise of the file; it left no trace
        """
        result: T = await self.begin(act, rows)
        return result

    def begin(self, act: Callable[[Store], T], rows: int = 1) -> asyncio.Future[T]:
        """Have ``act`` done after what was asked before, without waiting: the future is what ``do`` would bring.

        :raises RunFileError: where the file is closed
        """
        if self._closed:
            raise RunFileError(f"the run file is closed: {self._path}")
        return self._put(act, rows, last=False)

    async def stop(self, act: Callable[[Store], None]) -> None:
        """Do one last thing, let go of the file, and end the thread. The second time, nothing.

        :raises RunFileError: where the last thing could not be written; the file is let go all the same
        """
        if not self._closed:
            self._closed = True
            await self._put(act, 1, last=True)

    def _put(self, act: Callable[[Store], Any], rows: int, *, last: bool) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(act, rows, last, loop, future))
        return future

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        store: Store | None = None
        try:
            store = self._make()
        except Exception as error:
            self._failure = trouble(self._path, error)
        while True:
            group = self._next_group()
            done = self._fail(group) if store is None or self._failure is not None else self._commit(store, group)
            last = group[-1].last
            if last and store is not None:
                try:
                    store.close()
                except Exception as error:  # what was promised is on disk; say so only where nothing worse was said
                    done[-1].error = done[-1].error or trouble(self._path, error)
            _hand_back(done)
            # The loop frees what it made: this thread would have to fetch all of it once more, Python's lock in hand.
            del group, done
            if last:
                return

    def _next_group(self) -> list[_Job]:
        group = [self._jobs.get()]
        rows = group[0].rows
        while rows < GROUP and not group[-1].last:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            group.append(job)
            rows += job.rows
        return group

    def _commit(self, store: Store, group: list[_Job]) -> list[_Done]:
        connection = store.connection
        try:
            # ``executescript`` and ``commit`` ask for Python's lock once, ``execute`` three times; the loop, which has it meanwhile,
            # gives it up for good every 5 ms.
            connection.executescript("BEGIN IMMEDIATE")
            if len(group) == 1:
                # The transaction is its savepoint: a step of SQL less, before and after.
                done = [self._one(store, group[0], "ROLLBACK")]
            else:
                done = [self._among_others(store, job) for job in group]
            if connection.in_transaction:
                connection.commit()
            store.still_there()
        except Exception as error:
            self._failure = trouble(self._path, error)
            self._failure.__cause__ = error
            store.forget()
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return self._fail(group)
        return done

    def _among_others(self, store: Store, job: _Job) -> _Done:
        store.connection.execute("SAVEPOINT job")
        done = self._one(store, job, "ROLLBACK TO job")
        store.connection.execute("RELEASE job")
        return done

    def _one(self, store: Store, job: _Job, undo: str) -> _Done:
        """Do one job; what breaks a promise is undone by the statement ``undo``, alone."""
        try:
            done = _Done(job, job.act(store))
        except (sqlite3.OperationalError, sqlite3.InternalError, RunFileError, OSError):
            raise  # the file's trouble, so everybody's
        except sqlite3.IntegrityError as error:
            done = _Done(job, error=BrokenPromise(f"{error}: {self._path}"))
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # damage
                raise
            done = _Done(job, error=error)
        except Exception as error:
            done = _Done(job, error=error)
        if done.error is not None:
            store.connection.execute(undo)
            store.forget()
        return done

    def _fail(self, group: list[_Job]) -> list[_Done]:
        failure = self._failure
        assert failure is not None
        return [_Done(job, error=_again(failure)) for job in group]


def _again(failure: RunFileError) -> RunFileError:
    """The same words in an exception of its own: one that is raised twice gathers both tracebacks."""
    error = RunFileError(str(failure), hint=failure.hint)
    error.__cause__ = failure.__cause__
    return error


def _hand_back(done: list[_Done]) -> None:
    # One hop into the loop for the whole group: a hop costs 48 µs.
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        done[0].job.loop.call_soon_threadsafe(_resolve, done)


def _resolve(done: list[_Done]) -> None:
    for one in done:
        if one.job.future.done():
            continue  # its caller was cancelled
        if one.error is not None:
            one.job.future.set_exception(one.error)
        else:
            one.job.future.set_result(one.result)
