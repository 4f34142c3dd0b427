"""Carries out a command's task: asks, runs the client, shows what happens, stops on signals, reports, and says how to go on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from bulkdel.cli import hints, logs, output, progress, run_files, summary
from bulkdel.cli.confirm import Confirmation
from bulkdel.cli.context import AppContext
from bulkdel.cli.metrics import Metrics
from bulkdel.cli.options import Options
from bulkdel.cli.screen import Screen
from bulkdel.cli.signals import Interrupts, handled, next_signal
from bulkdel.cli.task import Task
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Settled
from bulkdel.plan import Plan
from bulkdel.render.plan import too_long, unknown_statuses
from bulkdel.report import Counts, Report
from bulkdel.text import pluralize, sanitize

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from bulkdel.engine.progress import Progress

T = TypeVar("T")


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` under uvloop if it is installed (a quarter less CPU for each request), else under asyncio."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


@contextmanager
def logging_to(
    screen: Screen, options: Options, *, quiet: bool = False, also: Sequence[str] = ()
) -> Iterator[BoundLogger]:
    """The log on ``screen`` as the options ask for it, as JSON lines if there is no terminal; ``also`` names more loggers."""
    as_json = options.log_json or not screen.terminal
    with logs.configure_logging(
        screen, quiet=quiet or options.quiet, verbose=options.verbose, as_json=as_json, also=also
    ) as log:
        yield log


@dataclass(slots=True)
class Ending:
    """What there is to report at the end."""

    report: Report
    samples: output.Samples = field(default_factory=output.Samples)
    plan: Plan | None = None
    path: Path | None = None


def run(task: Task, app: AppContext) -> int:
    """Carry out the task if it was confirmed or a person can be asked, else refuse with nothing sent.

    :return: the exit status
    """
    screen = Screen(app)
    metrics = app.metrics = Metrics(task.options.metrics_file)
    metrics.begin([provider.name for provider in task.providers], resumes=task.run)
    if task.options.yes or not task.deletes or task.agreed or app.can_ask():
        ending = _carried_out(task, app, screen)
    else:
        shown = "" if task.act == "resume" else "; --dry-run shows what would be deleted"
        ending = Ending(
            Report(
                status="refused",
                counts=Counts(),
                reason="not confirmed, and there is no terminal to ask at",
                hint=f"-y (--yes) deletes without asking{shown}",
            )
        )
    return _report(task, ending, app, screen)


def _carried_out(task: Task, app: AppContext, screen: Screen) -> Ending:
    options = task.options
    path = task.run or run_files.path_for(options, task.label)
    run_files.check_settled(options.settled, path)
    is_new = path is not None and not path.exists()
    try:
        with ExitStack() as stack:
            # Everything that can be found wrong is found here, before anything is sent.
            settled = stack.enter_context(output.settled_stream(options.settled, app))
            log = stack.enter_context(logging_to(screen, options, quiet=task.quiet_log))
            return run_async(lambda: LiveRun(task, app, screen, log, path).run(settled))
    except ConfigurationError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        # What is on disk goes on, however the run ended; a file that was there before may belong to another run.
        if path is not None and (is_new or not isinstance(error, RunFileError)):
            resume = run_files.resume_command(path, task.resume_options)
            app.last_lines = [hints.GO_ON, resume] if resume else []
        raise


def _report(task: Task, ending: Ending, app: AppContext, screen: Screen) -> int:
    """Write the account, and on stderr the one sentence and the command that goes on; returns the exit status."""
    report, metrics = ending.report, app.metrics or Metrics()
    plan = None if task.deletes else ending.plan
    written = _written(task, ending, plan, app, screen)
    status = report.exit_status or int(not written)
    if status != 0:
        if report.bug:
            screen.error(f"bulkdel ran into a bug: {sanitize(report.bug)}")
        if report.exit_status:
            screen.error(hints.sentence(report), hints.advice(report, task))
    metrics.finish(status, screen.warning, report)
    missing, hint = hints.not_there(report, task)
    if missing:
        app.warn(missing, hint)
    if plan is not None and not task.options.quiet and (warning := too_long(plan, task.policy)):
        screen.warning(warning)
    for line in hints.way_on(report, task, app.argv, ending.path):
        screen.say(line)
    return status


def _written(task: Task, ending: Ending, plan: Plan | None, app: AppContext, screen: Screen) -> bool:
    """Write the account to stdout, or to stderr if the settled lines have stdout; whether that was possible."""
    report, options = ending.report, task.options
    if task.run is not None and report.run:
        ending.samples = output.Samples.recorded(report.run, report.reasons)  # of the earlier sessions, too
    try:
        if options.as_json:
            estimate = {} if plan is None else {"estimated_s": plan.seconds}
            output.write_json(app, report.as_dict() | estimate)
        elif options.settled != "-":
            summary.show(app, report, ending.samples, plan=plan, policy=task.policy)
        elif not options.quiet:
            summary.show(app, report, ending.samples, plan=plan, policy=task.policy, where="stderr")
    except BrokenPipeError:
        output.silence(app.stdout)  # the reader has seen what it wanted
    except OSError as error:
        output.silence(app.stdout)  # what its buffer still holds would fail once more at the exit
        screen.error(f"cannot write the result: {error.strerror or error}")
        return False
    return True


class LiveRun:
    """One run while it goes: the client, what listens to it, and how it is stopped."""

    def __init__(self, task: Task, app: AppContext, screen: Screen, log: BoundLogger, path: Path | None) -> None:
        self._task = task
        self._app = app
        self._screen = screen
        self._log = log
        self._ending = Ending(
            Report(status="refused", counts=Counts(), reason="interrupted before it began"), path=path
        )
        self._client: Any = None
        self._work: asyncio.Task[Report] | None = None
        self._last_look: Sequence[Progress] = ()
        self._stopping = asyncio.Event()
        self._unwritten = ""
        self._confirm = Confirmation(screen, app.stdin, task.policy, self._stopping, by_name=task.confirm_by_name)

    async def run(self, settled_stream: TextIO | None) -> Ending:
        """:param settled_stream: takes every settled document as a line, None for no such lines"""
        options, app, metrics = self._task.options, self._app, self._app.metrics or Metrics()
        if self._ending.path is not None:
            self._log.info("run file", path=str(self._ending.path), _sentence=f"run file: {self._ending.path}")
        interrupts = Interrupts(self._gently, self._at_once)
        style = progress.style(self._screen, quiet=options.quiet, log_json=options.log_json)
        async with AsyncExitStack() as stack:
            # Around the client: when the workers are left, everything that they reported is in the run file.
            workers = self._task.workers
            remote = await stack.enter_async_context(workers.options()) if workers is not None else {}
            state = run_files.state() if self._task.keeps_state else None
            client = app.client(*self._task.providers, ca_file=options.ca_file, state=state, **remote)
            self._client = await stack.enter_async_context(client)
            stack.enter_context(handled(interrupts.on_signal))
            await stack.enter_async_context(metrics.written(self._client.progress, self._screen.warning))
            shown = progress.show_progress(style, self._screen, self._log, self._client.progress, self._stopping.is_set)
            await stack.enter_async_context(shown)
            report = await self._finished(settled_stream, metrics, interrupts)
        if report.status == "refused":
            report.reason = self._confirm.refusal or report.reason
            if interrupts.signal is not None:
                report.status, report.signal = "interrupted", interrupts.signal
        if self._unwritten and report.status == "interrupted":
            # Nobody interrupted it: it was stopped because its evidence could not be kept.
            report.status, report.signal, report.reason = "incomplete", None, self._unwritten
            kept = "" if self._ending.path is None else " and the run file"
            report.hint = (
                f"the account{kept or ' alone'} still has everything that was deleted; the lines end before it"
            )
        self._ending.report = report
        return self._ending

    async def _finished(self, settled_stream: TextIO | None, metrics: Metrics, interrupts: Interrupts) -> Report:
        """The report of the client's call, or what is known of one that a second signal cut off."""
        self._work = asyncio.ensure_future(self._called(settled_stream, metrics))
        try:
            return await self._work
        except asyncio.CancelledError:
            if interrupts.signal is None or not interrupts.twice:
                raise
            in_flight = sum(look.in_flight for look in self._last_look)
            unknown = f"; how {pluralize(in_flight, 'request')} in flight ended is unknown" if in_flight else ""
            reason = f"stopped at once{unknown}"
            report: Report = self._client.interrupted_report(reason, interrupts.signal, self._ending.path)
            return report

    async def _called(self, settled_stream: TextIO | None, metrics: Metrics) -> Report:
        if self._stopping.is_set():  # a signal came before there was anything to stop
            return self._ending.report
        task, path = self._task, self._ending.path
        lines = output.SettledLines(settled_stream, self._app.hide, self._unwritable)
        log_event = logs.listener(self._log)

        def on_event(event: Any) -> None:
            metrics.on_event(event)
            log_event(event)

        async def on_settled(page: Sequence[Settled]) -> None:
            self._ending.samples.add(page)
            lines.add(page)

        def on_plan(plan: Plan) -> None:
            self._ending.plan = plan
            unknown, statuses = unknown_statuses(plan, task.purges)
            if unknown and not task.options.quiet:
                self._screen.warning(unknown, statuses)

        asks = task.deletes and not task.agreed and not task.options.yes
        call: dict[str, Any] = {
            "policy": task.policy,
            "on_event": on_event,
            "on_plan": on_plan,
            "confirm": self._confirm if asks else None,
            "on_settled": on_settled,
        }
        report: Report
        if task.act == "resume":
            report = await self._client.resume(path, retry_rejected=task.options.retry_rejected, **call)
            return report
        if task.act == "verify":
            report = await self._client.verify(path, policy=task.policy, on_event=on_event)
            return report
        # A run file holds the targets, so that they are read page by page; without one a file that changes now must not matter.
        targets = list(task.targets) if task.targets is not None and path is None else task.targets
        report = await self._client.carry_out(
            task.purges,
            targets=targets,
            act=task.act,
            dry_run=not task.deletes,
            keep=False,
            run=path,
            more=task.more,
            **call,
        )
        return report

    # ------------------------------------------------------------------ stopping

    def _gently(self, number: int) -> None:
        in_flight = sum(look.in_flight for look in self._client.progress())
        self._client.stop(reason=f"interrupted by {signal.Signals(number).name}", signal=number)
        self._stopping.set()
        if self._confirm.asking:
            self._screen.say("")  # the cursor stands behind the question
        lets = f"letting {pluralize(in_flight, 'request')} in flight end" if in_flight else "no request is in flight"
        self._screen.say(f"stopping: {lets}; {next_signal(number)}")

    def _at_once(self) -> None:
        self._last_look = self._client.progress()
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
