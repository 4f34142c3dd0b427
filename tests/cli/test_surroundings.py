"""What a process may find missing around it: its streams, its home, a folder to write to."""

from __future__ import annotations

import asyncio
import json
import pwd
import shutil
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdel.simulator import DifySimulator
from tests.cli.forked import fork
from tests.cli.inside import command, purge
from tests.cli.service import COMMAND, Beside, Ended, finish, with_dify
from tests.cli.test_end_to_end import account
from tests.engine.world import DATASET, Service


async def shell(beside: Beside, *argv: str, streams: str) -> Ended:
    """The command as a shell starts it with ``streams`` closed or pointed elsewhere."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE,
        env=beside.environ,
    )  # fmt: skip
    return await finish(process)


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobody_who_reads(streams: str) -> None:
    """$ bulkdel purge dify ID -y --json <&- >&-: everything is gone, exit 0, and what can be read is whole.

    Under uvloop a socket with the number of a closed stream ended the process with SIGABRT in the middle of its run.
    """

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await shell(beside, "purge", "dify", *simulator.dataset_ids, "-y", "--json", streams=streams)
        assert (ended.status, simulator.remaining) == (0, 0), ended.stderr
        if ">&-" not in streams.replace("2>&-", ""):
            assert json.loads(ended.stdout)["deleted"] == 12
        assert "Traceback" not in ended.stderr

    with_dify(work, documents=12)


def test_targets_from_a_closed_stdin_are_none() -> None:
    """$ bulkdel delete dify -y <&-: exit 2 in a sentence, as with an empty file, and nothing is sent."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await shell(beside, "delete", "dify", "-y", streams="<&-")
        assert (ended.status, ended.stdout) == (2, "")
        assert ended.stderr.startswith("error: the target file is empty: stdin\n")
        assert simulator.requests == []

    with_dify(work, documents=3)


def test_a_result_that_has_no_room_is_no_success() -> None:
    """$ bulkdel purge dify ID -y --json > /dev/full: everything is gone, and exit 1 says that the account is not there."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await shell(beside, "purge", "dify", *simulator.dataset_ids, "-y", "--json", streams="> /dev/full")
        assert (ended.status, simulator.remaining) == (1, 0)
        assert "error: cannot write the result: No space left on device\n" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "Exception ignored" not in ended.stderr

    with_dify(work, documents=12)


def test_a_full_disk_under_the_log_changes_no_status() -> None:
    """$ bulkdel purge dify ID -y 2> /dev/full: all is done and the account is whole, so it is exit 0."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await shell(beside, "purge", "dify", *simulator.dataset_ids, "-y", streams="2> /dev/full")
        assert (ended.status, simulator.remaining) == (0, 0)
        assert "Complete: 12 deleted of 12" in ended.stdout

    with_dify(work, documents=12)


@pytest.mark.parametrize("streams", ["--settled /dev/full", "--settled - > /dev/full"])
def test_settled_lines_that_have_no_room_at_the_end(streams: str, tmp_path: Path) -> None:
    """$ bulkdel delete dify FILE -y --settled /dev/full, all of it one page: everything is gone, exit 1 says what is not there."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,), file = simulator.dataset_ids, tmp_path / "targets.csv"
        rows = "".join(f"{dataset},{document.id}\n" for document in simulator.documents(dataset))
        file.write_text(f"dataset,document\n{rows}")
        ended = await shell(beside, "delete", "dify", str(file), "-y", streams=streams)
        assert (ended.status, simulator.remaining) == (1, 0), ended.stderr
        why = "cannot write the settled lines: No space left on device"
        assert f"{why}\nhint: the account and the run file still have everything that was deleted" in ended.stderr
        assert f"Finished, with a problem: 12 deleted of 12 ({why})\n" in ended.stdout + ended.stderr
        assert "Exception ignored" not in ended.stderr

    with_dify(work, documents=12)


def test_without_a_home_a_run_is_refused_or_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME and a user without a name: exit 2 with nothing sent and what to do; --no-run does it all the same."""

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    service = Service()
    service.fill(5)
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.delenv("HOME", raising=False)
    for words in (["purge", "dify", DATASET, "-y"], ["runs"], ["resume", "some-run"]):
        seen = command(service, *words)
        assert (seen.status, seen.stdout, service.sent) == (2, "", [])
        assert seen.stderr.startswith("error: there is no home folder to keep the run file in\nhint: ")
    seen = purge(service, "--no-run")
    assert (seen.status, service.held) == (0, {})
    assert "Traceback" not in seen.stderr


@pytest.fixture
def shut(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A state folder that an ordinary user can read and not write, also if root runs the tests; what it holds is not theirs."""
    folder = Path(tempfile.mkdtemp())
    state = folder / "bulkdel"
    if request.param:
        state.mkdir()
        state.chmod(0o555)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    if request.param:
        state.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("shut", [True, False], indirect=True, ids=["its own folder", "the folder above it"])
def test_a_read_only_state_folder(shut: Path) -> None:
    """$ bulkdel purge dify ID -y: exit 2, it is named, nothing is sent; --no-run does it, exit 0; `runs` has none to show."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        beside.more = {"XDG_STATE_HOME": str(shut)}

        async def ordinary(*argv: str) -> Ended:
            with tempfile.TemporaryDirectory() as said:
                return await fork(argv, beside.environ, Path(said), ordinary=True).end()

        argv = ("purge", "dify", *simulator.dataset_ids, "-y", "--json")
        refused = await ordinary(*argv)
        assert (refused.status, refused.stdout, simulator.requests) == (2, "", []), refused.stderr
        (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
        assert str(shut / "bulkdel") in line
        assert "--no-run" in refused.stderr
        assert "Traceback" not in refused.stderr
        kept = await ordinary("runs")
        assert (kept.status, kept.stdout) == (0, "")
        ended = await ordinary(*argv, "--no-run")
        assert "Traceback" not in ended.stderr
        assert (account(ended)["deleted"], ended.status, simulator.remaining) == (12, 0, 0)

    with_dify(work, documents=12)


@pytest.mark.parametrize("source", ["file", "stdin"])
@pytest.mark.parametrize("bad", [1, 50_000, 100_000])
def test_one_bad_line_among_a_hundred_thousand(bad: int, source: str, tmp_path: Path) -> None:
    """$ bulkdel delete dify -y targets.jsonl: the line is named by its number, nothing is sent, no run file is begun."""
    good = json.dumps({"dataset": DATASET, "document": DATASET})
    lines = [good] * 100_000
    lines[bad - 1] = good[:-1]
    words = "\n".join(lines) + "\n"
    file = tmp_path / "targets.jsonl"
    file.write_text(words)
    service = Service()
    given = {"stdin": words.encode()} if source == "stdin" else {}
    seen = command(service, "delete", "dify", *([str(file)] if source == "file" else []), "-y", **given)
    assert (seen.status, seen.stdout, service.sent) == (2, "", [])
    name = "stdin" if source == "stdin" else str(file)
    assert seen.stderr.startswith(f"error: {name}, line {bad}, column 103: not JSON: ")
    assert not list(tmp_path.rglob("*.run"))
