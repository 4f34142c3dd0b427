"""A run's report, counted from its file, and what the run still has to do."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import overload

from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import PurgeRequest, Settled
from bulkdel.plan import PlannedDataset
from bulkdel.providers.protocol import Provider
from bulkdel.report import Account, Counts, Report, RunEnd, make_report
from bulkdel.store.header import ProviderHeader, RunHeader
from bulkdel.store.queries import Run


class RecordedSettled(Sequence[Settled]):
    """The settled targets of a run file, read when they are looked at: in input order, not attempted ones last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Generator[Settled]:
        with Run.open(self._path, check=False) as run:
            yield from run.settled()
            yield from run.not_attempted()

    def __len__(self) -> int:
        with Run.open(self._path, check=False) as run:
            return run.counts().selected

    @overload
    def __getitem__(self, place: int) -> Settled: ...
    @overload
    def __getitem__(self, place: slice) -> list[Settled]: ...
    def __getitem__(self, place: int | slice) -> Settled | list[Settled]:
        if isinstance(place, int) and place >= 0:
            with closing(iter(self)) as rows:  # closes the file at the row, a million others unread
                for settled in islice(rows, place, None):
                    return settled
            raise IndexError(f"the run has no such settled target: {place}")
        return list(self)[place]


def recorded_report(run: Run) -> Report:
    """The report of a run over all its sessions, counted from its rows."""
    last = run.last_session
    signal = last.exit_status - 128 if last.exit_status is not None and last.exit_status > 128 else None
    end = RunEnd(run.status or "interrupted", run.reason, signal=signal)
    return make_report(run.account(), end, settled=RecordedSettled(run.path), run=str(run.path))


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What a run still has to do; one that begins has listed nothing and counted nothing.

    ``requests`` are the datasets that are to be listed, or listed again afterwards; ``listed`` those that an earlier session
    listed, with what is left to delete. ``account`` is what earlier sessions counted, to be counted on: what they did not
    attempt is open again. ``agreed``: the guards and the user have agreed to all that the run may delete.
    """

    requests: Sequence[PurgeRequest]
    listed: Sequence[PlannedDataset] = ()
    agreed: bool = False
    account: Account = field(default_factory=Account)


def read_resume_state(run: Run) -> ResumeState:
    """What the run still has to do.

    :raises RunFileError: if it ended before it held what was asked
    """
    if run.targets == "open":
        raise RunFileError(f"the run ended before all of its targets were read, and asked for none of them: {run.path}")
    if run.unfinished_plan:
        raise RunFileError(
            f"the plan did not come to its end, so there is nothing to carry out: {run.path}",
            hint="make the plan again",
        )
    account, listings = run.account(), run.listings()
    asked = {(request.provider, request.dataset): request for request in run.header.datasets}
    requests: list[PurgeRequest] = []
    listed: list[PlannedDataset] = []
    for planned in run.plan().datasets:
        place = planned.provider, planned.dataset
        report = account.datasets[place]
        planned.stopped = ""
        proven = report.remaining is not None and (report.status == "complete" or report.came_back)
        if proven and not planned.selected:
            continue  # it was emptied and verified; what came back since then is for a new run
        if listings[place] in ("none", "complete"):
            report.counts.not_attempted = 0
            listed.append(planned)
        elif run.header.act == "plan":
            continue  # a plan deletes what it holds and nothing else, and of this dataset it holds nothing
        else:
            report.counts = Counts()  # it is listed again
        if not planned.explicit:
            requests.append(asked[place])
    return ResumeState(requests, listed, run.agreed, account)


def read_verifiable(run: Run) -> tuple[Account, list[PlannedDataset]]:
    """The account of the run, and its datasets that something was deleted from.

    :raises RunFileError: if nothing was deleted in it
    """
    account, plan = run.account(), run.plan()
    both = zip(account.datasets.values(), plan.datasets, strict=True)
    datasets = [planned for report, planned in both if report.counts.deleted or report.counts.already_gone]
    if not datasets:
        raise RunFileError(f"nothing was deleted in this run, so there is nothing to verify: {run.path}")
    return account, datasets


def check_providers(header: RunHeader, providers: Mapping[str, Provider]) -> None:
    """:raises ConfigurationError: if a provider of the run is missing or is at another address"""
    for asked in header.providers:
        given = providers.get(asked.name)
        if given is None:
            raise ConfigurationError(
                f"the run needs a provider that was not given: {asked.name!r}",
                hint=f"it is a {asked.kind} at {asked.base_url}",
            )
        now = ProviderHeader.of(given)
        if (now.kind, now.base_url) != (asked.kind, asked.base_url):
            raise ConfigurationError(
                f"the run was made at {asked.base_url} ({asked.kind}), not at: {now.base_url} ({now.kind})",
                hint="a run goes on at its own address only; make a new plan for another",
            )
