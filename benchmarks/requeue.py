"""What documents that are still being indexed cost: ``python -m benchmarks.requeue``.

1,000 documents on a virtual clock; some answer 400 ``document_indexing`` until their indexing ends, 5 to 60 s from the beginning.
The bound is a client that knows these times and asks for each document once, as soon as it may.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random

from benchmarks.models import DELETED, JSON, KEY, Model, client, now, targets
from benchmarks.report import Options, Part, main
from bulkdel import Dify, Limits, Policy
from bulkdel.providers.protocol import Answer, Request
from tests import virtual

N = 1_000
SERVICE_S = 0.1
CONCURRENCY = 4
INDEXING = Answer(
    400, JSON, json.dumps({"code": "document_indexing", "message": "Cannot delete.", "status": 400}).encode()
)


class Indexing(Model):
    """A service whose documents can be deleted from a time on, each request 100 ms."""

    def __init__(self, ready: dict[str, float]) -> None:
        super().__init__()
        self.ready = ready

    async def serve(self, request: Request) -> Answer:
        asked = now()
        await asyncio.sleep(SERVICE_S)
        document = request.path.rpartition("/")[2]
        return INDEXING if asked < self.trace.started + self.ready.get(document, 0.0) else DELETED


def clairvoyant(ready: list[float]) -> float:
    """The shortest time for requests of one length on so many workers: each at its release time, the earliest first."""
    free = [0.0] * CONCURRENCY
    for release in sorted(ready):
        heapq.heappush(free, max(heapq.heappop(free), release) + SERVICE_S)
    return max(free)


def measure(options: Options) -> Part:
    part = Part("requeue", "Requeue", ("indexing", "seconds", "clairvoyant", "ratio", "requests", "deleted"))
    for share in (0.0, 0.05, 0.30):
        documents = targets(N)
        draw = random.Random(1)
        ready = {target.document: draw.uniform(5, 60) for target in draw.sample(documents, int(share * N))}
        model = Indexing(ready)

        async def run(model: Indexing = model) -> float:
            dify = Dify(KEY, "http://127.0.0.1/v1", limits=Limits(concurrency=CONCURRENCY))
            async with client(dify, model) as c:
                report = await c.delete(targets(N), policy=Policy(indexing="delete"), keep=False)
            assert report.counts.deleted == N, report.summary()
            return model.trace.lasted

        took = virtual.run(run())
        bound = clairvoyant([ready.get(target.document, 0.0) for target in documents])
        row = (
            f"{share:.0%}",
            f"{took:.1f}",
            f"{bound:.1f}",
            f"{took / bound:.2f} ×",
            f"{len(model.trace.seen):,}",
            f"{N:,}",
        )
        part.rows.append(row)
        part.bars[f"bulkdel, {share:.0%} indexing"] = round(took, 1)
        part.bars[f"clairvoyant, {share:.0%} indexing"] = round(bound, 1)
        part.numbers[f"{share:.0%}"] = {"seconds": took, "bound": bound, "requests": len(model.trace.seen)}
    part.unit = "seconds (virtual)"
    part.notes.append(
        f"concurrency {CONCURRENCY}, {SERVICE_S * 1000:.0f} ms a request; a document is asked again when its wait has grown by a 30th, or "
        "when another one turned out to be ready; that takes at most a tenth of the time while there is other work, else a quarter"
    )
    return part


if __name__ == "__main__":
    main("benchmarks.requeue", __doc__, measure)
