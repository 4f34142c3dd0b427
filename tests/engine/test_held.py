"""What happens to a document that is waited for while it is being indexed: a user deletes it, archives it, or all goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bulkdel import Policy
from bulkdel.providers.protocol import Reply, Request
from tests import virtual
from tests.engine.world import DATASET, Service, client, error

INDEXING = {"display_status": "indexing", "indexing_status": "indexing"}
READY = {"display_status": "available", "indexing_status": "completed"}


class Changing(Service):
    """A service that reads badly for a time."""

    reads: Reply | None = None

    def read(self, request: Request, document: str) -> Reply:
        return super().read(request, document) if self.reads is None else self.reads


def happens(service: Changing, what: str, ids: list[str]) -> Callable[[], None]:
    def gone() -> None:
        service.held.clear()

    def archived() -> None:
        for row in service.held.values():
            row.update(READY, archived=True)

    def dataset_gone() -> None:
        service.dataset_gone = True

    def refused() -> None:
        service.reads = error(401, "unauthorized", "Access token is invalid")

    def broken() -> None:
        service.reads = error(500, "unknown", "Internal Server Error")

        def mended() -> None:
            service.reads = None
            for row in service.held.values():
                row.update(READY)

        asyncio.get_running_loop().call_later(40.0, mended)

    return {"gone": gone, "archived": archived, "dataset gone": dataset_gone, "refused": refused, "broken": broken}[
        what
    ]


@pytest.mark.parametrize("waiting", [1, 250])
@pytest.mark.parametrize(
    ("what", "outcome", "exit_status"),
    [
        ("gone", "already_gone", 0),
        ("archived", "archived", 1),
        ("dataset gone", "dataset_stopped", 1),
        ("refused", "not_attempted", 4),
        ("broken", "deleted", 0),
    ],
)
def test_what_is_waited_for_ends_as_what_happened_to_it(
    what: str, outcome: str, exit_status: int, waiting: int
) -> None:
    """One document is asked for by itself, 250 by their listing; the endings are the same, and nothing is deleted meanwhile."""

    async def main() -> None:
        service = Changing()
        ids = service.fill(waiting, **INDEXING)
        asyncio.get_running_loop().call_later(20.0, happens(service, what, ids))
        # More patience than the outage lasts: what cannot be looked at is looked at again.
        async with client(service, policy=Policy(attempts=2, backoff=0.5, indexing_timeout=300.0)) as c:
            report = await c.purge("dify", DATASET)
        assert {settled.outcome for settled in report.settled} == {outcome}
        assert len(report.settled) == waiting
        assert sum(service.deletes.values()) == (waiting if outcome == "deleted" else 0)
        assert report.exit_status == exit_status
        assert report.elapsed_s >= 20.0

    virtual.run(main())
