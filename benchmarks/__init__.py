"""What the README says of speed, measured: ``python -m benchmarks.pacing`` and ``python -m benchmarks.capacity``."""
