"""What the tests of run files share: short words for headers, documents, endings, and a file as a crash leaves it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkdel.model import Document, Limits, Outcome, Policy, PurgeRequest, Rate, Settled, Target
from bulkdel.store import ClaimedRow, ListedRow, ProviderHeader, RunFile, RunHeader

DIFY = ProviderHeader("dify", "dify", "http://localhost/v1", Limits(concurrency=4), "0123456789abcdef")
LANGDOCK = ProviderHeader(
    "langdock", "langdock", "https://api.langdock.com", Limits(Rate(45, per=60), 4), "fedcba9876543210"
)


def header(
    act: str = "purge", datasets: tuple[PurgeRequest, ...] = (), targets: bool = False, **more: object
) -> RunHeader:
    return RunHeader(
        act=act,  # type: ignore[arg-type]
        providers=(DIFY, LANGDOCK),
        version="0.1.0",
        policy=Policy(attempts=3, indexing="wait"),
        datasets=datasets,
        targets=targets,
        more=more,
    )


def document(number: int, **fields: object) -> Document:
    return Document(
        id=f"00000000-0000-4000-8000-{number:012d}",
        name=f"name {number}",
        created_at=1_600_000_000.0 + number,
        status="available",
        **fields,  # type: ignore[arg-type]
    )


def listed(count: int, first: int = 1) -> list[ListedRow]:
    return [ListedRow(document(number), "") for number in range(first, first + count)]


def ending(
    row: ClaimedRow, outcome: Outcome = "deleted", reason: str = "", attempts: int = 1, at: float = 1_700_000_000.5
) -> tuple[int, Settled]:
    name = "" if row.document is None else row.document.name
    return row.row, Settled(row.target, outcome, reason, attempts, name, at)


def endings(
    row: ClaimedRow, outcome: Outcome = "deleted", reason: str = "", attempts: int = 1
) -> list[tuple[int, Settled]]:
    """The ending of every occurrence of a target, as the engine brings them."""
    _, settled = ending(row, outcome, reason, attempts)
    return [(place, settled) for place in (row.row, *row.others)]


def target(number: int, dataset: str = "ds") -> Target:
    return Target("dify", dataset, f"doc-{number}")


async def planned(path: Path, count: int = 10) -> RunFile:
    """A run of one listed dataset with ``count`` selected documents."""
    run = await RunFile.create(path, header())
    await list_all(run, listed(count))
    return run


async def list_all(
    run: RunFile, rows: Sequence[ListedRow], provider: str = "dify", dataset: str = "ds", name: str = "Things"
) -> None:
    """A dataset's listing from its beginning to its end."""
    await run.begin_listing(provider, dataset, name)
    await run.add_listed(provider, dataset, rows)
    await run.end_listing(provider, dataset, complete=True)


async def claimed(run: RunFile, provider: str = "dify", size: int = 256) -> list[ClaimedRow]:
    """Everything that is open, claimed."""
    return [row async for page in run.pages(provider, size) for row in page]


def crashed_copy(path: Path, into: Path) -> Path:
    """The files as they lie on the disk now: what a process that ended this instant would leave."""
    into.mkdir()
    for suffix in ("", "-wal", "-journal"):
        if os.path.exists(f"{path}{suffix}"):
            shutil.copyfile(f"{path}{suffix}", f"{into / path.name}{suffix}")
    return into / path.name


# ---------------------------------------------------------------------- another SQLite, another file system

Connect = Callable[..., sqlite3.Connection]
connect = sqlite3.connect


@contextmanager
def sqlite(how: Connect) -> Iterator[None]:
    """Each database that is opened meanwhile is opened by ``how``, which stands in the place of ``sqlite3.connect``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", how)
        yield


def saying(*pragmas: str) -> Connect:
    """Says something to each connection first."""

    def saying_so(name: str, **how: Any) -> sqlite3.Connection:
        connection = connect(name, **how)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    return saying_so


def of_sqlite_3_24(name: str, **how: Any) -> sqlite3.Connection:
    """What SQLite 3.24 (2018) takes: its functions and its limits; ``iif`` came with 3.32, and more variables than 999."""

    def allowed(action: int, _one: str | None, name: str | None, *_more: str | None) -> int:
        new = action == sqlite3.SQLITE_FUNCTION and name not in _FUNCTIONS
        return sqlite3.SQLITE_DENY if new else sqlite3.SQLITE_OK

    connection = connect(name, **how)
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 500)
    connection.set_authorizer(allowed)
    return connection


_FUNCTIONS = ("coalesce", "count", "glob", "max", "min", "nullif", "substr", "sum")


def without_wal(name: str, **how: Any) -> sqlite3.Connection:
    """As on a file system without shared memory: SQLite's dot-file locking has none."""
    return connect(f"{name}&vfs=unix-dotfile", **how)


class _NoSharedMemory(sqlite3.Connection):
    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "PRAGMA journal_mode = WAL":
            raise sqlite3.OperationalError("no shared memory")
        return super().execute(sql, *values)


def refusing_wal(name: str, **how: Any) -> sqlite3.Connection:
    """As on a file system that says no by an error."""
    return connect(name, **how, factory=_NoSharedMemory)


JOURNALS: dict[str, Connect] = {"wal": connect, "rollback": refusing_wal}
