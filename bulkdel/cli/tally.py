"""What is known of a run from its events alone: the account that is left when the run itself is torn away."""

from __future__ import annotations

from bulkdel import events
from bulkdel.account import Counts, DatasetReport, Report
from bulkdel.cli.values import many
from bulkdel.model import Target


class Tally:
    """Listens to a run's events and counts.

    ``given`` are the targets of a run that lists nothing: they count as listed and selected.
    """

    def __init__(self, provider: str, given: list[Target] | None = None) -> None:
        self._provider = provider
        self._datasets: dict[str, DatasetReport] = {}
        self._reasons: dict[str, int] = {}
        self._requeued: dict[str, int] = {}
        self._pauses = 0
        self._listens = given is None
        for target in given or ():
            counts = self._dataset(target.dataset).counts
            counts.listed += 1
            counts.selected += 1

    def hear(self, event: events.Event) -> None:
        """An ``on_event`` listener."""
        match event:
            case events.Listed():
                dataset = self._dataset(event.dataset)
                dataset.name = event.name
                if self._listens:
                    dataset.counts.listed, dataset.counts.selected = event.listed, event.selected
                    dataset.counts.skipped = event.listed - event.selected
            case events.Settled(settled):
                self._dataset(settled.target.dataset).counts.settle(settled.outcome)
                if settled.status == "rejected":
                    self._reasons[settled.outcome] = self._reasons.get(settled.outcome, 0) + 1
            case events.Requeued():
                self._requeued[event.cause] = self._requeued.get(event.cause, 0) + 1
            case events.Paused():
                self._pauses += 1
            case events.Stopped() if event.dataset:
                dataset = self._dataset(event.dataset)
                dataset.status, dataset.reason = "stopped", event.reason
            case _:
                pass

    def torn(self, signal: int, *, elapsed_s: float, requests: int, in_flight: int) -> Report:
        """The account of a run that was stopped at once.

        What had not settled counts as not attempted, since nothing is known of it; of the requests in flight the reason
        says that their end is unknown, never that they succeeded.
        """
        total = Counts()
        for dataset in self._datasets.values():
            counts = dataset.counts
            settled = counts.deleted + counts.already_gone + counts.rejected + counts.not_attempted
            unknown = max(0, counts.selected - settled)
            counts.not_attempted += unknown
            if unknown:
                self._reasons["not_attempted"] = self._reasons.get("not_attempted", 0) + unknown
            if dataset.status == "complete":
                dataset.status = "interrupted"
            total.add(counts)
        lost = f"; the end of {many(in_flight, 'request')} in flight is unknown" if in_flight else ""
        return Report(
            status="interrupted",
            counts=total,
            datasets=tuple(self._datasets.values()),
            elapsed_s=elapsed_s,
            requests=requests,
            reasons=self._reasons,
            requeued=self._requeued,
            pauses=self._pauses,
            reason=f"stopped at once{lost}",
            signal=signal,
        )

    def _dataset(self, dataset: str) -> DatasetReport:
        found = self._datasets.get(dataset)
        if found is None:
            found = self._datasets[dataset] = DatasetReport(self._provider, dataset)
        return found
