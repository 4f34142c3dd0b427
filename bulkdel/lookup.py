"""Which explicit targets are still being indexed, found out in as few requests as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import anyio

from bulkdel.engine.job import Job
from bulkdel.engine.questions import GaveUp, ask_document
from bulkdel.engine.session import ProviderSession
from bulkdel.listing import Failed, list_once
from bulkdel.model import Document, Target
from bulkdel.providers.protocol import StopDataset
from bulkdel.text import sanitize

Describe = Callable[[str, Sequence[Document]], Awaitable[object]]
"""Takes documents of a dataset as the service shows them."""


class Lookup:
    """Looks explicit targets of one provider up before the first DELETE leaves for them, unless indexing is ``delete``.

    By a question for each, or by a listing of their dataset, whichever is fewer requests. A listing is read once for each
    dataset, and what is remembered of it are the documents that are being indexed. What is gone is left to its DELETE to say.

    :param describe: is given every document that is shown; None if nobody keeps them
    """

    def __init__(self, session: ProviderSession, describe: Describe | None = None) -> None:
        self._session = session
        self._describe = describe
        self._expected = Counter[str]()  # targets that there will be, by dataset, as far as is known
        self._taken = Counter[str]()  # targets that came, by dataset
        self._pages: dict[str, int] = {}  # requests that a listing takes, by dataset
        self._indexing: dict[str, set[str]] = {}  # documents being indexed, by dataset that was listed

    def expect(self, dataset: str, targets: int) -> None:
        """There will be so many more targets in a dataset, at least."""
        self._expected[dataset] += targets

    async def look_up(self, jobs: Sequence[Job]) -> None:
        """Say of each job whether it has to wait for the service, or whether it is left."""
        if self._session.policy.indexing == "delete":
            return
        invalid = self._session.gate.provider.invalid
        datasets: dict[str, dict[Target, list[Job]]] = {}  # each target once, however often it comes
        for job in jobs:
            if not invalid(job.target.dataset, job.target.document):
                datasets.setdefault(job.target.dataset, {}).setdefault(job.target, []).append(job)
        for dataset, targets in datasets.items():
            self._taken[dataset] += len(targets)
            await self.list_if_shorter(dataset)
            if dataset in self._indexing:
                for target, waiting in targets.items():
                    if target.document in self._indexing[dataset]:
                        self._wait(waiting)
            elif dataset not in self._session.stopped_datasets:
                await self._ask_each(targets)

    async def list_if_shorter(self, dataset: str) -> None:
        """List a dataset, unless that takes more requests than to ask for each of its targets that are known of."""
        targets = max(self._taken[dataset], self._expected[dataset])
        known = dataset in self._indexing or dataset in self._session.stopped_datasets
        if not known and targets > self._pages.get(dataset, 1):
            await self._list(dataset, targets)

    async def _list(self, dataset: str, targets: int) -> None:
        """Read the listing, unless it has as many pages as there are targets."""
        session, size = self._session, self._session.gate.provider.page_size
        found: set[str] = set()
        for start in session.gate.provider.listing_starts:
            rows = 0
            repeated = False
            before: set[str] = set()

            async def take(documents: Sequence[Document]) -> None:
                nonlocal rows, repeated, before
                ids = {document.id for document in documents}
                # A document that comes twice stands in the place of another: neighbouring pages share it.
                repeated = repeated or not before.isdisjoint(ids)
                rows, before = rows + len(ids), ids
                found.update(document.id for document in documents if document.indexing)
                if self._describe is not None:
                    await self._describe(dataset, documents)

            total = await list_once(session, dataset, take, start, at_most=targets * size)
            if isinstance(total, Failed):
                session.stop_dataset(dataset, sanitize(f"which documents are being indexed is unknown: {total.reason}"))
                return
            if total is None:
                return
            self._pages[dataset] = -(-total // size)
            if total > targets * size:
                return
            if rows >= total and not repeated:
                self._indexing[dataset] = found
                session.found_datasets.add(dataset)
                return
        self._pages[dataset] = targets  # no listing shows all of it: each target is asked for

    async def _ask_each(self, targets: dict[Target, list[Job]]) -> None:
        """Ask for each document, as many side by side as the provider takes."""
        limit = anyio.CapacityLimiter(self._session.gate.provider.limits.concurrency or 1)
        raised: list[Exception] = []

        async def ask(target: Target, jobs: list[Job]) -> None:
            async with limit:
                try:
                    await self._ask(target, jobs)
                except Exception as error:
                    raised.append(error)  # as it is, and not in a group

        async with anyio.create_task_group() as group:
            for target, jobs in targets.items():
                group.start_soon(ask, target, jobs)
        if raised:
            raise raised[0]

    async def _ask(self, target: Target, jobs: list[Job]) -> None:
        found = await ask_document(self._session, target)
        match found:
            case Document():
                if self._describe is not None:
                    await self._describe(target.dataset, [found])
                for job in jobs:
                    job.name = sanitize(found.name)
                if found.indexing:
                    self._wait(jobs)
            case GaveUp():
                self._wait(jobs)  # it is asked about again
            case StopDataset():
                self._session.stop_dataset(target.dataset, found.reason)
            case _:
                pass  # it is gone, which its DELETE says, or a stop came

    def _wait(self, jobs: list[Job]) -> None:
        for job in jobs:
            if self._session.policy.indexing == "skip":
                job.ending, job.reason = "stuck_indexing", "left alone, because indexing is 'skip': still being indexed"
            else:
                job.awaiting_indexing = True
