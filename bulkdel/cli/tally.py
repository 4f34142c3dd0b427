"""What is known of a run from its events alone: the account that is left when the run itself is torn away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bulkdel import events
from bulkdel.errors import BulkdelError
from bulkdel.report import Counts, DatasetReport, Report
from bulkdel.text import many


class Tally:
    """Listens to a run's events and counts.

    ``given`` are how many explicit targets a run has of each provider and dataset: they count as listed and selected.
    """

    def __init__(self, given: Mapping[tuple[str, str], int] | None = None) -> None:
        self._datasets: dict[tuple[str, str], DatasetReport] = {}
        self._reasons: dict[str, int] = {}
        self._requeued: dict[str, int] = {}
        self._pauses = 0
        self._given = frozenset(given or ())
        for (provider, dataset), n in (given or {}).items():
            counts = self._dataset(provider, dataset).counts
            counts.listed = counts.selected = n

    def hear(self, event: events.Event) -> None:
        """An ``on_event`` listener."""
        match event:
            case events.Listed():
                dataset = self._dataset(event.provider, event.dataset)
                dataset.name = event.name
                if (event.provider, event.dataset) not in self._given:
                    dataset.counts.listed, dataset.counts.selected = event.listed, event.selected
                    dataset.counts.skipped = event.listed - event.selected
            case events.Settled(settled):
                self._dataset(settled.target.provider, settled.target.dataset).counts.settle(settled.outcome)
                if settled.status == "rejected":
                    self._reasons[settled.outcome] = self._reasons.get(settled.outcome, 0) + 1
            case events.Requeued():
                self._requeued[event.cause] = self._requeued.get(event.cause, 0) + 1
            case events.Paused():
                self._pauses += 1
            case events.Stopped() if event.dataset:
                dataset = self._dataset(event.provider, event.dataset)
                dataset.status, dataset.reason = "stopped", event.reason
            case _:
                pass

    def torn(self, signal: int, *, elapsed_s: float, requests: int, in_flight: int, path: Path | None = None) -> Report:
        """The account of a run that was stopped at once; with a run file (``path``) it is that of all its sessions.

        What had not settled counts as not attempted, since nothing is known of it; of the requests in flight the reason
        says that their end is unknown, never that they succeeded.
        """
        lost = f"; how {many(in_flight, 'request')} in flight ended is unknown" if in_flight else ""
        reason = f"stopped at once{lost}"
        recorded = None if path is None else _recorded(path)
        if recorded is not None:
            recorded.status, recorded.signal, recorded.reason = "interrupted", signal, reason
            # What this session took is written down at its end, which it did not have; but here it is known.
            recorded.uncounted_sessions = max(0, recorded.uncounted_sessions - 1)
            recorded.requests += requests
            recorded.pauses += self._pauses
            for cause, n in self._requeued.items():
                recorded.requeued[cause] = recorded.requeued.get(cause, 0) + n
            for dataset in recorded.datasets:
                if dataset.counts.not_attempted and dataset.status in ("complete", "incomplete"):
                    dataset.status = "interrupted"
            return recorded
        total = Counts()
        for dataset in self._datasets.values():
            counts = dataset.counts
            unknown = max(0, counts.selected - counts.settled)
            counts.not_attempted += unknown
            if unknown:
                self._reasons["not_attempted"] = self._reasons.get("not_attempted", 0) + unknown
            if dataset.status == "complete":
                dataset.status = "interrupted"
            total.add(counts)
        return Report(
            status="interrupted",
            counts=total,
            datasets=tuple(self._datasets.values()),
            elapsed_s=elapsed_s,
            requests=requests,
            reasons=self._reasons,
            requeued=self._requeued,
            pauses=self._pauses,
            reason=reason,
            signal=signal,
        )

    def _dataset(self, provider: str, dataset: str) -> DatasetReport:
        found = self._datasets.get((provider, dataset))
        if found is None:
            found = self._datasets[provider, dataset] = DatasetReport(provider, dataset)
        return found


def _recorded(path: Path) -> Report | None:
    """The account that the run file holds; None where it cannot be read."""
    from bulkdel.store import Run
    from bulkdel.store.recorded import recorded_report

    try:
        with Run.open(path, check=False) as run:
            return recorded_report(run)
    except BulkdelError:
        return None
