"""The exceptions a caller of bulkdel can meet.

    BulkdelError
    ├── ConfigurationError (also a ValueError)   something the caller gave is wrong; nothing was sent
    │   └── TargetFileError                      a line of a target file is wrong; it is named by its number
    ├── Refused                                  a guard said no, or the user did not confirm; nothing was deleted
    ├── RejectedError                            Report.raise_for_rejected() found rejected targets
    ├── TargetsError                             the caller's own iterable of targets raised; its report is kept
    ├── RunFileError                             the run file cannot be used as it is
    └── BrokenPromise                            a promise was broken inside bulkdel: a bug, exit status 70

Expected failures of a service (a refused key, a vanished dataset, an outage) are never raised: they end in the report.
"""

from __future__ import annotations


class BulkdelError(Exception):
    """Base class of everything that bulkdel raises on purpose.

    ``hint`` says what to do about it, in one sentence, empty if there is nothing to say.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(BulkdelError, ValueError):
    """Raised when something the caller gave is wrong; nothing was sent."""


class TargetFileError(ConfigurationError):
    """Raised when a line of a target file is wrong; the message names the file and the line."""


class Refused(BulkdelError):
    """Raised when a guard says no, or the user did not confirm; nothing was deleted."""


class RejectedError(BulkdelError):
    """Raised by ``Report.raise_for_rejected()`` when something selected was rejected."""


class TargetsError(BulkdelError):
    """Raised when the caller's iterable of targets raised; ``__cause__`` is its error, ``report`` what was done before."""

    report: object = None


class RunFileError(BulkdelError):
    """Raised when a run file cannot be used: foreign, newer, torn beyond recovery, held by another process, or not
    writable any more."""


class BrokenPromise(BulkdelError):
    """Raised when bulkdel catches itself breaking a promise; always a bug."""
