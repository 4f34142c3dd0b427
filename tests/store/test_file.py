"""A run file holds the plan, hands it over once, and keeps every ending."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkdel.errors import BrokenPromise, ConfigurationError, RunFileError
from bulkdel.model import MAY_BE_GONE, Document, Limits, PurgeRequest, Selection, Settled, Target
from bulkdel.report import Counts, DatasetReport, ProviderAccount
from bulkdel.store import ListedRow, ProviderHeader, Run, RunFile, RunHeader
from bulkdel.text import sanitize
from tests.store.helpers import (
    DIFY,
    claimed,
    connect,
    crashed_copy,
    document,
    ending,
    endings,
    header,
    list_all,
    listed,
    of_sqlite_3_24,
    planned,
    sqlite,
    target,
)


def test_what_was_asked_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is read back as it was written, by the writer and by a reader."""
    monkeypatch.setattr(time, "time", lambda: 123.5)
    selection = Selection(names=("tmp-*", "old-*"), created_before=1_700_000_000.0)
    asked = header("job", (PurgeRequest("dify", "ds", selection),), deadline="2h", keys={"prod": ["PROD_KEY", 7, None]})

    async def main() -> RunHeader:
        async with await RunFile.create(tmp_path / "a.run", asked) as run:
            await run.close("complete", 0)
            return run.header

    written = asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.header == written
        assert written == replace(asked, created_at=123.5)


def test_what_was_asked_is_there_from_the_first_moment(tmp_path: Path) -> None:
    """A run that is killed before it listed anything has forgotten no dataset, and knows which targets it was given."""
    asked = (
        PurgeRequest("dify", "one"),
        PurgeRequest("langdock", "two", Selection(statuses=("TIMEOUT",))),
        PurgeRequest("dify", "two"),
    )

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job", asked, targets=True)) as run:
            with Run.open(crashed_copy(run.path, tmp_path / "first")) as copy:
                assert copy.header == run.header
                assert copy.header.datasets == asked
                assert set(copy.listings().values()) == {"open"}
                assert (copy.targets, copy.input_truncated) == ("open", True)
                assert not copy.resumable  # some of its targets are not in it
            await run.begin_listing("langdock", "two", "Two")
            await run.add_targets([target(1)])
            await run.end_targets(complete=True)
            with Run.open(crashed_copy(run.path, tmp_path / "second")) as copy:
                assert copy.header.datasets == asked
                assert [dataset.name for dataset in copy.account().datasets.values()] == ["", "Two", "", ""]
                assert copy.targets == "complete"

    asyncio.run(main())
    with pytest.raises(ConfigurationError, match="no provider of that name: 'x'"):
        asyncio.run(RunFile.create(tmp_path / "b.run", header("job", (PurgeRequest("x", "one"),))))
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
        max_concurrency, rate_is_default, api_key = 2, False, "dataset-sesame"

    kept = ProviderHeader.of(Keyed())  # type: ignore[arg-type]
    assert kept == ProviderHeader("prod", "dify", "http://h/v1", Limits(concurrency=2), "0f" * 8, 2, False)
    assert "sesame" not in repr(kept)


def test_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask, the file and all that lies beside it have mode 0600; after closing one file is left."""

    def modes() -> dict[str, int]:
        return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}

    async def main() -> None:
        async with await planned(tmp_path / "a.run") as run:
            assert modes() == dict.fromkeys(("a.run", "a.run-wal", "a.run-shm", "a.run.held"), 0o600)
            await run.close("complete", 0)

    for mask in (0o000, 0o077):
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


def test_ready_documents_are_claimed_first(tmp_path: Path) -> None:
    """Pages hold the open documents of one provider in input order: ready ones, then those being indexed."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            rows = [
                ListedRow(
                    document(number, indexing=number % 4 == 0, archived=number == 3), "old" if number == 5 else ""
                )
                for number in range(1, 11)
            ]
            await list_all(run, listed(3, first=100), "langdock", "folder")
            await list_all(run, rows)
            pages = [page async for page in run.pages("dify", 3)]
            assert [[int(row.target.document[-2:]) for row in page] for page in pages] == [
                [1, 2, 3],
                [6, 7, 9],
                [10],
                [4, 8],
            ]
            third = pages[0][2]
            assert third.document == document(3, archived=True)
            assert (third.target.dataset, third.others, third.in_doubt) == ("ds", {}, False)
            assert len(await claimed(run, "langdock")) == 3

    asyncio.run(main())


def test_each_document_is_claimed_once_a_session(tmp_path: Path) -> None:
    """Asking for pages again gives what was added since, never what was given before."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 5) as run:
            first = run.pages("dify", 2)
            assert [len(await anext(first)), len(await anext(run.pages("dify", 2)))] == [2, 2]
            assert len(await anext(first)) == 1
            assert await claimed(run) == []
            await list_all(run, listed(2, first=50), dataset="other")
            assert [row.target.document[-2:] for row in await claimed(run)] == ["50", "51"]

    asyncio.run(main())


def test_a_listing_that_shows_a_document_twice_counts_it_once(tmp_path: Path) -> None:
    """Rows shift between a listing's pages: the second time is ignored, in the same batch and in a later one."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await run.begin_listing("dify", "ds")
            assert await run.add_listed("dify", "ds", listed(3) + listed(2)) == listed(3)
            assert await run.add_listed("dify", "ds", listed(2, first=3)) == listed(1, first=4)
            await run.end_listing("dify", "ds", complete=True)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert len(list(run.listed())) == run.counts().listed == 4


def test_repeated_targets_settle_together(tmp_path: Path) -> None:
    """A line that repeats a target is claimed with the first, and both have its ending, in the order of the lines."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            lines = [target(1), target(2), target(1), target(1, "other"), target(2), target(3), target(1)]
            await run.add_targets(lines)
            rows = await claimed(run)
            assert [(row.target.dataset, row.target.document, 1 + len(row.others)) for row in rows] == [
                ("ds", "doc-1", 3),
                ("ds", "doc-2", 2),
                ("other", "doc-1", 1),
                ("ds", "doc-3", 1),
            ]
            assert all(row.document is None for row in rows)
            await run.settled([*endings(rows[0]), *endings(rows[1], "refused", "no"), ending(rows[2], "already_gone")])
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
        assert [dataset for _, dataset in run.account().datasets] == [f"ds-{n}" for n in range(20)]


def test_lines_of_several_datasets_in_one_page(tmp_path: Path) -> None:
    """Each line of a page is claimed with its own dataset and its own row, none of them in doubt."""

    async def main() -> None:
        lines = [target(n, f"ds-{n % 3}") for n in range(9)]
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets(lines)
            rows = await claimed(run)
            assert [row.target for row in rows] == lines
            assert [(row.row, row.document, row.in_doubt, row.others) for row in rows] == [
                (place, None, False, {}) for place in range(1, 10)
            ]

    asyncio.run(main())


def test_a_sqlite_of_2018_is_enough(tmp_path: Path) -> None:
    """A run is planned, deleted, left and gone on with by the functions and within the limits of SQLite 3.24."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 1500) as run:
            await run.add_targets([*(target(n) for n in range(1500)), target(1), target(2)])
            rows = await claimed(run)
            assert len(rows) == 3000
            await run.settled([place for row in rows[:1499] for place in endings(row)])
            await run.settled([ending(rows[1499], "refused", "no"), ending(rows[1500], "not_attempted")])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert await run.retry_rejected() == 1
            assert await run.describe("dify", "ds", [row.document for row in listed(3, 1500)]) == 1
            rows = await claimed(run)
            assert len(rows) == 1501
            await run.settled([place for row in rows for place in endings(row)])
            await run.end_dataset(DatasetReport("dify", "ds", remaining=0))
            await run.close("complete", 0)

    with sqlite(of_sqlite_3_24):
        asyncio.run(main())
        with Run.open(tmp_path / "a.run") as run:
            assert run.counts() == Counts(3002, 3002, 0, deleted=3002)
            assert len(run.digest()) == 64
            assert run.plan().selected == run.answers_lost() == 0


@pytest.mark.parametrize("crash", [False, True])
def test_a_listing_that_did_not_end_is_forgotten(tmp_path: Path, crash: bool) -> None:
    """S15: nothing of it is ever claimed; it is dropped, at its end or when the next session lists again."""

    async def main() -> None:
        asked = (PurgeRequest("dify", "ds"), PurgeRequest("dify", "other"))
        async with await RunFile.create(tmp_path / "a.run", header("job", asked)) as run:
            await run.begin_listing("dify", "ds", "Things")
            await run.add_listed("dify", "ds", [*listed(4), ListedRow(document(5), "too young")])
            await list_all(run, listed(5), dataset="other")
            assert [row.target.dataset for row in await claimed(run)] == ["other"] * 5
            if not crash:
                await run.end_listing("dify", "ds", complete=False, reason="page 3 answered 500")
                with Run.open(tmp_path / "a.run") as reader:
                    assert reader.account().datasets["dify", "ds"].reason == "page 3 answered 500"
                    assert reader.counts() == Counts(5, 5, 0, not_attempted=5)
        async with await RunFile.open(tmp_path / "a.run") as run:
            await list_all(run, listed(3))
            again = await claimed(run)
            assert sorted((row.target.dataset, row.in_doubt) for row in again) == [
                *[("ds", False)] * 3,
                *[("other", True)] * 5,
            ]
            await run.settled([ending(row) for row in again])
            with pytest.raises(BrokenPromise, match="cannot be forgotten"):
                await run.begin_listing("dify", "ds")
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.counts() == Counts(8, 8, 0, deleted=8)


def test_targets_are_described_by_a_listing(tmp_path: Path) -> None:
    """What a listing says of explicit targets decides when they come; its other documents are none of the run's."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(1), target(2), target(3), target(1)])
            documents = [Document("doc-1", "one", indexing=True), Document("doc-2", "two"), Document("doc-8", "eight")]
            assert await run.describe("dify", "ds", documents) == 2
            rows = await claimed(run)
            assert [(row.target.document, row.document and row.document.name) for row in rows] == [
                ("doc-2", "two"),
                ("doc-3", None),
                ("doc-1", "one"),
            ]
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [row.name for row in run.listed()] == ["one", "two", "", "one"]


def test_what_was_skipped_never_settles(tmp_path: Path) -> None:
    """An ending for a document that was left out is a broken promise."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await list_all(run, [ListedRow(document(1), "too young")])
            assert await claimed(run) == []
            settled = Settled(Target("dify", "ds", document(1).id), "deleted", "", 1, "", 0.0)
            with pytest.raises(BrokenPromise, match="not selected"):
                await run.settled([(1, settled)])

    asyncio.run(main())


def test_an_ending_never_changes(tmp_path: Path) -> None:
    """The same ending again is ignored, another is a broken promise that leaves no trace (S9)."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3) as run:
            one, two, three = await claimed(run)
            await run.settled([ending(one, "deleted", "first", 2)])
            await run.settled([ending(one, "deleted", "again", 5)])
            with pytest.raises(BrokenPromise, match="cannot settle again"):
                await run.settled([ending(two), ending(one, "already_gone")])
            with pytest.raises(BrokenPromise, match="cannot settle again as not_attempted"):
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
            rows = await claimed(run)
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

    def watched(name: str, **how: Any) -> sqlite3.Connection:
        connection = connect(name, **how)
        connection.set_trace_callback(watch)
        return connection

    async def main() -> None:
        with sqlite(watched):
            run = await planned(tmp_path / "a.run", 40)
        async with run:
            rows = await claimed(run)
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
    """It is claimed again by the next session, with the attempts that it cost; one whose answer was lost is in doubt, one that was refused is not."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await claimed(run)
            await run.settled(
                [ending(rows[0], "not_attempted", "the key was refused", 0), ending(rows[1], "not_attempted", "503", 2)]
            )
            lost = f"504; {MAY_BE_GONE}"
            await run.settled([ending(rows[1], "not_attempted", lost, 3), ending(rows[2])])
            await run.settled([ending(rows[3], "not_attempted", "429", 1)])
            await run.close("stopped", 4, reason="the key was refused")
        with Run.open(tmp_path / "a.run") as reader:
            assert [(s.attempts, s.reason) for s in reader.not_attempted()] == [(0, ""), (3, lost), (1, "429")]
            assert reader.counts() == Counts(4, 4, 0, deleted=1, not_attempted=3)
        async with await RunFile.open(tmp_path / "a.run") as run:
            again = await claimed(run)
            assert [(row.target.document[-1], row.in_doubt) for row in again] == [
                ("1", False),
                ("2", True),
                ("4", False),
            ]
            await run.settled([ending(row) for row in again])
            await run.close("complete", 0)

    asyncio.run(main())


def test_a_mixed_batch_keeps_each_reason(tmp_path: Path) -> None:
    """Reasons that were new in a batch of endings and of what was not attempted come back as they were given."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await claimed(run)
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
    """Of a document that was not listed the account has the name that its ending brings, made safe; a listed name stays."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(1), target(2), target(3)])
            await run.describe("dify", "ds", [Document("doc-3", "listed")])
            batch = [ending(row) for row in await claimed(run)]
            names = {"doc-1": "one\x1b[31m", "doc-2": "", "doc-3": "another"}
            await run.settled([(row, s._replace(name=names[s.target.document])) for row, s in batch])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert {s.target.document: s.name for s in run.settled()} == {
            "doc-1": sanitize("one\x1b[31m"),
            "doc-2": "",
            "doc-3": "listed",
        }


def test_a_session_that_ended_without_a_word_leaves_doubt(tmp_path: Path) -> None:
    """What it had claimed, and only that, may have been in flight; a clean end leaves no doubt."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await list_all(run, [ListedRow(document(number, indexing=number == 2), "") for number in range(1, 9)])
            pages = run.pages("dify", 3)
            first = await anext(pages)
            await run.settled([ending(first[0])])
            second = await anext(pages)
            assert [row.in_doubt for row in first + second] == [False] * 6
        with Run.open(tmp_path / "a.run") as reader:
            assert reader.state == "crashed"
        doubts = [("3", True), ("4", True), ("5", True), ("6", True), ("7", True), ("8", False), ("2", False)]
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert [(row.target.document[-1], row.in_doubt) for row in await claimed(run)] == doubts
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            # The clean session in between adds nothing, and takes nothing away.
            assert [(row.target.document[-1], row.in_doubt) for row in await claimed(run)] == doubts

    asyncio.run(main())


def test_rejected_documents_are_tried_again_only_where_asked(tmp_path: Path) -> None:
    """Their first endings stay in the file, fulfilled ones stay closed, and what was given up is in doubt."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 4) as run:
            rows = await claimed(run)
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
            assert await claimed(run) == []
            await run.close("incomplete", 1)
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert await run.retry_rejected() == 2
            again = await claimed(run)
            assert [(row.target.document[-1], row.in_doubt) for row in again] == [("2", False), ("3", True)]
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


def test_what_the_run_knows_of_documents(tmp_path: Path) -> None:
    """Looking ids up distinguishes those that came newly from those that were refused, left out or should be gone."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await list_all(run, [*listed(2), ListedRow(document(3), "too young")])
            rows = await claimed(run)
            await run.settled([ending(rows[0], "refused")])
            ids = [document(number).id for number in range(1, 5)]
            assert await run.states("dify", "ds", ids) == ["refused", "selected", "skipped", None]

    asyncio.run(main())


def test_ids_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    """Any string can be an id: empty, with a NUL, with half a surrogate pair; each comes back as it was."""
    ids = ["", "\x00", "a\x00b", "\ud800", "é", "\U0001f600", "' OR 1=1", "a" * 5000]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([Target("dify", id, id) for id in ids])
            rows = await claimed(run)
            assert [row.target for row in rows] == [Target("dify", id, id) for id in ids]
            await run.settled([ending(row) for row in rows])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [s.target.document for s in run.settled()] == ids
        assert len(run.digest()) == 64


def test_words_from_outside_are_made_sanitize(tmp_path: Path) -> None:
    """Names, states and reasons are kept without anything that a terminal would obey (S20)."""
    nasty = "a\x1b[31mred\x07\nb"

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            rows = [ListedRow(Document("1", nasty, status=nasty), ""), ListedRow(Document("2", nasty), nasty)]
            await list_all(run, rows, name=nasty)
            (row,) = await claimed(run)
            assert row.document is not None
            assert "\x1b" not in row.document.name
            await run.settled([ending(row, "refused", nasty)])
            report = DatasetReport(
                "dify", "ds", nasty, "incomplete", nasty, remaining=2, new=(nasty,), still_there=(nasty,)
            )
            await run.end_dataset(report)
            await run.close("incomplete", 1, reason=nasty)

    asyncio.run(main())
    raw = (tmp_path / "a.run").read_bytes()
    assert b"\x1b[31m" not in raw
    assert rb"\u001b" not in raw


def test_costs_are_those_of_all_sessions(tmp_path: Path) -> None:
    """Requests, pauses, requeues and waits by provider: what is written down stands for the whole run."""
    first = ProviderAccount(5, 1, Counter(indexing=2), {"pause": 1.5})
    whole = ProviderAccount(9, 1, Counter(indexing=2, trouble=1), {"pause": 2.5, "rate": 0.25})

    async def main() -> None:
        async with await planned(tmp_path / "a.run") as run:
            await run.record_costs({"dify": first})
            with pytest.raises(ConfigurationError, match="'nobody'"):
                await run.record_costs({"dify": whole, "nobody": first})
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            with Run.open(run.path) as reader:
                assert reader.account().providers == {"dify": first, "langdock": ProviderAccount()}
            await run.record_costs({"dify": whole, "langdock": ProviderAccount(requests=4)})
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.account().providers == {"dify": whole, "langdock": ProviderAccount(requests=4)}


def test_a_closed_file_says_so(tmp_path: Path) -> None:
    """Closing twice is harmless, using it afterwards is refused."""

    async def main() -> None:
        run = await planned(tmp_path / "a.run")
        await run.close("complete", 0)
        await run.close("incomplete", 1)
        with pytest.raises(RunFileError, match="closed"):
            await run.begin_listing("dify", "ds")

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as reader:
        assert reader.state == "complete"


def test_a_cancelled_caller_takes_nothing_back(tmp_path: Path) -> None:
    """A batch whose caller was cancelled is written all the same, and the file goes on working."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            one, two = await claimed(run)
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


def test_a_clock_that_is_set_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order is the order of rows and sessions, never of times (S19)."""
    times = iter([1000.0, 999.0, 10.0, 5.0, 5.0, 1.0, 0.5, 0.1, 0.1, 0.1])
    monkeypatch.setattr(time, "time", lambda: next(times))

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3) as run:
            rows = await claimed(run)
            await run.settled([ending(row, at=100.0 - row.row) for row in rows[:2]])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            (row,) = await claimed(run)
            await run.settled([ending(row, at=3.0)])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.state == "complete"
        assert [session.status for session in run.sessions()] == ["interrupted", "complete"]
        assert [s.target.document[-1] for s in run.settled()] == ["1", "2", "3"]


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Targets go in from a generator and come out in pages, and no more than a batch and a page is held (S18)."""
    count = 20_000

    async def main() -> int:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            tracemalloc.start()
            try:
                for first in range(0, count, 2000):
                    await run.add_targets([target(number) for number in range(first, first + 2000)])
                await run.end_targets(complete=True)
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
            for step, row in enumerate(await claimed(run)):
                await run.settled([ending(row)])
                with Run.open(crashed_copy(run.path, tmp_path / f"copy {step}?#%")) as copy:
                    assert copy.counts() == Counts(6, 6, 0, deleted=step + 1, not_attempted=5 - step)
                    assert copy.state == "crashed"
                    assert copy.resumable

    asyncio.run(main())


def test_a_provider_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    """Naming one is the caller's mistake, and the file goes on working."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            with pytest.raises(ConfigurationError, match="no provider of that name: 'x'"):
                await run.add_targets([Target("x", "ds", "1")])
            with pytest.raises(ConfigurationError, match="'x'"):
                await anext(run.pages("x"))
            await run.add_targets([target(1)])
            assert run.header.providers[0] == DIFY

    asyncio.run(main())


def test_a_listed_time_comes_back_as_it_was(tmp_path: Path) -> None:
    """A page of documents carries each creation time to the last bit, as the listing gave it; None stays None."""
    times = [None, 0.0, 0.1, 1763770000.0, 1763770000.123, 1763770000.123456, 1e-9, -1.5, 4102444799.9999995]
    documents = [replace(document(number), created_at=at) for number, at in enumerate(times)]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await list_all(run, [ListedRow(one, "") for one in documents])
            assert [row.document for row in await claimed(run)] == documents
            await run.close(None, None)

    asyncio.run(main())


def test_a_run_without_a_file_keeps_the_same_promises() -> None:
    """In memory it plans, claims, settles and accounts for itself by the same rules, and leaves nothing behind."""

    async def main() -> None:
        async with await RunFile.create(None, header("delete")) as run:
            await run.add_targets([target(1), target(2), target(1)])
            await run.end_targets(complete=True)
            one, two = await claimed(run)
            assert (run.path, one.others) == (None, {3: target(1)})
            await run.settled([*endings(one), ending(two, "refused", "no")])
            with pytest.raises(BrokenPromise, match="cannot settle again"):
                await run.settled([ending(two)])
            assert await run.states("dify", "ds", ["doc-1", "doc-2", "doc-3"]) == ["deleted", "refused", None]
            await run.close("incomplete", 1)
            with pytest.raises(RunFileError, match="closed"):
                await run.states("dify", "ds", [])

    asyncio.run(main())
