"""A limiter of the caller's own: it is asked for every permit, and where it is lost the run stops and can go on later."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bulkdel import Dify, Policy, Rate
from bulkdel.limits import Known, Limiter, LimiterUnavailable, MemoryStore, RateMemory
from bulkdel.providers.protocol import Provider
from tests import virtual
from tests.engine.world import Service, client, provider, targets


class Counting(Limiter):
    """Gives so many permits, and then none any more."""

    def __init__(self, rate: Rate | None, permits: int) -> None:
        super().__init__(MemoryStore(), rate)
        self.left = permits
        self.given = 0
        self.closed = 0

    def try_acquire(self) -> bool:
        return False

    async def acquire(self) -> None:
        await super().acquire()
        if not self.left:
            raise LimiterUnavailable("the limiter has gone", "is it up?")
        self.left -= 1
        self.given += 1

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("rate", [None, Rate(50)])
def test_a_lost_limiter_stops_the_provider(rate: Rate | None) -> None:
    """Every request has a permit; where there are none any more nothing is sent, and what is left is not attempted."""
    service = Service()
    asked = targets(service.fill(30))
    made: list[Counting] = []

    def make(for_whom: Provider, pace: Rate | None) -> Counting:
        assert (for_whom.name, pace) == ("dify", rate)
        made.append(Counting(pace, 12))
        return made[-1]

    async def main() -> None:
        async with client(service, providers=[provider(rate=rate)], limiter=make) as opened:
            report = await opened.delete(asked, policy=Policy(indexing="delete"))
            assert (report.status, report.exit_status) == ("stopped", 4)
            assert (report.counts.deleted, report.counts.not_attempted) == (12, 18)
            assert {settled.reason for settled in report.settled if settled.outcome == "not_attempted"} == {
                "the limiter has gone"
            }

    virtual.run(main())
    assert [(pacer.given, pacer.closed) for pacer in made] == [(12, 1)]
    assert len(service.sent) == 12


def test_a_limiter_begins_with_what_was_learned(tmp_path: Path) -> None:
    """With a state folder and a limiter of its own, the folder remembers the rate and the limiter keeps it; no limit is shared in the folder."""
    service = Service()
    dify = Dify("dataset-0123456789abcdef", "http://dify.localhost/v1")
    RateMemory(tmp_path, dify.fingerprint).remember(Known(40.0, 44.0, 1.0), time.time())
    before = sorted(path.name for path in tmp_path.rglob("*"))
    rates: list[Rate | None] = []

    def make(_: Provider, pace: Rate | None) -> Limiter:
        rates.append(pace)
        return Limiter(MemoryStore(), pace)

    async def main() -> None:
        async with client(service, providers=[dify], limiter=make, state=tmp_path) as opened:
            assert (await opened.delete(targets(service.fill(20)))).ok

    virtual.run(main())
    assert rates == [Rate(20, per=0.5)]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_pause_of_another_process_is_explained() -> None:
    """This process was refused nothing, and still it waits: the look says for whom."""
    service = Service()
    asked = targets(service.fill(3))
    limiter = Limiter(MemoryStore(), None)

    async def main() -> None:
        async with client(service, limiter=lambda for_whom, pace: limiter) as opened:
            limiter.pause(30.0)  # what a claim does that meets the pause of another process
            work = asyncio.ensure_future(opened.delete(asked))
            await asyncio.sleep(10.0)
            (look,) = opened.progress()
            assert (look.wait, look.why) == ("pause", "another process with this key has begun it")
            assert (await work).ok

    virtual.run(main())
