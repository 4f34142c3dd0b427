"""One dataset on its way into a plan: preflight, list, select; whole, or as much of it as could be seen, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.listing import Failed, NotWhole, list_documents, preflight
from bulkdel.model import Dataset, Document, Indexing, PurgeRequest
from bulkdel.plan import PlannedDataset
from bulkdel.providers.protocol import StopDataset
from bulkdel.report import DatasetReport
from bulkdel.store import ListedRow, RunFile
from bulkdel.text import sanitize


async def plan_dataset(
    call: Call, store: RunFile, request: PurgeRequest, planned: PlannedDataset, known: PlannedDataset | None
) -> None:
    """Preflight the dataset, list it, and write into ``planned`` what is found.

    :param known: what an earlier session of the run listed and left; it is not listed again
    :raises RunFileError: if the run file cannot be written
    """
    provider, dataset = request.provider, request.dataset
    found: Dataset | Failed | int | None = await preflight(call.sessions[provider], dataset)
    if isinstance(found, Dataset):
        planned.name = sanitize(found.name)
    if known is None:
        await store.begin_listing(provider, dataset, planned.name)
    if isinstance(found, Dataset):
        if known is not None:
            for field in fields(known):
                if field.name not in ("name", "stopped"):
                    setattr(planned, field.name, getattr(known, field.name))
            return
        call.phase = "listing"
        recorder = ListingRecorder(
            request, planned, store, call.policy.indexing or "wait", call.account.dataset(provider, dataset)
        )
        found = await list_documents(call.sessions[provider], dataset, recorder.add)
        if isinstance(found, int) or (isinstance(found, NotWhole) and found.seen):
            planned.counted = found.counted if isinstance(found, NotWhole) else None
            await store.end_listing(provider, dataset, complete=True, counted=planned.counted)
            call.sink.emit(events.Listed(provider, dataset, planned.name, planned.listed, planned.selected))
            return
    if isinstance(found, Failed) and found.outage:
        planned.outage = sanitize(found.reason)
    elif isinstance(found, Failed):
        # A dataset that an earlier session listed was there.
        planned.stopped = sanitize(StopDataset(found.reason, gone=found.gone and known is not None).meanwhile)
        # What an earlier session left to do in it settles as that, too: there is nothing to resume behind a dataset that is gone.
        call.sessions[provider].stop_dataset(dataset, planned.stopped)
    await drop_dataset(call, store, planned, known)


async def drop_dataset(call: Call, store: RunFile, planned: PlannedDataset, known: PlannedDataset | None) -> None:
    """The dataset was not listed: nothing of it is deleted (S15)."""
    planned.cut = not planned.stopped
    if known is None:
        call.account.dataset(planned.provider, planned.dataset).counts.select(-planned.listed, -planned.selected)
        planned.listed = planned.selected = planned.archived = planned.indexing = planned.synced = 0
        planned.skipped.clear()
        planned.first.clear()
        await store.end_listing(planned.provider, planned.dataset, complete=False, reason=planned.stopped)


class ListingRecorder:
    """Keeps listed documents in the store, and counts them into the plan and the account.

    :param until: documents that were created later came newly and are left out, in Unix seconds; None for no such limit
    """

    def __init__(
        self,
        request: PurgeRequest,
        planned: PlannedDataset,
        store: RunFile,
        indexing: Indexing,
        report: DatasetReport,
        until: float | None = None,
    ) -> None:
        self.added = 0  # documents that were not known before
        self._request = request
        self._planned = planned
        self._store = store
        self._indexing = indexing
        self._report = report
        self._until = until
        self._known: set[str] = set()  # seen in this listing, though an earlier one showed them too

    async def add(self, documents: Sequence[Document]) -> int:
        """Keep the documents that are not known yet; how many this listing had not shown before."""
        rows = [ListedRow(document, self._why_skipped(document)) for document in documents if self._is_meant(document)]
        new = await self._store.add_listed(self._request.provider, self._request.dataset, rows)
        for row in new:
            self._planned.add(row.document, row.skipped)
        self._report.counts.select(len(new), sum(not row.skipped for row in new))
        self._report.skipped_reasons = dict(self._planned.skipped)
        self.added += len(new)
        if self._until is None:
            return len(new)
        before = len(self._known)
        self._known.update(document.id for document in documents)
        return len(self._known) - before

    def _is_meant(self, document: Document) -> bool:
        return self._until is None or document.created_at is None or document.created_at <= self._until

    def _why_skipped(self, document: Document) -> str:
        """Why a listed document is left, in a few words; empty if it is selected."""
        why = self._request.select.why_not(document)
        if not why and self._indexing == "skip" and document.indexing:
            return "still being indexed"
        return why
