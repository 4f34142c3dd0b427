"""A UUID in capitals is the same document: everything compares ids in the one spelling of their service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bulkdel import ConfigurationError, Policy
from bulkdel.model import PurgeRequest, Settled, Target
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.store import Run
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets

LETTERS = "abcdefab-cdef-4abc-8def-abcdefabcdef"


class Lettered(Service):
    """A Dify with a dataset whose id has letters, as have its documents; it takes them in any case."""

    def fill(self, n: int, **extra: object) -> list[str]:
        lettered = []
        for old in super().fill(n, **extra):
            new = f"{old[:8]}{LETTERS[8:]}"
            self.held[new] = self.held.pop(old) | {"id": new}
            lettered.append(new)
        return lettered

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        lower = request._replace(path=request.path.lower())
        return await super().send(lower, timeout=timeout, connect_timeout=connect_timeout)

    def read(self, request: Request, document: str) -> Reply:
        reply = super().read(request, document)
        assert isinstance(reply, Answer)
        return reply._replace(body=reply.body.replace(DATASET.encode(), LETTERS.encode()))


@pytest.mark.parametrize("file", [False, True])
def test_a_dataset_in_two_spellings_is_purged_once(file: bool, tmp_path: Path) -> None:
    """``purge(ds, DS)``: it is listed once, and ``expect`` counts its documents once."""
    service = Lettered()
    service.fill(30)

    async def main() -> None:
        async with client(service, policy=Policy(expect=30)) as c:
            run = tmp_path / "a.run" if file else None
            report = await c.purge("dify", LETTERS.upper(), LETTERS, LETTERS.title(), run=run)
            assert (report.ok, report.listed, report.deleted) == (True, 30, 30)
            assert [dataset.dataset for dataset in report.datasets] == [LETTERS]

    virtual.run(main())
    assert sum(service.deletes.values()) == 30


def test_one_dataset_is_not_emptied_twice_in_two_spellings() -> None:
    """Two requests for one dataset may differ in what they select: that is refused, whatever the spelling."""

    async def main() -> None:
        async with client(Lettered()) as c:
            with pytest.raises(ConfigurationError, match="emptied twice"):
                await c.carry_out([PurgeRequest("dify", LETTERS), PurgeRequest("dify", LETTERS.upper())])

    virtual.run(main())


@pytest.mark.parametrize("kind", ["sequence", "generator", "asynchronous", "streamed"])
def test_one_document_is_one_request_in_any_spelling(kind: str) -> None:
    """Each occurrence settles as the caller spelled it; the service is asked once for each document."""
    service = Lettered()
    ids = service.fill(30)
    given = [
        Target("dify", dataset, document)
        for dataset, spelled in ((LETTERS, str), (LETTERS.upper(), str.upper))
        for document in map(spelled, ids)
    ]

    async def asynchronous() -> AsyncIterator[Target]:
        for target in given:
            yield target

    async def main() -> None:
        async with client(service) as c:
            if kind == "streamed":
                async with c.settle(given) as outcomes:
                    found = [settled async for settled in outcomes]
                    assert sorted(settled.target for settled in found) == sorted(given)
                    return
            report = await c.delete({"sequence": given, "generator": iter(given), "asynchronous": asynchronous()}[kind])
            assert [settled.target for settled in report.settled] == given
            assert (report.ok, report.listed, report.deleted, report.already_gone) == (True, 60, 60, 0)
            assert [(d.dataset, d.counts.deleted) for d in report.datasets] == [(LETTERS, 60)]

    virtual.run(main())
    assert set(service.deletes.values()) == {1}
    assert len(service.deletes) == 30


@pytest.mark.parametrize("file", [False, True])
def test_a_kept_list_is_one_request_in_any_spelling(file: bool, tmp_path: Path) -> None:
    """Read to its end before anything is sent, with a run file or without: reports and lines have the caller's spelling."""
    service = Lettered()
    ids = service.fill(30)
    given = [Target("dify", LETTERS.upper(), document.upper()) for document in ids] + targets(ids, dataset=LETTERS)
    said: list[Target] = []

    async def note(page: Sequence[Settled]) -> None:
        said.extend(settled.target for settled in page)

    async def main() -> None:
        run = tmp_path / "a.run" if file else None
        async with client(service, policy=Policy(expect=60)) as c:
            report = await c.delete(given, run=run, on_settled=note)
            assert (report.ok, report.listed, report.deleted, report.already_gone) == (True, 60, 60, 0)
            assert [settled.target for settled in report.settled] == given
            assert sorted(said) == sorted(given)
            assert [dataset.dataset for dataset in report.datasets] == [LETTERS]

    virtual.run(main())
    if file:
        with Run.open(tmp_path / "a.run") as kept:
            assert [settled.target for settled in kept.settled()] == given
    assert set(service.deletes.values()) == {1}
    assert len(service.deletes) == 30


def test_a_run_that_goes_on_knows_every_spelling(tmp_path: Path) -> None:
    """Stopped in between: what had settled is not asked for again in another spelling."""
    service = Lettered()
    ids = service.fill(40)
    given = [*targets(ids, dataset=LETTERS), *(Target("dify", LETTERS, document.upper()) for document in ids)]
    service.script(ids[20], ["401"])

    async def main() -> None:
        run = tmp_path / "a.run"
        async with client(service, providers=[provider(concurrency=1)]) as c:
            first = await c.delete(given, run=run)
            assert (first.exit_status, first.deleted) == (4, 40)
            second = await c.resume(run)
            assert (second.ok, second.deleted, second.already_gone) == (True, 80, 0)
            assert [settled.target for settled in second.settled] == given

    virtual.run(main())
    assert sum(service.deletes.values()) == 41


def test_spellings_far_apart_are_one_request() -> None:
    """In a sequence the first occurrence stands for all, even if it has long settled when the last one is read."""
    service = Lettered(latency=0.0)
    ids = service.fill(3_000)
    given = [*targets(ids, dataset=LETTERS), Target("dify", LETTERS, ids[0].upper())]

    async def main() -> None:
        async with client(service) as c:
            report = await c.delete(given)
            assert (report.deleted, report.already_gone) == (3_001, 0)
            assert report.settled[-1].target == given[-1]

    virtual.run(main())


def test_a_stopped_dataset_is_stopped_in_any_spelling() -> None:
    """Nothing more is asked for in it once it is known to be gone."""
    service = Lettered()
    ids = service.fill(20)
    service.script(ids[0], ["404 dataset"])
    given = [*targets(ids[:1], dataset=LETTERS), *targets(ids[1:], dataset=LETTERS.upper())]

    async def main() -> None:
        async with client(service, providers=[provider(concurrency=1)]) as c:
            report = await c.delete(given)
            assert {settled.outcome for settled in report.settled} == {"dataset_stopped"}
            assert [settled.target for settled in report.settled] == given

    virtual.run(main())
    assert sum(service.deletes.values()) == 1
