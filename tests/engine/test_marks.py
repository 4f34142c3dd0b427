"""A proxy that takes X-Version away: the absence of it says nothing once Dify's own answers came without it."""

from __future__ import annotations

from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, Service, client, error, targets


class Proxied(Service):
    """Takes the mark from every answer if ``strips``, and says 403 in JSON to the deletes of one document."""

    strips = True

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        reply = await super().send(request, timeout=timeout, connect_timeout=connect_timeout)
        assert isinstance(reply, Answer)
        if request.method == "DELETE" and request.path.endswith(self.forbidden):
            reply = error(403, "forbidden", "No.")
        headers = {name: value for name, value in reply.headers.items() if name != "x-version" or not self.strips}
        return reply._replace(headers=headers)

    forbidden = "?"


def test_one_refusal_behind_such_a_proxy_rejects_one_document() -> None:
    """Nothing is paused, and nothing is stopped: the listing had come without the mark, too."""
    service = Proxied()
    ids = service.fill(20)
    service.forbidden = ids[7]

    async def main() -> None:
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
            assert (report.deleted, report.pauses) == (19, 0)
            assert [(s.target.document, s.outcome, s.reason) for s in report.rejected] == [(ids[7], "refused", "No.")]

    virtual.run(main())


def test_the_first_answer_of_all_teaches_nothing() -> None:
    """Explicit targets, and the refusal comes first: it is asked again, and read once others showed what the proxy does."""
    service = Proxied(latency=0.0)
    ids = service.fill(3)
    service.forbidden = ids[0]

    async def main() -> None:
        async with client(service) as c:
            report = await c.delete(targets(ids))
            assert (report.deleted, len(report.rejected)) == (2, 1)

    virtual.run(main())


def test_a_proxys_own_refusal_still_stops() -> None:
    """Dify's answers carry the mark and the refusal does not: a proxy said it, three times."""

    class Blocking(Proxied):
        async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
            if request.method == "DELETE":
                return Answer(403, {}, error(403, "forbidden", "No.").body)
            return await super().send(request, timeout=timeout, connect_timeout=connect_timeout)

    service = Blocking()
    service.strips = False
    service.fill(3)

    async def main() -> None:
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
            assert (report.exit_status, report.not_attempted) == (4, 3)

    virtual.run(main())
