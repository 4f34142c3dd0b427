"""A run's report, counted from its file."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import overload

from bulkdel.model import Settled
from bulkdel.report import Report, RunEnd, make_report
from bulkdel.store.queries import Run


class RecordedSettled(Sequence[Settled]):
    """The settled targets of a run file, read when they are looked at: in input order, not attempted ones last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Generator[Settled]:
        with Run.open(self._path, check=False) as run:
            yield from run.settled()
            yield from run.not_attempted()

    def __len__(self) -> int:
        with Run.open(self._path, check=False) as run:
            return run.counts().selected

    @overload
    def __getitem__(self, place: int) -> Settled: ...
    @overload
    def __getitem__(self, place: slice) -> list[Settled]: ...
    def __getitem__(self, place: int | slice) -> Settled | list[Settled]:
        if isinstance(place, int) and place >= 0:
            with closing(iter(self)) as rows:  # closes the file at the row, a million others unread
                for settled in islice(rows, place, None):
                    return settled
            raise IndexError(f"the run has no such settled target: {place}")
        return list(self)[place]


def recorded_report(run: Run) -> Report:
    """The report of a run over all its sessions, counted from its rows."""
    last = run.last_session
    status = last.status or "interrupted"
    end = RunEnd(status, last.reason, signal=_signal(last.exit_status))
    return make_report(run.account(), end, settled=RecordedSettled(run.path), run=str(run.path))


def unread(run: Run) -> bool:
    """Whether there may be more documents than the run holds: a listing, or the reading of its targets, did not come to its end."""
    return run.targets == "open" or "open" in run.listings().values()


def _signal(exit_status: int | None) -> int | None:
    """The signal that ended a session, None if none did."""
    return exit_status - 128 if exit_status is not None and exit_status > 128 else None
