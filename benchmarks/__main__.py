"""All parts, one after another: ``python -m benchmarks``; with ``--full`` up to a million documents.

The tables of the README beside this file are made by

    python -m benchmarks --full --readme benchmarks/README.md --plots benchmarks/plots --json benchmarks.json
"""

from __future__ import annotations

from benchmarks import collapse, makespan, memory, overhead, start
from benchmarks.report import main

PARTS = (overhead, memory, makespan, collapse, start)

if __name__ == "__main__":
    main("benchmarks", __doc__, *(part.measure for part in PARTS))
