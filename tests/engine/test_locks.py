"""Dify's lock on a document that is to be un-archived: waited for as what it is, and asked about for all in one request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from bulkdel import Policy
from bulkdel.engine.progress import Progress
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, JSON, Service, client, error

UNARCHIVE = Policy(unarchive=True)


@dataclass
class Locking(Service):
    """Disabling a document locks it for ``lock_for`` seconds, or for as long as ``locks`` says of it."""

    lock_for: float = 600.0
    locks: dict[str, float] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    patches: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, request: Request, document: str) -> Reply:
        if request.method != "PATCH":
            return super().answer(request, document)
        assert request.json is not None
        ids: list[str] = request.json["document_ids"]  # type: ignore[assignment]
        step, now = request.path.rpartition("/")[2], asyncio.get_running_loop().time()
        self.patches.append((step, len(ids)))
        for one in ids:
            if self.until.get(one, 0.0) > now:
                name = self.held[one]["name"]
                return error(400, "invalid_action", f"Document:{name} is being indexed, please try again later")
        for one in ids:
            if step == "disable":
                self.until[one] = now + self.locks.get(one, self.lock_for)
            else:
                self.held[one]["archived"] = False
        return Answer(200, JSON, b'{"result":"success"}')


def purged(
    service: Locking,
    policy: Policy = UNARCHIVE,
    looks: list[Progress] | None = None,
    waited: dict[str, float] | None = None,
) -> float:
    """Purge it all; how many virtual seconds that took. ``looks`` gets the progress of half a minute, ``waited`` the account's."""
    took: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with client(service, policy=policy) as c:
            if looks is not None:
                for tenth in range(200, 500):
                    loop.call_later(tenth / 10, lambda: looks.extend(c.progress()))
            report = await c.purge("dify", DATASET)
            assert report.ok
            assert report.requeued.get("document_indexing", 0) == 0
            took.append(loop.time() - began)
            if waited is not None:
                waited.update(report.waited_s)

    virtual.run(main())
    assert not service.held
    return took[0]


def test_locks_without_a_worker_are_asked_about_together() -> None:
    """Two hundred documents locked for ten minutes cost a few requests each minute, and are deleted when it is over."""
    service = Locking()
    service.fill(200, archived=True)
    looks: list[Progress] = []
    waited: dict[str, float] = {}
    assert purged(service, looks=looks, waited=waited) < 700.0
    assert waited["locked"] > 500.0
    assert "indexing" not in waited
    together = [n for step, n in service.patches if step == "un_archive" and n > 1]
    assert max(together) == 200
    # Disabled and refused once each; then one or two requests a look.
    assert len(service.patches) < 200 + 200 + 450
    assert {look.locked for look in looks} == {200}
    # The others are looks at a request for one of them in flight.
    waiting = [look for look in looks if look.wait == "locked"]
    assert len(waiting) > 0.8 * len(looks)
    assert {look.why for look in waiting} == {"200 documents locked by the service"}
    for look, later in pairwise(waiting):
        assert look.wait_s is not None
        assert later.wait_s is not None
        assert 550.0 < later.wait_s < look.wait_s < 590.0


def test_a_usual_look_is_one_request() -> None:
    """Twenty documents locked for ten minutes: each is asked for once by itself and named once, all the rest is one for all."""
    service = Locking()
    service.fill(20, archived=True)
    assert 600.0 < purged(service) < 640.0
    together = [n for step, n in service.patches if step == "un_archive"]
    # Looks come a second apart at first, and a 30th of the wait later on: 130 in ten minutes.
    assert len(together) < 20 + 20 + 150


def test_one_lock_that_was_left_holds_only_its_document() -> None:
    """The refusal names it: the others are asked for without it, and are gone at once."""
    service = Locking(lock_for=2.0)
    ids = service.fill(40, archived=True)
    service.locks[ids[11]] = 600.0
    when: dict[str, float] = {}
    deletes = service.delete

    def noted(document: str) -> Reply:
        when[document] = asyncio.get_running_loop().time() - virtual.START
        return deletes(document)

    service.delete = noted  # type: ignore[method-assign]
    assert 600.0 < purged(service) < 640.0
    assert max(at for document, at in when.items() if document != ids[11]) < 20.0
    assert len(service.patches) < 80 + 150


def test_a_lock_is_no_indexing() -> None:
    """``indexing=skip`` leaves what is being indexed; a locked document is waited for."""
    service = Locking(lock_for=20.0)
    service.fill(3, archived=True)
    assert purged(service, Policy(unarchive=True, indexing="skip")) < 60.0


def test_a_lock_is_waited_for_no_longer_than_asked() -> None:
    """With an ``indexing_timeout`` below the lock's ten minutes the latest end is where the documents are given up."""
    service = Locking(lock_for=10_000.0)
    service.fill(2, archived=True)
    ends: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with client(service, policy=Policy(unarchive=True, indexing_timeout=90.0)) as c:
            work = asyncio.ensure_future(c.purge("dify", DATASET))
            while not work.done():
                await asyncio.wait([work], timeout=1.0)
                for look in c.progress():
                    if look.wait == "locked":
                        assert look.wait_s is not None
                        ends.extend((loop.time() + look.wait_s, loop.time() + (look.gives_up_s or 0.0)))
            assert not work.result().ok
            assert len(ends) > 100
            assert ends == [pytest.approx(loop.time(), abs=2.0)] * len(ends)

    virtual.run(main())


def test_a_lock_that_never_ends_is_named() -> None:
    """Given up after ``indexing_timeout``, in words that say what it waited for."""
    service = Locking(lock_for=10_000.0)
    service.fill(2, archived=True)

    async def main() -> None:
        async with client(service, policy=UNARCHIVE) as c:
            report = await c.purge("dify", DATASET)
            assert {settled.outcome for settled in report.settled} == {"stuck_indexing"}
            assert {settled.reason for settled in report.settled} == {"still locked after 900 s"}

    virtual.run(main())
