"""The library's log: it never prints (rule 10 of engine/README.md) and configures nothing."""

from __future__ import annotations

import logging
import sys
from typing import Any


def warn(message: str, **values: Any) -> None:
    """Log a warning, through structlog if the program has configured it, through ``logging`` otherwise.

    structlog that was not configured prints to the program's stdout.
    """
    structlog = sys.modules.get("structlog")  # a program that has configured it has imported it
    if structlog is not None and structlog.is_configured():
        structlog.get_logger("bulkdel").warning(message, **values)
    else:
        logging.getLogger("bulkdel").warning("%s (%s)", message, ", ".join(f"{k}: {v}" for k, v in values.items()))
