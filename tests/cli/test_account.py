"""What a run leaves for people and programs: the JSON object, the settled lines, the summary, the last lines on stderr."""

from __future__ import annotations

import io
import json
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest

from bulkdel.cli import hints
from bulkdel.cli.context import AppContext
from bulkdel.cli.output import Samples, settled_lines, summary, table
from bulkdel.model import RunStatus, Settled, Target
from bulkdel.report import Counts, DatasetReport, Report
from tests.cli.outside import DATASET, ENVIRON, KEY, OTHER, Closed, FakeClient, Terminal, invoke

JSON_KEYS = [
    "run", "status", "exit_status", "elapsed_s", "requests", "listed", "selected", "skipped", "deleted", "already_gone",
    "rejected", "not_attempted", "remaining", "reasons", "requeued", "pauses", "waited_s", "datasets",
]  # fmt: skip


def ended(status: RunStatus, **more: Any) -> Report:
    counts = Counts(listed=1000, selected=998, skipped=2, deleted=990, already_gone=2, rejected=2, not_attempted=4)
    dataset = DatasetReport(
        "dify", DATASET, "Manuals", status, counts=counts, skipped_reasons={"name does not match": 2}
    )
    fields: dict[str, Any] = {
        "datasets": (dataset,), "elapsed_s": 12.3456, "requests": 1043, "pauses": 1,
        "reasons": {"archived": 1, "gave_up": 1, "not_attempted": 4}, "requeued": {"document_indexing": 12},
    }  # fmt: skip
    return Report(status=status, counts=counts, **(fields | more))


def purge(*options: str, client: Any = None, **more: Any) -> Any:
    return invoke("purge", "dify", DATASET, "-y", *options, client=client, **more)


# ------------------------------------------------------------------ exit status


@pytest.mark.parametrize(
    ("status", "signal", "exit_status", "goes_on"),
    [
        ("complete", None, 0, False), ("incomplete", None, 1, False), ("refused", None, 3, False), ("stopped", None, 4, True),
        ("deadline", None, 5, True), ("interrupted", 2, 130, True), ("interrupted", 15, 143, True),
    ],
)  # fmt: skip
def test_each_ending_has_its_exit_status_and_its_last_line(
    status: RunStatus, signal: int | None, exit_status: int, goes_on: bool
) -> None:
    """The status goes with the report's word, and where the run can go on, the last line is the command that does it."""
    client = FakeClient(ends=lambda: ended(status, signal=signal, reason="as it is"))
    seen = purge("--rate", "45/min", "--expect", "998", "--json", client=client)
    assert seen.status == exit_status
    shown = json.loads(seen.stdout)
    assert (shown["status"], shown["exit_status"]) == (status, exit_status)
    last = seen.stderr.splitlines()[-1]
    assert (last == f"bulkdel purge dify {DATASET} -y --rate 45/min --json") == goes_on
    assert ("error: " in seen.stderr) == (exit_status != 0)


def test_the_command_that_goes_on_can_be_pasted() -> None:
    """Words that a shell would take apart are quoted; --expect, whose number no longer holds, is left out."""
    argv = ["purge", "dify", DATASET, "--name", "tmp *'x", "--expect=5", "--expect", "6", "-y"]
    shown = hints.same_command(argv)
    assert shlex.split(shown) == ["bulkdel", "purge", "dify", DATASET, "--name", "tmp *'x", "-y"]


def test_a_dry_run_that_was_stopped_offers_no_way_to_go_on() -> None:
    """Nothing was begun."""
    seen = purge("--dry-run", client=FakeClient(ends=lambda: ended("stopped")))
    assert "goes on" not in seen.stderr


def test_a_hint_of_the_report_is_shown() -> None:
    """What the provider knows to do about it comes behind the error."""
    seen = purge(client=FakeClient(ends=lambda: ended("stopped", reason="key refused", hint="look at the key")))
    assert "error: stopped: " in seen.stderr
    assert "\nhint: look at the key\n" in seen.stderr


def test_a_bug_in_the_report_is_exit_70() -> None:
    """A promise broken on the way is reported as what it is, though the run came to its end."""
    seen = purge(client=FakeClient(ends=lambda: ended("complete", bug="KeyError at read:7")))
    assert seen.status == 70
    assert "ran into a bug: KeyError at read:7" in seen.stderr


# ------------------------------------------------------------------ JSON


def test_json_is_one_object_with_the_documented_keys() -> None:
    """Its keys are the fixed ones, in their order; stdout holds it alone."""
    seen = purge("--json", client=FakeClient(ends=lambda: ended("incomplete")))
    assert seen.stdout.count("\n") == 1
    shown = json.loads(seen.stdout)
    assert list(shown) == JSON_KEYS
    assert shown["elapsed_s"] == 12.346
    assert list(shown["datasets"][0])[:4] == ["provider", "dataset", "name", "status"]


def test_json_survives_every_name() -> None:
    """A name in any script, or with escapes, stays one line of plain ASCII."""
    report = ended("incomplete")
    report.datasets[0].name = "日本語 \x1b[2J\n\u2028"
    seen = purge("--json", client=FakeClient(ends=lambda: report))
    assert seen.stdout.isascii()
    assert seen.stdout.count("\n") == 1


def test_json_and_settled_lines_cannot_both_have_stdout() -> None:
    """It is a usage error, found before anything is opened."""
    client = FakeClient()
    seen = purge("--json", "--settled", "-", client=client)
    assert (seen.status, client.calls) == (2, [])
    assert "--json and --settled - both write to stdout" in seen.stderr


# ------------------------------------------------------------------ settled lines


def test_settled_lines_go_to_the_file(tmp_path: Path) -> None:
    """One object for each target, in the design's words, UTC in ISO 8601."""
    file = tmp_path / "settled.jsonl"
    assert purge("--settled", str(file)).status == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["document"] for line in lines] == ["d1", "d2", "d3"]
    assert lines[0] == {
        "provider": "dify", "dataset": DATASET, "document": "d1", "name": "a name", "status": "fulfilled", "outcome": "deleted",
        "reason": "", "attempts": 1, "settled_at": "2023-11-14T22:13:20.000+00:00",
    }  # fmt: skip


def test_settled_lines_are_their_owners_alone(tmp_path: Path) -> None:
    """Names of documents are no other user's business: made as 0600, as reports and run files; a file that is there keeps its mode."""
    made, there = tmp_path / "made.jsonl", tmp_path / "there.jsonl"
    there.touch()
    there.chmod(0o640)
    for file in (made, there):
        assert purge("--settled", str(file)).status == 0
    assert [stat.S_IMODE(file.stat().st_mode) for file in (made, there)] == [0o600, 0o640]


def test_settled_lines_of_an_earlier_part_are_kept(tmp_path: Path) -> None:
    """The same command again adds its lines: those before are evidence."""
    file = tmp_path / "settled.jsonl"
    purge("--settled", str(file))
    purge("--settled", str(file))
    assert len(file.read_text().splitlines()) == 6


def test_settled_lines_on_stdout_have_it_for_themselves() -> None:
    """The summary goes to stderr then."""
    seen = purge("--settled", "-")
    assert [json.loads(line)["document"] for line in seen.stdout.splitlines()] == ["d1", "d2", "d3"]
    assert "Complete: 3 deleted of 3" in seen.stderr


@pytest.mark.parametrize("where", ["missing/settled.jsonl", "."])
def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path, where: str) -> None:
    """Exit 2, and no client was opened."""
    client = FakeClient()
    seen = purge("--settled", str(tmp_path / where), client=client)
    assert (seen.status, client.calls) == (2, [])
    assert "error: cannot write the settled lines to " in seen.stderr


class FullDisk(io.StringIO):
    """A file on a disk that is full after the first page."""

    def write(self, words: str) -> int:
        if self.tell():
            raise OSError(28, "No space left on device")
        return super().write(words)


def test_settled_lines_that_fail_are_reported_once() -> None:
    """The first failure is reported, later pages are not tried, and nothing is raised into the engine."""
    full, failures = FullDisk(), list[OSError]()
    page = [Settled(Target("dify", "ds", "d"), "deleted", "", 1, "", 0.0)]
    with settled_lines("-", AppContext(stdout=full), failures.append) as add:
        for _ in range(3):
            add(page)
    assert [error.errno for error in failures] == [28]
    assert full.getvalue().count("\n") == 1


def test_a_reader_that_went_away_stops_the_run() -> None:
    """Going on would delete without the evidence that was asked for: the client is stopped, with SIGPIPE's number."""
    client = FakeClient()
    seen = purge("--settled", "-", client=client, stdout=Closed())
    assert client.stopped == [("cannot write the settled lines: their reader went away", 13)]
    assert "Traceback" not in seen.stderr


def test_a_reader_of_the_result_that_went_away_changes_nothing() -> None:
    """What is done is done: the exit status is still the run's."""
    assert purge("--json", stdout=Closed()).status == 0
    assert purge(stdout=Closed(), client=FakeClient(ends=lambda: ended("incomplete"))).status == 1


def test_a_result_that_cannot_be_written_is_no_success() -> None:
    """A full disk under the JSON object makes a status other than 0, because the account cannot be read."""
    full = FullDisk()
    full.seek(1)
    seen = purge("--json", stdout=full)
    assert seen.status == 1
    assert "error: cannot write the result: No space left on device" in seen.stderr


# ------------------------------------------------------------------ the summary


def test_the_summary_says_what_is_gone_what_is_not_and_why() -> None:
    """Counts, each dataset's line, what is left and new, and for each reason examples and advice."""
    report = ended("incomplete", remaining=9)
    dataset = report.datasets[0]
    dataset.remaining, dataset.new, dataset.new_count = 9, ("id7 late\x1b[1m.md",), 1
    samples = Samples()
    samples.add([Settled(Target("dify", DATASET, "doc1"), "archived", "it is\narchived", 1, "a.md", 0.0)])
    assert summary(report, samples) == [
        "Finished, but not everything is gone: 990 deleted, 2 already gone, 2 rejected, 4 not attempted of 998",
        "",
        f"dify / Manuals ({DATASET})",
        "  1000 listed, 998 selected: 990 deleted, 2 already gone, 2 rejected, 4 not attempted",
        "  2 skipped: name does not match",
        "  listed again: 9 documents are still there",
        "    1 that came during the run and were left alone:",
        "      id7 late.md",
        "",
        "1 archived: the service keeps archived documents; --unarchive un-archives them first",
        "  doc1 (a.md): it is archived",
        "",
        "1 gave up: no clear answer in --attempts tries; run again, what is gone stays gone",
        "",
        "4 not attempted: not reached, or no answer came before the end",
        "",
        "2 already gone: they were not there when first asked for",
        "1043 requests in 12 s, 1 pause, 12 asked again (document indexing)",
    ]


def test_a_few_rejected_documents_of_each_kind_are_kept() -> None:
    """A million rejected documents cost the summary nothing."""
    samples = Samples()
    for n in range(100):
        samples.add([Settled(Target("dify", "ds", f"d{n}"), "refused", "no", 1, "", 0.0)] * 10)
        samples.add([Settled(Target("dify", "ds", f"d{n}"), "deleted", "", 1, "", 0.0)])
    assert len(samples.words("refused")) == 3
    assert samples.words("deleted") == []


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_several_datasets_fits(width: int) -> None:
    """A long name is folded, not cut, markup in it is only text, and no row is wider than the terminal."""
    datasets = (
        DatasetReport(
            "dify",
            DATASET,
            "[bold]Manuals[/bold] of the northern branches",
            counts=Counts(7, 7, 0, 7),
        ),
        DatasetReport("langdock", OTHER, "", "stopped"),
    )
    rows = table(datasets, width)
    assert all(len(row) <= width for row in rows)
    whole = "".join(row for row in rows).replace(" ", "")
    assert "[bold]" in whole
    assert "branches" in whole


def test_at_a_terminal_several_datasets_come_with_a_table() -> None:
    """On a pipe the lines alone are the account."""
    report = ended("complete")
    report.datasets = (report.datasets[0], DatasetReport("dify", OTHER, "Old things"))
    out = Terminal()
    purge(client=FakeClient(ends=lambda: report), stdout=out)
    assert " dataset " in out.getvalue()
    seen = purge(client=FakeClient(ends=lambda: report))
    assert " dataset " not in seen.stdout
    assert f"dify / Old things ({OTHER})" in seen.stdout


# ------------------------------------------------------------------ S20


def test_a_key_that_a_service_repeats_is_shown_nowhere(tmp_path: Path) -> None:
    """Reasons and names that hold the key lose it in the summary, the JSON, the settled lines and the log."""
    report = ended("stopped", reason=f"bad token {KEY}", hint=f"not {KEY}")
    report.datasets[0].reason = f"said {KEY}"
    text = purge("-v", client=FakeClient(ends=lambda: report))
    shown = purge("--json", "--log-json", client=FakeClient(ends=lambda: report))
    file = tmp_path / "settled.jsonl"
    purge("--settled", str(file), client=FakeClient(documents=[f"d-{KEY}"]))
    everything = text.stdout + text.stderr + shown.stdout + shown.stderr + file.read_text()
    assert KEY not in everything
    assert "(key)" in text.stdout
    assert json.loads(shown.stdout)["reason"] == "bad token (key)"


def test_the_key_is_never_an_argument() -> None:
    """There is no option that takes it, and none that could be mistaken for one."""
    seen = invoke("purge", "dify", DATASET, "--api-key", KEY, environ={})
    assert seen.status == 2
    assert "no such option" in seen.stderr.lower()
    assert "ENVIRON" not in ENVIRON
