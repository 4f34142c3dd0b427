"""The client: connections and limits of one or more providers, held over several calls; and one call without a client."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from bulkdel import events
from bulkdel.engine.call import Connect, Gates
from bulkdel.engine.feeds import from_jobs
from bulkdel.engine.job import Job
from bulkdel.engine.progress import Progress
from bulkdel.engine.session import Workers
from bulkdel.engine.sink import Journal
from bulkdel.errors import ConfigurationError
from bulkdel.limits import MakeLimiter
from bulkdel.listing import DatasetListing, list_datasets
from bulkdel.model import OnSettled, Policy, PurgeRequest, Selection
from bulkdel.outcomes import Outcomes
from bulkdel.providers.protocol import Provider
from bulkdel.purging import CallKeywords, CallOptions, Confirm, OnPlan, SharedKeywords
from bulkdel.report import Account, Report, RunEnd, make_report
from bulkdel.runs import checked_dataset, run_again, run_new, run_streamed, verify_later
from bulkdel.store import Act
from bulkdel.targets import Targets, check_targets, end_streamed


class Client:
    """Connections and limits of one or more providers, held over several calls. An async context manager.

    Calls at the same time share them; ``stop`` and ``progress`` speak of all calls that run.

    :param providers: provider values; their names must differ
    :param policy: for calls that bring none of their own
    :param on_event: for calls that bring none of their own; called with values of ``bulkdel.events``
    :param ca_file: certificates to trust beside the usual ones (PEM)
    :param state: a folder to remember learned rates in, and to share each key's limit through with other processes that name
        the same one; None for neither
    :param limiter: makes what keeps a provider's limit, from the provider and the rate that it begins with (None: no known
        limit), such as ``bulkdel.distributed.redis_limiter(url)``; ``state`` only remembers then. None for this process's own, or
        the one shared through ``state``
    :param connect: how to reach a provider; for tests and transports of your own
    :param rng: the randomness of backoff and jitter, for runs that must be repeatable; None for one of each provider's own
    :param workers: who carries out what is to be deleted, such as workers on other machines; None for this process
    :raises ConfigurationError: if two providers have one name, or there is none
    """

    def __init__(
        self,
        *providers: Provider,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        ca_file: str | Path | None = None,
        state: str | Path | None = None,
        limiter: MakeLimiter | None = None,
        connect: Connect | None = None,
        rng: random.Random | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._gates = Gates(
            providers,
            connect=connect,
            ca_file=ca_file,
            state=None if state is None else Path(state),
            limiter=limiter,
            rng=rng,
            workers=workers,
        )
        self._policy = policy or Policy()
        self._on_event = on_event

    async def __aenter__(self) -> Client:
        await self._gates.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._gates.__aexit__(kind, error, trace)

    # ------------------------------------------------------------------ calls

    async def purge(
        self,
        provider: str,
        *datasets: str,
        select: Selection | None = None,
        **keywords: Unpack[CallKeywords],
    ) -> Report:
        """Empty whole datasets of one provider, and list them again at the end.

        :param select: which documents; None for all
        :param policy: how the call behaves; None for the client's
        :param on_event: called with values of ``bulkdel.events``; None for the client's
        :param on_plan: called once with the plan, dry runs included
        :param confirm: awaited once with the plan, after the guards; nothing is deleted if it returns False
        :param dry_run: list and select only; no request but GET; with ``run`` that is what ``plan`` does
        :param on_settled: awaited with pages of settled targets as they settle
        :param keep: whether ``report.settled`` holds every settled target, in the listing's order; with a run file it reads
            them from there
        :param run: where the run file goes, a new one; None for none
        :raises ConfigurationError: if the provider is not this client's, or no dataset was given
        :raises RunFileError: if the run file cannot be made; nothing was sent
        """
        if not datasets:
            raise ConfigurationError("no dataset was given")
        # A request for each dataset, one however often and in which spellings it is named.
        of = self._gates.provider(provider)
        once = dict.fromkeys(checked_dataset(of, dataset) for dataset in datasets)
        requests = [PurgeRequest(provider, dataset, select or Selection()) for dataset in once]
        return await self.carry_out(requests, act="purge", **keywords)

    async def plan(
        self,
        provider: str,
        *datasets: str,
        run: str | Path,
        select: Selection | None = None,
        on_plan: OnPlan | None = None,
        **shared: Unpack[SharedKeywords],
    ) -> Report:
        """List and select, guard, and keep it in a new run file; no request but GET. ``resume`` carries it out."""
        return await self.purge(provider, *datasets, select=select, on_plan=on_plan, dry_run=True, run=run, **shared)

    async def delete(
        self,
        targets: Targets,
        **keywords: Unpack[CallKeywords],
    ) -> Report:
        """Settle explicit targets, as ``Promise.allSettled`` does: one ending each, ``report.settled`` in input order.

        They are streamed through as they are read, except with a run file, guards, ``confirm``, ``on_plan`` or ``dry_run``:
        then they are read to their end before anything is sent. Unless ``Policy.indexing`` is ``delete``, the service is
        asked first which of them are being indexed. The keyword arguments are those of ``purge``.

        :raises ConfigurationError: if a target of a sequence is no target or names no provider of this client;
            nothing was sent
        :raises TargetsError: if the iterable itself raised; ``report`` has what was settled before
        :raises RunFileError: if the run file cannot be made; nothing was sent
        """
        options = self._options(**keywords)
        if options.streams:
            return await run_streamed(self._gates, targets, options)
        return await run_new(self._gates, (), options, "delete", targets)

    def settle(self, targets: Targets, **shared: Unpack[SharedKeywords]) -> Outcomes:
        """Settle explicit targets and stream the outcomes as they settle; memory stays flat.

        ``async with client.settle(targets) as outcomes: async for settled in outcomes: …``

        :raises ConfigurationError: if an item of a sequence is no target or names no provider of this client
        """
        if isinstance(targets, Sequence):
            check_targets(targets, self._gates.providers)

        async def deliver(give: OnSettled) -> Report:
            return await self.delete(targets, on_settled=give, keep=False, **shared)

        return Outcomes(deliver)

    async def carry_out(
        self,
        requests: Sequence[PurgeRequest],
        *,
        targets: Targets | None = None,
        act: Act = "job",
        more: Mapping[str, Any] | None = None,
        **keywords: Unpack[CallKeywords],
    ) -> Report:
        """Purge datasets and settle explicit targets of several providers in one call: one plan, one run file, one report.

        :param more: kept in the run file's header, as it is: plain JSON values, never a key
        :raises ConfigurationError: if a dataset is to be emptied twice, or emptied and deleted from by name; nothing was
            deleted
        """
        options = self._options(**keywords)
        return await run_new(self._gates, requests, options, act, targets, more)

    async def resume(
        self,
        run: str | Path,
        *,
        on_plan: OnPlan | None = None,
        confirm: Confirm | None = None,
        on_settled: OnSettled | None = None,
        retry_rejected: bool = False,
        **shared: Unpack[SharedKeywords],
    ) -> Report:
        """Carry out a plan, or go on with a run that did not come to its end; the report is the whole run's.

        Deletes only what the run holds. ``confirm`` is asked unless the user has agreed to all of it already: before the
        first delete, and if a dataset was still to be listed. The guards count the whole run, with what has settled.

        :param policy: None for the run's own
        :param retry_rejected: ask again for what was rejected
        :raises RunFileError: if the file cannot be used, or another process works on it
        :raises ConfigurationError: if the run's providers are not this client's, or are at another address
        """
        options = self._options(on_plan=on_plan, confirm=confirm, on_settled=on_settled, **shared)
        own_policy = shared.get("policy") is None
        return await run_again(self._gates, run, options, own_policy=own_policy, retry_rejected=retry_rejected)

    async def verify(self, run: str | Path, **shared: Unpack[SharedKeywords]) -> Report:
        """List again, at any later time, what a run has deleted from, and add what is found to its file; only GET is sent.

        The report is the run's: ``remaining``, ``new`` and ``still_there`` are what was found now. Its status is that of this
        verification: ``complete`` if everything that was deleted is still gone, ``incomplete`` if something of it is listed
        again or could not be listed.

        :param policy: None for the run's own
        :raises RunFileError: if the file cannot be used, or nothing was deleted in it
        :raises ConfigurationError: if the run's providers are not this client's, or are at another address
        """
        own_policy = shared.get("policy") is None
        return await verify_later(self._gates, run, self._options(**shared), own_policy=own_policy)

    async def settle_jobs(self, jobs: Sequence[Job], journal: Journal, *, on_event: events.OnEvent) -> Report:
        """Settle a part of a plan that is kept elsewhere: ``journal`` takes each job's one ending under the job's key.

        No listing is made and no guard asked: that was done where the plan is.
        """
        names = list(dict.fromkeys(job.target.provider for job in jobs))
        with self._gates.call(names, self._policy, on_event=on_event, journal=journal) as call:
            await call.settle([from_jobs([job for job in jobs if job.target.provider == name], name) for name in names])
            end_streamed(call)
            return make_report(call.account, call.close_account())

    async def datasets(self, provider: str, *, policy: Policy | None = None) -> DatasetListing:
        """The datasets that the key sees."""
        self._gates.provider(provider)  # raises if there is none
        with self._gates.call([provider], policy or self._policy, on_event=self._on_event) as call:
            return await list_datasets(call.sessions[provider])

    def _options(
        self, policy: Policy | None = None, on_event: events.OnEvent | None = None, **rest: Any
    ) -> CallOptions:
        return CallOptions(policy or self._policy, on_event or self._on_event, **rest)

    # ------------------------------------------------------------------ while they run

    def stop(self, reason: str = "interrupted", signal: int | None = None) -> None:
        """Stop every call gracefully: nothing more is sent, what is in flight ends, the rest is not attempted."""
        self._gates.stop(reason, signal)

    def progress(self) -> tuple[Progress, ...]:
        """A snapshot of every provider of every call that runs; if none does, the last snapshot of the last one."""
        return self._gates.progress()

    def interrupted_report(self, reason: str, signal: int | None = None, run: str | Path | None = None) -> Report:
        """The account of the last call, which was cancelled: what had not settled by then is not attempted.

        :param reason: why it was cancelled, and what is unknown of it
        :param run: the path of its run file, None for none
        """
        call = self._gates.last_call
        account = Account() if call is None else call.account
        if call is not None:
            call.close_account()
        for dataset in account.datasets.values():
            dataset.counts.leave_rest()
            if dataset.counts.not_attempted and dataset.status in ("complete", "incomplete"):
                dataset.status = "interrupted"
        end = RunEnd("interrupted", reason, signal=signal)
        return make_report(account, end, run=None if run is None else str(run))


# ---------------------------------------------------------------------- one call without a client


async def purge(
    provider: Provider,
    *datasets: str,
    select: Selection | None = None,
    run: str | Path | None = None,
    **shared: Unpack[SharedKeywords],
) -> Report:
    """Empty whole datasets of a provider and list them again; see ``Client.purge``."""
    async with Client(provider, **shared) as client:
        return await client.purge(provider.name, *datasets, select=select, run=run)


async def delete(
    targets: Targets,
    providers: Provider | Iterable[Provider],
    *,
    run: str | Path | None = None,
    **shared: Unpack[SharedKeywords],
) -> Report:
    """Settle explicit targets; see ``Client.delete``."""
    async with Client(*_all(providers), **shared) as client:
        return await client.delete(targets, run=run)


async def resume(
    run: str | Path,
    providers: Provider | Iterable[Provider],
    *,
    retry_rejected: bool = False,
    **shared: Unpack[SharedKeywords],
) -> Report:
    """Carry out a plan, or go on with a run; see ``Client.resume``."""
    async with Client(*_all(providers)) as client:
        return await client.resume(run, retry_rejected=retry_rejected, **shared)


def settle(
    targets: Targets, providers: Provider | Iterable[Provider], **shared: Unpack[SharedKeywords]
) -> AbstractAsyncContextManager[Outcomes]:
    """Settle explicit targets and stream the outcomes; see ``Client.settle``."""
    client = Client(*_all(providers), **shared)  # raises here, before the block is entered

    @asynccontextmanager
    async def opened() -> AsyncIterator[Outcomes]:
        async with client, client.settle(targets) as outcomes:
            yield outcomes

    return opened()


def _all(providers: Provider | Iterable[Provider]) -> list[Provider]:
    return list(providers) if isinstance(providers, Iterable) else [providers]
