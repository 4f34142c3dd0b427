"""Listing again: patiently while a listing lags, and once more, later, when something may have come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bulkdel import Client, Report, Run
from bulkdel.engine.progress import Progress
from bulkdel.providers.protocol import Reply, Request
from bulkdel.render.overview import overview
from bulkdel.render.wording import headline
from bulkdel.store.recorded import recorded_report
from tests import virtual
from tests.engine.world import DATASET, Service, client, targets


class Stale(Service):
    """Its listing and its documents show what was deleted for ``lag`` seconds more."""

    lag: float = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, tuple[float, dict[str, object]]] = {}

    def delete(self, document: str) -> Reply:
        row = self.held.get(document)
        reply = super().delete(document)
        if row is not None and document not in self.held:
            self.shown[document] = (asyncio.get_running_loop().time() + self.lag, row)
        return reply

    def read(self, request: Request, document: str) -> Reply:
        now, held = asyncio.get_running_loop().time(), self.held
        self.held = held | {one: row for one, (until, row) in self.shown.items() if now < until}
        try:
            return super().read(request, document)
        finally:
            self.held = held


async def purge_and_look(c: Client) -> tuple[Report, list[Progress]]:
    """A purge, and a look at its progress each second."""
    work = asyncio.ensure_future(c.purge("dify", DATASET))
    seen: list[Progress] = []
    while not work.done():
        await asyncio.sleep(1.0)
        seen += c.progress()
    return await work, seen


def test_a_listing_that_lags_is_waited_for() -> None:
    """For half a minute the listing shows what is deleted: it is said while it is waited for, and then it is exit 0."""

    async def main() -> None:
        service = Stale()
        service.fill(150)
        async with client(service) as c:
            report, seen = await purge_and_look(c)
        assert (report.status, report.deleted, report.remaining) == ("complete", 150, 0)
        assert 30.0 <= report.elapsed_s < 62.0
        said = {look.why for look in seen if look.phase == "verifying"}
        assert "the listing still shows 150 deleted documents" in said

    virtual.run(main())


def test_a_listing_that_never_catches_up_ends_after_a_minute() -> None:
    """What is still listed then is named, and it is exit 1."""

    async def main() -> None:
        service = Stale()
        service.lag = float("inf")
        service.fill(3)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert (report.exit_status, report.remaining, report.datasets[0].still_there_count) == (1, 3, 3)
        assert 60.0 <= report.elapsed_s < 65.0

    virtual.run(main())


def test_verify_can_find_all_well_where_the_run_did_not(tmp_path: Path) -> None:
    """A listing that lagged for longer than the run waited: verified an hour later, the run is complete."""
    service, path = Stale(), tmp_path / "a.run"
    service.lag = 1800.0
    service.fill(3)

    async def main() -> None:
        async with client(service) as c:
            assert (await c.purge("dify", DATASET, run=path)).exit_status == 1
            await asyncio.sleep(3600.0)
            report = await c.verify(path)
            assert (report.status, report.remaining) == ("complete", 0)

    virtual.run(main())
    with Run.open(path) as run:
        assert run.state == "complete"
        assert headline(recorded_report(run)) == "Complete: 3 deleted of 3"
    assert overview(path)["reason"] == ""


@pytest.mark.parametrize("lag", [30.0, float("inf")])
def test_a_first_verification_waits_for_a_listing_that_lags(lag: float, tmp_path: Path) -> None:
    """Named documents are verified right after they were deleted: what is still listed has not come back, and is waited for."""
    service, path = Stale(), tmp_path / "a.run"
    service.lag = lag

    async def main() -> Report:
        ids = service.fill(3)
        async with client(service) as c:
            await c.delete(targets(ids), run=path)
            begun = asyncio.get_running_loop().time()
            report = await c.verify(path)
            assert asyncio.get_running_loop().time() - begun < 65.0
        return report

    report = virtual.run(main())
    assert report.exit_status == (0 if lag == 30.0 else 1)
    assert report.reason == ("" if lag == 30.0 else "still listed, though the service called them deleted: 3 documents")
