"""What is to be deleted of a dataset: listed into the store, whole or not at all; made into jobs; and held to the guards."""

from __future__ import annotations

from collections.abc import Sequence

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.job import Job
from bulkdel.engine.session import ProviderSession
from bulkdel.errors import RunFileError
from bulkdel.listing import Failed, NotWhole, list_documents, preflight
from bulkdel.model import Dataset, Document, Policy, PurgeRequest
from bulkdel.plan import PlannedDataset
from bulkdel.providers.protocol import StopDataset
from bulkdel.report import RunEnd
from bulkdel.store import ClaimedRow, ListedRow, RunFile
from bulkdel.text import pluralize, sanitize


async def plan_dataset(
    call: Call, store: RunFile, request: PurgeRequest, known: PlannedDataset | None
) -> PlannedDataset:
    """Preflight the dataset and list it; what is found.

    :param known: what an earlier session of the run listed and left; it is not listed again
    :raises RunFileError: if the run file cannot be written
    """
    session, place = call.sessions[request.provider], (request.provider, request.dataset)
    planned = PlannedDataset(*place)
    found: Failed | int | None
    documents: int | None = None
    try:
        dataset = await preflight(session, request.dataset)
        if isinstance(dataset, Dataset):
            planned.name, documents = sanitize(dataset.name), dataset.documents
            if known is not None:
                known.name = planned.name
                return known
        if known is None:
            await store.begin_listing(*place, planned.name)
        if isinstance(dataset, Dataset):
            call.phase = "listing"
            found = await list_documents(session, request.dataset, ListingRecorder(call, store, request, planned).add)
        else:
            found = dataset
    except RunFileError:
        raise
    except Exception as error:
        session.bug(error)
        found = None
    # A listing that is empty in every pass is no failed one if the dataset's own count says the same (S15).
    if isinstance(found, int) or (isinstance(found, NotWhole) and (found.seen or documents == 0)):
        planned.counted = found.counted if isinstance(found, NotWhole) else None
        await store.end_listing(*place, complete=True, counted=planned.counted)
        call.sink.emit(events.Listed(*place, planned.name, planned.listed, planned.selected))
        return planned
    return await _nothing_planned(call, store, planned, known, found)


async def _nothing_planned(
    call: Call, store: RunFile, planned: PlannedDataset, known: PlannedDataset | None, found: Failed | None
) -> PlannedDataset:
    """The dataset was not listed, so nothing of it is deleted (S15); ``planned`` is what was seen of it."""
    place = planned.provider, planned.dataset
    nothing = PlannedDataset(*place, planned.name)
    if found is not None and found.outage:
        nothing.outage = sanitize(found.reason)
    elif found is not None:
        # A dataset that an earlier session listed was there.
        nothing.stopped = sanitize(StopDataset(found.reason, gone=found.gone and known is not None).meanwhile)
        # What an earlier session left to do in it settles as that, too: there is nothing to resume behind a dataset that is gone.
        call.sessions[planned.provider].stop_dataset(planned.dataset, nothing.stopped)
    nothing.cut = not nothing.stopped
    if known is None:
        call.account.dataset(*place).counts.select(-planned.listed, -planned.selected)
        await store.end_listing(*place, complete=False, reason=nothing.stopped)
    return nothing


class ListingRecorder:
    """Keeps listed documents in the store, and counts them into the plan and the account.

    :param until: documents that were created later came newly and are left out, in Unix seconds; None for no such limit
    """

    def __init__(
        self, call: Call, store: RunFile, request: PurgeRequest, planned: PlannedDataset, until: float | None = None
    ) -> None:
        self.added = 0  # documents that were not known before
        self._report = call.account.dataset(request.provider, request.dataset)
        self._skips_indexing = call.policy.indexing == "skip"
        self._store = store
        self._request = request
        self._planned = planned
        self._until = until
        self._known: set[str] = set()  # seen in this listing, though an earlier one showed them too

    async def add(self, documents: Sequence[Document]) -> int:
        """Keep the documents that are not known yet; how many this listing had not shown before."""
        rows = [
            ListedRow(document, self._why_skipped(document))
            for document in documents
            if self._until is None or document.created_at is None or document.created_at <= self._until
        ]
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

    def _why_skipped(self, document: Document) -> str:
        """Why a listed document is left, in a few words; empty if it is selected."""
        why = self._request.select.why_not(document)
        return "still being indexed" if not why and self._skips_indexing and document.indexing else why


def make_jobs(session: ProviderSession, rows: Sequence[ClaimedRow]) -> list[Job]:
    """How the engine is to go about selected documents."""
    policy, provider = session.policy, session.gate.provider
    jobs = [Job(row.row, row.target, doubt=row.in_doubt, others=dict(row.others) or None) for row in rows]
    try:
        for job, row in zip(jobs, rows, strict=True):
            if (document := row.document) is None:
                continue
            job.name, job.listed = sanitize(document.name), True
            job.step = provider.start(document, unarchive=policy.unarchive)
            if document.archived and not policy.unarchive:
                job.ending, job.reason = "archived", "archived; un-archiving was not asked for"
            elif document.indexing:
                wait_or_leave(job, policy)
    except Exception as error:
        session.bug(error)  # what is added after that settles as not attempted
    return jobs


def wait_or_leave(job: Job, policy: Policy) -> None:
    """The document is still being indexed: what the policy says."""
    if policy.indexing == "skip":
        job.ending, job.reason = "stuck_indexing", "left alone, because indexing is 'skip': still being indexed"
    elif policy.indexing != "delete":
        job.awaiting_indexing = True


def refusal(selected: int, policy: Policy, what: str = "document") -> RunEnd | None:
    """How the run ends if the guards refuse to delete this many of ``what``; None if they do not."""
    documents = pluralize(selected, what)
    if policy.max_delete is not None and selected > policy.max_delete:
        why = f"the selection has {documents}, more than max_delete allows: {policy.max_delete}"
        return RunEnd("refused", why, "raise max_delete or select fewer")
    if policy.expect is not None and selected != policy.expect:
        why = f"the selection has {documents}, but expect says: {policy.expect}"
        return RunEnd("refused", why, "a dry run shows the selection")
    return None
