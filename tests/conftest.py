"""What holds for every test: generated ones are not judged by how long they took, since machines are shared and slow at times."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests of several processes wait most of their time, and others run meanwhile."""
    return (os.cpu_count() or 1) + 1
