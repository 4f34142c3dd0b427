"""The application for ``celery -A bulkdel.distributed.worker worker``; the broker's address is in ``BULKDEL_BROKER_URL``."""

from __future__ import annotations

import os

from bulkdel.distributed.app import VARIABLE, create_app

app = create_app(os.environ.get(VARIABLE, "redis://127.0.0.1:6379/0"))
