"""A process that is killed loses nothing that was acknowledged as written, and blocks no process (S10)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkdel.errors import RunFileError
from bulkdel.model import PurgeRequest
from bulkdel.report import Counts
from bulkdel.store import Run, RunFile, lock
from tests.cli.forked import CONTEXT
from tests.store.child import write_until_killed
from tests.store.helpers import JOURNALS, claimed, planned

COUNT = 600
ROOT = Path(__file__).parents[2]


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store.child", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], kill_after: int | None) -> list[list[str]]:
    """The lines that the child said; it is killed once it has said ``kill_after`` of them."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line.endswith("\n"):  # half a line was never said
            lines.append(line.split())
        if len(lines) == kill_after:
            os.kill(process.pid, signal.SIGKILL)
    return lines


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment(tmp_path: Path, seed: int, journal: str) -> None:
    """Killed again and again while it lists, hands over and settles: every acknowledged row is there, nothing that was
    settled is handed over again, and everything else is, with doubt where it had been handed over."""
    path = tmp_path / "a.run"
    rng = random.Random(seed)
    # Of the lines: 1 open, 12 listed, 1 whole, then about 19 pages and 150 batches.
    kills: list[int | None] = sorted(rng.sample(range(1, 15), 2) + rng.sample(range(16, 90), 2))
    settled: set[int] = set()
    listed = whole = 0
    for kill_after in [*kills, None]:
        before = set(settled)
        handed_before: set[int] = set()
        with child("work", path, COUNT, journal) as process:
            lines = said(process, kill_after)
        if whole < COUNT:
            listed = 0  # it lists again, from the beginning
        for word, *rows in lines:
            match word:
                case "listed":
                    listed = int(rows[0])
                case "whole":
                    whole = COUNT
                case "claimed":
                    given = {int(row) for row in rows}
                    assert not given & before
                    handed_before |= given
                case "settled":
                    settled |= {int(row) for row in rows}
        with Run.open(path) as run:
            counts = run.counts()
            there = {int(s.target.document[-12:]) for s in run.settled()}
            assert settled <= there
            assert counts.listed >= max(listed, whole)
            assert run.state == ("crashed" if kill_after else "complete")
            assert run.resumable is bool(kill_after)
            assert run.header.datasets == (PurgeRequest("dify", "ds"),)
            settled = there
        if kill_after:
            still_open = asyncio.run(_open_rows(path))
            assert not still_open.keys() & settled
            assert all(still_open[row] for row in handed_before - settled)
            assert still_open if whole else not still_open  # nothing of a listing that is not complete (S15)
    assert settled == set(range(1, COUNT + 1))
    assert counts == Counts(COUNT, COUNT, 0, deleted=COUNT)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.run"]


@pytest.mark.parametrize("journal", JOURNALS)
def test_killed_in_every_write(tmp_path: Path, journal: str) -> None:
    """Killed in each of its writes, the beginning of that write on disk or none of it: every acknowledged ending is there,
    and a resume hands over everything else, with doubt where it had been handed over."""
    killed: set[str] = set()
    if journal == "wal":
        # The log grows with each write. SQLite makes its index 32 KiB long at once; a page is written in two pieces.
        for largest in range(32_768, 2**20, 2_060):
            if (at := _killed_at(tmp_path / str(largest), journal, 1, largest)) == "closed":
                break
            killed.add(at)
    else:
        # Each commit begins a journal of its own, and then writes into the middle of the file. Of the acts there are some
        # that are like one another: beginning, listing, handing over, settling and closing are each killed.
        for after in (1, 4, 5, 6, 13):
            for largest in range(0, 2**20, 8_000):
                if (at := _killed_at(tmp_path / f"{after} {largest}", journal, after, largest)) == "closed":
                    break
                killed.add(at)
    assert at == "closed"
    assert killed >= {"listed", "claimed", "settled"}, killed


def _killed_at(folder: Path, journal: str, after: int, largest: int) -> str:
    """The last word of a process that was killed so, once its file was looked at and gone on with."""
    folder.mkdir()
    path, log, count = folder / "a.run", folder / "log", 4
    how = {"after": after, "largest": largest}
    process = CONTEXT.Process(target=write_until_killed, args=(path, count, journal, log), kwargs=how)
    process.start()
    process.join()
    status = process.exitcode
    process.close()
    lines = [line.split() for line in log.read_text().splitlines()]
    said = {word for word, *_ in lines}
    settled = {int(row[0]) for word, *row in lines if word == "settled"}
    handed_over = {int(row[0]) for word, *row in lines if word == "claimed"}
    assert status == (0 if "closed" in said else -signal.SIGXFSZ)
    try:
        with Run.open(path) as run:
            there = {int(s.target.document[-12:]) for s in run.settled()}
            assert run.counts().listed in ((count,) if "documents" in said else (0, count))
            assert run.resumable is ("closed" not in said)
    except RunFileError:
        assert said == {"begin"}  # nothing of it was ever acknowledged
        return "begin"
    assert settled <= there <= handed_over
    if "closed" not in said:
        still_open = asyncio.run(_open_rows(path))
        assert not still_open.keys() & there
        assert all(still_open[row] for row in handed_over - there)
        if "listed" in said:
            assert still_open.keys() | there == set(range(1, count + 1))
    return lines[-1][0]


async def _open_rows(path: Path) -> dict[int, bool]:
    """Every open row and whether it is in doubt; this look ends cleanly and adds no doubt."""
    async with await RunFile.open(path) as run:
        rows = {row.row: row.in_doubt for row in await claimed(run)}
        await run.close("interrupted", 130)
    return rows


def test_a_second_process_learns_who_holds_it(tmp_path: Path) -> None:
    """It is refused with the holder's number and machine; reading goes on; a killed holder blocks no process."""
    path = tmp_path / "a.run"

    async def plan() -> None:
        async with await planned(path) as run:
            with pytest.raises(RunFileError, match=f"used by process {os.getpid()} on "):
                await RunFile.open(path)
            await run.close("interrupted", 130)

    asyncio.run(plan())
    with child("hold", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(RunFileError, match=f"used by process {process.pid} on .*: {path}") as caught:
            asyncio.run(RunFile.open(path))
        assert caught.value.hint
        with Run.open(path) as run:
            assert run.state == "running"
            assert not run.resumable
            assert run.counts().listed == 10
            process.kill()
            process.wait()
            assert run.state == "crashed"
            assert run.resumable
    assert len(asyncio.run(_open_rows(path))) == 10
    assert not Path(f"{path}.held").exists()


def test_a_lock_file_that_is_left_over_says_nothing(tmp_path: Path) -> None:
    """What matters is who holds the lock, not what lies there."""
    path = tmp_path / "a.run"
    asyncio.run(_planned(path))
    for left in ("", "noise"):
        Path(f"{path}.held").write_text(left)
        with Run.open(path) as run:
            assert run.state == "interrupted"
        asyncio.run(_open_rows(path))
        assert not Path(f"{path}.held").exists()


async def _planned(path: Path) -> None:
    async with await planned(path) as run:
        await run.close("interrupted", 130)


def test_many_want_the_same_file(tmp_path: Path) -> None:
    """Of those that want it at once one gets it; the next gets it when it is free."""
    path = tmp_path / "a.run"
    asyncio.run(_planned(path))

    async def one() -> bool:
        try:
            run = await RunFile.open(path)
        except RunFileError:
            return False
        await run.close("interrupted", 130)
        return True

    async def main() -> None:
        for _ in range(3):
            got = await asyncio.gather(*(one() for _ in range(8)))
            assert any(got)

    asyncio.run(main())
    with Run.open(path) as run:
        assert all(session.clean for session in run.sessions())


def test_a_lock_on_a_removed_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before removes the lock's file as it goes: who had opened that file by then looks for the new one."""
    path = str(tmp_path / "a.run")
    lock_file = fcntl.flock
    removed: list[str] = []

    def just_removed(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(f"{path}.held")
            os.unlink(removed[0])
        lock_file(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", just_removed)
    held = lock.take(path)
    assert held is not None
    assert lock.take(path) is None
    lock.release(held)
    after = lock.take(path)
    assert after is not None
    lock.release(after)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_takes_no_holders_file_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look whether a run is held meets the moment at which one holder ends and the next begins: the next keeps its lock."""
    path = str(tmp_path / "a.run")
    lock_file = fcntl.flock
    next_holder: list[Any] = []

    def just_changed(descriptor: int, operation: int) -> None:
        if not next_holder:
            next_holder.append(None)
            os.unlink(f"{path}.held")
            next_holder[0] = lock.take(path)
        lock_file(descriptor, operation)

    Path(f"{path}.held").write_text("")
    monkeypatch.setattr(fcntl, "flock", just_changed)
    assert lock.is_held(path)
    assert lock.take(path) is None
    assert next_holder[0] is not None
    lock.release(next_holder[0])
    assert not lock.is_held(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot lock, nothing is written and the message says where a run file can be."""

    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    path = tmp_path / "a.run"
    with pytest.raises(RunFileError, match=f"cannot be locked .*: {path}") as refused:
        lock.take(str(path))
    assert "local disk" in refused.value.hint
    assert not path.exists()
