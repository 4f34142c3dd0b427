"""The account of a run: what was listed, selected and settled, whether it adds up, and the report that is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bulkdel.errors import BrokenPromise, RejectedError
from bulkdel.model import FULFILLED, Outcome, RunStatus, Settled
from bulkdel.text import title

EXIT_STATUS: Mapping[RunStatus, int] = {
    "complete": 0,
    "incomplete": 1,
    "refused": 3,
    "stopped": 4,
    "deadline": 5,
    "interrupted": 130,
}


CAME_BACK = "came back after they were deleted"
"""How a dataset's reason begins if a later verification lists what the one before it did not."""


@dataclass(slots=True)
class Counts:
    """How many documents came to what: ``listed = selected + skipped``, and the four endings add up to ``selected``.

    ``rejected`` counts the targets that were refused or given up; those that were not attempted count apart.
    """

    listed: int = 0
    selected: int = 0
    skipped: int = 0
    deleted: int = 0
    already_gone: int = 0
    rejected: int = 0
    not_attempted: int = 0

    @property
    def settled(self) -> int:
        """Targets that have an ending."""
        return self.deleted + self.already_gone + self.rejected + self.not_attempted

    def settle(self, outcome: Outcome, n: int = 1) -> None:
        """Count ``n`` targets that ended in ``outcome``."""
        name = outcome if outcome in ("deleted", "already_gone", "not_attempted") else "rejected"
        setattr(self, name, getattr(self, name) + n)

    def select(self, listed: int, selected: int) -> None:
        """Count ``listed`` more documents, ``selected`` of which are to be deleted."""
        self.listed += listed
        self.selected += selected
        self.skipped += listed - selected

    def leave_rest(self) -> None:
        """Whatever has not settled is not attempted."""
        self.not_attempted = self.selected - self.deleted - self.already_gone - self.rejected

    @classmethod
    def of(cls, datasets: Iterable[DatasetReport]) -> Counts:
        """The sum of the datasets' own."""
        counts = [dataset.counts for dataset in datasets]
        return cls(*(sum(getattr(one, f.name) for one in counts) for f in fields(cls)))

    def check(self, what: str) -> None:
        """:raises BrokenPromise: if the counts do not conserve (S21)"""
        if self.listed != self.selected + self.skipped:
            raise BrokenPromise(f"{what}: {self.listed} listed, but {self.selected} selected + {self.skipped} skipped")
        if self.selected != self.settled:
            raise BrokenPromise(
                f"{what}: {self.selected} selected, but {self.deleted} deleted + {self.already_gone} already gone"
                f" + {self.rejected} rejected + {self.not_attempted} not attempted"
            )


@dataclass(slots=True)
class DatasetReport:
    """One dataset's part of the account.

    ``status`` is one of the run's words; a dataset that does not exist or that the key may not touch is ``stopped``, and
    ``reason`` says why. ``remaining`` is how many documents the verification still listed, None if none was made.
    ``new`` names up to 20 documents that came after the listing (``id name``), ``still_there`` up to 20 that the service
    called deleted and still lists; ``new_count`` and ``still_there_count`` say how many in all. ``repeated`` of the listed
    targets name a document that another names, too. ``in_doubt`` documents have not settled and may be gone all the same: they
    were asked for, and no answer came.
    """

    provider: str
    dataset: str
    name: str = ""
    status: RunStatus = "complete"
    reason: str = ""
    counts: Counts = field(default_factory=Counts)
    remaining: int | None = None
    skipped_reasons: dict[str, int] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    new_count: int = 0
    still_there: tuple[str, ...] = ()
    still_there_count: int = 0
    repeated: int = 0
    in_doubt: int = 0

    @property
    def came_back(self) -> bool:
        return self.reason.startswith(CAME_BACK)

    def as_dict(self) -> dict[str, Any]:
        """The dataset's part of the command's JSON object; ``skipped_reasons`` counts its skipped documents by the reason why."""
        return {
            "provider": self.provider,
            "dataset": self.dataset,
            "name": self.name,
            "status": self.status,
            **asdict(self.counts),
            "skipped_reasons": dict(self.skipped_reasons),
            "remaining": self.remaining,
            **_filled(
                reason=self.reason,
                documents=self.counts.listed - self.repeated if self.repeated else 0,
                in_doubt=self.in_doubt,
                new=self.new_count,
                still_there=self.still_there_count,
            ),
        }


@dataclass(slots=True)
class ProviderAccount:
    """What one provider cost: requests that left, pauses that began, requeues and provider-seconds by cause."""

    requests: int = 0
    pauses: int = 0
    requeued: Counter[str] = field(default_factory=Counter)
    waited_s: dict[str, float] = field(default_factory=dict)

    def add(self, other: ProviderAccount) -> None:
        """Count what another one cost, too."""
        self.requests += other.requests
        self.pauses += other.pauses
        self.requeued.update(other.requeued)
        for cause, seconds in other.waited_s.items():
            self.waited_s[cause] = self.waited_s.get(cause, 0.0) + seconds


@dataclass(slots=True)
class Account:
    """Everything that is counted of a run, in the one place where it is counted.

    It is counted into as things happen (engine and purge), or read from a run file (store); both give the same value. A
    report is made from it; progress, metrics and logs read it. ``rejected_by`` counts the rejected targets by outcome, those
    that were not attempted left out. ``elapsed_s`` is what its sessions took, of one that goes on what the earlier ones did.
    ``input_truncated``: targets were left unread, how many is not known.
    """

    datasets: dict[tuple[str, str], DatasetReport] = field(default_factory=dict)
    providers: dict[str, ProviderAccount] = field(default_factory=dict)
    rejected_by: Counter[Outcome] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    uncounted_sessions: int = 0
    input_truncated: bool = False

    def dataset(self, provider: str, dataset: str) -> DatasetReport:
        """The account of one dataset; a new one if it is not known yet."""
        if (provider, dataset) not in self.datasets:
            self.datasets[provider, dataset] = DatasetReport(provider, dataset)
        return self.datasets[provider, dataset]

    def provider(self, name: str) -> ProviderAccount:
        """The account of one provider; a new one if it is not known yet."""
        return self.providers.setdefault(name, ProviderAccount())

    def settle(self, counts: Counts, outcome: Outcome, n: int = 1) -> None:
        """Count ``n`` targets of a dataset, whose ``counts`` these are, that ended in ``outcome``."""
        counts.settle(outcome, n)
        if outcome not in FULFILLED and outcome != "not_attempted":
            self.rejected_by[outcome] += n


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: ``status`` is ``complete`` unless something kept it from its end, which ``reason`` and ``hint`` explain.

    ``signal`` is the number of the signal that interrupted it, ``bug`` names an error inside bulkdel, empty if there was none.
    """

    status: RunStatus = "complete"
    reason: str = ""
    hint: str = ""
    signal: int | None = None
    bug: str = ""


@dataclass(slots=True)
class Report:
    """The account of one call.

    ``settled`` is in input order, one per target (empty if the caller streamed them or a run file holds them).
    ``status`` and ``exit_status`` are the command's words and numbers. ``counts`` has the plain numbers; they are also
    attributes of the report, except ``rejected``, which is the list of rejected targets ("not attempted" included), as
    ``fulfilled`` is the list of the others. ``remaining`` adds up what the verification still listed, None if none was
    made; ``unverified`` datasets are not in it. ``waited_s`` says where the time went, in provider-seconds by cause: ``rate``,
    ``pause``, ``indexing``, ``locked`` (a lock of the service's), ``service`` (answers in flight), ``backoff``, ``consumer``, ``confirm`` (the user was asked whether to
    delete), ``client`` (bulkdel itself) and ``done`` (this provider was done, and another went on). ``uncounted_sessions`` of the
    run were killed or broken off before they could write down what they cost: it is missing in ``requests``, ``requeued``,
    ``pauses``, ``waited_s`` and, of a killed one, ``elapsed_s``. ``verified`` says in one sentence what a later verification
    found; empty for every other call.
    """

    status: RunStatus
    counts: Counts
    settled: Sequence[Settled] = ()
    datasets: tuple[DatasetReport, ...] = ()
    elapsed_s: float = 0.0
    requests: int = 0
    remaining: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    requeued: dict[str, int] = field(default_factory=dict)
    pauses: int = 0
    waited_s: dict[str, float] = field(default_factory=dict)
    uncounted_sessions: int = 0
    run: str | None = None
    reason: str = ""
    hint: str = ""
    signal: int | None = None
    bug: str = ""
    verified: str = ""

    @property
    def exit_status(self) -> int:
        """The command's exit status for this report."""
        if self.bug:
            return 70
        if self.status == "interrupted" and self.signal is not None:
            return 128 + self.signal
        return EXIT_STATUS[self.status]

    @property
    def ok(self) -> bool:
        """Everything selected is gone, and if it was listed again, the listing shows it (exit status 0)."""
        return self.exit_status == 0

    @property
    def unverified(self) -> int:
        """Datasets that were not listed again, so that ``remaining`` says nothing of them."""
        return sum(dataset.remaining is None for dataset in self.datasets)

    @property
    def documents(self) -> int:
        """How many documents the listed targets are: fewer, if some name the same one."""
        return self.counts.listed - sum(dataset.repeated for dataset in self.datasets)

    @property
    def in_doubt(self) -> int:
        """Documents that have not settled and may be gone all the same: they were asked for, and no answer came."""
        return sum(dataset.in_doubt for dataset in self.datasets)

    @property
    def listed(self) -> int:
        return self.counts.listed

    @property
    def selected(self) -> int:
        return self.counts.selected

    @property
    def skipped(self) -> int:
        return self.counts.skipped

    @property
    def deleted(self) -> int:
        return self.counts.deleted

    @property
    def already_gone(self) -> int:
        return self.counts.already_gone

    @property
    def not_attempted(self) -> int:
        return self.counts.not_attempted

    @property
    def fulfilled(self) -> list[Settled]:
        return [s for s in self.settled if s.outcome in FULFILLED]

    @property
    def rejected(self) -> list[Settled]:
        return [s for s in self.settled if s.outcome not in FULFILLED]

    def raise_for_rejected(self) -> None:
        """:raises RejectedError: if anything was rejected, a dataset was stopped, or something is still there"""
        if not self.ok:
            raise RejectedError(self.summary())

    def summary(self) -> str:
        """One sentence for people."""
        if self.verified:
            return self.verified
        c = self.counts
        reasons = [f"{n} {word.replace('_', ' ')}" for word, n in self.reasons.items() if word != "not_attempted"]
        others = {
            "already gone": c.already_gone,
            f"rejected ({', '.join(reasons)})" if reasons else "rejected": c.rejected,
            "not attempted": c.not_attempted,
            "skipped": c.skipped,
        }
        parts = [f"{c.deleted} deleted", *(f"{n} {what}" for what, n in others.items() if n)]
        why = self.reason.removeprefix("interrupted ")  # the status says so already
        tail = f": {why}" if why else ""
        return f"{self.status}: {', '.join(parts)} of {c.listed} listed{tail}"

    def as_dict(self) -> dict[str, Any]:
        """The command's JSON object (``--json``)."""
        waited_s = dict(self.waited_s)
        if "client" in waited_s:
            waited_s["us"] = waited_s["client"]  # its name before; goes with the next release
        unverified = 0 if self.remaining is None else self.unverified
        out = {
            "run": self.run,
            "status": self.status,
            "exit_status": self.exit_status,
            "elapsed_s": round(self.elapsed_s, 3),
            "requests": self.requests,
            **asdict(self.counts),
            **_filled(documents=self.documents if self.documents < self.listed else 0, in_doubt=self.in_doubt),
            "remaining": self.remaining,
            **_filled(unverified=unverified),
            "reasons": dict(self.reasons),
            "requeued": dict(self.requeued),
            "pauses": self.pauses,
            "waited_s": waited_s,
            **_filled(uncounted_sessions=self.uncounted_sessions, reason=self.reason, verified=self.verified),
        }
        return out | {"datasets": [dataset.as_dict() for dataset in self.datasets]}


def _filled(**parts: object) -> dict[str, object]:
    """The parts that hold something: what there is not is left out."""
    return {key: value for key, value in parts.items() if value}


def make_report(account: Account, end: RunEnd, *, settled: Sequence[Settled] = (), run: str | None = None) -> Report:
    """The report of a run, from what was counted and from how it ended; ``run`` is the path of its run file.

    A run that nothing stopped is complete if all of its datasets are, and incomplete otherwise.

    :raises BrokenPromise: if the counts do not conserve (S21)
    """
    datasets = tuple(account.datasets.values())
    for dataset in datasets:
        dataset.counts.check(f"{dataset.provider}/{dataset.dataset}")
    counts = Counts.of(datasets)
    status = end.status
    if status == "complete" and any(dataset.status != "complete" for dataset in datasets):
        status = "incomplete"
    reasons: dict[str, int] = dict(account.rejected_by.most_common())
    # What a guard or a stop kept from being asked for has no ending of its own, and is not gone either.
    if counts.not_attempted:
        reasons["not_attempted"] = counts.not_attempted
    remaining = [dataset.remaining for dataset in datasets if dataset.remaining is not None]
    cost = ProviderAccount()
    for provider in account.providers.values():
        cost.add(provider)
    return Report(
        status=status,
        counts=counts,
        settled=settled,
        datasets=datasets,
        elapsed_s=account.elapsed_s,
        requests=cost.requests,
        remaining=sum(remaining) if remaining else None,
        reasons=reasons,
        requeued=dict(cost.requeued),
        pauses=cost.pauses,
        waited_s={cause: round(seconds, 3) for cause, seconds in cost.waited_s.items()},
        uncounted_sessions=account.uncounted_sessions,
        run=run,
        reason=end.reason or (first_reason(datasets) if status == "incomplete" else ""),
        hint=end.hint,
        signal=end.signal,
        bug=end.bug,
    )


def first_reason(datasets: Sequence[DatasetReport]) -> str:
    """Why the first dataset did not come to its end, and which one that is if there are several."""
    unfinished = [dataset for dataset in datasets if dataset.reason and dataset.status != "complete"]
    if not unfinished:
        return ""
    first = unfinished[0]
    if len(datasets) == 1:
        return first.reason
    others = len(unfinished) - 1
    more = f"; and {others} more of {len(datasets)} datasets" if others else ""
    return f"{title(first.provider, first.dataset, first.name)}: {first.reason}{more}"
