"""A run as numbers for Prometheus: a file that a collector picks up, whole at every moment, with no document in it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from bulkdel import events
from bulkdel.errors import ConfigurationError
from bulkdel.model import Outcome
from bulkdel.render.saving import is_run_file
from bulkdel.text import safe

if TYPE_CHECKING:
    from bulkdel.engine.progress import Progress
    from bulkdel.report import Report

WRITE_EVERY = 10.0
"""Seconds between two writings: no collector looks more often than every 10 to 15 seconds."""
_REQUEUES = (
    "document_indexing", "rate_limit", "blocked", "server_error", "lost_answer", "unreachable", "unclear",
)  # fmt: skip
_WAITS = ("rate", "pause", "indexing", "service", "backoff", "consumer", "confirm", "us", "done")

Look = Callable[[], Sequence["Progress"]]
Warn = Callable[[str], None]


class Metrics:
    """Counts a run by provider, and writes it as Prometheus text (format 0.0.4) to ``path``; with None it does nothing.

    A provider's name is the only thing of the user's in it; datasets and documents have no labels, which would be as many
    series as documents. Counters are this process's: a resumed run begins them anew, as Prometheus expects of a process.
    """

    def __init__(self, path: Path | None = None, *, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall
        self._providers: list[str] = []
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._requeued: Counter[tuple[str, str]] = Counter()
        self._waited: dict[tuple[str, str], float] = {}
        self._pauses: Counter[str] = Counter()
        self._paused_s: dict[str, float] = defaultdict(float)
        self._looks: dict[str, Progress] = {}
        self._began = wall()
        self._ended: float | None = None
        self._exit_status: int | None = None
        self._warned = False

    def begin(self, providers: Sequence[str]) -> None:
        """Write the file for the first time.

        :raises ConfigurationError: where it cannot be written; nothing was sent
        """
        if self._path is None:
            return
        path = self._path
        try:
            self._check(path)
            self._providers = list(providers)
            self.write()
        except ConfigurationError:
            self._path = None
            raise
        except OSError as error:
            self._path = None
            raise ConfigurationError(f"cannot write the metrics to {path}: {error.strerror or error}") from None

    def _check(self, path: Path) -> None:
        """:raises ConfigurationError: where ``path`` is no place for numbers"""
        if str(path) == "-":
            raise ConfigurationError("the metrics go into a file that a collector picks up, not to stdout: -")
        if is_run_file(os.path.realpath(path)):
            raise ConfigurationError(f"the metrics would overwrite a run file: {path}", hint="give them another file")

    def hear(self, event: events.Event) -> None:
        """An ``on_event`` listener."""
        match event:
            case events.Settled(settled):
                self._outcomes[settled.target.provider, settled.outcome] += 1
            case events.Requeued():
                self._requeued[event.target.provider, event.cause] += 1
            case events.Paused():
                self._pauses[event.provider] += 1
                self._paused_s[event.provider] += event.seconds
            case _:
                pass

    def look(self, looks: Sequence[Progress]) -> None:
        """Take in what each provider does, and what it has waited for so far."""
        for one in looks:
            self._looks[one.provider] = one
            for cause, seconds in one.waited_s.items():
                self._waited[one.provider, cause] = round(seconds, 3)

    def account(self, report: Report) -> None:
        """Take in what only the account knows: how many were not attempted without ever having been offered."""
        left = Counter[str]()
        for dataset in report.datasets:
            left[dataset.provider] += dataset.counts.not_attempted
        for provider, n in left.items():
            self._outcomes[provider, "not_attempted"] = n

    @asynccontextmanager
    async def kept(self, look: Look, warn: Warn) -> AsyncIterator[None]:
        """Look and write every ten seconds while the context lasts; ``warn`` is told once of what cannot be written."""
        if self._path is None:
            yield
            return

        async def forever() -> None:
            while True:
                await asyncio.sleep(WRITE_EVERY)
                self.look(look())
                self._try(warn)

        task = asyncio.create_task(forever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.look(look())

    def end(self, exit_status: int, warn: Warn) -> None:
        """Write the file for the last time."""
        self._ended = self._wall()
        self._exit_status = exit_status
        self._try(warn)

    def broke_off(self, exit_status: int, warn: Warn) -> None:
        """Write the file for a command that ended before its account, so that the success of the time before is not taken
        for its own; nothing where the last word is said, or the file is none."""
        if self._path is None or self._ended is not None:
            return
        with suppress(ConfigurationError):
            self._check(self._path)
            self.end(exit_status, warn)

    def _try(self, warn: Warn) -> None:
        try:
            self.write()
        except OSError as error:
            if not self._warned:
                warn(f"cannot write the metrics to {safe(str(self._path))}: {error.strerror or error}")
            self._warned = True

    def write(self) -> None:
        """:raises OSError: where the file cannot be written; what was there is there still"""
        if self._path is not None:
            replace(self._path, self.text())

    def text(self) -> str:
        """The file, whole."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        outcomes = get_args(Outcome)
        yield from _family(
            "bulkdel_documents_total", "counter", "Documents settled in this session, by how they ended",
            _by(self._providers, "outcome", outcomes, self._outcomes),
        )  # fmt: skip
        yield from _family(
            "bulkdel_requeued_total", "counter", "Times that a document had to be asked for again in this session, by cause",
            _by(self._providers, "cause", _REQUEUES, self._requeued),
        )  # fmt: skip
        yield from _family(
            "bulkdel_waited_seconds_total", "counter",
            "Seconds of this session by what the provider waited for; us is bulkdel at work, done is over while another provider goes on",
            _by(self._providers, "cause", _WAITS, self._waited),
        )  # fmt: skip
        for name, kind, about, numbers in (
            ("bulkdel_pauses_total", "counter", "Pauses in this session, asked for by the service or made because it was failing", self._pauses),
            ("bulkdel_pause_seconds_total", "counter", "Seconds of those pauses, as they were begun", self._paused_s),
            ("bulkdel_requests_total", "counter", "Requests sent in this session", self._seen("requests")),
            ("bulkdel_selected_documents", "gauge", "Documents to delete that are known so far", self._seen("total")),
            ("bulkdel_left_documents", "gauge", "Documents that have not settled yet", self._seen("left")),
            ("bulkdel_in_flight_requests", "gauge", "Requests that wait for their answer", self._seen("in_flight")),
        ):  # fmt: skip
            yield from _family(name, kind, about, [({"provider": p}, numbers.get(p, 0)) for p in self._providers])
        yield from _family(
            "bulkdel_run_start_time_seconds",
            "gauge",
            "When this session of the run began, in Unix time",
            [({}, self._began)],
        )
        until = self._wall() if self._ended is None else self._ended
        yield from _family(
            "bulkdel_run_seconds", "gauge", "How long this session takes or took", [({}, max(0.0, until - self._began))]
        )
        if self._ended is not None and self._exit_status is not None:
            yield from _family(
                "bulkdel_run_end_time_seconds", "gauge", "When this session ended, in Unix time; not there before",
                [({}, self._ended)],
            )  # fmt: skip
            yield from _family(
                "bulkdel_run_exit_status", "gauge", "The exit status; not there before the end",
                [({}, self._exit_status)],
            )  # fmt: skip

    def _seen(self, field: str) -> dict[str, int]:
        return {name: getattr(look, field) for name, look in self._looks.items()}


def _by(
    providers: Sequence[str], label: str, known: Sequence[str], counted: Mapping[tuple[str, str], float]
) -> list[tuple[dict[str, str], float]]:
    """Every known value of ``label``, nought included, so that a series does not begin with its first event."""
    more = sorted({value for _, value in counted} - set(known))
    return [
        ({"provider": provider, label: value}, counted.get((provider, value), 0))
        for provider in providers
        for value in (*known, *more)
    ]


def _family(name: str, kind: str, about: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, number in samples:
        said = ",".join(f'{label}="{escaped(value)}"' for label, value in labels.items())
        yield f"{name}{{{said}}} {number:.15g}" if said else f"{name} {number:.15g}"


def escaped(value: str) -> str:
    """A label's value: backslash, quote and line feed are the three that the format escapes; what UTF-8 cannot hold, a lone
    surrogate, becomes a question mark."""
    plain = value.encode("utf-8", "replace").decode("utf-8")
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def replace(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` in one step: whoever reads it sees the old file or the new one, never a part.

    It is readable for everyone (0644), because a collector is another user; there is nothing secret in it. It is not synced
    to the disk: after a power cut its numbers are worth nothing.

    :raises OSError: where it cannot be written; what was there is there still
    """
    where = os.path.realpath(path)
    # The name ends otherwise than *.prom, so that a collector does not take the unfinished file for one.
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(where), prefix=f".{os.path.basename(where)[:100]}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(beside, where)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
