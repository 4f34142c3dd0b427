"""The account is the same one, whether it was counted in memory, counted from the run file, or read from the file later."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Policy, Report, Run
from bulkdel.render.json import account
from bulkdel.render.text import lines
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets

MEASURED = {"run", "elapsed_s", "waited_s"}
"""What may differ: where the file is, and how long it took."""


def told(of: dict[str, Any]) -> dict[str, Any]:
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
    assert told(in_memory.as_dict()) == told(with_file.as_dict())
    with Run.open(path) as run:
        read = account(run)
    assert {key: value for key, value in told(read).items() if key not in ("state", "digest")} == told(
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
