"""One thread that does everything to a run file, several callers' work in one commit."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from bulkdel.errors import BrokenPromise, RunFileError
from bulkdel.store.database import Database, trouble

T = TypeVar("T")

Act = Callable[[sqlite3.Connection], T]
"""Something to do to the database, inside a transaction that the writer begins and commits."""


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
        self._waiting: list[tuple[Act[Any], asyncio.Future[Any]]] = []
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
            self._put(lambda db: None).cancel()  # a caller that was cancelled does not wait until the file is let go
            raise

    async def do(self, act: Act[T]) -> T:
        """Have ``act`` done and committed. Cancelling the wait does not take the work back.

        :raises RunFileError: if the file could not be written, now or earlier, or is closed
        :raises BrokenPromise: if ``act`` would have broken a promise of the file; it left no trace
        """
        if self.closed:
            raise RunFileError(f"the run file is closed: {self.path}")
        return await self._put(act)

    async def stop(self, act: Act[object]) -> None:
        """Do one last thing, let go of the file, and end the thread. The second time, nothing.

        :raises RunFileError: if the last thing could not be written; the file is let go all the same
        """
        if not self.closed:
            self.closed = True
            await self._put(act)

    def _put(self, act: Act[T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((act, future))
        if not self._writing:
            self._write_next()
        return future

    def _write_next(self) -> None:
        acts, futures = zip(*self._waiting, strict=True)
        self._waiting.clear()
        last = self.closed  # nothing comes behind what was put in since
        if self._thread is None:
            self._written(futures, self._write(acts, last))
            return
        self._writing = True
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._write, acts, last)
        done.add_done_callback(lambda done: self._written(futures, done.result()))
        if last:
            self._thread.shutdown(wait=False)

    def _written(self, futures: Sequence[asyncio.Future[Any]], results: Sequence[Any]) -> None:
        self._writing = False
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue  # its caller was cancelled
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._waiting:
            self._write_next()

    # ------------------------------------------------------------------ in the thread

    def _write(self, acts: Sequence[Act[Any]], last: bool) -> Sequence[Any]:
        """Do the acts in one commit: what each returned, or the error that it met. After the ``last`` the file is let go."""
        results: list[Any] = []
        try:
            if self._failure is None:
                results = self._commit(acts)
        except Exception as error:
            self._failure = error
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
        if self._failure is not None:
            # Each has an exception of its own: one that is raised twice gathers both tracebacks.
            results = [self._trouble(self._failure) for _ in acts]
        if last and self._connection is not None:
            try:
                (self._file or self._connection).close()
            except Exception as error:  # what was promised is on disk; say so only if nothing worse was said
                if not isinstance(results[-1], Exception):
                    results[-1] = self._trouble(error)
        return results

    def _trouble(self, error: Exception) -> RunFileError:
        words = trouble(str(self.path), error)
        words.__cause__ = error
        return words

    def _commit(self, acts: Sequence[Act[Any]]) -> list[Any]:
        connection = self._connection or self._open()
        connection.execute("BEGIN IMMEDIATE")
        results = []
        for act in acts:
            connection.execute("SAVEPOINT act")
            results.append(self._do_one(connection, act))
            connection.execute("RELEASE act")
        connection.execute("COMMIT")
        if self._file is not None:
            self._file.verify_identity()
        return results

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
        else:
            self._file = Database.open_exclusive(self.path, new=self._new)
            self._connection = self._file.connection
        return self._connection

    def _do_one(self, connection: sqlite3.Connection, act: Act[Any]) -> Any:
        """What ``act`` returns; its error if it breaks a promise or is the caller's mistake: then it is undone alone.

        :raises sqlite3.Error: if the file is in trouble, and so every act of the group; RunFileError and OSError, too
        """
        try:
            return act(connection)
        except (sqlite3.OperationalError, sqlite3.InternalError, RunFileError, OSError):
            raise
        except Exception as error:
            if type(error) is sqlite3.DatabaseError:  # damage
                raise
            connection.execute("ROLLBACK TO act")
            return BrokenPromise(f"{error}: {self.path}") if isinstance(error, sqlite3.IntegrityError) else error
