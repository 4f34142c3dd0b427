"""A run as numbers for Prometheus: a file that a collector picks up, whole at every moment, with no document in it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from bulkdel import events
from bulkdel.cli.progress import Look, alongside
from bulkdel.engine.progress import Progress
from bulkdel.errors import BulkdelError, ConfigurationError
from bulkdel.model import Outcome
from bulkdel.render.saving import is_run_file
from bulkdel.render.wording import CAUSES
from bulkdel.report import ProviderAccount, Report
from bulkdel.store import Run
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from prometheus_client import Metric

Warn = Callable[[str], None]

SERIES: dict[str, tuple[str, str, str, Sequence[str]]] = {
    "bulkdel_documents": ("counter", "provider outcome", "Documents settled in this session, by how they ended", get_args(Outcome)),
    "bulkdel_requeued": ("counter", "provider cause", "Times that a document had to be asked for again in this session, by cause", (
                         "document_indexing", "document_locked", "rate_limit", "blocked", "server_error", "lost_answer",
                         "unreachable", "unclear")),
    "bulkdel_pauses": ("counter", "provider", "Pauses in this session, asked for by the service or made because it was failing", ()),
    "bulkdel_pause_seconds": ("counter", "provider", "Seconds of those pauses, as they were begun", ()),
    # The label's word "us" is older than the account's, and a rule of an alert may rest on it.
    "bulkdel_waited_seconds": ("counter", "provider cause", "Seconds of this session by what the provider waited for; us is bulkdel "
                               "itself (client in the account), done is over while another provider goes on",
                               ["us" if cause == "client" else cause for cause in CAUSES]),
    "bulkdel_requests": ("counter", "provider", "Requests sent in this session", ()),
    "bulkdel_selected_documents": ("gauge", "provider", "Documents to delete that are known so far", ()),
    "bulkdel_left_documents": ("gauge", "provider", "Documents that have not settled yet", ()),
    "bulkdel_in_flight_requests": ("gauge", "provider", "Requests that wait for their answer", ()),
    "bulkdel_run_start_time_seconds": ("gauge", "", "When this session of the run began, in Unix time", ()),
    "bulkdel_run_seconds": ("gauge", "", "How long this session takes or took", ()),
    "bulkdel_run_end_time_seconds": ("gauge", "", "When this session ended, in Unix time; not there before", ()),
    "bulkdel_run_exit_status": ("gauge", "", "The exit status; not there before the end", ()),
}  # fmt: skip
"""Everything in the file, in its order: the type, the labels, what it is, and what the second label may say. Every series is there
from the beginning: one that began with its first event would hide it."""


class Metrics:
    """Writes a run as Prometheus text to ``path``; with None it does nothing.

    A provider's name is the only word of the user's in it: a label with ids would be as many series as documents. Counters
    are this process's: a resumed run begins them anew, as Prometheus expects of a process.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._began = clock()
        self._numbers = defaultdict[tuple[str, ...], float](float)  # by series and the values of its labels
        self._earlier: Mapping[str, ProviderAccount] = {}
        self._warned = False

    def begin(self, providers: Sequence[str], resumes: Path | None = None) -> None:
        """Write the file for the first time.

        :param resumes: the run file that this process goes on with; what it counted before is not counted again
        :raises ConfigurationError: if it cannot be written; nothing was sent
        """
        path, self._path = self._path, None  # a place that is refused is not written to later either
        if path is None:
            return
        where = os.path.realpath(path)
        hint = "give the metrics a file of their own"
        if str(path) == "-" or (os.path.exists(where) and not os.path.isfile(where)):
            # A device or a pipe would be replaced by a file.
            raise ConfigurationError(f"the metrics go into a file that a collector picks up: {path}", hint=hint)
        if is_run_file(where):
            raise ConfigurationError(f"the metrics would overwrite a run file: {path}", hint=hint)
        self._numbers["bulkdel_run_start_time_seconds",] = self._began
        for name, (_, labels, _, values) in SERIES.items():
            if labels:
                self._numbers |= dict.fromkeys(product([name], providers, *filter(None, [values])), 0.0)
        if resumes is not None:
            with suppress(BulkdelError), Run.open(resumes, check=False) as run:
                self._earlier = run.account().providers
        try:
            self._write(path)
        except OSError as error:
            raise ConfigurationError(f"cannot write the metrics to {path}: {error.strerror or error}") from None
        self._path = path

    def on_event(self, event: events.Event) -> None:
        """Count an event of the run."""
        match event:
            # What is not attempted is known in the end: most of it was never offered, and has no event.
            case events.Settled(settled) if settled.outcome != "not_attempted":
                self._numbers["bulkdel_documents", settled.target.provider, settled.outcome] += 1
            case events.Requeued():
                self._numbers["bulkdel_requeued", event.target.provider, event.cause] += 1
            case events.Paused():
                self._numbers["bulkdel_pauses", event.provider] += 1
                self._numbers["bulkdel_pause_seconds", event.provider] += event.seconds
            case _:
                pass

    def _look(self, looks: Sequence[Progress]) -> None:
        for look in looks:
            before = self._earlier.get(look.provider, ProviderAccount())
            for cause, seconds in look.waited_s.items():
                series = "bulkdel_waited_seconds", look.provider, "us" if cause == "client" else cause
                self._numbers[series] = round(max(0.0, seconds - before.waited_s.get(cause, 0.0)), 3)
            self._numbers["bulkdel_requests", look.provider] = look.requests - before.requests
            self._numbers["bulkdel_selected_documents", look.provider] = look.total
            self._numbers["bulkdel_left_documents", look.provider] = look.left
            self._numbers["bulkdel_in_flight_requests", look.provider] = look.in_flight

    @asynccontextmanager
    async def written(self, look: Look, warn: Warn) -> AsyncIterator[None]:
        """Write what ``look`` shows every ten seconds while the context lasts, as often as a collector reads; ``warn`` is given
        the first failure."""

        async def forever() -> None:
            while True:
                await asyncio.sleep(10)
                self._look(look())
                self._try_to_write(warn)

        if self._path is None:
            yield
            return
        try:
            async with alongside(forever()):
                yield
        finally:
            self._look(look())

    def finish(self, exit_status: int, warn: Warn, report: Report | None = None) -> None:
        """Write the file for the last time, also for a command that ended before it began: the success of the time before must not
        be taken for its own. ``report`` says how many documents were not attempted."""
        if not self._numbers:
            with suppress(ConfigurationError):
                self.begin(())
        if self._path is None:
            return
        self._numbers["bulkdel_run_end_time_seconds",] = self._clock()
        self._numbers["bulkdel_run_exit_status",] = exit_status
        for dataset in report.datasets if report is not None else ():
            self._numbers["bulkdel_documents", dataset.provider, "not_attempted"] += dataset.counts.not_attempted
        self._try_to_write(warn)
        self._path = None

    def _try_to_write(self, warn: Warn) -> None:
        assert self._path is not None
        try:
            self._write(self._path)
        except OSError as error:
            if not self._warned:
                warn(f"cannot write the metrics to {sanitize(str(self._path))}: {error.strerror or error}")
            self._warned = True

    def _write(self, path: Path) -> None:
        """:raises OSError: if the file cannot be written; what was there is still there"""
        from prometheus_client import CollectorRegistry, write_to_textfile

        where = os.path.realpath(path)
        self._numbers["bulkdel_run_seconds",] = self._clock() - self._began
        registry = CollectorRegistry()
        registry.register(self)
        write_to_textfile(where, registry)
        os.chmod(where, 0o644)  # a collector is another user, and nothing in it is secret

    def collect(self) -> Iterator[Metric]:
        """Every number, for the registry."""
        # Imported only if there is a file to write: it takes as long as half of the command.
        from prometheus_client import Metric

        for series, (kind, labels, about, _) in SERIES.items():
            metric = Metric(series, about, kind)
            for (name, *values), number in self._numbers.items():
                if name == series:
                    # What UTF-8 cannot hold, half a surrogate pair, becomes a question mark.
                    plain = (value.encode("utf-8", "replace").decode("utf-8") for value in values)
                    sample = f"{name}_total" if kind == "counter" else name
                    metric.add_sample(sample, dict(zip(labels.split(), plain, strict=True)), number)
            yield metric
