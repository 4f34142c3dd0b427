"""All parts, one after another: ``python -m benchmarks`` (about ten minutes; ``--full``, up to a million documents, twenty).

What the README shows is made by

    python -m benchmarks --full --readme benchmarks/README.md --plots benchmarks/plots --json benchmarks.json
"""

from __future__ import annotations

from benchmarks import collapse, makespan, memory, overhead, requeue, scaling, start
from benchmarks.report import main

PARTS = (overhead, memory, makespan, collapse, requeue, start, scaling)

if __name__ == "__main__":
    main("benchmarks", __doc__, *(part.measure for part in PARTS))
