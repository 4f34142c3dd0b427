"""What holds for every test: generated ones are not judged by how long they took, since machines are shared and slow at times."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("unhurried")
