"""A look at a run: the time left is honest in a pause, while documents are indexed, and while it lists."""

from __future__ import annotations

import asyncio

from bulkdel import Client, Rate
from bulkdel.engine.progress import Progress
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets


async def looks(c: Client, work: asyncio.Task[object], until: float) -> list[Progress]:
    """A look every quarter of a second, as the display takes them."""
    clock = asyncio.get_running_loop().time
    began, seen = clock(), []
    while not work.done() and clock() - began < until:
        await asyncio.sleep(0.25)
        seen += c.progress()
    return seen


def test_a_pause_does_not_make_the_rest_look_slow() -> None:
    """An hour of pause, asked for in the middle: what is left takes as long as before, after the pause."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(200)
        service.script(ids[100], ["429 long"])
        async with client(service, providers=[provider(rate=Rate(2), concurrency=2)]) as c:
            work: asyncio.Task[object] = asyncio.ensure_future(c.delete(targets(ids)))
            seen = await looks(c, work, 700.0)
            await work
        paused = [look for look in seen if look.wait == "pause" and look.total == 200]
        assert len(paused) > 100
        for look in paused:
            assert look.wait_s is not None
            assert look.eta_s is not None
            assert (
                look.wait_s + 40 <= look.eta_s <= look.wait_s + 150
            )  # a hundred at two a second, or at the half of it

    virtual.run(main())


def test_while_documents_are_indexed_the_latest_end_is_known() -> None:
    """There is no estimate, for a program as for the display, also while others are deleted; but the waiting has an end."""

    async def main() -> None:
        service = Service()
        service.fill(100)
        service.fill(3, display_status="indexing", indexing_status="indexing")

        def ready() -> None:
            for row in service.held.values():
                row["display_status"] = row["indexing_status"] = "completed"

        asyncio.get_running_loop().call_later(100.0, ready)
        async with client(service, providers=[provider(rate=Rate(2))]) as c:
            work: asyncio.Task[object] = asyncio.ensure_future(c.purge("dify", DATASET))
            seen = await looks(c, work, 300.0)
            await work
        deleting = [look for look in seen if look.phase == "deleting" and look.left > 3]
        assert any(look.left > 50 for look in deleting)
        assert {look.eta_s for look in deleting if look.complete} == {None}
        ends = [look.gives_up_s for look in seen if look.indexing]
        assert len(ends) > 100
        assert all(end is not None and 700.0 < end <= 900.0 for end in ends)
        assert {look.gives_up_s for look in seen if not look.indexing} == {None}

    virtual.run(main())


def test_a_listing_is_counted_while_it_goes() -> None:
    """The documents listed so far, page by page, and that they are not all."""

    async def main() -> None:
        service = Service(latency=1.0)
        service.fill(250)
        async with client(service, providers=[provider(concurrency=1)]) as c:  # so that pages come one by one
            work: asyncio.Task[object] = asyncio.ensure_future(c.purge("dify", DATASET, dry_run=True))
            seen = await looks(c, work, 60.0)
            await work
        listed = sorted({look.total for look in seen if look.phase == "listing" and not look.complete})
        assert listed[:2] == [0, 100]  # the other pages come side by side

    virtual.run(main())


def test_what_is_left_behind_is_no_speed() -> None:
    """Hundreds of documents that a stop leaves settle at once, and none of them was deleted in that moment."""

    async def main() -> None:
        service = Service(latency=1.0)
        ids = service.fill(500)
        async with client(service, providers=[provider(rate=Rate(5), concurrency=5)]) as c:
            work: asyncio.Task[object] = asyncio.ensure_future(c.delete(targets(ids)))
            asyncio.get_running_loop().call_later(10.0, c.stop)
            seen = await looks(c, work, 60.0)
            await work
        left = [look for look in seen if look.not_attempted]
        assert left
        assert max(look.per_second for look in seen) <= 6

    virtual.run(main())
