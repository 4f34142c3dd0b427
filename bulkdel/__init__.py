"""bulkdel: empty whole knowledge bases, completely, as fast as the service allows, and account for every document.

``purge`` empties datasets and proves it, ``delete`` settles explicit targets, ``settle`` streams them, ``Client`` holds
connections and limits over several calls. README has examples; ``bulkdel --help`` is the command.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkdel.client import Client, delete, purge, resume, settle
    from bulkdel.engine.progress import Progress
    from bulkdel.errors import (
        BrokenPromise,
        BulkdelError,
        ConfigurationError,
        Refused,
        RejectedError,
        RunFileError,
        TargetsError,
    )
    from bulkdel.listing import DatasetListing
    from bulkdel.model import Dataset, Document, Limits, Policy, Rate, Selection, Settled, Target
    from bulkdel.outcomes import Outcomes
    from bulkdel.providers.dify import Dify
    from bulkdel.providers.langdock import Langdock
    from bulkdel.report import DatasetReport, Report
    from bulkdel.store import Run

# A program that configured no logging is shown nothing: without a handler here Python prints warnings to stderr.
logging.getLogger("bulkdel").addHandler(logging.NullHandler())

# Where each public name lives. They are imported when first used: `bulkdel --version` needs none of them, and aiohttp
# alone takes twenty times as long to import as Python to start.
_HOMES = {
    "bulkdel.client": ("Client", "delete", "purge", "resume", "settle"),
    "bulkdel.listing": ("DatasetListing",),
    "bulkdel.outcomes": ("Outcomes",),
    "bulkdel.store": ("Run",),
    "bulkdel.engine.progress": ("Progress",),
    "bulkdel.errors": (
        "BrokenPromise", "BulkdelError", "ConfigurationError", "Refused", "RejectedError", "RunFileError", "TargetsError",
    ),
    "bulkdel.model": ("Dataset", "Document", "Limits", "Policy", "Rate", "Selection", "Settled", "Target"),
    "bulkdel.providers.dify": ("Dify",),
    "bulkdel.providers.langdock": ("Langdock",),
    "bulkdel.report": ("DatasetReport", "Report"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BrokenPromise", "BulkdelError", "Client", "ConfigurationError", "Dataset", "DatasetListing", "DatasetReport", "Dify",
    "Document", "Langdock", "Limits", "Outcomes", "Policy", "Progress", "Rate", "Refused", "RejectedError", "Report", "Run",
    "RunFileError", "Selection", "Settled", "Target", "TargetsError", "delete", "purge", "resume", "settle",
]  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'bulkdel' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
