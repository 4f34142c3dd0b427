"""One call without a client: it connects, does what it says, and lets go; against a simulated service on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import bulkdel
from bulkdel import Dify, Policy, Target
from bulkdel.errors import ConfigurationError
from bulkdel.simulator import DifySimulator


def at(simulator: DifySimulator) -> Dify:
    return Dify(simulator.key, simulator.base_url)


def targets(simulator: DifySimulator) -> list[Target]:
    (dataset,) = simulator.dataset_ids
    return [Target("dify", dataset, document.id) for document in simulator.documents(dataset)]


def test_each_call_does_what_it_says_alone(tmp_path: Path) -> None:
    """``delete``, ``settle``, ``purge`` with a run file, and ``resume`` of it: each connects, does its part, and lets go."""

    async def main() -> None:
        async with DifySimulator(documents=40) as simulator:
            dify, mine = at(simulator), targets(simulator)
            report = await bulkdel.delete(mine[:10], dify)
            assert (report.deleted, simulator.remaining) == (10, 30)
            async with bulkdel.settle(iter(mine[5:20]), [dify]) as outcomes:
                settled = [one async for one in outcomes]
            assert [one.outcome for one in settled].count("already_gone") == 5
            assert (outcomes.report.deleted, simulator.remaining) == (10, 20)
            run = tmp_path / "a.run"
            refused = await bulkdel.purge(dify, *simulator.dataset_ids, policy=Policy(max_delete=5), run=run)
            assert (refused.exit_status, simulator.remaining) == (3, 20)
            whole = await bulkdel.resume(run, [dify], policy=Policy())
            assert (whole.deleted, whole.remaining, simulator.remaining) == (20, 0, 0)

    asyncio.run(main())


def test_a_stream_that_cannot_begin_lets_its_client_go() -> None:
    """A sequence that holds no targets is refused where the stream is entered, and nothing was sent."""

    async def main() -> None:
        async with DifySimulator(documents=3) as simulator:
            with pytest.raises(ConfigurationError, match="target number 2"):
                async with bulkdel.settle([*targets(simulator)[:1], "no target"], at(simulator)):  # type: ignore[list-item]
                    raise AssertionError("it was entered")
            assert simulator.requests == []

    asyncio.run(main())
