"""Documents that the service refused to delete because it is still indexing them: each is asked again on its own."""

from __future__ import annotations

import heapq

from bulkdel.engine.job import Job

NEWS = 2
"""Documents that are asked at once when another one turned out to be ready: a batch that was uploaded together is ready together,
and a chain of two each reaches all of it while one that is not ready ends the chain."""


class Refused:
    """Jobs by the time at which each is due; no clock of its own."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Job]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def due(self) -> float | None:
        """When the first one is due; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def push(self, job: Job, due: float) -> bool:
        """Put a job in; whether it is the first one now."""
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, job))
        return self._heap[0][2] is job

    def take(self, now: float) -> list[Job]:
        """Those that are due, the longest due first."""
        jobs: list[Job] = []
        while self._heap and self._heap[0][0] <= now:
            jobs.append(heapq.heappop(self._heap)[2])
        return jobs

    def good_news(self) -> list[Job]:
        """Those to be asked at once because another one was ready: the next that would be due."""
        return [heapq.heappop(self._heap)[2] for _ in range(min(NEWS, len(self._heap)))]

    def drop(self, dataset: str) -> list[Job]:
        """Take those of a dataset out."""
        dropped = [job for _, _, job in self._heap if job.target.dataset == dataset]
        self._heap = [entry for entry in self._heap if entry[2].target.dataset != dataset]
        heapq.heapify(self._heap)
        return dropped
