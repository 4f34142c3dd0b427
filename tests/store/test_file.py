"""A run file holds the plan, hands it over once, and keeps every ending."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdel.errors import BrokenPromise, ConfigurationError, RunFileError
from bulkdel.model import Document, Limits, Selection, Settled, Target
from bulkdel.report import Counts
from bulkdel.store import Added, AskedDataset, Count, Known, ProviderHeader, Run, RunFile, RunHeader, schema
from bulkdel.text import safe
from tests.store.helpers import (
    DIFY,
    connecting,
    crashed_copy,
    document,
    ending,
    handed,
    header,
    listed,
    of_sqlite_3_24,
    planned,
    target,
)


def test_what_was_asked_comes_back(tmp_path: Path) -> None:
    """The header is read back as it was written, by the writer and by a reader."""

    async def main() -> RunHeader:
        async with await RunFile.create(
            tmp_path / "a.run", header(deadline="2h", keys={"prod": ["PROD_KEY", 7, None]}), now=lambda: 123.5
        ) as run:
            await run.close("complete", 0)
            return run.header

    written = asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.header == written
        assert written.created_at == 123.5
        asked = header(deadline="2h", keys={"prod": ["PROD_KEY", 7, None]})
        assert (written.act, written.providers, written.policy, written.selection, dict(written.more)) == (
            asked.act,
            asked.providers,
            asked.policy,
            asked.selection,
            {"deadline": "2h", "keys": {"prod": ["PROD_KEY", 7, None]}},
        )


def test_what_was_asked_is_there_from_the_first_moment(tmp_path: Path) -> None:
    """A run that is killed before it listed anything has forgotten no dataset, and knows which targets it was given."""
    asked = (
        AskedDataset("dify", "one"),
        AskedDataset("langdock", "two", Selection(statuses=("TIMEOUT",))),
        AskedDataset("dify", "two"),
    )

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job", asked, targets=True)) as run:
            with Run.open(crashed_copy(run.path, tmp_path / "first")) as copy:
                assert copy.header == run.header
                assert copy.header.datasets == asked
                assert copy.go_on()
                assert copy.targets == "open"
            assert await run.add_dataset("langdock", "two", "Two") == 2
            await run.add_targets([target(1)])
            await run.finish_targets()
            with Run.open(crashed_copy(run.path, tmp_path / "second")) as copy:
                assert copy.header.datasets == asked
                assert [dataset.name for dataset in copy.datasets()] == ["", "Two", "", ""]
                assert copy.targets == "complete"

    asyncio.run(main())
    with pytest.raises(ConfigurationError, match="no provider of that name: 'x'"):
        asyncio.run(RunFile.create(tmp_path / "b.run", header("job", (AskedDataset("x", "one"),))))
    assert not (tmp_path / "b.run").exists()


def test_no_secret_of_an_address_is_kept(tmp_path: Path) -> None:
    """A password before the host and a query never reach the file (S20)."""

    async def main() -> None:
        one = ProviderHeader("dify", "dify", "https://me:sesame@host:8443/v1/?token=sesame", Limits(), "ab" * 8)
        async with await RunFile.create(
            tmp_path / "a.run", RunHeader(act="purge", providers=(one,), version="1")
        ) as run:
            assert run.header.providers[0].base_url == "https://host:8443/v1"
            await run.close("complete", 0)

    asyncio.run(main())
    assert b"sesame" not in (tmp_path / "a.run").read_bytes()


def test_a_provider_is_kept_without_its_key() -> None:
    """A provider value becomes a header of its public parts alone."""

    class Keyed:
        name, kind, base_url, limits, fingerprint = "prod", "dify", "http://u:p@h/v1", Limits(concurrency=2), "0f" * 8
        api_key = "dataset-sesame"

    kept = ProviderHeader.of(Keyed())  # type: ignore[arg-type]
    assert kept == ProviderHeader("prod", "dify", "http://h/v1", Limits(concurrency=2), "0f" * 8)
    assert "sesame" not in repr(kept)


def test_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask, the file and all that lies beside it have mode 0600; after closing one file is left."""

    def modes() -> dict[str, int]:
        return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}

    async def main() -> None:
        async with await planned(tmp_path / "a.run") as run:
            assert modes() == dict.fromkeys(("a.run", "a.run-wal", "a.run-shm", "a.run.held"), 0o600)
            await run.close("complete", 0)

    for mask in (0o000, 0o277):
        before = os.umask(mask)
        try:
            asyncio.run(main())
        finally:
            os.umask(before)
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.run"]
        (tmp_path / "a.run").unlink()


def test_a_name_is_never_used_twice(tmp_path: Path) -> None:
    """Creating a run where there is a file is refused, and the file is left as it is."""
    (tmp_path / "a.run").write_text("mine")
    with pytest.raises(RunFileError, match=r"there is a file already: .*a\.run") as caught:
        asyncio.run(RunFile.create(tmp_path / "a.run", header()))
    assert "bulkdel resume" in caught.value.hint
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.run", "mine")]


def test_ready_documents_are_handed_over_first(tmp_path: Path) -> None:
    """Pages hold the open documents of one provider in input order: ready ones, then those being indexed."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds", "Things")
            other = await run.add_dataset("langdock", "folder")
            await run.add_documents(other, listed(3, first=100))
            rows = [
                (document(number, indexing=number % 4 == 0, archived=number == 3), "archived" if number == 5 else "")
                for number in range(1, 11)
            ]
            assert await run.add_documents(key, rows) == Added(10, 9, 1)
            await run.add_documents(other, listed(3, first=200))
            pages = [page async for page in run.pages("dify", 3)]
            numbers = [[int(row.target.document[-4:]) for row in page] for page in pages]
            assert numbers == [[1, 2, 3], [6, 7, 9], [10], [4, 8]]
            third = pages[0][2]
            assert third.document == document(3, archived=True)
            assert (third.key, third.target.dataset, third.also, third.handed, third.attempts) == (
                key,
                "ds",
                (),
                False,
                0,
            )
            assert len(await handed(run, "langdock")) == 6

    asyncio.run(main())


def test_each_document_is_handed_over_once_a_session(tmp_path: Path) -> None:
    """Asking for pages again gives what was added since, never what was given before."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 5) as run:
            first = run.pages("dify", 2)
            assert [len(await anext(first)), len(await anext(run.pages("dify", 2)))] == [2, 2]
            assert len(await anext(first)) == 1
            assert await handed(run) == []
            await run.add_documents(await run.add_dataset("dify", "ds"), listed(2, first=50))
            assert [row.target.document[-2:] for row in await handed(run)] == ["50", "51"]

    asyncio.run(main())


def test_pages_of_a_provider_that_is_far_back(tmp_path: Path) -> None:
    """A page is found however many rows of others or settled ones lie before it, and looking takes several short looks."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            await run.add_documents(key, listed(45_000))
            other = await run.add_dataset("langdock", "folder")
            await run.add_documents(other, listed(1))
            assert [row.target.provider for row in await handed(run, "langdock")] == ["langdock"]

    asyncio.run(main())


def test_a_listing_that_shows_a_document_twice_counts_it_once(tmp_path: Path) -> None:
    """Rows shift between a listing's pages: the second time is ignored, in the same batch and in a later one."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            assert await run.add_documents(key, listed(3) + listed(2)) == Added(3, 3, 0)
            assert await run.add_documents(key, listed(2, first=3)) == Added(1, 1, 0)
            assert await run.finish_listing(key, complete=True) == Added(4, 4, 0)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert len(list(run.listed())) == 4


def test_repeated_targets_settle_together(tmp_path: Path) -> None:
    """A line that repeats a target is handed over with the first, and both have its ending, in the order of the lines."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            lines = [target(1), target(2), target(1), target(1, "other"), target(2), target(3), target(1)]
            await run.add_targets(lines)
            rows = await handed(run)
            assert [(row.target.dataset, row.target.document, 1 + len(row.also)) for row in rows] == [
                ("ds", "doc-1", 3),
                ("ds", "doc-2", 2),
                ("other", "doc-1", 1),
                ("ds", "doc-3", 1),
            ]
            assert all(row.document is None and row.name == "" for row in rows)
            await run.settled([ending(rows[0]), ending(rows[1], "refused", "no"), ending(rows[2], "already_gone")])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [(s.target.dataset, s.target.document, s.outcome) for s in run.settled()] == [
            ("ds", "doc-1", "deleted"),
            ("ds", "doc-2", "refused"),
            ("ds", "doc-1", "deleted"),
            ("other", "doc-1", "already_gone"),
            ("ds", "doc-2", "refused"),
            ("ds", "doc-1", "deleted"),
        ]
        assert run.counts() == Counts(7, 7, 0, deleted=3, already_gone=1, rejected=2, not_attempted=1)
        assert [s.target.document for s in run.not_attempted()] == ["doc-3"]


def test_datasets_of_targets_stand_in_the_order_of_the_lines(tmp_path: Path) -> None:
    """Datasets that lines of targets name are accounted for in the order in which they were named first."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(n, f"ds-{n % 20}") for n in range(40)])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [dataset.dataset for dataset in run.datasets()] == [f"ds-{n}" for n in range(20)]


def test_lines_of_several_datasets_in_one_page(tmp_path: Path) -> None:
    """Each line of a page is handed over with its own dataset and its own row, none of them in doubt."""

    async def main() -> None:
        lines = [target(n, f"ds-{n % 3}") for n in range(9)]
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets(lines)
            rows = await handed(run)
            assert [row.target for row in rows] == lines
            assert [(row.row, row.document, row.handed, row.also, row.attempts) for row in rows] == [
                (place, None, False, (), 0) for place in range(1, 10)
            ]

    asyncio.run(main())


def test_a_sqlite_of_2018_is_enough(tmp_path: Path) -> None:
    """A run is planned, deleted, left and gone on with by the functions and within the limits of SQLite 3.24."""

    async def main() -> None:
        run = await planned(tmp_path / "a.run", 1500, connect=of_sqlite_3_24)
        async with run:
            await run.add_targets([*(target(n) for n in range(1500)), target(1), target(2)])
            rows = await handed(run)
            assert len(rows) == 3000
            await run.settled([ending(row) for row in rows[:1499]])
            await run.settled([ending(rows[1499], "refused", "no"), ending(rows[1500], "not_attempted")])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run", connect=of_sqlite_3_24) as run:
            assert await run.retry_rejected() == 1
            key = await run.add_dataset("dify", "ds", "Things")
            assert await run.describe(key, listed(3, 1500)) == 1
            rows = await handed(run)
            assert len(rows) == 1501
            await run.settled([ending(row) for row in rows])
            await run.verified(key, remaining=0)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run", connect=of_sqlite_3_24) as run:
        assert run.counts() == Counts(3002, 3002, 0, deleted=3002)
        assert len(run.digest()) == 64


def test_many_rows_take_few_statements(tmp_path: Path) -> None:
    """A thousand lines, a thousand rows handed over and a thousand first endings take a step of SQL for many, not one each."""
    steps: list[str] = []

    def traced(uri: str) -> sqlite3.Connection:
        connection = schema.connect(uri)
        connection.set_trace_callback(steps.append)
        return connection

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete"), connect=traced) as run:
            steps.clear()
            await run.add_targets([target(n) for n in range(1000)])
            rows = await handed(run)
            await run.settled([ending(row) for row in rows])
            await run.close("complete", 0)

    asyncio.run(main())
    assert len(steps) < 150


def test_a_document_listed_and_named(tmp_path: Path) -> None:
    """One that a listing left out and a line of targets names is deleted, once, for both its places; so is the reverse."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job")) as run:
            key = await run.add_dataset("dify", "ds")
            id = document(1).id
            await run.add_documents(key, [(document(1), "too young"), (document(2), "")])
            await handed(run)
            await run.add_targets([Target("dify", "ds", id)] * 2)
            (again,) = await handed(run)
            assert (again.target.document, again.also, again.document) == (id, (again.row,) * 2, document(1))
            await run.add_targets([target(9)])
            assert await run.add_documents(key, [(Document("doc-9", "nine"), "too young")]) == Added(1, 1, 0, 1)
            (nine,) = await handed(run)
            assert nine.also == (nine.row,)
            await run.settled([ending(again)])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(6, 6, 0, deleted=3, not_attempted=3)
        assert [s.target.document[-1] for s in run.settled()] == ["1", "1", "1"]
        assert [row.target.document[-1] for row in run.listed()] == ["1", "2", "1", "1", "9", "9"]


def test_a_listing_that_did_not_end_is_forgotten(tmp_path: Path) -> None:
    """Its documents are, those that lines of targets name are not; rows are not given twice; the counts still conserve."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job")) as run:
            key = await run.add_dataset("dify", "ds")
            other = await run.add_dataset("dify", "other")
            await run.add_targets([target(1)])
            await run.add_documents(key, [(Document("doc-1"), ""), *listed(4), (document(5), "too young")])
            await run.add_targets([Target("dify", "ds", document(2).id)])
            await run.add_documents(other, listed(5))
            await run.drop_documents(key)
            assert await run.finish_listing(key, complete=False, reason="page 3 answered 500") == Added(4, 4, 0)
            (one, two, *others) = await handed(run)
            assert [(row.target.document, 1 + len(row.also)) for row in (one, two)] == [
                ("doc-1", 2),
                (document(2).id, 2),
            ]
            assert len(others) == 5
            await run.drop_documents(other)  # the last rows of all, which were handed over
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert await run.add_documents(other, listed(3)) == Added(3, 3, 0)
            again = await handed(run)
            assert [row.handed for row in again] == [True, True, False, False, False]
            await run.settled([ending(row) for row in again])
            with pytest.raises(BrokenPromise, match="cannot be forgotten"):
                await run.drop_documents(other)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(7, 7, 0, deleted=7)


def test_targets_are_described_by_a_listing(tmp_path: Path) -> None:
    """What a listing says of explicit targets decides when they come; its other documents are none of the run's."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(1), target(2), target(3), target(2)])
            key = await run.add_dataset("dify", "ds", "Things", listing=False)
            rows = [
                (Document("doc-1", "one", indexing=True), ""),
                (Document("doc-2", "two"), "being indexed"),
                (Document("doc-8", "eight"), ""),
            ]
            assert await run.describe(key, rows) == 2
            pages = [row async for page in run.pages("dify") for row in page]
            assert [(row.target.document, row.name, row.document is None) for row in pages] == [
                ("doc-3", "", True),
                ("doc-1", "one", False),
            ]
            with pytest.raises(ConfigurationError, match="before the first"):
                await run.describe(key, rows)
            await run.settled([ending(pages[0])])
            row = pages[0]
            with pytest.raises(BrokenPromise, match="not selected"):
                await run.settled([(2, Settled(target(2), "deleted", "", 1, "", 0.0))])
            assert row.row == 3
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(4, 2, 2, deleted=1, not_attempted=1)


def test_an_ending_never_changes(tmp_path: Path) -> None:
    """The same ending again is ignored, another is a broken promise that leaves no trace (S9)."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3) as run:
            one, two, three = await handed(run)
            await run.settled([ending(one, "deleted", "first", 2)])
            await run.settled([ending(one, "deleted", "again", 5)])
            with pytest.raises(BrokenPromise, match="cannot settle again"):
                await run.settled([ending(two), ending(one, "already_gone")])
            with pytest.raises(BrokenPromise, match="cannot become not_attempted"):
                await run.settled([ending(one, "not_attempted")])
            await run.settled([ending(three, "refused")])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [(s.target.document[-1], s.outcome, s.reason, s.attempts) for s in run.settled()] == [
            ("1", "deleted", "first", 2),
            ("3", "refused", "", 1),
        ]


@pytest.mark.parametrize(
    "broken",
    [
        (99, Settled(Target("dify", "ds", document(1).id), "deleted", "", 1, "", 0.0)),
        (1, Settled(Target("dify", "ds", document(2).id), "deleted", "", 1, "", 0.0)),
    ],
    ids=["no such row", "another document's row"],
)
def test_an_ending_belongs_to_its_document(tmp_path: Path, broken: tuple[int, Settled]) -> None:
    """An ending for a row that is not that document's is a broken promise."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3) as run:
            with pytest.raises(BrokenPromise, match="not selected"):
                await run.settled([broken])

    asyncio.run(main())


def test_one_broken_batch_harms_no_other(tmp_path: Path) -> None:
    """Batches that share a commit fail alone."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 30) as run:
            rows = await handed(run)
            await run.settled([ending(rows[0], reason="first")])
            batches = [[ending(row, reason=f"reason {row.row}")] for row in rows[1:20]]
            batches.insert(7, [ending(rows[25], reason="undone"), ending(rows[0], "refused")])
            batches.append([ending(rows[26], reason="undone")])
            results = await asyncio.gather(*(run.settled(batch) for batch in batches), return_exceptions=True)
            assert [type(result) for result in results if result is not None] == [BrokenPromise]
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        reasons = [s.reason for s in run.settled()]
        assert reasons == ["first", *(f"reason {row}" for row in range(2, 21)), "undone"]


def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    """While one commit is under way the others gather, and they are acknowledged only when theirs is done."""
    gate = threading.Event()
    arrived = threading.Event()
    armed = threading.Event()
    commits = []

    def watch(statement: str) -> None:
        if statement == "COMMIT" and armed.is_set():
            commits.append(statement)
            arrived.set()
            gate.wait()

    def connect(uri: str):  # type: ignore[no-untyped-def]
        connection = schema.connect(uri)
        connection.set_trace_callback(watch)
        return connection

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 40, connect=connect) as run:
            rows = await handed(run)
            armed.set()
            first = asyncio.create_task(run.settled([ending(rows[0])]))
            await asyncio.to_thread(arrived.wait)
            others = [asyncio.create_task(run.settled([ending(row)])) for row in rows[1:]]
            await asyncio.sleep(0)  # each puts its work into the queue and waits
            assert not first.done()
            with Run.open(tmp_path / "a.run") as reader:
                assert reader.counts().deleted == 0
            gate.set()
            await asyncio.gather(first, *others)
            assert len(commits) == 2
            await run.close("complete", 0)

    asyncio.run(main())


def test_what_was_not_attempted_stays_open(tmp_path: Path) -> None:
    """It is handed over again by the next session, with the attempts that it cost; one that was asked for is in doubt."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await handed(run)
            await run.settled(
                [ending(rows[0], "not_attempted", "the key was refused", 0), ending(rows[1], "not_attempted", "503", 2)]
            )
            await run.settled([ending(rows[1], "not_attempted", "504", 3), ending(rows[2])])
            await run.close("stopped", 4, reason="the key was refused")
        with Run.open(tmp_path / "a.run") as reader:
            assert [(s.attempts, s.reason) for s in reader.not_attempted()] == [(0, ""), (3, "504"), (0, "")]
            assert reader.counts() == Counts(4, 4, 0, deleted=1, not_attempted=3)
        async with await RunFile.open(tmp_path / "a.run") as run:
            again = await handed(run)
            assert [(row.target.document[-1], row.attempts, row.handed) for row in again] == [
                ("1", 0, False),
                ("2", 3, True),
                ("4", 0, False),
            ]
            await run.settled([ending(row) for row in again])
            await run.close("complete", 0)

    asyncio.run(main())


def test_a_mixed_batch_keeps_each_reason(tmp_path: Path) -> None:
    """Reasons that were new in a batch of endings and of what was not attempted come back as they were given."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await handed(run)
            await run.settled(
                [
                    ending(rows[0], "refused", "too large"),
                    ending(rows[1], "not_attempted", "503", 2),
                    ending(rows[2], "refused", "read-only"),
                ]
            )
            await run.settled([ending(rows[3], "refused", "too large")])
            await run.close("stopped", 4)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [s.reason for s in run.settled()] == ["too large", "read-only", "too large"]
        assert [s.reason for s in run.not_attempted()] == ["503"]


def test_a_name_that_came_with_the_ending_is_kept(tmp_path: Path) -> None:
    """Of a document that nobody listed the account has the name that its ending brings, made safe; a listed name stays."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(1), target(2), target(3)])
            key = await run.add_dataset("dify", "ds", listing=False)
            await run.describe(key, [(Document("doc-3", "listed"), "")])
            batch = [ending(row) for row in await handed(run)]
            names = {"doc-1": "one\x1b[31m", "doc-2": "", "doc-3": "another"}
            await run.settled([(row, s._replace(name=names[s.target.document])) for row, s in batch])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert {s.target.document: s.name for s in run.settled()} == {
            "doc-1": safe("one\x1b[31m"),
            "doc-2": "",
            "doc-3": "listed",
        }


def test_a_session_that_ended_without_a_word_leaves_doubt(tmp_path: Path) -> None:
    """What it had handed over, and only that, may have been in flight; a clean end leaves no doubt."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            await run.add_documents(key, [(document(number, indexing=number == 2), "") for number in range(1, 9)])
            pages = run.pages("dify", 3)
            first = await anext(pages)
            await run.settled([ending(first[0])])
            second = await anext(pages)
            assert [row.handed for row in first + second] == [False] * 6
        with Run.open(tmp_path / "a.run") as reader:
            assert reader.state == "crashed"
        doubts = [("3", True), ("4", True), ("5", True), ("6", True), ("7", True), ("8", False), ("2", False)]
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert [(row.target.document[-1], row.handed) for row in await handed(run)] == doubts
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            # The clean session in between adds nothing, and takes nothing away.
            assert [(row.target.document[-1], row.handed) for row in await handed(run)] == doubts

    asyncio.run(main())


def test_doubt_follows_a_document_that_was_described_anew(tmp_path: Path) -> None:
    """One that was handed over as ready and is being indexed now (or the reverse) is still in doubt."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            await run.add_documents(key, [(document(number, indexing=number == 2), "") for number in range(1, 5)])
            await anext(run.pages("dify", 2))  # 1 and 3
        async with await RunFile.open(tmp_path / "a.run") as run:
            rows = [(document(number, indexing=number in (1, 4)), "") for number in range(1, 5)]
            assert await run.describe(key, rows) == 4
            found = [(row.target.document[-1], row.handed) for row in await handed(run)]
            # 2 waited then and is ready now, behind the mark: in doubt too, which harms nothing.
            assert found == [("2", True), ("3", True), ("1", True), ("4", False)]

    asyncio.run(main())


def test_rejected_documents_are_tried_again_only_where_asked(tmp_path: Path) -> None:
    """Their first endings stay in the file, fulfilled ones stay closed, and what was given up is in doubt."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await handed(run)
            await run.settled(
                [
                    ending(rows[0]),
                    ending(rows[1], "archived", "archived"),
                    ending(rows[2], "gave_up", "timeout", 6),
                    ending(rows[3], "already_gone"),
                ]
            )
            await run.close("incomplete", 1)
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert await handed(run) == []
            with pytest.raises(ConfigurationError, match="before anything is handed over"):
                await run.retry_rejected()
            await run.close("incomplete", 1)
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert await run.retry_rejected() == 2
            again = await handed(run)
            assert [(row.target.document[-1], row.handed) for row in again] == [("2", False), ("3", True)]
            await run.settled([ending(row) for row in again])
            with pytest.raises(BrokenPromise):
                await run.settled([ending(again[0], "archived")])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(4, 4, 0, deleted=3, already_gone=1)
        assert [session.retried for session in run.sessions()] == [0, 0, 2]
        earlier = [(one.name, one.outcome, one.reason, one.attempts, session) for one, session in run.earlier_endings()]
        assert earlier == [("name 2", "archived", "archived", 1, 3), ("name 3", "gave_up", "timeout", 6, 3)]


def test_what_has_settled_is_left_out_no_more(tmp_path: Path) -> None:
    """A listing that comes after an ending describes the document, and changes neither its ending nor the counts."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(1), target(2)])
            (first, _) = await handed(run)
            await run.settled([ending(first)])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            key = await run.add_dataset("dify", "ds", "Things", listing=False)
            rows = [(Document(f"doc-{n}", f"name {n}"), "being indexed") for n in (1, 2)]
            assert await run.describe(key, rows) == 2
            assert await handed(run) == []
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(2, 1, 1, deleted=1)
        assert [settled.target.document for settled in run.settled()] == ["doc-1"]


def test_a_line_that_was_left_out_stays_so_when_it_is_listed(tmp_path: Path) -> None:
    """A target that is being indexed, and then stands in a listing too, is two places that are both skipped."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job")) as run:
            await run.add_targets([target(1)])
            key = await run.add_dataset("dify", "ds", "Things")
            assert await run.describe(key, [(Document("doc-1", "one"), "being indexed")]) == 1
            assert await run.add_documents(key, [(Document("doc-1", "one"), "")]) == Added(1, 0, 1, 1)
            assert await handed(run) == []
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(2, 0, 2)


def test_pages_of_a_listing_add_up(tmp_path: Path) -> None:
    """Each page says what was new of it, selected and left out; the dataset's counts are their sum."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds", "Things")
            page = [(document(1), ""), (document(2), "archived"), (document(3), "too new"), (document(1), "")]
            assert await run.add_documents(key, page) == Added(3, 1, 2, 0)
            assert await run.add_documents(key, [(document(4), "archived"), (document(3), "")]) == Added(1, 0, 1, 0)
            whole = await run.finish_listing(key, complete=True)
            assert (whole.listed, whole.selected, whole.skipped) == (4, 1, 3)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(4, 1, 3, not_attempted=1)


def test_what_the_run_knows_of_documents(tmp_path: Path) -> None:
    """Looking ids up tells those that came newly from those that were refused, left out or should be gone."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            await run.add_documents(key, [*listed(2), (document(3), "too young")])
            rows = await handed(run)
            await run.settled([ending(rows[0], "refused")])
            ids = [document(number).id for number in range(1, 5)]
            assert await run.known(key, ids) == {
                ids[0]: Known(1, False, "refused"),
                ids[1]: Known(2, False, None),
                ids[2]: Known(3, True, None),
            }

    asyncio.run(main())


def test_ids_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    """Any string can be an id: empty, with a NUL, with half a surrogate pair; each comes back as it was."""
    ids = ["", "\x00", "a\x00b", "\ud800", "é", "\U0001f600", "' OR 1=1", "a" * 5000]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([Target("dify", id, id) for id in ids])
            rows = await handed(run)
            assert [row.target for row in rows] == [Target("dify", id, id) for id in ids]
            await run.settled([ending(row) for row in rows])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [s.target.document for s in run.settled()] == ids
        assert len(run.digest()) == 64


def test_words_from_outside_are_made_safe(tmp_path: Path) -> None:
    """Names, states and reasons are kept without anything that a terminal would obey (S20)."""
    nasty = "a\x1b[31mred\x07\nb"

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds", nasty)
            await run.add_documents(key, [(Document("1", nasty, status=nasty), ""), (Document("2", nasty), nasty)])
            (row,) = await handed(run)
            assert row.name == "a red b" or "\x1b" not in row.name
            await run.settled([ending(row, "refused", nasty)])
            await run.end_dataset(key, "incomplete", nasty)
            await run.verified(key, remaining=2, new=[nasty], still_there=[nasty])
            await run.close("incomplete", 1, reason=nasty)

    asyncio.run(main())
    raw = (tmp_path / "a.run").read_bytes()
    assert b"\x1b[31m" not in raw
    assert rb"\u001b" not in raw


def test_counters_add_up_over_sessions(tmp_path: Path) -> None:
    """Requests, pauses, requeues and waits are sums over all sessions, in all and per provider."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run") as run:
            await run.count([Count("dify", "requests", 5), Count("dify", "requeued", 2, "indexing")])
            await run.count(
                [Count("dify", "requests"), Count("langdock", "pauses"), Count("langdock", "waited", 1.5, "pause")]
            )
            await run.count([Count("dify", "bytes", 100, "listing"), Count("dify", "bytes", 20, "listing")])
            with pytest.raises(ConfigurationError, match="'nobody'"):
                await run.count([Count("dify", "requests", 100), Count("nobody", "requests")])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            await run.count([Count("langdock", "requests", 4), Count("dify", "requeued", 1, "trouble")])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        total = run.counters()
        assert (total.requests, total.pauses) == (10, 1)
        assert (total.requeued, total.waited_s) == ({"indexing": 2, "trouble": 1}, {"pause": 1.5})
        assert total.other == {("bytes", "listing"): 120}
        assert run.counters("langdock").requests == 4


def test_a_closed_file_says_so(tmp_path: Path) -> None:
    """Closing twice is harmless, using it afterwards is refused."""

    async def main() -> None:
        run = await planned(tmp_path / "a.run")
        await run.close("complete", 0)
        await run.close("incomplete", 1)
        with pytest.raises(RunFileError, match="closed"):
            await run.add_dataset("dify", "ds")

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as reader:
        assert reader.state == "complete"


def test_a_cancelled_caller_takes_nothing_back(tmp_path: Path) -> None:
    """A batch whose caller was cancelled is written all the same, and the file goes on working."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            one, two = await handed(run)
            waiting = asyncio.create_task(run.settled([ending(one)]))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await run.settled([ending(two)])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as reader:
        assert reader.counts().deleted == 2


def test_a_cancelled_opening_lets_go(tmp_path: Path) -> None:
    """A file whose opening was cancelled can be opened again at once."""

    async def main() -> None:
        await (await planned(tmp_path / "a.run", 2)).close("interrupted", 130)
        opening = asyncio.create_task(RunFile.open(tmp_path / "a.run"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        for _ in range(10_000):  # the thread lets go when it gets there
            try:
                run = await RunFile.open(tmp_path / "a.run")
            except RunFileError as error:
                assert "used by" in str(error)  # noqa: PT017
                continue
            await run.close("complete", 0)
            break

    asyncio.run(main())


def test_a_clock_that_is_set_back_changes_nothing(tmp_path: Path) -> None:
    """Order is the order of rows and sessions, never of times; an age is never negative (S19)."""
    times = iter([1000.0, 999.0, 10.0, 5.0, 5.0, 1.0, 0.5, 0.1, 0.1, 0.1])

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3, now=lambda: next(times)) as run:
            rows = await handed(run)
            await run.settled([ending(row, at=100.0 - row.row) for row in rows[:2]])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run", now=lambda: next(times)) as run:
            (row,) = await handed(run)
            await run.settled([ending(row, at=3.0)])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.state == "complete"
        assert [session.status for session in run.sessions()] == ["interrupted", "complete"]
        assert [s.target.document[-1] for s in run.settled()] == ["1", "2", "3"]
        assert run.age(0.0) == 0.0


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Targets go in from a generator and come out in pages, and no more than a batch and a page is held (S18)."""
    count = 20_000

    async def main() -> int:
        async with await RunFile.create(tmp_path / "a.run", header("delete"), connect=connecting()) as run:
            tracemalloc.start()
            try:
                await run.add_targets(target(number) for number in range(count))
                seen = 0
                async for page in run.pages("dify"):
                    seen += len(page)
                    await run.settled([ending(row) for row in page])
                assert seen == count
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            await run.close("complete", 0)
            return peak

    assert asyncio.run(main()) < 3_000_000  # 20,000 rows in memory would be 10 MB


def test_the_files_are_whole_at_every_acknowledgement(tmp_path: Path) -> None:
    """A copy of the files taken after any call holds everything that was acknowledged (S10)."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 6) as run:
            for step, row in enumerate(await handed(run)):
                await run.settled([ending(row)])
                with Run.open(crashed_copy(run.path, tmp_path / f"copy {step}?#%")) as copy:
                    assert copy.counts() == Counts(6, 6, 0, deleted=step + 1, not_attempted=5 - step)
                    assert copy.state == "crashed"
                    assert copy.go_on()

    asyncio.run(main())


def test_a_provider_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    """Naming one is the caller's mistake, and the file goes on working."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            with pytest.raises(ConfigurationError, match="no provider of that name: 'x'"):
                await run.add_targets([Target("x", "ds", "1")])
            with pytest.raises(ConfigurationError, match="'x'"):
                await anext(run.pages("x"))
            with pytest.raises(ConfigurationError, match="at least one row"):
                run.pages("dify", 0)
            await run.add_targets([target(1)])
            assert run.header.providers[0] == DIFY

    asyncio.run(main())


def test_a_listed_time_comes_back_as_it_was(tmp_path: Path) -> None:
    """A page of documents carries each creation time to the last bit, as the listing gave it; None stays None."""
    times = [None, 0.0, 0.1, 1763770000.0, 1763770000.123, 1763770000.123456, 1e-9, -1.5, 4102444799.9999995]
    documents = [replace(document(number), created_at=at) for number, at in enumerate(times)]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            key = await run.add_dataset("dify", "ds")
            await run.add_documents(key, [(one, "") for one in documents])
            assert [row.document for row in await handed(run)] == documents
            await run.close(None, None)

    asyncio.run(main())
