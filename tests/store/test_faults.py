"""What disks, people and other programs do to a run file: it is recovered or refused, never misread."""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkdel.errors import BulkdelError, RunFileError
from bulkdel.report import Counts
from bulkdel.store import ClaimedRow, Run, RunFile, database, lock
from tests.store.helpers import (
    JOURNALS,
    Connect,
    claimed,
    connect,
    crashed_copy,
    ending,
    header,
    listed,
    planned,
    refusing_wal,
    saying,
    sqlite,
    without_wal,
)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As an ordinary user, for whom permissions count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that an ordinary user can reach, also if root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


async def finished(path: Path, count: int = 40) -> Counts:
    """A run with every kind of ending, closed."""
    async with await planned(path, count) as run:
        rows = await claimed(run)
        await run.settled([ending(row, "deleted" if row.row % 3 else "refused", f"why {row.row}") for row in rows[:-4]])
        await run.close("interrupted", 130)
    with Run.open(path) as reader:
        return reader.counts()


# ------------------------------------------------------------------ what is no run file


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    """It is named, and nothing is made in its place."""
    for what in (tmp_path / "a.run", tmp_path):
        with pytest.raises(RunFileError, match=f"there is no such run file: {what}"):
            asyncio.run(RunFile.open(what))
        with pytest.raises(RunFileError, match=f"there is no such run file: {what}"):
            Run.open(what)
    assert list(tmp_path.iterdir()) == []


def _other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE run (id)")
    connection.commit()
    connection.close()


def _our_number_only(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {database.APPLICATION}")
    connection.execute("CREATE TABLE run (id)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b""), "the run file is empty"),
        (lambda path: path.write_text("document,dataset\n1,2\n"), "this is not a run file of bulkdel"),
        (lambda path: path.write_bytes(os.urandom(5000)), "this is not a run file of bulkdel"),
        (lambda path: path.write_bytes(b"SQLite format 3\x00"), "this is not a run file of bulkdel"),
        (_other_database, "this is not a run file of bulkdel"),
        (_our_number_only, "this is not a run file of bulkdel"),
    ],
    ids=["empty", "text", "noise", "sixteen bytes", "another program's database", "no version"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, make, says: str) -> None:  # type: ignore[no-untyped-def]
    """It is refused by name, to work on and to read, and left as it is."""
    path = tmp_path / "a.run"
    make(path)
    before = path.read_bytes()
    with pytest.raises(RunFileError, match=f"{says}.*: {path}"):
        asyncio.run(RunFile.open(path))
    with pytest.raises(RunFileError, match=f"{says}.*: {path}"):
        Run.open(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.run"]


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """It says which format it has, which we read, and what to do."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    connection.close()
    for opening in (lambda: asyncio.run(RunFile.open(path)), lambda: Run.open(path)):
        with pytest.raises(RunFileError, match=r"newer bulkdel \(its format is 3, this one reads 2\): ") as caught:
            opening()
        assert caught.value.hint == "upgrade bulkdel, and ask again"


def test_a_file_of_the_first_format_names_who_reads_it(tmp_path: Path) -> None:
    """One sentence says which bulkdel reads it; the file is left as it is."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    for opening in (lambda: asyncio.run(RunFile.open(path)), lambda: Run.open(path)):
        with pytest.raises(RunFileError, match=r"older format, which bulkdel 0\.1\.0 reads and this one does not: "):
            opening()
    assert path.read_bytes() == before


# ------------------------------------------------------------------ torn files


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """Cut at any byte, a closed file is refused to work on and to read: its counts are never wrong."""
    path = tmp_path / "a.run"
    counts = asyncio.run(finished(path))
    whole = path.read_bytes()
    rng = random.Random(1)
    cuts = {0, 1, 15, 16, 99, 100, 4095, 4096, 4097, len(whole) - 1, len(whole) - 4096}
    cuts |= {rng.randrange(len(whole)) for _ in range(150)}
    cuts |= {len(whole) - rng.randrange(1, 4096) for _ in range(50)}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        with pytest.raises(RunFileError):
            Run.open(path)
        if cut % 4 == 0:
            with pytest.raises(RunFileError):
                asyncio.run(RunFile.open(path))
    path.write_bytes(whole)
    with Run.open(path) as run:
        assert run.counts() == counts


def test_a_file_with_lost_blocks_is_refused(tmp_path: Path) -> None:
    """A page that came back as zeros (a file system after a power failure) is noticed, whichever it is."""
    path = tmp_path / "a.run"
    counts = asyncio.run(finished(path, 400))
    whole = path.read_bytes()
    refused = 0
    for page in range(len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
        try:
            with Run.open(path) as run:
                assert run.counts() == counts
                assert [s.reason for s in run.settled()] == [f"why {row}" for row in range(1, 397)]
        except RunFileError:
            refused += 1
    assert refused == len(whole) // 4096


def test_a_torn_journal_is_recovered_to_a_commit(tmp_path: Path) -> None:
    """Of a crashed run whose write-ahead log was cut at any byte, what is read is what one of its commits left."""

    async def main() -> Path:
        async with await planned(tmp_path / "a.run", 60) as run:
            rows = await claimed(run)
            for first in range(0, 60, 10):
                await run.settled([ending(row) for row in rows[first : first + 10]])
            return crashed_copy(run.path, tmp_path / "copy")

    path = asyncio.run(main())
    database, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    rng = random.Random(2)
    seen = set()
    for cut in sorted({0, 1, 31, 32, 33, len(log), *(rng.randrange(len(log)) for _ in range(120))}):
        for suffix in ("-shm", "-wal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        path.write_bytes(database)
        Path(f"{path}-wal").write_bytes(log[:cut])
        try:
            with Run.open(path) as run:
                counts = run.counts()
                settled = [s.target.document for s in run.settled()]
        except RunFileError as error:
            assert "empty" in str(error)  # noqa: PT017 - before the first commit
            continue
        assert counts.deleted == len(settled)
        assert settled == [f"00000000-0000-4000-8000-{row:012d}" for row in range(1, len(settled) + 1)]
        assert (counts.selected, counts.deleted % 10) in ((60, 0), (0, 0))
        seen.add((counts.selected, counts.deleted))
    assert (60, 60) in seen
    assert len(seen) > 4


def test_rows_that_are_missing_are_noticed(tmp_path: Path) -> None:
    """A file whose rows are not as many as were written is refused, even where its structure is sound."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER a_claim_is_kept")
    connection.execute("DELETE FROM document WHERE row = 40")
    connection.commit()
    connection.close()
    with Run.open(path) as run, pytest.raises(RunFileError, match="40 documents were listed, and 39 are there"):
        run.counts()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE document SET outcome = 'already_gone' WHERE row = 1",
        "UPDATE document SET reason = 'other' WHERE row = 1",
        "UPDATE document SET outcome = NULL WHERE row = 1",
        "UPDATE document SET outcome = NULL WHERE row = 3",
        "DELETE FROM document WHERE row = 1",
        "DELETE FROM document WHERE row = 3",
    ],
)
def test_the_file_itself_keeps_its_endings(tmp_path: Path, statement: str) -> None:
    """Not even another program that writes SQL changes or removes an ending by accident (S9)."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


def asked(place: str, value: str) -> str:
    return f"UPDATE run SET asked = json_replace(asked, '{place}', json('{value}'))"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE run SET asked = '{\"policy\":'", r"asked: Invalid JSON"),
        (asked("$.policy.attempts", '"x"'), r"asked\.policy\.attempts: Input should be a valid integer"),
        (asked("$.policy.attempts", "0"), r"asked\.policy: Value error, attempts must be a whole number"),
        (
            asked("$.datasets", '[{"provider": "dify", "dataset": "ds", "select": {"names": [7]}}]'),
            r"asked\.datasets\.0\.select\.names\.0: Input should be a valid string",
        ),
        (asked("$.more", "[]"), r"asked\.more: Input should be"),
        (asked("$.providers[0].limits.rate", '{"n": -5}'), r"asked\.providers\.0\.limits\.rate: "),
        (asked("$.datasets", "[7]"), r"asked\.datasets\.0: "),
        ("DELETE FROM run", "what was asked is missing"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, statement: str, says: str) -> None:
    """What was asked is never guessed: the place in the file is named, and what is wrong there."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    for opening in (lambda: asyncio.run(RunFile.open(path)), lambda: Run.open(path)):
        with pytest.raises(RunFileError, match=rf"\({says}.*\): {path}"):
            opening()


# ------------------------------------------------------------------ who holds it


def test_a_file_in_use_names_who_uses_it(tmp_path: Path) -> None:
    """Opened a second time it says which process of which machine has it, and what to do; who has it keeps it."""
    path = tmp_path / "a.run"

    async def main() -> None:
        async with await planned(path, 2) as run:
            assert lock.is_held(str(path))
            says = f"used by process {os.getpid()} on {re.escape(socket.gethostname())}: {path}"
            for _ in range(2):
                with pytest.raises(RunFileError, match=says) as caught:
                    await RunFile.open(path)
                assert caught.value.hint
            assert lock.is_held(str(path))
            await run.close("complete", 0)
        assert not lock.is_held(str(path))

    asyncio.run(main())


def test_a_holder_that_is_not_known_is_another_process(tmp_path: Path) -> None:
    """A file that is locked before anything was written to it says that a process has it."""
    path = tmp_path / "a.run"
    asyncio.run(finished(path))
    held = lock.take(str(path))
    assert held is not None
    with pytest.raises(RunFileError, match=f"used by another process: {path}"):
        asyncio.run(RunFile.open(path))
    lock.release(held)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.run"]


# ------------------------------------------------------------------ disks


async def until_it_fails(run: RunFile, rows: list[ClaimedRow], says: str) -> int:
    """Settle one by one until the file gives up; how many were acknowledged. Every later call says the same."""
    acknowledged = 0
    with pytest.raises(RunFileError, match=says) as first:  # noqa: PT012 - which of the calls is not known
        for row in rows:
            await run.settled([ending(row, reason=f"a reason of its own, number {row.row}, " * 8)])
            acknowledged += 1
    later = [
        lambda: run.settled([ending(rows[0])]),
        lambda: run.add_listed("dify", "ds", listed(1, first=9000)),
        lambda: anext(run.pages("dify")),
        lambda: run.close("incomplete", 1),
    ]
    for call in later:
        with pytest.raises(RunFileError) as again:
            await call()
        assert str(again.value) == str(first.value)
    return acknowledged


def acknowledged_is_there(path: Path, acknowledged: int) -> None:
    with Run.open(path) as run:
        assert [s.target.document for s in run.settled()][:acknowledged] == [
            f"00000000-0000-4000-8000-{row:012d}" for row in range(1, acknowledged + 1)
        ]
        assert run.state == "crashed"
        assert run.resumable


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_full_disk(tmp_path: Path, journal: str) -> None:
    """It says that the disk is full, and goes on saying so; what was acknowledged is there, and a resume goes on."""
    path = tmp_path / "a.run"
    asyncio.run(_planned_and_closed(path, 500))
    pages = path.stat().st_size // 4096 + 20

    def full(name: str, **how: Any) -> sqlite3.Connection:
        connection = JOURNALS[journal](name, **how)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    async def main() -> int:
        with sqlite(full):
            run = await RunFile.open(path)
        async with run:
            return await until_it_fails(run, await claimed(run), "the disk is full, so the run file cannot be written")

    acknowledged = asyncio.run(main())
    assert 0 < acknowledged < 500
    acknowledged_is_there(path, acknowledged)
    assert not Path(f"{path}.held").exists()


async def _planned_and_closed(path: Path, count: int) -> None:
    async with await planned(path, count) as run:
        await run.close("interrupted", 130)


def _largest(folder: Path) -> int:
    return max(entry.stat().st_size for entry in folder.iterdir() if "shm" not in entry.name)


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("room", [1, 5000, 40_000, 100_001])
def test_a_disk_that_fails_in_the_middle_of_a_write(tmp_path: Path, journal: str, room: int) -> None:
    """A write that the system refuses after any number of bytes loses nothing that was acknowledged."""
    path = tmp_path / "a.run"
    asyncio.run(_planned_and_closed(path, 500))

    async def main() -> int:
        with sqlite(JOURNALS[journal]):
            run = await RunFile.open(path)
        async with run:
            rows = await claimed(run)
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (_largest(tmp_path) + room, before[1]))
            try:
                return await until_it_fails(run, rows, "the disk cannot read or write the run file")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    acknowledged_is_there(path, asyncio.run(main()))


def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    """A run that cannot be laid out leaves no file behind."""
    with sqlite(saying("max_page_count = 3")), pytest.raises(RunFileError, match="the disk is full"):
        asyncio.run(RunFile.create(tmp_path / "a.run", header()))
    assert list(tmp_path.iterdir()) == []


class _Stuck(sqlite3.Connection):
    """Closes, and says that it could not."""

    def close(self) -> None:
        super().close()
        raise sqlite3.OperationalError("disk I/O error")


def test_a_file_that_cannot_be_closed_says_so(tmp_path: Path) -> None:
    """What was written is there all the same; where something worse was said already, that stays said."""

    def stuck(name: str, **how: Any) -> sqlite3.Connection:
        return connect(name, **how, factory=_Stuck)

    async def main() -> None:
        with sqlite(stuck):
            run = await planned(tmp_path / "a.run", 3)
        await run.settled([ending(row) for row in await claimed(run)])
        with pytest.raises(RunFileError, match="disk I/O error"):
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as reader:
        assert reader.counts() == Counts(3, 3, 0, deleted=3)


def test_a_file_that_is_refused_is_let_go(tmp_path: Path) -> None:
    """The connection to a file that is no run is closed before its user hears of it: it can be moved or deleted then."""
    _other_database(tmp_path / "a.run")
    made: list[sqlite3.Connection] = []

    def keeping(name: str, **how: Any) -> sqlite3.Connection:
        made.append(connect(name, **how))
        return made[-1]

    with sqlite(keeping), pytest.raises(RunFileError):
        asyncio.run(RunFile.open(tmp_path / "a.run"))
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert made


def test_a_file_that_became_read_only(tmp_path: Path) -> None:
    """It says so, and goes on saying so."""
    path = tmp_path / "a.run"
    connections = []

    def keeping(name: str, **how: Any) -> sqlite3.Connection:
        connections.append(connect(name, **how))
        return connections[0]

    async def main() -> int:
        with sqlite(keeping):
            run = await planned(path, 20)
        async with run:
            rows = await claimed(run)
            connections[0].execute("PRAGMA query_only = 1")
            return await until_it_fails(run, rows, "it or its folder is read-only")

    assert asyncio.run(main()) == 0
    with Run.open(path) as run:
        assert run.counts().not_attempted == 20


def test_a_read_only_folder(place: Path) -> None:
    """No run can begin there, and one that lies there can be read and not gone on with."""
    asyncio.run(finished(place / "a.run"))
    (place / "a.run").chmod(0o444)
    place.chmod(0o555)
    with unprivileged():
        with pytest.raises(RunFileError, match="no run file can be written there") as caught:
            asyncio.run(RunFile.create(place / "b.run", header()))
        assert "--run FILE" in caught.value.hint
        with pytest.raises(RunFileError, match="no run file can be written there"):
            asyncio.run(RunFile.open(place / "a.run"))
        with Run.open(place / "a.run") as run:
            assert run.counts().listed == 40
    assert [entry.name for entry in place.iterdir()] == ["a.run"]


def test_a_read_only_file(place: Path) -> None:
    """A run whose file may not be written is not gone on with."""
    asyncio.run(finished(place / "a.run"))
    (place / "a.run").chmod(0o444)
    with unprivileged(), pytest.raises(RunFileError, match="read-only"):
        asyncio.run(RunFile.open(place / "a.run"))


def test_a_crashed_run_in_a_read_only_folder(place: Path) -> None:
    """It is read, or it is said why not: never without what its journal holds."""

    async def main() -> None:
        async with await planned(place / "a.run", 20) as run:
            await run.settled([ending(row) for row in await claimed(run)])
            crashed_copy(run.path, place / "copy")

    asyncio.run(main())
    for entry in (place / "copy").iterdir():
        entry.chmod(0o444)
    (place / "copy").chmod(0o555)
    try:
        with unprivileged():
            try:
                with Run.open(place / "copy" / "a.run") as run:
                    assert run.counts().deleted == 20
            except RunFileError as error:
                assert "cannot be opened" in str(error)  # noqa: PT017 - either is right
    finally:
        (place / "copy").chmod(0o755)


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "journal deleted"])
def test_a_file_that_vanishes_under_a_run(tmp_path: Path, how: str) -> None:
    """The next call says so, and nothing after that is acknowledged."""
    path = tmp_path / "a.run"

    async def main() -> None:
        async with await planned(path, 20) as run:
            rows = await claimed(run)
            await run.settled([ending(rows[0])])
            match how:
                case "deleted":
                    path.unlink()
                case "moved":
                    path.rename(tmp_path / "b.run")
                case "replaced":
                    os.replace(crashed_copy(path, tmp_path / "copy"), path)
                case _:
                    os.unlink(f"{path}-wal")
            for _ in range(2):
                with pytest.raises(RunFileError, match=f"deleted or replaced while it was in use: {path}"):
                    await run.settled([ending(rows[1])])
            with pytest.raises(RunFileError, match="deleted or replaced"):
                await run.close("complete", 0)

    asyncio.run(main())


# ------------------------------------------------------------------ file systems without shared memory


@pytest.mark.parametrize("how", [without_wal, refusing_wal], ids=["says another mode", "says no"])
def test_without_a_write_ahead_log(tmp_path: Path, how: Connect) -> None:
    """A rollback journal keeps the same promises: what is acknowledged is there, after a crash too."""
    path = tmp_path / "a.run"

    async def main() -> None:
        with sqlite(how):
            run = await planned(path, 30)
        async with run:
            assert f"{path.name}-wal" not in os.listdir(tmp_path)
            rows = await claimed(run)
            await run.settled([ending(row) for row in rows[:10]])
            with Run.open(crashed_copy(path, tmp_path / "copy")) as copy:
                assert copy.counts().deleted == 10
            await run.close("interrupted", 130)
        with sqlite(how):
            run = await RunFile.open(path)
        async with run:
            assert len(await claimed(run)) == 20
            await run.close("interrupted", 130)
        async with await RunFile.open(path) as run:
            assert f"{path.name}-wal" in os.listdir(tmp_path)
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(path) as run:
        assert run.counts() == Counts(30, 30, 0, deleted=10, not_attempted=20)


@pytest.mark.parametrize(("how", "journal", "synchronous"), [("wal", "wal", 2), ("rollback", "delete", 3)])
def test_a_commit_waits_for_the_disk(tmp_path: Path, how: str, journal: str, synchronous: int) -> None:
    """FULL with a write-ahead log; EXTRA with a rollback journal, whose removal is a change of the folder."""
    connections = []

    def keeping(name: str, **more: Any) -> sqlite3.Connection:
        connections.append(JOURNALS[how](name, **more))
        return connections[-1]

    async def main() -> None:
        with sqlite(keeping):
            run = await planned(tmp_path / "a.run", 1)
        async with run:
            assert connections[0].execute("PRAGMA journal_mode").fetchone() == (journal,)
            assert connections[0].execute("PRAGMA synchronous").fetchone() == (synchronous,)
            await run.close("complete", 0)

    asyncio.run(main())


def test_an_error_is_of_one_family(tmp_path: Path) -> None:
    """Everything that a run file raises can be caught as a BulkdelError, and says where."""
    with pytest.raises(BulkdelError, match=str(tmp_path)):
        Run.open(tmp_path / "a.run")
