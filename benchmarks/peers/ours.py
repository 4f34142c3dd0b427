"""bulkdel itself: streamed (``--mode settle``), with a report (``delete``), or with a run file on disk (``run``)."""

from __future__ import annotations

from collections.abc import Iterator

# What is imported where it is used, imported before the clock runs, as every other peer's imports are.
import bulkdel.client
import bulkdel.store.recorded
import bulkdel.wire  # noqa: F401
from benchmarks.peers.common import DATASET, KEY, Options, Told, documents, run
from bulkdel import Client, Dify, Limits, Policy, Rate, Target


def targets(n: int) -> Iterator[Target]:
    for document in documents(n):
        yield Target("dify", DATASET, document)


async def work(given: Options) -> Told:
    rate = None if given.rate is None else Rate(given.rate[0], per=given.rate[1])
    concurrency = given.connections or None  # 0: its own default, which adapts
    dify = Dify(KEY, given.base_url, limits=Limits(rate=rate, concurrency=concurrency))
    told = Told()
    async with Client(dify, policy=Policy(timeout=given.timeout, indexing="delete")) as client:
        if given.mode == "settle":
            async with client.settle(targets(given.documents)) as outcomes:
                async for settled in outcomes:
                    if settled.status == "fulfilled":
                        told.gone += 1
                    else:
                        told.failed += 1
            report = outcomes.report
        elif given.mode == "run":
            report = await client.delete(targets(given.documents), run=given.run)
            told.gone, told.failed = report.deleted + report.already_gone, report.counts.rejected
        else:
            report = await client.delete(targets(given.documents))
            told.gone, told.failed = len(report.fulfilled), len(report.rejected)
    if report is not None:
        told.words = {"requests": report.requests, "reasons": report.reasons, "requeued": report.requeued}
    return told


if __name__ == "__main__":
    run(work)
