"""A run file is read back as it was written, while a process writes it and afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from itertools import product
from pathlib import Path

import pytest

from bulkdel.engine.timeline import Sample
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Document, Limits, Outcome, Policy, PurgeRequest, Rate, RunStatus, Selection
from bulkdel.plan import LearnedRate, PlannedDataset
from bulkdel.report import Counts, DatasetReport
from bulkdel.store import ListedRow, PlannedRow, Run, RunFile, address
from bulkdel.store.header import from_json
from tests.store.helpers import (
    claimed,
    crashed_copy,
    document,
    ending,
    endings,
    header,
    list_all,
    listed,
    planned,
    target,
)

# The second is of a run file that an older bulkdel wrote.
LEARNED: dict[str, LearnedRate] = {
    "dify": (Rate(2.5, per=60), 7200.0, Rate(3, per=60)),
    "langdock": (Rate(40, per=60), 60.0),
}


def test_an_account_per_dataset(tmp_path: Path) -> None:
    """Counts are those of the rows, by dataset and in all; what was verified is named."""
    asked = (PurgeRequest("dify", "one"), PurgeRequest("langdock", "one"), PurgeRequest("dify", "gone"))
    one = DatasetReport(
        "dify", "one", "One", "incomplete", remaining=9, new=("x new",), new_count=1, still_there_count=30
    )
    one.still_there = tuple(f"{n} old" for n in range(30))

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job", asked)) as run:
            rows = [ListedRow(document(number), "too young" if number > 8 else "") for number in range(1, 11)]
            await list_all(run, [*rows, ListedRow(document(11), "synced")], dataset="one", name="One")
            await run.begin_listing("langdock", "one", "Folder")
            await run.add_listed("langdock", "one", listed(2, 50))
            await run.end_dataset(DatasetReport("dify", "gone", status="stopped", reason="no such dataset"))
            outcomes: list[Outcome] = ["deleted", "already_gone", "archived", "stuck_indexing", "refused", "refused"]
            work = zip(await claimed(run), outcomes, strict=False)
            await run.settled([ending(row, outcome, f"because {outcome}") for row, outcome in work])
            await run.end_dataset(one)
            await run.close("incomplete", 1, reason="rejected")

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        account = run.account()
        one.counts = Counts(11, 8, 3, deleted=1, already_gone=1, rejected=4, not_attempted=2)
        one.skipped_reasons = {"too young": 2, "synced": 1}
        one.still_there = one.still_there[:20]
        why = "its listing was broken off: there may be more documents than these 2"
        assert list(account.datasets.values()) == [
            one,
            DatasetReport("langdock", "one", "Folder", "incomplete", why, Counts(2, 2, 0, not_attempted=2)),
            DatasetReport("dify", "gone", "", "stopped", "no such dataset"),
        ]
        assert run.counts() == Counts(13, 10, 3, deleted=1, already_gone=1, rejected=4, not_attempted=4)
        assert account.rejected_by == {"refused": 2, "archived": 1, "stuck_indexing": 1}
        assert list(run.listings().values()) == ["complete", "open", "open"]
        assert [s.outcome for s in run.settled(["already_gone", "not_attempted"])] == ["already_gone"]
        assert [(s.outcome, s.reason, s.name) for s in run.rejected()] == [
            ("archived", "because archived", "name 3"),
            ("stuck_indexing", "because stuck_indexing", "name 4"),
            ("refused", "because refused", "name 5"),
            ("refused", "because refused", "name 6"),
        ]
        (session,) = run.sessions()
        assert (session.status, session.exit_status, session.reason, session.clean) == (
            "incomplete",
            1,
            "rejected",
            True,
        )
        assert session.elapsed_s is not None
        assert account.elapsed_s == session.elapsed_s >= 0


def test_a_plan_is_shown_for_review(tmp_path: Path) -> None:
    """What is left to delete, with what needs more than a DELETE, and each document with why it is left out."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("plan")) as run:
            rows = [
                ListedRow(document(1, archived=True), ""),
                ListedRow(document(2, indexing=True), ""),
                ListedRow(document(3, synced=True), "created too late"),
                ListedRow(document(4), ""),
                ListedRow(document(5, enabled=False), ""),
            ]
            await list_all(run, rows)
            await run.record_estimate(90.5, LEARNED)
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.state == "planned"
        assert run.resumable
        (shown,) = run.plan().datasets
        assert shown == PlannedDataset(
            "dify", "ds", "Things", 5, 4, {"created too late": 1}, 1, 1, 0, 1_600_000_001.0, 1_600_000_005.0
        )
        assert run.plan().seconds == 90.5
        assert run.plan().learned == LEARNED
        rows = list(run.listed())
        assert rows[2] == PlannedRow(
            rows[2].target, "name 3", 1_600_000_003.0, "available", False, False, "created too late", ""
        )
        assert [(row.archived, row.indexing) for row in rows[:2]] == [(True, False), (False, True)]

    async def resume() -> None:
        async with await RunFile.open(tmp_path / "a.run") as run:
            assert run.header.act == "plan"
            first = await claimed(run)
            assert [row.document for row in first] == [
                document(1, archived=True),
                document(4),
                document(5, enabled=False),
                document(2, indexing=True),
            ]
            await run.settled([ending(row) for row in first[:3]])
            await run.close("interrupted", 130)

    asyncio.run(resume())
    with Run.open(tmp_path / "a.run") as run:
        assert run.state == "interrupted"
        (shown,) = run.plan().datasets
        assert (shown.listed, shown.selected, shown.archived, shown.indexing) == (2, 1, 0, 1)


@pytest.mark.parametrize(
    ("status", "settle", "end", "state", "resumable"),
    [
        ("complete", True, "complete", "complete", False),
        ("incomplete", True, "incomplete", "incomplete", False),
        ("incomplete", True, None, "incomplete", True),
        ("refused", False, None, "refused", False),
        ("refused", True, None, "refused", True),
        ("stopped", True, None, "stopped", True),
        ("deadline", False, None, "deadline", True),
        ("interrupted", True, "complete", "interrupted", False),
        (None, True, None, "crashed", True),
        (None, False, None, "crashed", True),
    ],
)
def test_whether_a_run_can_be_resumed(
    tmp_path: Path, status: RunStatus | None, settle: bool, end: RunStatus | None, state: str, resumable: bool
) -> None:
    """It can if something selected has not settled, a dataset has not come to its end, or the provider stopped it; a refused one
    that claimed nothing would be refused again."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 3) as run:
            if settle:
                await run.settled([ending(row) for row in await claimed(run)])
            if end:
                await run.end_dataset(DatasetReport("dify", "ds", "Things", end))
            await run.close(status, None if status is None else 0, clean=status is not None)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert (run.state, run.resumable) == (state, resumable)


def test_a_plan_of_nothing_cannot_be_carried_out(tmp_path: Path) -> None:
    """Where nothing was selected, there is nothing to go on with."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("plan")) as run:
            await list_all(run, [])
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert (run.state, run.resumable) == ("planned", False)


def test_reading_is_in_nobodys_way(tmp_path: Path) -> None:
    """A reader sees what is committed while a session goes on, again and again, and holds nothing up."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 20) as run:
            with Run.open(run.path) as reader:
                for step, row in enumerate(await claimed(run)):
                    assert reader.counts().deleted == step
                    rows = reader.settled()
                    next(rows, None)  # half read, and left
                    await run.settled([ending(row)])
                assert reader.state == "running"
                assert not reader.resumable
                await run.close("complete", 0)
                assert reader.state == "complete"

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as reader:
        assert reader.counts().deleted == 20


def test_many_pages_of_rows(tmp_path: Path) -> None:
    """Rows come in the order of the input, page after page, whatever lies between them."""
    count = 2500

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(number % 1700, f"ds{number % 2}") for number in range(count)])
            rows = await claimed(run)
            ends = [endings(row, "deleted" if row.row % 5 else "refused") for row in rows if row.row % 7]
            await run.settled([place for ended in ends for place in ended])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        expected = [(f"ds{number % 2}", f"doc-{number % 1700}") for number in range(count)]
        rows = [(row.target.dataset, row.target.document) for row in run.listed()]
        assert rows == expected
        # 1,700 is even, so document and dataset repeat together, and the first of each has row number % 1700 + 1.
        first = [number % 1700 + 1 for number in range(count)]
        settled = [place for place, row in zip(expected, first, strict=True) if row % 7]
        assert [(s.target.dataset, s.target.document) for s in run.settled()] == settled
        assert sum(1 for _ in run.rejected()) == sum(1 for row in first if row % 7 and row % 5 == 0)
        assert sum(1 for _ in run.not_attempted()) == count - len(settled)
        counts = run.counts()
        assert counts.not_attempted == count - len(settled)


def test_the_digest_is_what_its_description_says(tmp_path: Path) -> None:
    """It can be computed from the settled rows by the words of its docstring alone."""
    names = ["b", "a", "é", "", "Z", "\U0001f600", "\ud83d", 'quote" back\\slash', "a/b"]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            targets = [target(0)._replace(provider=p, dataset=d, document=n) for n in names for d in "ba" for p in ("langdock", "dify")]  # fmt: skip
            await run.add_targets([*targets, *targets[3:9], targets[4]])
            work = [*await claimed(run), *await claimed(run, "langdock")]
            for row in work[:-3]:
                _, settled = ending(row, "refused" if row.row % 2 else "deleted", f"né {row.row}", at=1.0019)
                await run.settled([(place, settled) for place in (row.row, *row.others)])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        seen: dict[object, int] = {}
        rows = []
        for s in run.settled():
            seen[s.target] = seen.get(s.target, 0) + 1
            line = s.as_dict()
            assert line["settled_at"] == "1970-01-01T00:00:01.001+00:00"
            rows.append(
                [line["provider"], line["dataset"], line["document"], seen[s.target], line["name"], line["outcome"],
                 line["reason"], line["attempts"], line["settled_at"]]
            )  # fmt: skip
        rows.sort(key=lambda row: (row[0], row[1], "\ud83d" in row[2], row[2].encode("utf-8", "replace"), row[3]))
        lines = [
            json.dumps(row, ensure_ascii=False, separators=(",", ":")).replace("\ud83d", "\\ud83d") for row in rows
        ]
        assert max(seen.values()) == 3
        assert run.digest() == hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def test_the_digest_is_the_evidence_not_the_file(tmp_path: Path) -> None:
    """Another order of settling, another session, a plain copy: the same digest; another ending: another one."""

    async def one(path: Path, reverse: bool, refused: bool) -> str:
        async with await planned(path, 20) as run:
            rows = await claimed(run)
            for row in reversed(rows) if reverse else rows:
                await run.settled([ending(row, "refused" if refused and row.row == 7 else "deleted")])
            with Run.open(crashed_copy(path, path.with_suffix(".copy"))) as copy:
                digest = copy.digest()
            await run.close("complete", 0)
        async with await RunFile.open(path) as run:
            await run.close("complete", 0)
        with Run.open(path) as reader:
            assert reader.digest() == digest
        return digest

    async def main() -> None:
        digests = [
            await one(tmp_path / "a.run", False, False),
            await one(tmp_path / "b.run", True, False),
            await one(tmp_path / "c.run", False, True),
        ]
        assert digests[0] == digests[1] != digests[2]

    asyncio.run(main())


def test_nothing_settled_has_a_digest_too(tmp_path: Path) -> None:
    """It is that of nothing."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.digest() == hashlib.sha256(b"").hexdigest()
        assert list(run.settled()) == []


def test_every_session_is_distinguished_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who worked on it, with which bulkdel, from when to when, and how each came out: in words, in silence, by an error."""
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            assert run.session == 1
            clock[0] = 1060.0
            with Run.open(crashed_copy(run.path, tmp_path / "copy")) as copy:
                assert [s.settled_at for s in copy.not_attempted()] == [1000.0, 1000.0]
            await run.close("interrupted", 130, reason="a signal")
        with Run.open(tmp_path / "a.run") as reader:
            assert [s.settled_at for s in reader.not_attempted()] == [1060.0, 1060.0]
        clock[0] = 2000.0
        async with await RunFile.open(tmp_path / "a.run", act="retry", version="9.9") as run:
            assert run.session == 2
        with pytest.raises(KeyError):
            async with await RunFile.open(tmp_path / "a.run"):
                raise KeyError("ours")

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        sessions = run.sessions()
        assert {(one.pid, one.host) for one in sessions} == {(os.getpid(), socket.gethostname())}
        assert [(one.id, one.act, one.version, one.started_at, one.ended_at) for one in sessions] == [
            (1, "purge", "0.1.0", 1000.0, 1060.0),
            (2, "retry", "9.9", 2000.0, 2000.0),
            (3, "resume", "0.1.0", 2000.0, 2000.0),
        ]
        assert [(one.status, one.exit_status, one.reason, one.clean, one.retried) for one in sessions] == [
            ("interrupted", 130, "a signal", True, 0),
            (None, None, "", False, 0),
            (None, None, "KeyError", False, 0),
        ]
        assert run.account().elapsed_s == pytest.approx(sum(one.elapsed_s or 0.0 for one in sessions))


def test_everything_that_a_listing_says_of_a_document_is_kept(tmp_path: Path) -> None:
    """Each of its yes-and-no words by itself, its time (or none), its state and its name come back with the document."""
    said = [
        Document(f"doc-{n}", f"name {n}", float(n) if n % 3 else None, f"state {n % 4}" if n % 4 else "", *words)
        for n, words in enumerate(product((False, True), repeat=5))
    ]

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header()) as run:
            await list_all(run, [ListedRow(one, "") for one in said])
            rows = await claimed(run)
            assert sorted((row.document for row in rows if row.document), key=said.index) == said
            assert [row.document.indexing for row in rows if row.document] == [False] * 16 + [True] * 16
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [row[1:] for row in run.listed()] == [
            (one.name, one.created_at, one.status, one.indexing, one.archived, "", "") for one in said
        ]
        (left,) = run.plan().datasets
        assert (left.selected, left.archived, left.indexing, left.synced) == (32, 16, 16, 16)


def test_how_the_time_went_comes_back(tmp_path: Path) -> None:
    """Every stretch that was measured, by session and provider and in order, number for number."""
    one = Sample(0.0, 1.5, 3, 4, 1, 0.25, 0.75, 2, 8, 12.5, {"us": 0.5, "pause": 1.0})
    two = Sample(1.5, 0.5)

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            await run.add_samples("dify", [one, two])
            await run.add_samples("langdock", [two])
            with pytest.raises(ConfigurationError, match="no provider of that name: 'x'"):
                await run.add_samples("x", [one])
            await run.close("interrupted", 130)
        async with await RunFile.open(tmp_path / "a.run") as run:
            await run.add_samples("dify", [two, one])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.samples() == {1: {"dify": [one, two], "langdock": [two]}, 2: {"dify": [two, one]}}


@pytest.mark.parametrize(
    ("since", "until", "most", "stretch_s", "found"),
    [
        (1000.0, 1010.0, 5, 2.0, {"dify": {0: 3, 4: 1}, "langdock": {1: 1}}),
        (1000.0, 1010.0, 4, 2.5, {"dify": {0: 3, 3: 1}, "langdock": {1: 1}}),
        (1000.0, 1009.999, 100, 1.0, {"dify": {0: 2, 1: 1}, "langdock": {3: 1}}),
        (1000.001, 1003.0, 100, 1.0, {"dify": {0: 2}}),
        (2000.0, 3000.0, 5, 1.0, {}),
    ],
)
def test_endings_are_counted_by_stretch(
    tmp_path: Path, since: float, until: float, most: int, stretch_s: float, found: dict[str, dict[int, int]]
) -> None:
    """From the first moment on and before the last, in stretches of a second or as long as there may be so many of."""

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([*(target(n) for n in range(5)), target(9)._replace(provider="langdock")])
            rows = await claimed(run)
            times = (1000.0, 1000.5, 1001.0, 1009.999)
            await run.settled([ending(row, at=at) for row, at in zip(rows, times, strict=False)])
            await run.settled([ending(row, at=1003.0) for row in await claimed(run, "langdock")])
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.endings_in(since, until, most) == (stretch_s, found)


def test_what_was_asked_of_a_dataset_is_its_own(tmp_path: Path) -> None:
    """A dataset's own selection holds for it alone, of two with one id too; for the others it is the run's."""
    own = Selection(statuses=("TIMEOUT",), created_before=5.0)
    asked = (PurgeRequest("dify", "one"), PurgeRequest("langdock", "one", own))

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("job", asked)) as run:
            await run.add_targets([target(1, "named")])
            await run.end_targets(complete=True)
            await run.begin_listing("dify", "one", "One")
            await run.end_listing("dify", "one", complete=False)
            with Run.open(run.path) as reader:
                assert reader.listings()["dify", "one"] == "incomplete"
                assert not reader.begun
            await list_all(run, listed(1), dataset="one", name="")
            await claimed(run)
            await run.close("interrupted", 130)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert run.begun
        assert run.header.datasets == asked
        assert run.listings() == {
            ("dify", "one"): "complete",
            ("langdock", "one"): "open",
            ("dify", "named"): "none",
        }
        assert [dataset.name for dataset in run.account().datasets.values()] == ["One", "", ""]


def test_the_last_verification_counts(tmp_path: Path) -> None:
    """More is counted than named; a later look stands in the place of an earlier one."""

    async def main() -> None:
        async with await planned(tmp_path / "a.run", 2) as run:
            report = DatasetReport(
                "dify", "ds", "Things", "incomplete", remaining=60, new_count=57, still_there_count=3
            )
            report.new, report.still_there = tuple(f"new {n}" for n in range(25)), ("old",)
            await run.end_dataset(report)
            with Run.open(run.path) as reader:
                found = reader.account().datasets["dify", "ds"]
                assert found.new == tuple(f"new {n}" for n in range(20))
                assert (found.new_count, found.still_there, found.still_there_count) == (57, ("old",), 3)
            await run.end_dataset(DatasetReport("dify", "ds", "Things", "complete", remaining=0))
            await run.close("complete", 0)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        found = run.account().datasets["dify", "ds"]
        assert (found.remaining, found.new, found.new_count, found.still_there_count) == (0, (), 0, 0)


def test_every_earlier_ending_is_read(tmp_path: Path) -> None:
    """Documents that were rejected twice and tried again twice have both endings, in input order, page after page."""
    count = 1_100

    async def main() -> None:
        async with await RunFile.create(tmp_path / "a.run", header("delete")) as run:
            await run.add_targets([target(n) for n in range(count)])
            await run.settled([ending(row, "refused", "first", 1, at=1.25) for row in await claimed(run)])
            await run.close("incomplete", 1)
        for session in (2, 3):
            async with await RunFile.open(tmp_path / "a.run") as run:
                assert await run.retry_rejected() == count
                await run.settled([ending(row, "gave_up", "again", session, at=2.5) for row in await claimed(run)])
                await run.close("incomplete", 1)

    asyncio.run(main())
    with Run.open(tmp_path / "a.run") as run:
        assert [
            (one.target, one.outcome, one.reason, one.attempts, one.settled_at, session)
            for one, session in run.earlier_endings()
        ] == [
            (target(n), *ended)
            for n in range(count)
            for ended in (("refused", "first", 1, 1.25, 2), ("gave_up", "again", 2, 2.5, 3))
        ]


# ---------------------------------------------------------------------- what another bulkdel wrote


def test_what_another_bulkdel_wrote_is_read() -> None:
    """What it did not say is left at its default, and what it says beyond that is not asked for."""
    for text, value in [
        ("{}", Policy()),
        ('{"attempts":7,"patience":1}', Policy(attempts=7)),
        ("{}", Selection()),
        ('{"names":["a*"]}', Selection(names=("a*",))),
        ('{"statuses":["x"],"created_before":2}', Selection(statuses=("x",), created_before=2)),
        ("{}", Limits()),
        ('{"rate":{"n":5,"per":60,"burst":9},"concurrency":3}', Limits(Rate(5, per=60), 3)),
    ]:
        assert from_json(type(value), text, "a.run", "what") == value


def test_a_condition_of_a_newer_bulkdel_is_refused() -> None:
    """A selection of which a part is not understood would list and delete more than was asked for; a policy does not."""
    with pytest.raises(RunFileError, match=r"newer bulkdel.*\(what\.select\.tags\): a\.run$") as refused:
        from_json(
            PurgeRequest, '{"provider":"p","dataset":"d","select":{"names":["a*"],"tags":["x"]}}', "a.run", "what"
        )
    assert "upgrade bulkdel" in refused.value.hint


@pytest.mark.parametrize(
    ("base_url", "kept"),
    [
        ("https://host/v1", "https://host/v1"),
        ("https://me:sesame@host:8443/v1/?token=sesame#sesame", "https://host:8443/v1"),
        ("http://se@sa@me@host/", "http://host"),
        ("http://[::1]:80/a//", "http://[::1]:80/a"),
    ],
)
def test_an_address_is_kept_without_what_could_be_secret(base_url: str, kept: str) -> None:
    """Scheme, host, port and path; no user, no query, no fragment, no slash at the end (S20)."""
    assert address(base_url) == kept
