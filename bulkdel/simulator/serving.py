"""Serving a simulator until somebody has had enough: all that a command needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bulkdel.simulator.core import Simulator


async def run_forever(simulator: Simulator, announce: Callable[[str], None]) -> None:
    """Serve ``simulator`` until it is cancelled; ``announce`` is given its base URL, key and datasets, a line at a time.

    :raises OSError: when the port is taken
    """
    async with simulator:
        announce(f"base URL: {simulator.base_url}")
        announce(f"key: {simulator.key}")
        for dataset in simulator.dataset_ids:
            announce(f"dataset: {dataset} ({len(simulator.documents(dataset))} documents)")
        await asyncio.Event().wait()
