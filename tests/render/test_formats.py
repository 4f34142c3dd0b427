"""A run in each form that a report has: complete, safe to open anywhere, matched to its run, in flat memory."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.cli.commands.runs import lines
from bulkdel.errors import ConfigurationError
from bulkdel.model import Document, Settled, Target
from bulkdel.render import Format, render
from bulkdel.render.data import COLUMNS
from bulkdel.render.overview import overview, run_name
from bulkdel.render.saving import save
from bulkdel.store import ListedRow, Run, RunFile
from tests.cli.inside import command
from tests.cli.outside import targets_in
from tests.engine.world import Service
from tests.store.helpers import claimed, ending, header, list_all, listed

ROOT = Path(__file__).parents[2]


def made(path: Path, *, count: int = 10, names: Sequence[str] = (), ids: Sequence[str] = ()) -> Path:
    """A run of ``count`` documents, or of ``names`` or ``ids``: of three one is deleted, one refused, one left open."""

    async def main() -> None:
        rows = [ListedRow(Document(f"doc-{n}", name), "") for n, name in enumerate(names, 1)]
        rows = rows or [ListedRow(Document(id, "a name"), "") for id in ids] or listed(count)
        async with await RunFile.create(path, header()) as run:
            await list_all(run, rows)
            every = await claimed(run)
            ends: list[tuple[int, Settled]] = []
            for row in every:
                match row.row % 3:
                    case 0:
                        ends.append(ending(row, at=1_700_000_000.123 + row.row))
                    case 1:
                        ends.append(
                            ending(row, "refused", f"no {row.document.name if row.document else ''}", attempts=2)
                        )
                    case _:
                        pass
            await run.settled(ends)
            await run.close("interrupted", 130)

    asyncio.run(main())
    return path


def rendered(path: Path, form: Format) -> str:
    with Run.open(path) as run:
        return "".join(render(run, form))


def test_lines_have_every_selected_document_once(tmp_path: Path) -> None:
    """Those that settled in input order, then those that were not attempted; the keys are the settled line's."""
    path = made(tmp_path / "a.run", count=9)
    lines = [json.loads(line) for line in rendered(path, "jsonl").splitlines()]
    assert [int(line["document"][-3:]) for line in lines] == [1, 3, 4, 6, 7, 9, 2, 5, 8]
    assert [line["outcome"] for line in lines] == ["refused", "deleted"] * 3 + ["not_attempted"] * 3
    assert {tuple(line) for line in lines} == {COLUMNS}
    assert tuple(Settled(Target("p", "d", "x"), "deleted", "", 1, "", 0.0).as_dict()) == COLUMNS


def test_csv_is_what_a_csv_reader_reads(tmp_path: Path) -> None:
    """RFC 4180: a header, CRLF, the same rows as the lines."""
    path = made(tmp_path / "a.run", names=['a, "quoted" name', "two", "naïve 日本.md", "plain"])
    raw = rendered(path, "csv")
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    lines = [json.loads(line) for line in rendered(path, "jsonl").splitlines()]
    assert rows == [{key: str(value) for key, value in line.items()} for line in lines]
    assert raw.count("\r\n") == raw.count("\n") == 5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.sampled_from("=+-@\t\r\n\"',;|a\x1b\u202e＝"), min_size=1), min_size=1, max_size=6))
def test_no_cell_is_a_formula(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """S20: whatever a document is called, no spreadsheet computes anything, and every row stays one row."""
    path = made(tmp_path_factory.mktemp("csv") / "a.run", names=names)
    head, *rows = csv.reader(io.StringIO(rendered(path, "csv"), newline=""))
    assert tuple(head) == COLUMNS
    assert len(rows) == len(names)
    for row in rows:
        assert len(row) == len(COLUMNS)
        assert all(not cell.lstrip().startswith(("=", "+", "-", "@", "＝")) for cell in row)
        assert not any(character in cell for cell in row for character in "\x1b\t\r\n\u202e")


IDS = (
    "1e5",
    "12345678901234567890",
    "007",
    "1/2",
    "TRUE",
    "=1+1",
    "-5",
    "'quoted",
    "''1",
    "mai 5",
    "plain-id",
    "x" * 600,
)


def test_a_csv_file_is_read_back_to_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$ bulkdel report RUN --format csv -o FILE, then FILE as targets: a spreadsheet changes no id, and neither do we."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path, out = made(tmp_path / "a.run", ids=IDS), tmp_path / "a.csv"
    assert command(Service(), "report", str(path), "--format", "csv", "-o", str(out)).status == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbfprovider,dataset,document,")
    with open(out, "rb") as source:
        found = [target.document for target in targets_in(source, "a.csv")]
    assert sorted(found) == sorted(IDS)


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-16"), (",", "mac_roman")]
)
def test_what_excel_saves_of_a_report_is_read_back(delimiter: str, encoding: str, tmp_path: Path) -> None:
    """A report opened in Excel and saved: with its country's delimiter and encoding, empty columns, an empty row and another case."""
    path = made(tmp_path / "a.run", ids=IDS, names=())
    rows = list(csv.reader(io.StringIO(rendered(path, "csv"), newline="")))
    for row in rows[1:]:
        row[3] = "Übersicht, Teil 1"
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow([*map(str.title, rows[0]), "", ""])
    writer.writerows([*row, "", ""] for row in rows[1:])
    writer.writerow([""] * 11)
    source = io.BytesIO(out.getvalue().encode(encoding))
    assert sorted(target.document for target in targets_in(source, "a.csv")) == sorted(IDS)


def test_invisible_characters_of_ids_are_shown(tmp_path: Path) -> None:
    """In every format an id with a character that cannot be seen is distinguished from the one without it."""
    path = made(tmp_path / "a.run", ids=("att_x", "att_x\u200b"))
    for form in ("text", "csv", "html"):
        assert "att_x\\u200b" in rendered(path, form).replace("\\\\", "\\")
    assert "att_x\\u200b" in rendered(path, "jsonl")


def test_the_digest_can_be_computed_from_the_lines(tmp_path: Path) -> None:
    """An auditor needs no bulkdel to match a report to its run: its lines, sorted, are what is hashed."""
    path = made(tmp_path / "a.run", count=20)
    sha = hashlib.sha256()
    lines = [json.loads(line) for line in rendered(path, "jsonl").splitlines()]
    for line in sorted(lines, key=lambda line: (line["provider"], line["dataset"], line["document"])):
        if line["outcome"] != "not_attempted":
            row = [line["provider"], line["dataset"], line["document"], 1, line["name"], line["outcome"], line["reason"],
                   line["attempts"], line["settled_at"]]  # fmt: skip
            sha.update(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    digest = f"sha256:{sha.hexdigest()}"
    assert json.loads(rendered(path, "json"))["digest"] == digest
    assert rendered(path, "text").endswith(f"\ndigest: {digest}\n")


def test_a_report_of_a_run_without_an_end_is_honest(tmp_path: Path) -> None:
    """A process that was killed: the state says so, the counts are those of the disk, and the status is no success."""
    path = tmp_path / "a.run"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.child", "hold", str(made(path))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert (overview(path)["status"], overview(path)["command"]) == ("running", None)
        assert rendered(path, "text").startswith("Run a: running\n")
        process.kill()
        # Its status has not been asked for yet, as in a container whose first process does not: it is dead all the same.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert (overview(path)["status"], overview(path)["command"]) == ("crashed", f"bulkdel resume {run_name(path)}")
    account = json.loads(rendered(path, "json"))
    assert (account["state"], account["status"], account["exit_status"]) == ("crashed", "interrupted", 130)
    assert "Crashed (it was killed, or the power failed): 3 deleted, 4 rejected, 3 not attempted of 10" in rendered(
        path, "text"
    )


@pytest.mark.parametrize("kind", ["listing", "targets"])
def test_what_was_not_read_to_its_end_is_said_to_be_a_part(kind: str, tmp_path: Path) -> None:
    """Killed after the first page of a listing, or of a list of targets: the account says that there may be more, in each form."""
    path = tmp_path / "a.run"

    async def main() -> None:
        async with await RunFile.create(path, header(targets=kind == "targets")) as run:
            if kind == "listing":
                await run.begin_listing("dify", "ds", "Things")
                await run.add_listed("dify", "ds", listed(3))
            else:
                await run.add_targets([Target("dify", "ds", f"doc-{n}") for n in range(3)])
                await run.end_targets(complete=False)

    asyncio.run(main())
    why = {
        "listing": "its listing was broken off: there may be more documents than these 3",
        "targets": "the list of targets was not read to its end: there may be more of them",
    }[kind]
    text = rendered(path, "text").splitlines()
    assert "Crashed (it was killed, or the power failed): 0 deleted, 3 not attempted of at least 3" in text
    assert f"  incomplete: {why}" in text
    (dataset,) = json.loads(rendered(path, "json"))["datasets"]
    assert (dataset["status"], dataset["reason"], dataset["listed"]) == ("incomplete", why, 3)
    row = next(line for line in lines([overview(path)]) if line.startswith("a "))
    assert row.split()[4] == "3+"


def test_the_exit_status_of_the_last_session_is_the_reports(tmp_path: Path) -> None:
    """A run that SIGTERM ended says 143, whenever it is asked."""
    path = made(tmp_path / "a.run")

    async def main() -> None:
        async with await RunFile.open(path) as run:
            await run.close("interrupted", 143, reason="interrupted by SIGTERM")

    asyncio.run(main())
    assert json.loads(rendered(path, "json"))["exit_status"] == 143


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of 12,000 and 48,000 documents: pages of a thousand rows, of rejected ones too, are full in both."""
    folder = tmp_path_factory.mktemp("large")
    return [made(folder / f"{count}.run", count=count) for count in (12_000, 48_000)]


@pytest.mark.parametrize("form", get_args(Format))
def test_memory_is_flat(form: Format, large: list[Path]) -> None:
    """S18: a report of four times as many documents needs no more memory; their lines would be megabytes."""
    peaks = []
    for path in large:
        with Run.open(path) as run:
            for _ in render(run, form):  # what is made once and kept is no part of it
                pass
        with Run.open(path) as run:
            tracemalloc.start()
            for _ in render(run, form):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 600_000  # 36,000 lines more are 4 MB


def test_a_report_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """Written whole or not at all: a disk that fails in the middle, a run that turns out to be damaged."""
    out = tmp_path / "report.txt"
    out.write_text("an older one")

    def pieces() -> Iterator[str]:
        yield "begun"
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        save(out, pieces())
    assert out.read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


def test_a_report_does_not_replace_a_device() -> None:
    """-o /dev/null stays a device."""
    save(Path("/dev/null"), ["words"])
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("state", ["closed", "open"])
def test_a_run_file_is_never_written_over(state: str, tmp_path: Path) -> None:
    """Also while it is being written, when most of it is in its log."""
    path = tmp_path / "a.run"

    async def main() -> None:
        async with await RunFile.create(path, header()) as run:
            if state == "closed":
                await run.close("interrupted", 130)
            before = path.read_bytes()
            with pytest.raises(ConfigurationError, match="would overwrite a run file"):
                save(path, ["words"])
            assert path.read_bytes() == before
            await run.close("interrupted", 130)

    asyncio.run(main())
