"""The client: connections and limits of one or more providers, held over several calls."""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.channels import Channels, Connect
from bulkdel.engine.engine import LaneOf
from bulkdel.engine.feeds import from_jobs
from bulkdel.engine.job import Job
from bulkdel.engine.lane import Lane
from bulkdel.engine.progress import Progress
from bulkdel.engine.results import Journal
from bulkdel.errors import ConfigurationError
from bulkdel.limits import MakeLimiter
from bulkdel.model import Policy, Selection, Target
from bulkdel.outcomes import Kept, OnSettled, Outcomes
from bulkdel.providers.protocol import Provider
from bulkdel.purging.datasets import DatasetListing, list_datasets
from bulkdel.purging.explicit import check_targets, delete_report, stream
from bulkdel.purging.flow import Confirm, OnPlan, Wish
from bulkdel.purging.flow import purge as purge_datasets
from bulkdel.purging.ledger import MemoryLedger
from bulkdel.report import Report

if TYPE_CHECKING:
    from bulkdel.store.values import Act

# Run files are imported where one is used: SQLite and what stands on it cost a tenth of what aiohttp does.

Targets = Iterable[Target] | AsyncIterable[Target]


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
    :param rng: the dice of backoff and jitter, for runs that must be repeatable; None for dice of each provider's own
    :param lanes: who works off what is to be deleted; for other machines
    :raises ConfigurationError: where two providers have one name, or there is none
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
        lanes: LaneOf = Lane,
    ) -> None:
        self._channels = Channels(
            providers,
            connect=connect,
            ca_file=ca_file,
            state=None if state is None else Path(state),
            limiter=limiter,
            rng=rng,
            lanes=lanes,
        )
        self._policy = policy or Policy()
        self._on_event = on_event

    async def __aenter__(self) -> Client:
        await self._channels.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channels.__aexit__(kind, error, trace)

    # ------------------------------------------------------------------ calls

    async def purge(
        self,
        provider: str,
        *datasets: str,
        select: Selection | None = None,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        on_plan: OnPlan | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
        run: str | Path | None = None,
    ) -> Report:
        """Empty whole datasets of one provider, and list them again at the end.

        :param select: which documents; all where it is None
        :param on_plan: called once with the plan, dry runs included
        :param confirm: awaited once with the plan, after the guards; nothing is deleted where it says False
        :param dry_run: list and select only; no request but GET; with ``run`` that is what ``plan`` does
        :param on_settled: awaited with pages of settled targets as they settle
        :param keep: whether ``report.settled`` holds every settled target, in the listing's order; with a run file it reads
            them from there
        :param run: where the run file goes, a new one; None for none
        :raises ConfigurationError: where the provider is not this client's, or no dataset was given
        :raises RunFileError: where the run file cannot be made; nothing was sent
        """
        if not datasets:
            raise ConfigurationError("no dataset was given")
        wishes = [Wish(provider, dataset, select or Selection()) for dataset in dict.fromkeys(datasets)]
        return await self.carry_out(
            wishes,
            act="purge",
            policy=policy,
            on_event=on_event,
            on_plan=on_plan,
            confirm=confirm,
            dry_run=dry_run,
            on_settled=on_settled,
            keep=keep,
            run=run,
        )

    async def plan(
        self,
        provider: str,
        *datasets: str,
        run: str | Path,
        select: Selection | None = None,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        on_plan: OnPlan | None = None,
    ) -> Report:
        """List and select, guard, and keep it in a new run file; no request but GET. ``resume`` carries it out."""
        if not datasets:
            raise ConfigurationError("no dataset was given")
        wishes = [Wish(provider, dataset, select or Selection()) for dataset in dict.fromkeys(datasets)]
        return await self.carry_out(
            wishes, act="plan", policy=policy, on_event=on_event, on_plan=on_plan, dry_run=True, run=run
        )

    async def delete(
        self,
        targets: Targets,
        *,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        on_plan: OnPlan | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
        run: str | Path | None = None,
    ) -> Report:
        """Settle explicit targets, as ``Promise.allSettled`` does: one ending each, ``report.settled`` in input order.

        They are streamed through as they are read, except with a run file, guards, ``confirm``, ``dry_run`` or
        ``indexing='wait'`` or ``'skip'``: then they are read to their end before anything is sent.

        :raises ConfigurationError: where a target of a sequence is no target or names no provider of this client;
            nothing was sent
        :raises TargetsError: where the iterable itself raised; ``report`` has what was settled before
        :raises RunFileError: where the run file cannot be made; nothing was sent
        """
        asked = policy or self._policy
        guarded = asked.max_delete is not None or asked.expect is not None or asked.indexing in ("wait", "skip")
        if run is None and confirm is None and on_plan is None and not dry_run and not guarded:
            kept = Kept(on_settled, keep=keep)
            with self._call(self._channels.providers, asked, on_event=on_event, kept=kept) as call:
                return await stream(call, targets, kept.in_order)
        return await self.carry_out(
            (),
            targets=targets,
            act="delete",
            policy=policy,
            on_event=on_event,
            on_plan=on_plan,
            confirm=confirm,
            dry_run=dry_run,
            on_settled=on_settled,
            keep=keep,
            run=run,
        )

    def settle(
        self, targets: Targets, *, policy: Policy | None = None, on_event: events.OnEvent | None = None
    ) -> Outcomes:
        """Settle explicit targets and stream the outcomes as they settle; memory stays flat.

        ``async with client.settle(targets) as outcomes: async for settled in outcomes: …``

        :raises ConfigurationError: where an item of a sequence is no target or names no provider of this client
        """
        if isinstance(targets, Sequence):
            check_targets(targets, self._channels.providers)

        async def deliver(give: OnSettled) -> Report:
            return await self.delete(targets, policy=policy, on_event=on_event, on_settled=give, keep=False)

        return Outcomes(deliver)

    async def carry_out(
        self,
        wishes: Sequence[Wish],
        *,
        targets: Targets | None = None,
        act: Act = "job",
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        on_plan: OnPlan | None = None,
        confirm: Confirm | None = None,
        dry_run: bool = False,
        on_settled: OnSettled | None = None,
        keep: bool = True,
        run: str | Path | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Report:
        """Purge datasets and settle explicit targets of several providers in one call: one plan, one run file, one report.

        ``more`` is kept in the run file's header, as it is: plain JSON values, never a key.

        :raises ConfigurationError: where a dataset is to be emptied twice, or emptied and deleted from by name; none was
            deleted
        """
        self._channels.check_open()
        for wish in wishes:
            self._channels.of(wish.provider)  # raises where there is none
            if not isinstance(wish.dataset, str):
                raise ConfigurationError(f"a dataset's id must be a string: {wish.dataset!r}")
        if len({(wish.provider, wish.dataset) for wish in wishes}) < len(wishes):
            raise ConfigurationError("one dataset is to be emptied twice in one call")
        wished = {wish.provider for wish in wishes}
        used = [name for name in self._channels.providers if targets is not None or name in wished]
        asked = policy or self._policy
        if run is None:
            kept, ledger = Kept(on_settled, keep=keep), MemoryLedger()
            with self._call(used, asked, ledger, on_event=on_event, kept=kept) as call:
                return await purge_datasets(
                    call,
                    wishes,
                    ledger,
                    targets=targets,
                    on_plan=on_plan,
                    confirm=confirm,
                    dry_run=dry_run,
                    settled=kept.in_order,
                )
        from bulkdel.purging import session

        return await session.carry_out(
            run,
            partial(self._call, on_event=on_event, kept=Kept(on_settled, keep=False)),
            [self._channels.providers[name] for name in used],
            wishes,
            targets=targets,
            act="plan" if dry_run else act,  # a plan is a run that was listed and not begun
            policy=asked,
            on_plan=on_plan,
            confirm=confirm,
            dry_run=dry_run,
            more=more,
        )

    async def resume(
        self,
        run: str | Path,
        *,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
        on_plan: OnPlan | None = None,
        confirm: Confirm | None = None,
        on_settled: OnSettled | None = None,
        retry_rejected: bool = False,
    ) -> Report:
        """Carry out a plan, or go on with a run that did not come to its end; the report is the whole run's.

        Deletes only what the run holds. ``confirm`` is asked where nobody has said yes yet to all of it: before the first
        delete, and where a dataset was still to be listed. The guards count the whole run, with what has settled.

        :param policy: None for the run's own
        :param retry_rejected: ask again for what was rejected
        :raises RunFileError: where the file cannot be used, or another process works on it
        :raises ConfigurationError: where the run's providers are not this client's, or are at another address
        """
        from bulkdel.purging import session

        self._channels.check_open()
        return await session.resume(
            run,
            partial(self._call, on_event=on_event, kept=Kept(on_settled, keep=False)),
            self._channels.providers,
            policy=policy,
            on_plan=on_plan,
            confirm=confirm,
            retry_rejected=retry_rejected,
        )

    async def settle_jobs(
        self,
        jobs: Sequence[Job],
        journal: Journal,
        *,
        policy: Policy | None = None,
        on_event: events.OnEvent | None = None,
    ) -> Report:
        """Settle a part of a plan that is kept elsewhere: ``journal`` takes each job's one ending under the job's key.

        No listing is made and no guard asked: that was done where the plan is.
        """
        names = list(dict.fromkeys(job.target.provider for job in jobs))
        with self._call(names, policy or self._policy, journal, on_event=on_event) as call:
            await call.settle([from_jobs([job for job in jobs if job.target.provider == name], name) for name in names])
            return delete_report(call, ())

    async def datasets(self, provider: str, *, policy: Policy | None = None) -> DatasetListing:
        """The datasets that the key sees."""
        channel = self._channels.of(provider)
        with self._call([provider], policy or self._policy, on_event=None) as call:
            return await list_datasets(call, channel)

    # ------------------------------------------------------------------ while they run

    def stop(self, reason: str = "interrupted", signal: int | None = None) -> None:
        """Stop every call gracefully: nothing more is sent, what is in flight ends, the rest is not attempted."""
        self._channels.stop(reason, signal)

    def progress(self) -> tuple[Progress, ...]:
        """A look at every provider of every call that runs; where none does, the last look at the last one."""
        return self._channels.progress()

    # ------------------------------------------------------------------ inside

    def _call(
        self,
        providers: Iterable[str],
        policy: Policy,
        journal: Journal | None = None,
        *,
        on_event: events.OnEvent | None,
        kept: Kept | None = None,
    ) -> AbstractContextManager[Call]:
        consumer = kept.take if kept is not None and kept.wanted else None
        return self._channels.call(
            providers, policy, on_event=on_event or self._on_event, journal=journal, consumer=consumer
        )
