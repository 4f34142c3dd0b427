"""A run whose process, disk or file is taken away: what is on disk holds, and resuming it does the rest and nothing twice (S10)."""

from __future__ import annotations

import json
import random
import re
import shlex
import signal
from pathlib import Path

import pytest

from bulkdel.simulator import DifySimulator, Faults
from bulkdel.store import Run
from tests.cli.forked import Forked
from tests.cli.service import Beside, until, with_dify
from tests.cli.test_end_to_end import account

FAST = ("--backoff", "10ms", "--json")


def on_disk(run: Path) -> set[str]:
    """The documents that have settled, says the run file."""
    with Run.open(run) as there:
        return {settled.target.document for settled in there.settled()}


def shown(lines: Path) -> list[str]:
    """The documents whose settled lines were written; half a line counts as none."""
    if not lines.exists():
        return []
    whole = [line for line in lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line["document"] for line in map(json.loads, whole) if line["outcome"] != "not_attempted"]


def deletes(simulator: DifySimulator, since: int = 0) -> list[str]:
    """The documents that were asked for, in order, from a place in the log on."""
    found = [re.search(r"/documents/([^/?]+)$", r.path) for r in simulator.requests[since:] if r.method == "DELETE"]
    return [match[1] for match in found if match]


def last(stderr: str) -> list[str]:
    program, *words = shlex.split(stderr.splitlines()[-1])
    assert program == "bulkdel"
    return words


@pytest.mark.parametrize("act", ["purge", "delete"])
def test_a_killed_run_goes_on_and_asks_for_nothing_twice(act: str, tmp_path: Path) -> None:
    """$ bulkdel purge …; kill -9; $ bulkdel resume RUN; kill -9; …: what was reported was on disk, what was on disk is not
    asked again, and at the end the service holds nothing and the counts over all processes add up."""
    rng = random.Random(act)
    run, lines, targets = tmp_path / "a.run", tmp_path / "settled.jsonl", tmp_path / "targets.jsonl"

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        begin = ["purge", "dify", *simulator.dataset_ids]
        if act == "delete":
            every = [(ds, document.id) for ds in simulator.dataset_ids for document in simulator.documents(ds)]
            targets.write_text("".join(json.dumps({"dataset": ds, "document": d}) + "\n" for ds, d in every))
            begin = ["delete", "dify", str(targets)]
        begin += ["-y", "--run", str(run), "--unarchive"]
        begun = False
        for kill in range(10):
            settled = on_disk(run) if begun else set()
            since, before = len(simulator.requests), len(shown(lines))
            argv = ["resume", str(run)] if begun else begin
            process = forked.start(*argv, "-y", *FAST, "--settled", str(lines))
            if kill % 2:
                some = before + rng.randrange(1, 30)
                await until(lambda n=some: len(shown(lines)) >= n)  # type: ignore[misc]
            else:
                some = since + rng.randrange(1 if begun else 6, 40)
                await until(lambda n=some: len(simulator.requests) >= n)  # type: ignore[misc]
            process.send(signal.SIGKILL)
            assert (await process.end()).status == -signal.SIGKILL
            begun = True
            assert not settled & set(deletes(simulator, since))
            assert settled | set(shown(lines)) <= on_disk(run)
        settled, since = on_disk(run), len(simulator.requests)
        ended = await forked.run("resume", str(run), "-y", *FAST, "--settled", str(lines))
        account_of = account(ended)
        assert (ended.status, account_of["status"], account_of["listed"]) == (0, "complete", 1500)
        assert (account_of["deleted"] + account_of["already_gone"], simulator.remaining) == (1500, 0)  # type: ignore[operator]
        assert not settled & set(deletes(simulator, since))
        assert (simulator.danger, simulator.orphans) == (0, 0)
        assert len(shown(lines)) == len(set(shown(lines)))
        with Run.open(run) as there:
            sessions = there.sessions()
        assert account_of["uncounted_sessions"] == 10
        assert (len(sessions), [session.status for session in sessions[:-1]]) == (11, [None] * 10)

    faults = Faults(error_500=0.03, lost=0.03, archived=2, latency=0.01, lock_for=0.02)
    # Many and slow enough for ten kills: the last one must still find work.
    with_dify(work, documents=[900, 600], faults=faults)


def test_a_grace_period_too_short_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """$ kill PID; kill -9 PID while answers are still under way (an evicted pod): what was in flight is asked again."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        run = tmp_path / "a.run"
        process = forked.start(
            "purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), "--concurrency", "2", *FAST
        )
        await until(lambda: len(simulator.deleted) >= 20)
        simulator.set_faults(Faults(latency=60.0))
        since = len(simulator.requests)
        await until(lambda: len(simulator.requests) >= since + 2)
        process.send(signal.SIGTERM)
        await until(lambda: "stopping: letting 2 requests in flight end" in process.stderr)
        process.send(signal.SIGKILL)
        assert (await process.end()).status == -signal.SIGKILL
        simulator.set_faults(Faults())
        settled, since = on_disk(run), len(simulator.requests)
        again = account(await forked.run("resume", str(run), "--json"))
        assert (again["exit_status"], again["deleted"], simulator.remaining) == (0, 150, 0)
        assert not settled & set(deletes(simulator, since))

    with_dify(work, documents=150, faults=Faults(latency=0.003))


@pytest.mark.parametrize("largest", [60_000, 120_000, 180_000, 210_000, 240_000, 270_000])
def test_a_disk_that_is_full_at_any_moment_is_no_bug(largest: int, tmp_path: Path) -> None:
    """While documents are listed, claimed or settled: the reason is said, and every document is in the account."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        ended = await forked.run(
            "purge", "dify", *simulator.dataset_ids, "-y", "--run", str(tmp_path / "a.run"), *FAST, largest=largest
        )
        assert ended.status in (2, 4)
        assert re.search(r"error: .*(the disk is full|the disk cannot read or write)", ended.stderr)
        assert "bug" not in ended.stderr

    with_dify(work, documents=400)


def test_a_full_disk_stops_the_run_in_good_order(tmp_path: Path) -> None:
    """The run file takes no more: sends stop, what was in flight is counted and reported, exit 4; with space again, resume goes on."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        run, lines = tmp_path / "a.run", tmp_path / "settled.jsonl"
        argv = ("purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), "--settled", str(lines), *FAST)
        ended = await forked.run(*argv, largest=305_000)
        first = account(ended)
        assert (ended.status, first["status"]) == (4, "stopped")
        assert re.search(r"error: stopped: .*(the disk is full|the disk cannot read or write)", ended.stderr)
        assert 0 < len(simulator.deleted) < 400
        assert first["deleted"] == len(simulator.deleted)
        assert sorted(shown(lines)) == sorted(simulator.deleted)
        assert last(ended.stderr) == ["resume", str(run)]
        settled, since = on_disk(run), len(simulator.requests)
        again = account(await forked.run(*last(ended.stderr), "--json"))
        assert (again["exit_status"], again["deleted"], again["listed"], simulator.remaining) == (0, 400, 400, 0)
        assert not settled & set(deletes(simulator, since))

    with_dify(work, documents=400, faults=Faults(latency=0.002))


def test_a_disk_that_is_full_from_the_beginning_deletes_nothing(tmp_path: Path) -> None:
    """The plan cannot be written down: exit 2, the service holds everything."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        run = tmp_path / "a.run"
        ended = await forked.run(
            "purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), "-q", largest=120_000
        )
        assert (ended.status, simulator.remaining, deletes(simulator)) == (2, 400, [])
        assert ended.stderr.startswith("error: the disk ")
        assert "Traceback" not in ended.stderr

    with_dify(work, documents=400)


def test_a_run_file_that_is_deleted_under_way_stops_the_run(tmp_path: Path) -> None:
    """$ rm RUN while it runs: sends stop, exit 4, the account is honest, and the same command does the rest."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        run = tmp_path / "a.run"
        argv = ("purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), "--json")
        process = forked.start(*argv)
        await until(lambda: len(simulator.deleted) >= 20)
        run.unlink()
        ended = await process.end()
        first = account(ended)
        assert (ended.status, first["status"], first["deleted"]) == (4, "stopped", len(simulator.deleted))
        assert "the run file was deleted or replaced while it was in use" in ended.stderr
        assert 20 <= len(simulator.deleted) < 300
        assert last(ended.stderr) == list(argv)
        again = account(await forked.run(*last(ended.stderr)))
        assert (again["exit_status"], simulator.remaining) == (0, 0)

    with_dify(work, documents=300, faults=Faults(latency=0.005))


def test_of_two_processes_the_second_learns_who_works(tmp_path: Path) -> None:
    """$ bulkdel resume RUN, twice at once: the second is exit 2, names the first, sends nothing; the first is not disturbed."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        run = tmp_path / "a.run"
        process = forked.start(
            "purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), "--concurrency", "1", *FAST
        )
        await until(lambda: simulator.deleted)
        simulator.set_faults(Faults(latency=60.0))
        since = len(simulator.requests)
        await until(lambda: len(simulator.requests) > since)
        second = await forked.run("resume", str(run), "-y")
        assert (second.status, second.stdout, len(simulator.requests)) == (2, "", since + 1)
        assert f"used by process {process.pid} on " in second.stderr
        listed = await forked.run("report", str(run), "--format", "json")
        assert json.loads(listed.stdout)["state"] == "running"
        process.send(signal.SIGKILL)
        await process.end()
        simulator.set_faults(Faults())
        assert account(await forked.run("resume", str(run), "--json"))["exit_status"] == 0
        assert simulator.remaining == 0

    with_dify(work, documents=60, faults=Faults(latency=0.005))


def test_a_plan_touches_no_dataset_that_it_does_not_hold(tmp_path: Path) -> None:
    """$ bulkdel plan dify ID MISSING; MISSING appears and ID grows; $ bulkdel resume RUN -y: only what was planned is gone."""
    missing = "00000000-0000-4000-8000-00000000dead"

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        forked = Forked(beside, tmp_path)
        (dataset,) = simulator.dataset_ids
        run = tmp_path / "a.run"
        planned = {document.id for document in simulator.documents(dataset)}
        ended = await forked.run("plan", "dify", dataset, missing, "-o", str(run), "--json")
        assert (ended.status, account(ended)["selected"], deletes(simulator)) == (1, 120, [])
        assert last(ended.stderr) == ["resume", str(run)]
        simulator.add_dataset(id=missing)
        late = {simulator.add_document(dataset, name="late.md"), simulator.add_document(missing, name="other.md")}
        again = await forked.run(*last(ended.stderr), "-y", "--json")
        counts = account(again)
        assert (again.status, counts["deleted"], set(simulator.deleted)) == (1, 120, planned)
        held = {document.id for ds in simulator.dataset_ids for document in simulator.documents(ds)}
        assert held == late
        assert [(d["dataset"], d["status"]) for d in counts["datasets"]] == [
            (dataset, "complete"),
            (missing, "stopped"),
        ]  # type: ignore[attr-defined]

    with_dify(work, documents=120)
