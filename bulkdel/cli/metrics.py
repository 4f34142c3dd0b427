"""A run as numbers for Prometheus: a file that a collector picks up, whole at every moment, with no document in it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from bulkdel import events
from bulkdel.errors import BulkdelError, ConfigurationError
from bulkdel.model import Outcome
from bulkdel.render.saving import is_run_file
from bulkdel.report import ProviderAccount
from bulkdel.text import sanitize

if TYPE_CHECKING:
    from prometheus_client import Metric

    from bulkdel.engine.progress import Progress
    from bulkdel.report import Report

Look = Callable[[], Sequence["Progress"]]
Warn = Callable[[str], None]


class Metrics:
    """Writes a run as Prometheus text to ``path``; with None it does nothing.

    A provider's name is the only word of the user's in it: a label with ids would be as many series as documents. Counters
    are this process's: a resumed run begins them anew, as Prometheus expects of a process.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._began = clock()
        self._series: _Series | None = None
        self._finished = False
        self._warned = False

    def begin(self, providers: Sequence[str], resumes: Path | None = None) -> None:
        """Write the file for the first time.

        :param resumes: the run file that this process goes on with; what it counted before is not counted again
        :raises ConfigurationError: if it cannot be written; nothing was sent
        """
        path = self._path
        if path is None:
            return
        try:
            series = self._open(path, providers)
            if resumes is not None:
                series.earlier = _counted_before(resumes)
            self._write()
        except OSError as error:
            self._path = self._series = None
            raise ConfigurationError(f"cannot write the metrics to {path}: {error.strerror or error}") from None

    def _open(self, path: Path, providers: Sequence[str]) -> _Series:
        """:raises ConfigurationError: if ``path`` is no place for numbers"""
        problem = ""
        if str(path) == "-":
            problem = "the metrics go into a file that a collector picks up, not to stdout: -"
        elif is_run_file(os.path.realpath(path)):
            problem = f"the metrics would overwrite a run file: {path}"
        if problem:
            self._path = None
            raise ConfigurationError(problem, hint="give the metrics a file of their own")
        self._series = _Series(providers, self._began)
        return self._series

    def on_event(self, event: events.Event) -> None:
        """Count an event of the run."""
        if self._series is not None:
            self._series.count(event)

    @asynccontextmanager
    async def written(self, look: Look, warn: Warn) -> AsyncIterator[None]:
        """Write what ``look`` shows every ten seconds while the context lasts, as often as a collector reads; ``warn`` is given
        the first failure."""
        series = self._series
        if series is None:
            yield
            return

        async def forever() -> None:
            while True:
                await asyncio.sleep(10)
                series.looks = look()
                self._try_to_write(warn)

        task = asyncio.create_task(forever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            series.looks = look()

    def finish(self, exit_status: int, warn: Warn, report: Report | None = None) -> None:
        """Write the file for the last time; ``report`` says how many documents were not attempted."""
        if self._series is None or self._finished:
            return
        self._finished = True
        self._series.finish(exit_status, self._clock(), report)
        self._try_to_write(warn)

    def broke_off(self, exit_status: int, warn: Warn) -> None:
        """Write the file for a command that ended before its account, so that the success of the time before is not taken for
        its own; nothing if it was written for the last time, or has no place."""
        if self._path is None or self._finished:
            return
        with suppress(ConfigurationError):
            if self._series is None:
                self._open(self._path, ())
            self.finish(exit_status, warn)

    def _try_to_write(self, warn: Warn) -> None:
        try:
            self._write()
        except OSError as error:
            if not self._warned:
                warn(f"cannot write the metrics to {sanitize(str(self._path))}: {error.strerror or error}")
            self._warned = True

    def _write(self) -> None:
        """:raises OSError: if the file cannot be written; what was there is still there"""
        if self._path is None or self._series is None:
            return
        from prometheus_client import write_to_textfile

        where = os.path.realpath(self._path)
        self._series.run_seconds.set(self._clock() - self._began)
        write_to_textfile(where, self._series.registry)
        os.chmod(where, 0o644)  # a collector is another user, and nothing in it is secret


def _counted_before(path: Path) -> Mapping[str, ProviderAccount]:
    """What the sessions of a run file cost so far; nothing if it cannot be read."""
    from bulkdel.store import Run

    with suppress(BulkdelError), Run.open(path, check=False) as run:
        return run.account().providers
    return {}


class _Series:
    """The numbers of one process: counted by events, and as the last look at each provider shows them (``looks``)."""

    def __init__(self, providers: Sequence[str], began: float) -> None:
        # Imported only if there is a file to write: it takes as long as half of the command.
        from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

        cast(Callable[[], None], disable_created_metrics)()  # a second series for each, of when it was created
        # What UTF-8 cannot hold, half a surrogate pair, becomes a question mark.
        self._providers = [name.encode("utf-8", "replace").decode("utf-8") for name in providers]
        self.looks: Sequence[Progress] = ()
        self.earlier: Mapping[str, ProviderAccount] = {}
        self.registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(name, about, ("provider", *labels), registry=self.registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(name, about, registry=self.registry)

        self._documents = counter(
            "bulkdel_documents_total", "Documents settled in this session, by how they ended", "outcome"
        )
        self._requeued = counter(
            "bulkdel_requeued_total",
            "Times that a document had to be asked for again in this session, by cause",
            "cause",
        )
        self._pauses = counter(
            "bulkdel_pauses_total",
            "Pauses in this session, asked for by the service or made because it was failing",
        )
        self._paused_s = counter("bulkdel_pause_seconds_total", "Seconds of those pauses, as they were begun")
        # Every series is there from the beginning: one that began with its first event would hide it.
        for provider in self._providers:
            for outcome in get_args(Outcome):
                self._documents.labels(provider, outcome)
            for cause in (
                "document_indexing", "document_locked", "rate_limit", "blocked", "server_error", "lost_answer", "unreachable", "unclear",
            ):  # fmt: skip
                self._requeued.labels(provider, cause)
            self._pauses.labels(provider)
            self._paused_s.labels(provider)
        gauge("bulkdel_run_start_time_seconds", "When this session of the run began, in Unix time").set(began)
        self.run_seconds = gauge("bulkdel_run_seconds", "How long this session takes or took")
        self._gauge = gauge
        self.registry.register(self)

    def count(self, event: events.Event) -> None:
        match event:
            # What is not attempted is known in the end: most of it was never offered, and has no event.
            case events.Settled(settled) if settled.outcome != "not_attempted":
                self._documents.labels(settled.target.provider, settled.outcome).inc()
            case events.Requeued():
                self._requeued.labels(event.target.provider, event.cause).inc()
            case events.Paused():
                self._pauses.labels(event.provider).inc()
                self._paused_s.labels(event.provider).inc(event.seconds)
            case _:
                pass

    def finish(self, exit_status: int, ended: float, report: Report | None) -> None:
        self._gauge("bulkdel_run_end_time_seconds", "When this session ended, in Unix time; not there before").set(
            ended
        )
        self._gauge("bulkdel_run_exit_status", "The exit status; not there before the end").set(exit_status)
        for dataset in report.datasets if report is not None else ():
            self._documents.labels(dataset.provider, "not_attempted").inc(dataset.counts.not_attempted)

    def collect(self) -> Iterator[Metric]:
        """What the last look shows, for the registry."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        looks = {look.provider: look for look in self.looks}
        waited = CounterMetricFamily(
            "bulkdel_waited_seconds",
            "Seconds of this session by what the provider waited for; us is bulkdel itself, done is over while another provider"
            " goes on",
            labels=("provider", "cause"),
        )
        requests = CounterMetricFamily("bulkdel_requests", "Requests sent in this session", labels=("provider",))
        total, left, in_flight = (
            GaugeMetricFamily(name, about, labels=("provider",))
            for name, about in (
                ("bulkdel_selected_documents", "Documents to delete that are known so far"),
                ("bulkdel_left_documents", "Documents that have not settled yet"),
                ("bulkdel_in_flight_requests", "Requests that wait for their answer"),
            )
        )
        for name in self._providers:
            look = looks.get(name)
            seconds, before = ({} if look is None else look.waited_s), self.earlier.get(name, ProviderAccount())
            for cause in ("rate", "pause", "indexing", "service", "backoff", "consumer", "confirm", "client", "done"):
                # The label's word is older than the account's, and a rule of an alert may rest on it.
                waited.add_metric(
                    (name, "us" if cause == "client" else cause),
                    round(max(0.0, seconds.get(cause, 0.0) - before.waited_s.get(cause, 0.0)), 3),
                )
            requests.add_metric((name,), 0 if look is None else look.requests - before.requests)
            total.add_metric((name,), 0 if look is None else look.total)
            left.add_metric((name,), 0 if look is None else look.left)
            in_flight.add_metric((name,), 0 if look is None else look.in_flight)
        yield from (waited, requests, total, left, in_flight)
