"""A UUID in capitals is the same document: everything compares ids in the one spelling of their service."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdel import ConfigurationError, Policy
from bulkdel.model import PurgeRequest
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, Service, client

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
