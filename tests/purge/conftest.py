"""What holds for every test of this folder: nothing of bulkdel blocks the event loop."""

from __future__ import annotations

from tests.blocking import blocking_calls_fail

__all__ = ["blocking_calls_fail"]
