"""A look at a run while it goes: numbers and the reason of the wait, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bulkdel.model import Rate

Wait = Literal["", "rate", "pause", "indexing", "service", "backoff", "consumer"]
"""What a provider waits for now: its rate, a pause it asked for, documents being indexed, answers in flight, a retry's
due time, or the reader of the outcomes; empty where it waits for nothing."""


@dataclass(frozen=True, slots=True)
class DatasetProgress:
    """One dataset of a run that goes."""

    dataset: str
    name: str
    selected: int
    deleted: int
    rejected: int
    left: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One provider of a run that goes.

    ``phase``: ``preflight``, ``listing``, ``deleting``, ``verifying``, ``done``. ``total`` is how many targets are known so
    far, ``complete`` whether that is all of them. ``requeued`` wait for a due time, ``indexing`` of them for the service to
    finish indexing. ``per_second`` is settled targets over the last seconds. ``wait`` says what it waits for, ``why`` in the
    service's words, for ``wait_s`` seconds more where that is known. ``eta_s`` is None where nothing can be said honestly.
    """

    provider: str
    phase: str
    total: int
    complete: bool
    deleted: int
    already_gone: int
    rejected: int
    not_attempted: int
    left: int
    in_flight: int
    requeued: int
    indexing: int
    requests: int
    concurrency: int
    rate: Rate | None
    per_second: float
    wait: Wait
    why: str
    wait_s: float | None
    eta_s: float | None
    datasets: tuple[DatasetProgress, ...] = ()
