"""S19: time is monotonic; a wall clock that is set and a laptop that sleeps are survived."""

from __future__ import annotations

import asyncio
import time

import pytest

from bulkdel import Policy, Rate
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets


@pytest.mark.parametrize("step", [-3_600.0, 86_400.0])
def test_a_wall_clock_that_is_set_changes_no_ending(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Endings keep the order and the time of the clock that the run began with."""
    honest = time.time
    began = honest()

    async def main() -> None:
        service = Service()
        ids = service.fill(40)
        service.when[20] = lambda: monkeypatch.setattr(time, "time", lambda: honest() + step)
        async with client(service) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        moments = [settled.settled_at for settled in report.settled]
        assert all(began - 1 <= moment <= began + 300 for moment in moments)
        assert max(moments) - min(moments) < 300

    virtual.run(main())


@pytest.mark.parametrize("slept", [90.0, 8 * 3_600.0])
def test_a_laptop_that_sleeps_goes_on(slept: float) -> None:
    """A suspended machine wakes with every timer due at once: nothing is lost, asked twice, or sent above the rate."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(60)
        waiting = service.fill(3, display_status="indexing", indexing_status="indexing")
        for document in ids[::7]:
            service.script(document, ["500", "429"])
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.call_later(4.0, loop.stall, slept)
        loop.call_later(4.0 + slept + 1.0, ready, service, waiting)
        async with client(service, policy=Policy(backoff=0.5), providers=[provider(rate=Rate(10), concurrency=4)]) as c:
            report = await c.purge("dify", DATASET)
        if slept < 900.0:
            assert report.ok
            assert not service.held
        else:
            # The documents that were being indexed had 15 minutes, and the machine slept through them: one last look.
            assert report.reasons.get("stuck_indexing", 0) == len(service.held) <= 3
        assert not service.doubled
        times = [sent.at for sent in service.sent]
        for first, last in zip(times, times[10:], strict=False):
            assert last - first >= 1.0 - 1e-6

    virtual.run(main())


def ready(service: Service, waiting: list[str]) -> None:
    for document in waiting:
        if document in service.held:
            service.held[document]["display_status"] = service.held[document]["indexing_status"] = "completed"


def test_a_deadline_is_not_moved_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock set back by a day does not lengthen a deadline, and one set forward does not bring it at once."""
    honest = time.time

    async def main(step: float) -> None:
        service = Service(latency=0.1)
        ids = service.fill(200)
        service.when[5] = lambda: monkeypatch.setattr(time, "time", lambda: honest() + step)
        began = asyncio.get_running_loop().time()
        async with client(service, providers=[provider(concurrency=1)]) as c:
            report = await c.delete(targets(ids), policy=Policy(deadline=5.0))
        assert report.status == "deadline"
        assert 5.0 <= asyncio.get_running_loop().time() - began < 5.2
        assert 40 <= report.deleted <= 51

    for step in (-86_400.0, 86_400.0):
        virtual.run(main(step))
