"""S10, S14: what is shown was on disk first, and what a cancelled call had settled is on disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from bulkdel import Policy, events
from bulkdel.runs import Run
from tests import virtual
from tests.engine.world import Service, client, targets


def on_disk(path: Path) -> dict[str, str]:
    """The documents that a run file calls settled, and how."""
    with Run.open(path, check=False) as run:
        return {settled.target.document: settled.outcome for settled in run.settled()}


def test_an_ending_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """S10: at the moment a listener or a reader is told of an ending, the run file holds it."""
    told: list[str] = []

    async def main() -> None:
        service = Service()
        ids = service.fill(300)

        def hear(event: events.Event) -> None:
            if isinstance(event, events.Settled):
                told.append(event.settled.target.document)
                if len(told) % 25 == 1:
                    assert on_disk(path)[told[-1]] == event.settled.outcome

        async def read(page: object) -> None:
            known = on_disk(path)
            assert all(settled.target.document in known for settled in page)  # type: ignore[attr-defined]

        async with client(service) as c:
            report = await c.delete(targets(ids), run=path, on_event=hear, on_settled=read)
        assert report.deleted == 300

    path = tmp_path / "a.run"
    virtual.run(main())
    assert len(told) == 300


@pytest.mark.parametrize("after", [3, 700, 1_500, 2_900])
def test_a_cancelled_call_forgets_nothing_that_it_knew(tmp_path: Path, after: int) -> None:
    """S14: every answer that had come when the call was cancelled is on disk; what was in flight is not a success."""
    path = tmp_path / "a.run"
    service = Service(latency=0.0)
    ids = service.fill(3_000)

    async def main() -> None:
        async with client(service, policy=Policy(attempts=2)) as c:
            task = asyncio.get_running_loop().create_task(c.delete(targets([*ids, ids[0]]), run=path))
            service.when[after] = task.cancel
            with suppress(asyncio.CancelledError):
                await task

    virtual.run(main())
    known = on_disk(path)
    gone = set(ids) - service.held.keys()
    assert known.keys() <= gone
    assert set(known.values()) <= {"deleted"}
    assert len(gone) - len(known) <= 4  # at most what four workers had in flight
