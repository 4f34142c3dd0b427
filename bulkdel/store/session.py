"""One process's work on a run file, from opening the file to letting it go."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import anyio

from bulkdel.errors import RunFileError
from bulkdel.model import RunStatus
from bulkdel.store.database import lay_out
from bulkdel.store.header import RunHeader, read_header, write_header
from bulkdel.store.queries import Run
from bulkdel.store.writer import Writer
from bulkdel.text import sanitize

P = ParamSpec("P")
S = TypeVar("S", bound="RunSession")
T = TypeVar("T")


def written(
    act: Callable[Concatenate[S, sqlite3.Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method that is done in the writer's thread, inside a transaction: awaiting it returns when that is on disk."""

    @wraps(act)
    async def do(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.writer.do(lambda db: act(self, db, *args, **kwargs))

    return do


class RunSession:
    """A run file that this process holds; in memory if it has no path. Made by ``create`` or ``open``, ended by ``close``."""

    def __init__(self, header: RunHeader, session: int, writer: Writer) -> None:
        self.path = None if writer.path is None else Path(writer.path)
        self.header = header
        self.session = session
        self.writer = writer
        self._began = time.monotonic()

    @classmethod
    async def create(cls, path: str | os.PathLike[str] | None, header: RunHeader) -> Self:
        """A new run at ``path``, which must not exist; readable for its owner alone. None keeps it in memory.

        :raises RunFileError: if there is a file already, or none can be written
        """
        header = replace(header, created_at=time.time())

        def first(db: sqlite3.Connection) -> tuple[RunHeader, int]:
            lay_out(db)
            write_header(db, header)
            return header, _begin(db, header.act, header.version)

        writer = Writer(path, new=True)
        return cls(*await writer.start(first), writer)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        act: str = "resume",
        version: str = "",
        check: Callable[[Run], None] = lambda run: None,
    ) -> Self:
        """Go on with the run at ``path``: a new session of it begins. ``version`` is bulkdel's, empty for the file's own.

        ``check`` is called with the run as earlier sessions left it, once this process holds it. If it raises, that is
        raised, and no session has begun.

        :raises RunFileError: if it does not exist, is foreign, newer or damaged, cannot be written, or is held by another
            process, which is named
        """
        writer = Writer(path, new=False)

        def first(db: sqlite3.Connection) -> tuple[RunHeader, int]:
            header = read_header(db, str(writer.path))
            session = _begin(db, act, version or header.version)
            check(Run(Path(str(writer.path)), db, own=session))
            return header, session

        return cls(*await writer.start(first), writer)

    async def read(self, what: Callable[[Run], T]) -> T:
        """What ``what`` reads of the run, which has a path, as earlier sessions left it."""
        path = Path(str(self.path))
        return await self.writer.do(lambda db: what(Run(path, db, own=self.session)))

    async def close(
        self,
        status: RunStatus | None,
        exit_status: int | None,
        *,
        reason: str = "",
        clean: bool = True,
        elapsed_s: float | None = None,
    ) -> None:
        """End the session and let go of the file, which is one plain file then. The second time, nothing.

        ``clean`` is whether everything that was claimed has settled or was not in flight any more. ``elapsed_s`` is what all
        sessions took in the caller's account; None adds the time since the file was opened.

        :raises RunFileError: if the end could not be written; the file is let go all the same
        """
        earlier_s = "(SELECT COALESCE(SUM(elapsed_s), 0.0) FROM session)"
        end = (
            f"UPDATE session SET ended_at = ?, elapsed_s = COALESCE(? - {earlier_s}, ?), status = ?, exit_status = ?,"
            " reason = ?, clean = ? WHERE id = ?"
        )
        took = time.monotonic() - self._began
        values = (time.time(), elapsed_s, took, status, exit_status, sanitize(reason), clean, self.session)
        with anyio.CancelScope(shield=True):  # the file must be let go, whatever is cancelled meanwhile
            await self.writer.stop(lambda db: db.execute(end, values))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            await self.close(None, None, reason=kind.__name__ if kind else "", clean=False)
        except RunFileError:
            if kind is None:
                raise  # else what is on its way already says more


def _begin(db: sqlite3.Connection, act: str, version: str) -> int:
    """Begin a session; its number is returned. What a crashed session had claimed and not settled is in doubt from now on."""
    db.execute(
        "UPDATE document SET in_doubt = 1 WHERE outcome IS NULL AND claimed IN (SELECT id FROM session WHERE clean = 0)"
    )
    cursor = db.execute(
        "INSERT INTO session (act, version, pid, host, started_at) VALUES (?, ?, ?, ?, ?)",
        (act, version, os.getpid(), socket.gethostname(), time.time()),
    )
    return int(cursor.lastrowid or 0)
