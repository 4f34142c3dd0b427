"""A session on a run file, a new one or one to go on with: carried out, its report counted from the file, and closed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from bulkdel.engine.call import Call
from bulkdel.engine.results import Journal
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Policy, Selection, Target
from bulkdel.providers.protocol import Provider
from bulkdel.purging.flow import Confirm, OnPlan, Wish, purge
from bulkdel.purging.recorded import RunLedger, recorded_report
from bulkdel.report import Counts, PlannedDataset, Report
from bulkdel.store import ProviderHeader, Run, RunFile, RunHeader
from bulkdel.store.values import Act, AskedDataset, address

Begin = Callable[[Sequence[str], Policy, Journal], AbstractContextManager[Call]]
"""Begins a call of the providers with these names, which writes down in the journal what it does."""


@dataclass(slots=True)
class Held:
    """What a resumed run holds: what is left to list, what was listed, whether somebody said yes to all of it, and how many
    of its selected documents have settled."""

    header: RunHeader
    wishes: list[Wish]
    before: list[PlannedDataset]
    agreed: bool
    settled: int


async def carry_out(
    path: str | Path,
    begin: Begin,
    providers: Sequence[Provider],
    wishes: Sequence[Wish],
    *,
    targets: Iterable[Target] | AsyncIterable[Target] | None,
    act: Act,
    policy: Policy,
    on_plan: OnPlan | None,
    confirm: Confirm | None,
    dry_run: bool,
    more: Mapping[str, Any] | None,
) -> Report:
    """Do what ``flow.purge`` does, kept in a new run file at ``path`` that also says what was asked.

    :raises RunFileError: where it cannot be made; nothing was sent
    :raises ConfigurationError: as ``flow.purge`` does
    """
    async with await _create(path, act, providers, policy, wishes, explicit=targets is not None, more=more) as file:
        ledger = RunLedger(file)
        with begin([provider.name for provider in providers], policy, ledger) as call:
            report = await purge(
                call, wishes, ledger, targets=targets, on_plan=on_plan, confirm=confirm, dry_run=dry_run
            )
            return await _close(file, ledger, call, report)


async def resume(
    path: str | Path,
    begin: Begin,
    providers: Mapping[str, Provider],
    *,
    policy: Policy | None,
    on_plan: OnPlan | None,
    confirm: Confirm | None,
    retry_rejected: bool,
) -> Report:
    """Go on with the run at ``path``; what is described at ``Client.resume``.

    :raises RunFileError: where the file cannot be used, or another process works on it
    :raises ConfigurationError: where a provider of the run is missing or is at another address
    """
    held = await _read(path, providers)
    async with await RunFile.open(path, version=version()) as file:
        ledger = RunLedger(file)
        if retry_rejected:
            await file.retry_rejected()
            held = await _read(path, providers)
        names = [provider.name for provider in held.header.providers]
        with begin(names, policy or held.header.policy, ledger) as call:
            report = await purge(
                call,
                held.wishes,
                ledger,
                on_plan=on_plan,
                confirm=None if held.agreed else confirm,
                before=held.before,
                settled_before=held.settled,
            )
            return await _close(file, ledger, call, report)


async def _create(
    path: str | Path,
    act: Act,
    providers: Sequence[Provider],
    policy: Policy,
    wishes: Sequence[Wish],
    *,
    explicit: bool,
    more: Mapping[str, Any] | None,
) -> RunFile:
    header = RunHeader(
        act=act,
        providers=tuple(ProviderHeader.of(provider) for provider in providers),
        version=version(),
        policy=policy,
        selection=wishes[0].select if wishes else Selection(),
        datasets=tuple(AskedDataset(wish.provider, wish.dataset, wish.select) for wish in wishes),
        targets=explicit,
        more=more or {},
    )
    return await RunFile.create(path, header)


async def _read(path: str | Path, providers: Mapping[str, Provider]) -> Held:
    """What the run at ``path`` still has to do, with the providers that carry it out.

    The file is read in a thread: looking it through for damage takes a second for a million rows.

    :raises RunFileError: where it cannot be read, has come to its end, or is at work
    :raises ConfigurationError: where a provider of the run is missing or is at another address
    """
    return await anyio.to_thread.run_sync(_read_at_once, path, providers)


def _read_at_once(path: str | Path, providers: Mapping[str, Provider]) -> Held:
    with Run.open(path) as run:
        for asked in run.header.providers:
            _same(asked, providers)
        listings = run.listings()
        plan = {(planned.provider, planned.dataset): planned for planned in run.plan().datasets}
        datasets = run.datasets()
        ended = {(d.provider, d.dataset) for d in datasets if d.status == "complete" and d.remaining is not None}
        counts = Counts.of(datasets)
        if run.targets == "open":
            raise RunFileError(
                f"the run ended before all of its targets were read, and asked for none of them: {run.path}"
            )
        wishes: list[Wish] = []
        before: list[PlannedDataset] = []
        for (provider, dataset), listing in listings.items():
            planned = plan[provider, dataset]
            # This session accounts for what is left; the file's own counts hold the rest.
            planned.listed = planned.selected + sum(planned.skipped.values())
            planned.stopped = ""
            if listing == "none":
                planned.explicit = True
                before.append(planned)
                continue
            if (provider, dataset) in ended and not planned.selected:
                continue
            if listing == "complete":
                before.append(planned)
            elif run.header.act == "plan":
                continue  # a plan deletes what it holds and nothing else, and of this dataset it holds nothing
            wishes.append(Wish(provider, dataset, run.selection_of(provider, dataset)))
        if run.header.act == "plan" and not {"complete", "none"} & set(listings.values()):
            raise RunFileError(
                f"the plan did not come to its end, so there is nothing to carry out: {run.path}",
                hint="make the plan again",
            )
        return Held(run.header, wishes, before, run.agreed, counts.selected - counts.not_attempted)


def _same(asked: ProviderHeader, providers: Mapping[str, Provider]) -> None:
    provider = providers.get(asked.name)
    if provider is None:
        raise ConfigurationError(
            f"the run needs a provider that was not given: {asked.name!r}",
            hint=f"it is a {asked.kind} at {asked.base_url}",
        )
    if provider.kind != asked.kind or address(provider.base_url) != asked.base_url:
        raise ConfigurationError(
            f"the run was made at {asked.base_url} ({asked.kind}), not at: {address(provider.base_url)} ({provider.kind})",
            hint="a run goes on at its own address only; make a new plan for another",
        )


async def _close(run: RunFile, ledger: RunLedger, call: Call, report: Report) -> Report:
    """End the session in the file and count the report from it; where the file was lost, the session's own account holds."""
    requests = {name: call.requests_of(name) for name in call.channels}
    try:
        await ledger.count(report, requests, {name: timeline.all() for name, timeline in call.timelines.items()})
        with anyio.CancelScope(shield=True):  # everything is done, and the file is to say how it ended
            whole = await anyio.to_thread.run_sync(_read_back, run.path, report)
        # The session ends as the run does: it may have done all of its own, and an earlier one have rejected something.
        clean = not (call.results.journal_lost or call.results.adrift)
        await run.close(whole.status, whole.exit_status, reason=whole.reason, clean=clean)
        return whole
    except RunFileError as error:
        with suppress(RunFileError):
            await run.close(None, None, clean=False)
        report.run = str(run.path)
        if not report.reason:
            report.reason = str(error)
        if report.status == "complete":
            report.status = "incomplete"
        return report


def _read_back(path: Path, report: Report) -> Report:
    """The report counted from the file: 0.6 s of SQLite for a million rows, so not in the event loop."""
    with Run.open(path, check=False) as run:
        return recorded_report(run, report=report)


def version() -> str:
    """bulkdel's version, as installed."""
    from importlib.metadata import version as installed

    return installed("bulkdel")
