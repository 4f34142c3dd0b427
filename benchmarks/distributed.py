"""Beyond one process: what the shared limit costs and keeps, and workers: ``python -m benchmarks.distributed`` (needs redis-server)."""

from __future__ import annotations

from benchmarks import permits, workers
from benchmarks.report import main

PARTS = (permits, workers)

if __name__ == "__main__":
    main("benchmarks.distributed", __doc__, *(part.measure for part in PARTS))
