"""One run from what was asked to its report: streamed, in memory, on a new run file, or on one that it goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from bulkdel.engine.call import Call, Gates, Hooks
from bulkdel.engine.gate import outage_hint
from bulkdel.errors import ConfigurationError, RunFileError, TargetsError
from bulkdel.model import PurgeRequest, Settled
from bulkdel.outcomes import OutcomeCollector
from bulkdel.providers.protocol import Provider
from bulkdel.purging import CallOptions, Purge
from bulkdel.report import Account, Report, RunEnd, make_report
from bulkdel.store import Act, ProviderHeader, Run, RunFile, RunHeader, recorded
from bulkdel.store.recorded import ResumeState
from bulkdel.targets import Targets, stream_targets
from bulkdel.verification import verify_again

T = TypeVar("T")

VERSION = version("bulkdel")


async def run_streamed(gates: Gates, targets: Targets, options: CallOptions) -> Report:
    """Settle explicit targets as they are read, without keeping them.

    :raises ConfigurationError: if a target of a sequence is no target or names no provider; nothing was sent
    :raises TargetsError: if the iterable itself raised; ``report`` has what was settled before
    """
    collector = OutcomeCollector(options.on_settled, keep=options.keep)
    failed: Exception | None = None
    with gates.call(gates.providers, options.policy, on_event=options.on_event, consumer=collector.consumer) as call:
        try:
            await stream_targets(call, targets)
        except ConfigurationError:
            raise
        except Exception as error:
            failed = error
        report = make_report(call.account, call.close_account(), settled=collector.in_order())
    if failed is None:
        return report
    failure = TargetsError(f"the targets could not be read to the end: {type(failed).__name__}")
    failure.report = report
    raise failure from failed


async def run_new(
    gates: Gates,
    requests: Sequence[PurgeRequest],
    options: CallOptions,
    act: Act,
    targets: Targets | None = None,
    more: Mapping[str, Any] | None = None,
) -> Report:
    """Empty the datasets, and settle explicit targets if there are any; all of it is listed and read before the first delete.

    :raises ConfigurationError: if a dataset is to be emptied twice, or emptied and deleted from by name
    :raises RunFileError: if the run file cannot be made; nothing was sent
    """
    requests = _checked_requests(gates, requests)
    used = {request.provider for request in requests}
    header = RunHeader(
        act="plan" if options.dry_run else act,  # a plan is a run that was listed and not begun
        providers=tuple(
            ProviderHeader.of(provider)
            for name, provider in gates.providers.items()
            if name in used or targets is not None
        ),
        version=VERSION,
        policy=options.policy,
        datasets=tuple(requests),
        targets=targets is not None,
        more=more or {},
    )
    async with await RunFile.create(options.run, header) as file:
        return await _run_on_file(gates, file, ResumeState(requests), options, targets)


async def run_again(
    gates: Gates, path: str | Path, options: CallOptions, *, own_policy: bool, retry_rejected: bool
) -> Report:
    """Carry out the plan at ``path``, or go on with the run; ``own_policy``: with the policy that it has.

    :raises RunFileError: if the file cannot be used, or another process works on it
    :raises ConfigurationError: if a provider of the run is missing or is at another address
    """
    file, state = await _reopen(gates, path, "resume", recorded.read_resume_state)
    async with file:
        if retry_rejected:
            await file.retry_rejected()
            state = await file.read(recorded.read_resume_state)
        if own_policy:
            options = replace(options, policy=file.header.policy)
        if state.agreed:
            options = replace(options, confirm=None)
        return await _run_on_file(gates, file, state, options)


async def verify_later(gates: Gates, path: str | Path, options: CallOptions, *, own_policy: bool) -> Report:
    """List again what the run at ``path`` has deleted from, and add what is found to the run; nothing but GET is sent.

    The report is the run's, with what was found; its status is that of the verification alone.

    :raises RunFileError: if the file cannot be used, or nothing was deleted in it
    :raises ConfigurationError: if a provider of the run is missing or is at another address
    """
    file, (account, datasets) = await _reopen(gates, path, "verify", recorded.read_verifiable)
    async with file:
        policy = file.header.policy if own_policy else options.policy
        names = dict.fromkeys(planned.provider for planned in datasets)
        with gates.call(names, policy, on_event=options.on_event, account=account) as call:
            found, end = await verify_again(call, file, datasets)
            report = _report(file, call, call.close_account())
            report.status, report.reason = end.status, end.reason
            if end.status == "stopped":
                report.hint = outage_hint(end.reason)
            if end.reason and (stop := call.stop_reason()) is not None:
                report.status, report.reason, report.hint = stop.status, stop.reason, stop.hint
            await _close(file, report, account)
    report.verified = found or f"Not verified: {report.reason.removeprefix('could not be verified: ')}"
    return report


async def _reopen(gates: Gates, path: str | Path, act: str, read: Callable[[Run], T]) -> tuple[RunFile, T]:
    """Begin another session of the run at ``path``; the run, and what ``read`` reads of it before.

    :raises Exception: what ``read`` raised, and no session has begun
    :raises ConfigurationError: if a provider of the run is missing or is at another address
    """
    gates.check_open()
    found: list[T] = []

    def read_first(run: Run) -> None:
        recorded.check_providers(run.header, gates.providers)
        found.append(read(run))

    file = await RunFile.open(path, act=act, version=VERSION, check=read_first)
    return file, found[0]


async def _run_on_file(
    gates: Gates, file: RunFile, state: ResumeState, options: CallOptions, targets: Targets | None = None
) -> Report:
    """Carry it out, and close the file; if the file is lost on the way, the account in memory holds."""
    collector = OutcomeCollector(options.on_settled, keep=options.keep and file.path is None)
    names, account = [provider.name for provider in file.header.providers], state.account
    hooks = Hooks(on_event=options.on_event, journal=file, consumer=collector.consumer, account=account)
    with gates.call(names, options.policy, **hooks) as call:
        end = await Purge(call, file, state.requests, options, listed=state.listed).run(targets)
        clean = not (call.sink.journal_lost or call.sink.remote_outcome_unknown)
        with suppress(RunFileError):  # a lost file has been reported already
            in_doubt = await file.count_in_doubt(clean=clean)
            for place, dataset in account.datasets.items():
                dataset.in_doubt = in_doubt.get(place, 0)
        report = _report(file, call, end, collector.in_order())
        try:
            for name, samples in call.time.samples().items():
                await file.add_samples(name, samples)
            await _close(file, report, account, clean=clean)
        except RunFileError as error:
            with suppress(RunFileError):
                await file.close(None, None, clean=False)
            report.reason = report.reason or str(error)
            if report.status == "complete":
                report.status = "incomplete"
        return report


async def _close(file: RunFile, report: Report, account: Account, *, clean: bool = True) -> None:
    """End the session as the run ends: an earlier one may have rejected something."""
    await file.record_costs(account.providers)
    await file.close(report.status, report.exit_status, reason=report.reason, clean=clean, elapsed_s=account.elapsed_s)


def _report(file: RunFile, call: Call, end: RunEnd, kept: Sequence[Settled] = ()) -> Report:
    """``kept`` are the settled targets of a run without a file."""
    if file.path is None:
        return make_report(call.account, end, settled=kept)
    return make_report(call.account, end, settled=recorded.RecordedSettled(file.path), run=str(file.path))


def checked_dataset(provider: Provider, dataset: object) -> str:
    """A dataset's id in the spelling of its service.

    :raises ConfigurationError: if it is no text
    """
    if not isinstance(dataset, str):
        raise ConfigurationError(f"a dataset's id must be a string: {dataset!r}")
    return provider.canonical(dataset)


def _checked_requests(gates: Gates, requests: Sequence[PurgeRequest]) -> list[PurgeRequest]:
    """The requests, each dataset in the spelling of its service."""
    gates.check_open()
    checked: dict[tuple[str, str], PurgeRequest] = {}
    for request in requests:
        dataset = checked_dataset(gates.provider(request.provider), request.dataset)
        checked[request.provider, dataset] = replace(request, dataset=dataset)
    if len(checked) < len(requests):
        raise ConfigurationError("one dataset is to be emptied twice in one call")
    return list(checked.values())
