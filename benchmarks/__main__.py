"""All parts that need no Redis, one after another: ``python -m benchmarks``; with ``--full`` up to a million documents.

The tables of the README beside this file are made by

    python -m benchmarks --full --readme benchmarks/README.md --plots benchmarks/plots
    python -m benchmarks.pacing --readme benchmarks/README.md
    python -m benchmarks.distributed --readme benchmarks/README.md
"""

from __future__ import annotations

from benchmarks import makespan, memory, overhead, start
from benchmarks.report import main

if __name__ == "__main__":
    main("benchmarks", __doc__, {
        "overhead": overhead.measure, "memory": memory.measure, "makespan": makespan.measure, "start": start.measure,
    })  # fmt: skip
