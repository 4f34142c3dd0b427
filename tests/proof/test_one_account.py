"""The account is the same one, whether it was counted in memory, counted from the run file, or read from the file later."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel import Policy, Report, Run
from bulkdel.cli.confirm import question
from bulkdel.plan import Plan
from bulkdel.render.data import account
from bulkdel.render.plan import describe
from bulkdel.render.text import lines
from bulkdel.store.recorded import recorded_report
from tests import virtual
from tests.engine.world import ACTS, DATASET, Service, client, provider, targets
from tests.store.helpers import crashed_copy

MEASURED = {"run", "elapsed_s", "waited_s"}
"""What may differ: where the file is, and how long it took."""


def words(of: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key not in MEASURED}


async def call(how: str, path: Path | None) -> Report:
    """One call that ends as ``how`` says, with a run file or without."""
    service = Service(latency=0.3)
    ids = service.fill(9)
    guarded = how.startswith("refused")
    policy = Policy(attempts=2, backoff=0.1, max_delete=5 if guarded else None)
    # One at a time: a run file is written in real time, so which of two answers comes first is not the same in each run.
    async with client(service, policy=policy, providers=[provider(concurrency=1)]) as c:
        match how:
            case "rejected":
                service.script(ids[3], ["archived"])
            case "interrupted while deleting":
                service.when[7] = lambda: asyncio.get_running_loop().call_soon(c.stop)
            case "interrupted while listing":
                service.when[2] = lambda: asyncio.get_running_loop().call_soon(c.stop)
            case "stopped":
                service.script(ids[3], ["401"])
            case "no such dataset":
                service.dataset_gone = True
        if how == "planned, explicit":
            return await c.delete(targets(ids), dry_run=True, run=path)
        if how == "planned":
            return await c.purge("dify", DATASET, dry_run=True, run=path)
        if how.endswith("explicit"):
            return await c.delete(targets(ids), run=path)
        return await c.purge("dify", DATASET, run=path)


@pytest.mark.parametrize(
    "how",
    [
        "complete", "rejected", "refused", "refused, explicit", "interrupted while deleting", "interrupted while listing",
        "stopped", "no such dataset", "planned", "planned, explicit",
    ],
)  # fmt: skip
def test_the_library_the_command_and_the_file_tell_the_same(how: str, tmp_path: Path) -> None:
    """``as_dict()`` has the same words and numbers with a run file and without, and ``report --format json`` has them, too."""
    path = tmp_path / "a.run"
    in_memory = virtual.run(lambda: call(how, None))
    with_file = virtual.run(lambda: call(how, path))
    assert words(in_memory.as_dict()) == words(with_file.as_dict())
    with Run.open(path) as run:
        read = account(run)
    assert {key: value for key, value in words(read).items() if key not in ("state", "digest")} == words(
        with_file.as_dict()
    )


@pytest.mark.parametrize("how", ["refused", "refused, explicit"])
def test_what_a_guard_refused_is_named_as_that(how: str, tmp_path: Path) -> None:
    """Nothing was attempted: all that was selected is counted as that, and each dataset says what the whole run says."""
    for path in (None, tmp_path / "a.run"):
        report = virtual.run(lambda path=path: call(how, path)).as_dict()
        assert (report["status"], report["exit_status"], report["not_attempted"]) == ("refused", 3, 9)
        assert report["reasons"] == {"not_attempted": 9}
        assert [dataset["status"] for dataset in report["datasets"]] == ["refused"]


def test_what_a_killed_session_took_is_said_to_be_missing(tmp_path: Path) -> None:
    """A session that was broken off wrote no costs down: the account counts it, in words and as a key, and no other one."""
    path = tmp_path / "a.run"

    async def main() -> Report:
        service = Service(latency=0.3)
        service.fill(9)
        async with client(service, providers=[provider(concurrency=2)]) as c:
            task = asyncio.ensure_future(c.purge("dify", DATASET, run=path))
            service.when[7] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
            with suppress(asyncio.CancelledError):
                await task
            return await c.resume(path)

    report = virtual.run(main)
    assert (report.status, report.deleted + report.already_gone) == ("complete", 9)
    assert report.as_dict()["uncounted_sessions"] == 1
    with Run.open(path) as run:
        assert account(run)["uncounted_sessions"] == 1
        assert any("without what 1 session took that was killed or broken off" in line for line in lines(run))
    whole = virtual.run(lambda: call("complete", tmp_path / "b.run"))
    assert "uncounted_sessions" not in whole.as_dict()


CUTS = st.lists(
    st.tuples(st.integers(1, 25), st.floats(0.0, 0.4), st.sampled_from(["stop", "cancel", "kill"])), max_size=4
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([act for act in ACTS if act != "429 long"]), max_size=3), min_size=1, max_size=12
    ),
    CUTS,
    st.booleans(),
    st.booleans(),
)
def test_the_live_account_is_the_one_read_back(
    script: list[list[str]], cuts: list[tuple[int, float, str]], explicit: bool, retry: bool
) -> None:
    """S9, S10, S21: whatever is answered, stopped, cancelled or killed: the report that a session counted on from the file
    has the same words and numbers as the one that is counted from the file's rows afterwards.

    A kill is a copy of the files as they lie on the disk at some moment: what was not committed by then is lost.
    """

    async def main(at: Path) -> None:
        service = Service(latency=0.3)
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        policy = Policy(attempts=3, indexing_timeout=60.0, backoff=0.5, timeout=30.0)
        path = at / "0.run"
        begun = False
        for number, cut in enumerate([*cuts, None, None], 1):
            if begun:
                with Run.open(path) as run:
                    rejected = run.counts().rejected
                    if not (run.resumable or (retry and rejected)):
                        break
            async with client(service, policy=policy, providers=[provider(concurrency=2)]) as c:
                if begun:
                    coming = c.resume(path, retry_rejected=retry)
                elif explicit:
                    coming = c.delete(targets([*ids, *ids[:2]]), run=path)
                else:
                    coming = c.purge("dify", DATASET, run=path)
                begun = True
                task = asyncio.ensure_future(coming)
                killed: list[Path] = []

                def kill(
                    task: asyncio.Task[Report] = task, path: Path = path, into: Path = at / str(number),
                    killed: list[Path] = killed,
                ) -> None:  # fmt: skip
                    killed.append(crashed_copy(path, into))
                    task.cancel()

                service.when.clear()
                if cut is not None:
                    requests, after, how = cut
                    act = {"stop": c.stop, "cancel": task.cancel, "kill": kill}[how]
                    later = partial(asyncio.get_running_loop().call_later, after, act)
                    service.when[len(service.sent) + requests] = later
                report = None
                with suppress(asyncio.CancelledError):
                    report = await task
            if killed:
                path = killed[0]
            elif report is not None:
                same(report, path)

    with tempfile.TemporaryDirectory() as folder:
        virtual.run(main(Path(folder)))


def same(report: Report, path: Path) -> None:
    """The report as it was counted live against the one that the file's rows give; a hint is not kept, nor which signal it was."""
    with Run.open(path) as run:
        read = recorded_report(run)
    assert list(report.settled) == list(read.settled)
    assert read.elapsed_s == pytest.approx(report.elapsed_s, abs=1e-6)
    live = replace(report, settled=(), elapsed_s=0.0, hint="", signal=None)
    assert live == replace(read, settled=(), elapsed_s=0.0, signal=None)


@pytest.mark.parametrize("kept", ["streamed", "in memory", "in a file"])
def test_repeated_lines_are_one_document(kept: str, tmp_path: Path) -> None:
    """One line five times: five targets settle, and the account says that they are one document."""
    path = tmp_path / "a.run" if kept == "in a file" else None
    policy = Policy(expect=5) if kept == "in memory" else None

    async def main() -> Report:
        service = Service()
        async with client(service, policy=policy) as c:
            return await c.delete(targets(service.fill(1) * 5), run=path)

    report = virtual.run(main)
    assert (report.listed, report.deleted, report.documents) == (5, 5, 1)
    assert report.as_dict()["documents"] == report.as_dict()["datasets"][0]["documents"] == 1
    if path is not None:
        with Run.open(path) as run:
            assert account(run)["documents"] == 1
            assert "Complete: 5 deleted of 5 targets, 1 document" in list(lines(run))
    once = virtual.run(lambda: call("complete", None))
    assert "documents" not in once.as_dict()


def test_a_plan_counts_repeated_lines_as_targets(tmp_path: Path) -> None:
    """One line five times, looked at with a dry run, in a plan and in what is asked: no five documents are spoken of."""
    path = tmp_path / "a.run"
    plans: list[Plan] = []

    async def refuse(plan: Plan) -> bool:
        plans.append(plan)
        return False

    async def main() -> None:
        service = Service()
        async with client(service) as c:
            await c.delete(targets(service.fill(1) * 5), run=path, confirm=refuse)

    virtual.run(main())
    with Run.open(path) as run:
        plans.append(run.plan())
    for plan in plans:
        shown = describe(plan, Policy())
        assert shown[1:3] == [
            "    5 of 5 targets selected: 5 to delete",
            "    5 targets, 1 document: some are named more than once",
        ]
        assert question(plan, Policy()) == ("5", "the number of targets")


def test_documents_in_doubt_are_counted(tmp_path: Path) -> None:
    """What was asked for and not answered when the run ended may be gone: how many that is stands in each account."""
    path = tmp_path / "a.run"

    async def main() -> Report:
        service = Service(latency=0.3)
        ids = service.fill(4)
        service.script(ids[0], ["lost done"] * 9)
        async with client(service, policy=Policy(backoff=30.0), providers=[provider(concurrency=1)]) as c:
            service.when[3] = lambda: asyncio.get_running_loop().call_later(0.2, c.stop)  # in the first DELETE
            return await c.delete(targets(ids), run=path)

    report = virtual.run(main)
    assert report.status == "interrupted"
    assert report.as_dict()["in_doubt"] == report.in_doubt == 1
    same(report, path)
    with Run.open(path) as run:
        assert "1 of those not attempted is in doubt: it was asked for before, and may be gone" in list(lines(run))
