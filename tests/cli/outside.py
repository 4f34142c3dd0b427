"""An outside for the command: streams that can be read afterwards, an environment, and a client that sends nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace, TracebackType
from typing import Any, BinaryIO

from bulkdel import events
from bulkdel.cli import run
from bulkdel.cli.context import AppContext
from bulkdel.cli.targets import TargetFile
from bulkdel.engine.progress import Progress
from bulkdel.listing import DatasetListing
from bulkdel.model import Settled, Target
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.report import Counts, DatasetReport, Report

KEY = "dataset-NeverShowThisKey0123"
DATASET = "6f1c2b34-0000-4000-8000-000000000001"
OTHER = "6f1c2b34-0000-4000-8000-000000000002"
ENVIRON = {"DIFY_API_KEY": KEY, "DIFY_BASE_URL": "http://127.0.0.1:9/v1"}

PROGRESS = Progress(
    provider="dify", phase="deleting", total=1230, complete=True, deleted=120, already_gone=0, rejected=1, not_attempted=0,
    left=1109, in_flight=4, requeued=3, indexing=0, requests=140, concurrency=4, rate=None, per_second=80.4, wait="",
    why="", wait_s=None, eta_s=14.0,
)  # fmt: skip
"""A look at a run under way, for tests to change."""


def targets_in(source: BinaryIO, name: str) -> list[Target]:
    """What ``bulkdel delete dify`` reads in a file; ids are as the file has them."""
    spells_as_given: Any = SimpleNamespace(canonical=str)
    return list(TargetFile(source, name, "dify", {"dify": spells_as_given}))


class Terminal(io.StringIO):
    """A stream that says it is a terminal; ``descriptor`` is what reading it reads."""

    def __init__(self, descriptor: int = -1) -> None:
        super().__init__()
        self._descriptor = descriptor

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor


class Closed(io.StringIO):
    """A stream whose reader went away."""

    def write(self, words: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        raise OSError("no descriptor")


@dataclass
class FakeClient:
    """A client of the real one's surface that holds ``documents`` and deletes them all, or ends as ``ends`` says."""

    documents: Sequence[str] = ("d1", "d2", "d3")
    name: str = "Manuals"
    ends: Callable[[], Report] | None = None
    listing: DatasetListing = field(default_factory=lambda: DatasetListing(()))
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    deleted: list[Target] = field(default_factory=list)
    stopped: list[tuple[str, int | None]] = field(default_factory=list)
    planned: PlannedDataset | None = None
    before: Callable[[FakeClient], Awaitable[None]] | None = None

    def __call__(self, *providers: Any, **options: Any) -> FakeClient:
        self.calls.append(("open", providers, options))
        return self

    async def __aenter__(self) -> FakeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stop(self, reason: str = "interrupted", signal: int | None = None) -> None:
        self.stopped.append((reason, signal))

    def progress(self) -> tuple[Progress, ...]:
        return (replace(PROGRESS, in_flight=2),)

    async def datasets(self, provider: str) -> DatasetListing:
        return self.listing

    async def carry_out(self, purges: Sequence[Any], *, targets: Iterable[Target] | None, **common: Any) -> Report:
        read = list(targets or ())
        explicit = bool(read)
        self.calls.append(("carry_out", tuple(purges) or tuple(read), common))
        for wish in purges:
            n = len(self.documents)
            read += [Target(wish.provider, wish.dataset, document) for document in self.documents]
            common["on_event"](events.Listed(wish.provider, wish.dataset, self.name, n, n))
        return await self._carry_out(read, explicit=explicit, **common)

    async def _carry_out(
        self,
        targets: list[Target],
        *,
        explicit: bool,
        on_event: Any,
        on_settled: Any,
        on_plan: Any,
        dry_run: bool,
        confirm: Any = None,
        **_: Any,
    ) -> Report:
        if self.before is not None:
            await self.before(self)
        first = PlannedDataset(targets[0].provider, targets[0].dataset, self.name, explicit=explicit)
        plan = Plan([self.planned or first], 3.0)
        if self.planned is None:
            plan.datasets[0].listed = plan.datasets[0].selected = len(targets)
        on_plan(plan)
        if dry_run:
            return self._report(targets, Counts(len(targets), len(targets), not_attempted=len(targets)), "complete")
        if confirm is not None and not await confirm(plan):
            counts = Counts(len(targets), len(targets), not_attempted=len(targets))
            report = self._report(targets, counts, "refused")
            report.reason, report.hint = "not confirmed", "nothing was deleted"
            return report
        if self.ends is not None:
            return self.ends()
        page = [Settled(target, "deleted", "", 1, "a name", 1_700_000_000.0) for target in targets]
        self.deleted += targets
        for settled in page:
            on_event(events.Settled(settled))
        await on_settled(page)
        return self._report(targets, Counts(len(targets), len(targets), deleted=len(targets)), "complete")

    def _report(self, targets: list[Target], counts: Counts, status: Any) -> Report:
        dataset = DatasetReport(targets[0].provider, targets[0].dataset, self.name, status, counts=counts)
        return Report(status=status, counts=counts, datasets=(dataset,), elapsed_s=0.25, requests=5)


@dataclass
class Seen:
    """What an invocation left behind."""

    status: int
    stdout: str
    stderr: str


def invoke(
    *argv: str,
    client: Any = None,
    environ: dict[str, str] | None = None,
    stdin: bytes = b"",
    terminal: bool = False,
    typed: str = "",
    stdout: io.StringIO | None = None,
) -> Seen:
    """Run the command in this process; with ``terminal`` a user sits at it, and has ``typed`` that."""
    reader, writer = os.pipe()
    os.write(writer, typed.encode())
    os.close(writer)

    def stdin_bytes() -> BinaryIO:
        return io.BytesIO(stdin)

    out = stdout if stdout is not None else io.StringIO()
    err: io.StringIO = Terminal() if terminal else io.StringIO()
    app = AppContext(
        environ={"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]} | (ENVIRON if environ is None else environ),
        stdin=Terminal(reader) if terminal else io.StringIO(),
        stdin_bytes=stdin_bytes,
        stdout=out,
        stderr=err,
        client=client if client is not None else FakeClient(),
    )
    try:
        status = run(argv, app)
    finally:
        os.close(reader)
    return Seen(status, out.getvalue(), err.getvalue())
