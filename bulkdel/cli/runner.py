"""Carry out a command's task: ask, run the client, show what happens, stop on signals, report, and say how to go on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
from structlog.stdlib import BoundLogger

from bulkdel.cli import hints, logs, output, progress, run_files
from bulkdel.cli.broker import Workers
from bulkdel.cli.confirm import NO_TERMINAL, YES_HINT, Confirmation
from bulkdel.cli.context import AppContext, is_terminal, width
from bulkdel.cli.metrics import Metrics
from bulkdel.cli.options import Options
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.events import Event
from bulkdel.model import Policy, PurgeRequest, Settled, Target
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Provider
from bulkdel.render.plan import too_long, unknown_statuses
from bulkdel.report import Counts, Report
from bulkdel.store import Run
from bulkdel.text import pluralize, sanitize

T = TypeVar("T")

ECHO_S = 0.1
"""The same signal again within so many seconds is one that came twice: ``timeout`` and runners that pass Ctrl-C on send it to the
process and to its group, and a person does not press a key again so soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a command wants done, once everything that was given is found good.

    ``purges`` are whole datasets and ``targets`` explicit documents; of a resumed run ``run`` holds both. ``label`` is what a new
    run file is called, if not as the provider, ``more`` is kept in its header. ``resume_options`` are those that a resume had.
    ``workers`` make the deletes, None if this process does. ``demo``: nothing is remembered or shared with other processes, and
    only errors are logged.
    """

    act: Literal["purge", "delete", "plan", "resume", "job", "verify"]
    options: Options
    providers: tuple[Provider, ...]
    policy: Policy
    label: str = ""
    purges: Sequence[PurgeRequest] = ()
    targets: Iterable[Target] | None = None
    run: Path | None = None
    more: Mapping[str, Any] | None = None
    resume_options: Sequence[str] = ()
    workers: Workers | None = None
    demo: bool = False

    @property
    def deletes(self) -> bool:
        return not self.options.dry_run and self.act not in ("plan", "verify")

    @property
    def asks(self) -> bool:
        return self.deletes and not self.options.yes


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` under uvloop if it is installed (a quarter less CPU for each request), else under asyncio."""
    return anyio.run(main, backend_options={"use_uvloop": find_spec("uvloop") is not None})


def run(task: Task, app: AppContext) -> int:
    """Carry out the task if it was confirmed or a person can be asked, else refuse with nothing sent.

    :return: the exit status
    """
    metrics = app.metrics = Metrics(task.options.metrics_file)
    metrics.begin([provider.name for provider in task.providers], resumes=task.run)
    live = LiveRun(task, app, metrics)
    if not task.asks or live.confirm.possible or _agreed(task.run):
        live.carry_out()
    else:
        shown = "" if task.act == "resume" else "; --dry-run shows what would be deleted"
        live.report.reason, live.report.hint = NO_TERMINAL, f"{YES_HINT}{shown}"
    return live.account()


def _agreed(path: Path | None) -> bool:
    """Whether the user had agreed to the run at ``path``, by a look before it is held: the client reads it again once it is."""
    if path is None:
        return False
    with Run.open(path, check=False) as run:
        return run.agreed


class LiveRun:
    """One run from its task to its account: the client, what listens to it, and how it is stopped.

    ``report``, ``plan`` and ``samples`` are what there is to report at the end, ``path`` is the run file, None if there is none;
    ``confirm`` asks the user.
    """

    def __init__(self, task: Task, app: AppContext, metrics: Metrics) -> None:
        self.report = Report(status="refused", counts=Counts(), reason="interrupted before it began")
        self.plan: Plan | None = None
        self.samples = output.Samples()
        self.path: Path | None = None
        self._task = task
        self._app = app
        self._metrics = metrics
        self._screen = app.screen
        self._client: Any = None
        self._work: asyncio.Task[Any] | None = None
        self._unwritten = ""
        self.confirm = Confirmation(self._screen, app.stdin, task.policy)

    def carry_out(self) -> None:
        """Make the run; everything that can be found wrong is found before anything is sent."""
        task, options, app = self._task, self._task.options, self._app
        self.path = path = task.run or run_files.path_for(options, task.label or task.providers[0].name)
        if path is not None and options.settled and os.path.realpath(options.settled) == os.path.realpath(path):
            raise ConfigurationError(
                f"--settled names the run file itself: {options.settled}", hint="give the lines another file"
            )
        is_new = path is not None and not path.exists()
        quiet = task.demo and not (options.verbose or options.log_json)
        try:
            with (
                output.settled_lines(options.settled, app, self._unwritable) as lines,
                logs.configure_logging(self._screen, options, quiet=quiet) as log,
            ):
                run_async(lambda: self._run(lines, log))
        except ConfigurationError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            # What is on disk goes on, however the run ended; a file that was there before may belong to another run.
            if path is not None and (is_new or not isinstance(error, RunFileError)):
                app.screen.last_lines = hints.after_a_bug(path, task)
            raise

    async def _run(self, lines: output.Lines, log: BoundLogger) -> None:
        task, options, app = self._task, self._task.options, self._app
        if self.path is not None:
            log.info("run file", path=str(self.path), _sentence=f"run file: {self.path}")
        interrupts = Interrupts(self._gently, self._at_once)
        async with AsyncExitStack() as stack:
            # Around the client: when the workers are left, everything that they reported is in the run file.
            more = await stack.enter_async_context(task.workers()) if task.workers and task.deletes else {}
            state = None if task.demo else run_files.state()
            client = app.client(*task.providers, ca_file=options.ca_file, state=state, **more)
            self._client = await stack.enter_async_context(client)
            stack.enter_context(handled(interrupts.on_signal))
            look = self._client.progress
            await stack.enter_async_context(self._metrics.written(look, self._screen.warning))
            shown = progress.show_progress(self._screen, log, options, look, lambda: self.confirm.stopped)
            await stack.enter_async_context(shown)
            self._work = asyncio.ensure_future(self._called(lines, log))
            try:
                self.report = await self._work
            except asyncio.CancelledError:
                if interrupts.signal is None or not interrupts.twice:
                    raise
                self.report = self._client.interrupted_report(self.report.reason, interrupts.signal, self.path)
        report = self.report
        if report.status == "refused":
            report.reason = self.confirm.refusal or report.reason
            if self.confirm.refusal == NO_TERMINAL:
                report.hint = YES_HINT
            if interrupts.signal is not None:
                report.status, report.signal = "interrupted", interrupts.signal
        if self._unwritten and report.status in ("interrupted", "incomplete", "complete"):
            # No signal stopped it: it was stopped, or at its end already, because its evidence could not be kept.
            report.status, report.signal, report.reason = "incomplete", None, self._unwritten
            kept = "the account alone still has" if self.path is None else "the account and the run file still have"
            report.hint = f"{kept} everything that was deleted; the lines end before it"

    async def _called(self, lines: output.Lines, log: BoundLogger) -> Any:
        if self.confirm.stopped:  # a signal came before there was anything to stop
            return self.report
        task, path, client, logged = self._task, self.path, self._client, logs.listener(log)

        def on_event(event: Event) -> None:
            self._metrics.on_event(event)
            logged(event)

        async def on_settled(page: Sequence[Settled]) -> None:
            self.samples.add(page)
            lines(page)

        def on_plan(plan: Plan) -> None:
            self.plan = plan
            self._app.warn(*unknown_statuses(plan, task.purges))

        call: dict[str, Any] = {"policy": task.policy, "on_event": on_event}
        if task.act == "verify":
            return await client.verify(path, **call)
        call |= {"on_plan": on_plan, "on_settled": on_settled, "confirm": self.confirm if task.asks else None}
        if task.act == "resume":
            return await client.resume(path, retry_rejected=task.options.retry_rejected, **call)
        # A run file holds the targets, so that they are read page by page; without one a file that changes now must not matter.
        targets = list(task.targets) if task.targets is not None and path is None else task.targets
        call |= {"act": task.act, "dry_run": not task.deletes, "keep": False, "run": path, "more": task.more}
        return await client.carry_out(task.purges, targets=targets, **call)

    # ------------------------------------------------------------------ stopping

    def _gently(self, number: int) -> None:
        in_flight = sum(look.in_flight for look in self._client.progress())
        self._client.stop(reason=f"interrupted by {signal.Signals(number).name}", signal=number)
        self.confirm.stop()
        lets = f"letting {pluralize(in_flight, 'request')} in flight end" if in_flight else "no request is in flight"
        again = "Ctrl-C once more" if number == signal.SIGINT else "a second signal"
        self._screen.say(f"stopping: {lets}; {again} stops at once")

    def _at_once(self) -> None:
        in_flight = sum(look.in_flight for look in self._client.progress())
        unknown = f"; how {pluralize(in_flight, 'request')} in flight ended is unknown" if in_flight else ""
        self.report.reason = f"stopped at once{unknown}"
        self._screen.say("stopping at once")
        if self._work is not None:
            self._work.cancel()

    def _unwritable(self, error: OSError) -> None:
        """The settled lines can no longer be kept, and going on would delete without the evidence that was asked for."""
        gone = isinstance(error, BrokenPipeError)
        why = f"cannot write the settled lines: {'their reader went away' if gone else error.strerror or error}"
        if not gone:
            self._unwritten = why
        self._client.stop(reason=why, signal=int(signal.SIGPIPE) if gone else None)

    # ------------------------------------------------------------------ the account

    def account(self) -> int:
        """Write the account, and on stderr the one sentence and the command that goes on; returns the exit status."""
        task, app, screen, report = self._task, self._app, self._screen, self.report
        plan = None if task.deletes else self.plan
        # Before the account: it takes away the file of a plan that holds nothing, and what is gone must not be named.
        way_on = hints.way_on(report, task, app.argv, self.path)
        if report.run is not None and not os.path.exists(report.run):
            report.run = None
        written = self._written(plan)
        status = report.exit_status or int(not written)
        if report.bug:
            screen.error(f"bulkdel ran into a bug: {sanitize(report.bug)}")
        if report.exit_status:
            screen.error(hints.sentence(report, task), hints.advice(report, task))
        self._metrics.finish(status, screen.warning, report)
        app.warn(*hints.not_there(report, task))
        app.warn("" if plan is None else too_long(plan, task.policy))
        for line in way_on:
            screen.say(line)
        return status

    def _written(self, plan: Plan | None) -> bool:
        """Write the account to stdout, or to stderr if the settled lines have stdout; whether that was possible."""
        app, report, options, samples = self._app, self.report, self._task.options, self.samples
        if self._task.run is not None and report.run:
            samples = output.Samples.recorded(report.run, report.reasons)  # of the earlier sessions, too
        if options.as_json:
            estimate = {} if plan is None else {"estimated_s": plan.seconds}
            return output.write_json(app, report.as_dict() | estimate)
        if options.settled == "-" and options.quiet:
            return True
        stream = app.stderr if options.settled == "-" else app.stdout
        lines = output.summary(report, samples, plan=plan, policy=self._task.policy)
        if is_terminal(stream):
            datasets = report.datasets if plan is None else ()
            lines = output.fitted(map(app.hide, lines), datasets, width(stream, app.environ))
        return output.write_lines(app, *lines, stream=stream)


# ---------------------------------------------------------------------- signals


class Interrupts:
    """Counts SIGINT and SIGTERM, and calls ``gently`` at the first and ``at_once`` at the second; a third is the system's own.

    ``signal`` is the first one's number, None before; ``twice`` is whether a second came.
    """

    def __init__(
        self, gently: Callable[[int], None], at_once: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.signal: int | None = None
        self.twice = False
        self._gently = gently
        self._at_once = at_once
        self._clock = clock
        self._first_at = 0.0

    def on_signal(self, number: int) -> None:
        if self.signal is None:
            self.signal, self._first_at = number, self._clock()
            self._gently(number)
        elif number == self.signal and self._clock() < self._first_at + ECHO_S:
            return
        elif not self.twice:
            self.twice = True
            # Whatever hangs now hangs inside bulkdel: the third signal ends the process the system's way.
            _restore(asyncio.get_running_loop())
            self._at_once()


@contextmanager
def handled(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Have ``on_signal`` called with the signals' numbers while the context lasts; used inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, int(number))
    try:
        yield
    finally:
        _restore(loop)


def _restore(loop: asyncio.AbstractEventLoop) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):
            loop.remove_signal_handler(number)
