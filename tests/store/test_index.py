"""Many lines of targets are planned without the index of ids, which is made when they are all there: nothing else is different."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel.model import Document, Target
from bulkdel.store import Run, RunFile, index, schema
from tests.store.helpers import crashed_copy, handed, header

NEVER = 10**9

lines = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)).map(lambda t: Target("dify", f"ds-{t[0]}", f"{t[1]}")))
steps = st.one_of(
    lines.map(lambda page: ("lines", page)),
    st.integers(0, 9).map(lambda number: ("listed", number)),
    st.integers(0, 9).map(lambda number: ("known", number)),
)


def of(numbers: str) -> tuple[str, list[Target]]:
    return "lines", [Target("dify", "ds-0", number) for number in numbers]


@example([of("1213"), of("2144"), of("41"), ("listed", 4), of("455")])
@example([of("121"), ("known", 1), of("2311")])
@given(st.lists(steps, max_size=8))
@settings(deadline=None, max_examples=60)
def test_without_the_index_as_with_it(given_steps: list[tuple[str, object]]) -> None:
    """Lines in whatever order, repeated, and documents listed among them: the plan is the same, however late the index comes."""
    assert _planned(given_steps, worth_it=0) == _planned(given_steps, worth_it=NEVER)


def _planned(given_steps: list[tuple[str, object]], worth_it: int) -> object:
    """Rows as they are handed over, and the account, of a run in which so many lines leave the index out."""

    async def main() -> list[object]:
        async with await RunFile.create(path, header("job"), now=lambda: 1e9) as run:
            key = await run.add_dataset("dify", "ds-0")
            for what, value in given_steps:
                if what == "lines":
                    assert isinstance(value, list)
                    await run.add_targets(value)
                    odd = [(place, "odd") for place, line in enumerate(value) if int(line.document) % 2]
                    await run.mark_invalid(len(value), odd)
                elif what == "listed":
                    await run.add_documents(key, [(Document(str(value), "name"), "too young")])
                else:
                    await run.known(key, [str(value)])
            await run.finish_targets()
            rows = [(row.row, row.target, row.also) for row in await handed(run)]
            await run.close("complete", 0)
            return [rows]

    folder = Path(tempfile.mkdtemp())
    path = folder / "a.run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "WORTH_IT", worth_it)
        try:
            found = asyncio.run(main())
            with Run.open(path) as run:
                return [*found, run.counts(), run.datasets(), run.plan(), list(run.listed()), list(run.not_attempted())]
        finally:
            shutil.rmtree(folder)


def test_killed_before_the_index_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed while lines came in is read as it is, and gone on with: each document once, all places counted."""
    monkeypatch.setattr(index, "WORTH_IT", 2)

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([Target("dify", "ds", number) for number in "1231"])
            await run.add_targets([Target("dify", "ds", number) for number in "43"])
            copy = crashed_copy(tmp_path / "a.run", tmp_path / "copy")
        with Run.open(copy) as read:
            assert (read.counts().selected, read.state) == (6, "crashed")
        async with await RunFile.open(copy) as run:
            assert [(row.target.document, 1 + len(row.also)) for row in await handed(run)] == [
                ("1", 2),
                ("2", 1),
                ("3", 2),
                ("4", 1),
            ]

    asyncio.run(main())


def test_an_invalid_id_does_not_cost_the_others_their_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are never sent are marked by their row: neither the mark nor what is marked needs the index, or brings it back."""
    monkeypatch.setattr(index, "WORTH_IT", 2)

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            for numbers in ("12x", "34x", "xy5"):
                await run.add_targets([Target("dify", "ds", number) for number in numbers])
                await run.mark_invalid(3, [(place, "no number") for place, n in enumerate(numbers) if n in "xy"])
            with closing(schema.sqlite3.connect(crashed_copy(tmp_path / "a.run", tmp_path / "copy"))) as copy:
                assert not index.is_there(copy)
            await run.finish_targets()
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        (planned,) = run.plan().datasets
        assert (planned.selected, planned.invalid, planned.first_invalid) == (9, 4, "x (no number)")
        assert [(row.target.document, row.invalid) for row in run.listed() if row.invalid] == [
            (number, "no number") for number in "xxxy"
        ]


def test_no_folder_for_what_is_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder takes temporary files, as in a read-only container, sorting is done in memory."""
    said: list[str] = []

    def traced(uri: str) -> schema.sqlite3.Connection:
        connection = schema.connect(uri)
        connection.set_trace_callback(said.append)
        return connection

    async def main() -> None:
        async with await RunFile.create(tmp_path / f"{len(said)}.run", header("delete"), connect=traced):
            pass

    asyncio.run(main())
    assert not any("temp_store" in statement for statement in said)
    monkeypatch.setattr(os, "access", lambda *_: False)
    asyncio.run(main())
    assert "PRAGMA temp_store = MEMORY" in said
