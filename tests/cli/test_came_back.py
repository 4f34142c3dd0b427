"""What came back after a purge, and a run that ended by its deadline: the finding keeps its name, and the last line is the way on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.inside import URL, command, last, purge
from tests.cli.outside import Seen
from tests.engine.world import DATASET, Service

FOUND = "came back after they were deleted: 60 documents"


def restored(folder: Path, *options: str) -> tuple[Service, str]:
    """A base of 60 that was purged, and restored from a backup afterwards."""
    base, run = Service(latency=0.0), str(folder / "a.run")
    base.fill(60)
    backup = dict(base.held)
    assert purge(base, "--run", run, *options).status == 0
    base.held.update(backup)
    return base, run


def reason(seen: Seen) -> str:
    return str(json.loads(seen.stdout)["datasets"][0]["reason"])


def test_the_command_behind_verify_deletes_what_came_back(tmp_path: Path) -> None:
    """$ bulkdel verify RUN: exit 1; its last line, with the yes: the base is empty."""
    base, run = restored(tmp_path)
    seen = command(base, "verify", run)
    assert (seen.status, len(base.held)) == (1, 60)
    assert "a new run deletes what is listed again, and what came newly:" in seen.stderr
    assert last(seen) == ["purge", "dify", DATASET, "--base-url", URL]
    assert (command(base, *last(seen), "--yes").status, base.held) == (0, {})
    assert command(base, "verify", run).status == 0


def test_the_command_behind_verify_has_the_headers(tmp_path: Path) -> None:
    """$ bulkdel verify RUN: what a gateway wants stands in a file that the run knows of, and a new command has to be given it."""
    headers = tmp_path / "headers"
    headers.write_text("X-Gateway: open\n")
    headers.chmod(0o600)
    base, run = restored(tmp_path, "--header-file", str(headers))
    assert last(command(base, "verify", run))[-2:] == ["--header-file", str(headers)]


def test_a_resume_keeps_the_finding(tmp_path: Path) -> None:
    """$ bulkdel resume RUN after such a verify: exit 1 at once, nothing is asked, and the finding has the same name ever after."""
    base, run = restored(tmp_path)
    assert reason(command(base, "verify", run, "--json")) == FOUND
    sent = len(base.sent)
    for _ in range(2):
        seen = command(base, "resume", run, "--yes", "--json")
        assert (seen.status, reason(seen), len(base.sent)) == (1, FOUND, sent)
        assert last(seen)[:3] == ["purge", "dify", DATASET]
    for _ in range(2):
        assert reason(command(base, "verify", run, "--json")) == FOUND
    assert len(base.held) == 60
    base.held.clear()
    assert command(base, "verify", run).status == 0


@pytest.mark.parametrize("act", ["selection", "delete", "job"])
def test_what_was_asked_is_asked_again_and_no_more(act: str, tmp_path: Path) -> None:
    """$ bulkdel verify RUN: no printed command deletes more than the run was asked for."""
    if act == "selection":
        base, run = restored(tmp_path, "--name", "doc-*")
    else:
        base, run = Service(latency=0.0), str(tmp_path / "a.run")
        base.fill(60)
        backup, job, listed = dict(base.held), tmp_path / "job.toml", tmp_path / "targets.csv"
        listed.write_text("dataset,document\n" + "".join(f"{DATASET},{document}\n" for document in base.held))
        job.write_text(f'[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = ["{DATASET}"]\n')
        words = ("delete", "dify", str(listed)) if act == "delete" else ("job", str(job))
        assert command(base, *words, "--yes", "--run", run).status == 0
        assert command(base, "verify", run).status == 0
        base.held.update(backup)
    seen = command(base, "verify", run)
    way = {"selection": f"bulkdel purge dify {DATASET} with the same selection",
           "delete": "bulkdel delete dify with the same targets", "job": "the same bulkdel job once more"}  # fmt: skip
    assert (seen.status, seen.stderr.splitlines()[-1].endswith(f"listed again: {way[act]}")) == (1, True)


def test_a_deadline_of_a_run_without_a_file_is_named_too() -> None:
    """$ bulkdel purge … --deadline 1s --no-run: the same command may come as far as before, for ever; with more time it ends."""
    base = Service(latency=0.05)
    base.fill(60)
    seen = purge(base, "--deadline", "300ms", "--concurrency", "2", "--no-run")
    assert (seen.status, bool(base.held)) == (5, True)
    assert "the same command goes on, with the same deadline again (--deadline gives it longer):" in seen.stderr


def test_a_deadline_is_named_in_the_way_on(tmp_path: Path) -> None:
    """$ bulkdel purge … --deadline 300ms: the hint says that the run keeps it; with a longer one the command ends well."""
    base = Service(latency=0.05)
    base.fill(60)
    seen = purge(base, "--deadline", "300ms", "--concurrency", "2", "--run", str(tmp_path / "a.run"))
    assert (seen.status, bool(base.held)) == (5, True)
    assert "this goes on with the rest, with the same deadline again (--deadline gives it longer):" in seen.stderr
    assert (command(base, *last(seen), "--deadline", "1h").status, base.held) == (0, {})


def test_a_header_file_that_has_gone_is_asked_for(tmp_path: Path) -> None:
    """$ bulkdel verify RUN, and resume: the file is where the run found it, or where the option that the hint names says."""
    headers = tmp_path / "headers"
    headers.write_text("X-Gateway: open\n")
    headers.chmod(0o600)
    base, run = restored(tmp_path, "--header-file", str(headers))
    moved = headers.rename(tmp_path / "moved")
    for act in ("verify", "resume"):
        seen = command(base, act, run)
        assert seen.status == 2
        assert seen.stderr.splitlines() == [
            f"error: a file that this run reads is not there any more: {headers}",
            "hint: put it there again, or give --header-file FILE",
        ]
    assert command(base, "verify", run, "--header-file", str(moved)).status == 1
