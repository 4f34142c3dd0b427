"""What a run file still has to do, for a session that goes on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import PurgeRequest, RunStatus
from bulkdel.plan import PlannedDataset
from bulkdel.providers.protocol import Provider
from bulkdel.report import Account, Counts
from bulkdel.store.queries import Run
from bulkdel.store.records import ProviderHeader, RunHeader, address


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What a resumed run holds.

    ``requests`` are the datasets that are to be listed, or listed again afterwards; ``listed`` those that an earlier session
    listed, with what is left to delete. ``account`` is what earlier sessions counted, to be counted on: what they did not
    attempt is open again. ``agreed``: the guards and the user have agreed to all that the run may delete.
    """

    header: RunHeader
    requests: Sequence[PurgeRequest]
    listed: Sequence[PlannedDataset]
    agreed: bool
    account: Account


@dataclass(frozen=True, slots=True)
class VerifyState:
    """What a run has deleted: ``datasets`` are those to list again, ``status`` is the run's own word so far."""

    header: RunHeader
    datasets: Sequence[PlannedDataset]
    account: Account
    status: RunStatus


def read_resume_state(path: str | Path, providers: Mapping[str, Provider]) -> ResumeState:
    """What the run at ``path`` still has to do, with the providers that carry it out.

    It blocks: looking the file through for damage takes a second for a million rows.

    :raises RunFileError: if it cannot be read, has come to its end, or is at work
    :raises ConfigurationError: if a provider of the run is missing or is at another address
    """
    with Run.open(path) as run:
        for asked in run.header.providers:
            _check_same(asked, providers)
        if run.targets == "open":
            raise RunFileError(
                f"the run ended before all of its targets were read, and asked for none of them: {run.path}"
            )
        listings = run.listings()
        if run.header.act == "plan" and not {"complete", "none"} & set(listings.values()):
            raise RunFileError(
                f"the plan did not come to its end, so there is nothing to carry out: {run.path}",
                hint="make the plan again",
            )
        account = run.account()
        left = {(planned.provider, planned.dataset): planned for planned in run.plan().datasets}
        requests: list[PurgeRequest] = []
        listed: list[PlannedDataset] = []
        for (provider, dataset), listing in listings.items():
            planned, report = left[provider, dataset], account.dataset(provider, dataset)
            planned.stopped = ""
            if report.status == "complete" and report.remaining is not None and not planned.selected:
                continue  # it was emptied and verified
            if listing not in ("none", "complete"):
                if run.header.act == "plan":
                    continue  # a plan deletes what it holds and nothing else, and of this dataset it holds nothing
                report.counts = Counts()  # it is listed again
            else:
                report.counts.not_attempted = 0
                # What is shown of it is what is left.
                planned.listed = planned.selected + sum(planned.skipped.values())
                planned.explicit = listing == "none"
                listed.append(planned)
            if not planned.explicit:
                requests.append(PurgeRequest(provider, dataset, run.selection_of(provider, dataset)))
        return ResumeState(run.header, requests, listed, run.agreed, account)


def read_verify_state(path: str | Path, providers: Mapping[str, Provider]) -> VerifyState:
    """What can be listed again of the run at ``path``; it blocks, as ``read_resume_state`` does.

    :raises RunFileError: if it cannot be read, or nothing was deleted in it
    :raises ConfigurationError: if a provider of the run is missing or is at another address
    """
    with Run.open(path) as run:
        for asked in run.header.providers:
            _check_same(asked, providers)
        account, listings = run.account(), run.listings()
        planned = {(one.provider, one.dataset): one for one in run.plan().datasets}
        for place, listing in listings.items():
            planned[place].explicit = listing == "none"
        emptied = [
            planned[place]
            for place, report in account.datasets.items()
            if report.counts.deleted + report.counts.already_gone
        ]
        if not emptied:
            raise RunFileError(f"nothing was deleted in this run, so there is nothing to verify: {run.path}")
        status = run.last_session.status or "interrupted"
        return VerifyState(run.header, emptied, account, status)


def _check_same(asked: ProviderHeader, providers: Mapping[str, Provider]) -> None:
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
