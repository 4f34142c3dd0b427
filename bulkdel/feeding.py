"""From the store to the engine: selected documents as jobs, and the further rounds of a listing that does not show all."""

from __future__ import annotations

from collections.abc import Sequence

from bulkdel.engine.call import Call
from bulkdel.engine.job import Job
from bulkdel.engine.session import ProviderSession
from bulkdel.listing import Failed, NotWhole, list_documents
from bulkdel.model import Policy, PurgeRequest, Selection
from bulkdel.plan import PlannedDataset
from bulkdel.planning import ListingRecorder
from bulkdel.providers.protocol import Provider
from bulkdel.report import RunEnd
from bulkdel.store import ClaimedRow, RunFile
from bulkdel.text import pluralize, sanitize


class StoreFeed:
    """Gives one provider's selected documents to its session, page by page.

    A dataset that is emptied whole, and whose listing does not show all that the service counts, goes on in rounds: what was
    seen is deleted, and what shows then is deleted as well, until a listing shows nothing more that is to be deleted.

    :param planned: the provider's datasets
    :param requests: those of them that are purged
    """

    def __init__(
        self, store: RunFile, provider: str, planned: Sequence[PlannedDataset], requests: Sequence[PurgeRequest]
    ) -> None:
        self._store = store
        self._provider = provider
        self._planned = planned
        self._requests = {request.dataset: request for request in requests}
        self._out_of_reach = {one.dataset for one in planned if one.out_of_reach}

    async def __call__(self, call: Call) -> None:
        session = call.sessions[self._provider]
        session.sizes.update((one.dataset, one.listed) for one in self._planned if not one.explicit)
        await self._add_pages(session)
        for planned in self._planned:
            if planned.counted is not None and is_everything(
                self._requests.get(planned.dataset), call.policy, self._store
            ):
                await self._go_on_in_rounds(call, session, planned)

    async def _add_pages(self, session: ProviderSession) -> None:
        provider, policy = session.gate.provider, session.policy
        async for page in self._store.pages(self._provider):
            rows = [row for row in page if row.target.dataset not in self._out_of_reach]
            try:
                jobs = [make_job(row, provider, policy) for row in rows]
            except Exception as error:
                session.bug(error)  # what is added after that settles as not attempted
                jobs = [Job(r.row, r.target, also=list(r.also) or None, given=dict(r.given) or None) for r in rows]
            await session.add(jobs)

    async def _go_on_in_rounds(self, call: Call, session: ProviderSession, planned: PlannedDataset) -> None:
        """List again and delete what shows, as long as there is something new; why it ends is left to the verification."""
        request, report = self._requests[planned.dataset], call.account.dataset(planned.provider, planned.dataset)
        # What is newer than the run and than all that it saw came later, and is left alone.
        until = max(planned.newest or 0.0, self._store.header.created_at or 0.0)
        while True:
            await session.schedule.wait_until_empty()
            if session.stop.reason is not None or planned.dataset in session.stopped_datasets:
                return
            recorder = ListingRecorder(request, planned, self._store, call.policy.indexing or "wait", report, until)
            found = await list_documents(session, planned.dataset, recorder.add)
            planned.counted = found.counted if isinstance(found, NotWhole) else None
            await self._store.end_listing(planned.provider, planned.dataset, complete=True, counted=planned.counted)
            refused = refusal(sum(one.counts.selected for one in call.account.datasets.values()), call.policy)
            if refused is not None:
                session.stop_dataset(planned.dataset, refused.reason)
            elif not recorder.added or (isinstance(found, Failed) and not isinstance(found, NotWhole)):
                return
            await self._add_pages(session)


def is_everything(request: PurgeRequest | None, policy: Policy, store: RunFile) -> bool:
    """Whether a dataset is to be emptied whole, whatever it holds: not by a selection, and not by a plan of what was seen."""
    return (
        request is not None
        and request.select == Selection()
        and policy.indexing != "skip"
        and store.header.act != "plan"
    )


def make_job(row: ClaimedRow, provider: Provider, policy: Policy) -> Job:
    """How the engine is to go about a selected target."""
    document, indexing = row.document, policy.indexing or "wait"
    also, given = list(row.also) or None, dict(row.given) or None
    if document is None:
        return Job(row.row, row.target, doubt=row.in_doubt, also=also, given=given)
    job = Job(
        key=row.row,
        target=row.target,
        name=sanitize(document.name),
        step=provider.start(document, unarchive=policy.unarchive),
        doubt=row.in_doubt,
        listed=True,
        also=also,
        given=given,
    )
    if document.archived and not policy.unarchive:
        job.ending, job.reason = "archived", "archived; un-archiving was not asked for (--unarchive)"
    elif document.indexing and indexing == "skip":
        job.ending, job.reason = "stuck_indexing", "left alone, because indexing is 'skip': still being indexed"
    elif document.indexing and indexing == "wait":
        job.awaiting_indexing = True
    return job


def refusal(selected: int, policy: Policy) -> RunEnd | None:
    """How the run ends if the guards refuse to delete this many; None if they do not."""
    documents = pluralize(selected, "document")
    if policy.max_delete is not None and selected > policy.max_delete:
        why = f"the selection has {documents}, more than max_delete allows: {policy.max_delete}"
        return RunEnd("refused", why, "raise max_delete or select fewer")
    if policy.expect is not None and selected != policy.expect:
        why = f"the selection has {documents}, but expect says: {policy.expect}"
        return RunEnd("refused", why, "a dry run shows the selection")
    return None
