"""A pacer of the caller's own: it is asked for every permit, and where it is lost the run stops and can go on later."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bulkdel import Dify, Rate
from bulkdel.limits import PacerLost, Pacing
from bulkdel.limits.learned import Memory
from bulkdel.providers.protocol import Provider
from tests import virtual
from tests.engine.world import Service, client, provider, targets


class Counting(Pacing):
    """Gives so many permits, and then none any more."""

    def __init__(self, rate: Rate | None, permits: int) -> None:
        super().__init__(rate)
        self.left = permits
        self.given = 0
        self.closed = 0

    def try_acquire(self) -> bool:
        if not self.left or not super().try_acquire():
            return False
        self.left -= 1
        self.given += 1
        return True

    async def acquire(self) -> None:
        if not self.left:
            raise PacerLost("the limiter has gone", "is it up?")
        await super().acquire()
        self.left -= 1
        self.given += 1

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("rate", [None, Rate(50)])
def test_a_lost_pacer_stops_the_provider_and_the_rest_is_not_attempted(rate: Rate | None) -> None:
    """Every request has a permit; where there are none any more nothing is sent, and what is left is not attempted."""
    service = Service()
    asked = targets(service.fill(30))
    made: list[Counting] = []

    def make(for_whom: Provider, pace: Rate | None) -> Counting:
        assert (for_whom.name, pace) == ("dify", rate)
        made.append(Counting(pace, 12))
        return made[-1]

    async def main() -> None:
        async with client(service, providers=[provider(rate=rate)], pacer=make) as opened:
            report = await opened.delete(asked)
            assert (report.status, report.exit_status) == ("stopped", 4)
            assert (report.counts.deleted, report.counts.not_attempted) == (12, 18)
            assert {settled.reason for settled in report.settled if settled.outcome == "not_attempted"} == {
                "the limiter has gone"
            }

    virtual.run(main())
    assert [(pacer.given, pacer.closed) for pacer in made] == [(12, 1)]
    assert len(service.sent) == 12


def test_what_was_learned_is_what_a_pacer_begins_with(tmp_path: Path) -> None:
    """With a state folder and a pacer, the folder remembers the rate and the pacer keeps it; no limit is shared in the folder."""
    service = Service()
    dify = Dify("dataset-0123456789abcdef", "http://dify.localhost/v1")
    Memory(tmp_path, dify.fingerprint).remember(Rate(40), True, time.time())
    before = sorted(path.name for path in tmp_path.rglob("*"))
    rates: list[Rate | None] = []

    def make(_: Provider, pace: Rate | None) -> Pacing:
        rates.append(pace)
        return Pacing(pace)

    async def main() -> None:
        async with client(service, providers=[dify], pacer=make, state=tmp_path) as opened:
            assert (await opened.delete(targets(service.fill(20)))).ok

    virtual.run(main())
    assert rates == [Rate(40)]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_what_the_others_let_through_counts_when_a_rate_is_derived() -> None:
    """S6: one of three processes that is refused derives the rate that all three had together; its pacer shares it out."""

    class Shared(Pacing):
        def __init__(self, rate: Rate | None, processes: int) -> None:
            super().__init__(rate)
            self.processes = processes
            self.kept: list[Rate | None] = []

        def set_rate(self, rate: Rate | None) -> None:
            self.kept.append(rate)
            super().set_rate(rate)

    def derived(processes: int) -> float:
        service = Service()
        ids = service.fill(60)
        service.script(ids[40], ["429"])
        made: list[Shared] = []

        def make(_: Provider, pace: Rate | None) -> Shared:
            made.append(Shared(pace, processes))
            return made[-1]

        async def main() -> None:
            async with client(service, pacer=make) as opened:
                assert (await opened.delete(targets(ids))).ok

        virtual.run(main())
        rates = [rate for rate in made[0].kept if rate is not None]
        return rates[0].per_second

    assert derived(3) == pytest.approx(3 * derived(1))
