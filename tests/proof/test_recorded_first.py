"""S10, S14: what is shown was on disk first, and what a cancelled call had settled is on disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from bulkdel import Policy, Settled, events
from bulkdel.store import Run
from tests import virtual
from tests.engine.world import Service, client, targets


def on_disk(path: Path) -> dict[str, str]:
    """The documents that a run file calls settled, and how."""
    with Run.open(path, check=False) as run:
        return {settled.target.document: settled.outcome for settled in run.settled()}


def test_an_ending_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """S10: at the moment a listener or a reader learns of an ending, the run file holds it."""
    reported: list[str] = []
    early: list[str] = []  # what a listener raises harms nothing (S13), so it is looked at afterwards

    async def main() -> None:
        service = Service()
        ids = service.fill(300)

        def hear(event: events.Event) -> None:
            if isinstance(event, events.Settled):
                reported.append(event.settled.target.document)
                if len(reported) % 25 == 1 and on_disk(path).get(reported[-1]) != event.settled.outcome:
                    early.append(reported[-1])

        async def read(page: Sequence[Settled]) -> None:
            known = on_disk(path)
            early.extend(settled.target.document for settled in page if settled.target.document not in known)

        async with client(service) as c:
            report = await c.delete(targets(ids), run=path, on_event=hear, on_settled=read)
        assert report.deleted == 300

    path = tmp_path / "a.run"
    virtual.run(main())
    assert len(reported) == 300
    assert early == []


@pytest.mark.parametrize("resumed", [False, True])
def test_every_occurrence_is_listed(tmp_path: Path, resumed: bool) -> None:
    """S1, S4: a target that stands in a run file three times is asked for once, and reported to each reader three times."""
    path = tmp_path / "a.run"
    reported: list[str] = []

    async def main() -> None:
        service = Service()
        ids = service.fill(20)

        async def read(page: Sequence[Settled]) -> None:
            reported.extend(settled.target.document for settled in page)

        async with client(service, policy=Policy(indexing="delete")) as c:
            if resumed:
                service.when[1] = c.stop
                await c.delete(targets([*ids, *ids, ids[0]]), run=path)
                report = await c.resume(path, on_settled=read)
                reported.extend([ids[0]] * 3)  # the request that was under way
            else:
                report = await c.delete(targets([*ids, *ids, ids[0]]), run=path, on_settled=read)
        assert report.deleted == 41
        assert Counter(reported) == Counter([*ids, *ids, ids[0]])
        assert set(service.deletes.values()) == {1}

    virtual.run(main())


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
