"""One deletion from the options to the exit status: what purge and delete have in common."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from bulkdel.cli import logs, output, progress, run_files, summary
from bulkdel.cli.confirm import confirmation, typed_line
from bulkdel.cli.context import AppContext
from bulkdel.cli.metrics import Metrics
from bulkdel.cli.screen import Screen
from bulkdel.cli.signals import Interrupts, once_more, watched
from bulkdel.cli.tally import Tally
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.model import Policy, RunStatus, Settled
from bulkdel.render.plan import too_long
from bulkdel.report import Counts, Plan, Report
from bulkdel.text import pluralize, sanitize

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from bulkdel.cli.broker import Crew
    from bulkdel.providers.protocol import Provider

T = TypeVar("T")

GOES_ON: frozenset[RunStatus] = frozenset({"stopped", "deadline", "interrupted"})
"""The endings after which the rest can still be done."""


class Call(Protocol):
    """Calls the client with those of the common arguments that the act has use for."""

    def __call__(self, client: Any, **common: Any) -> Awaitable[Report]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is to be done, once every option is read and found good.

    ``targets`` are how many explicit ones there are by provider and dataset, None where datasets are listed; ``from_stdin``
    is whether they came from there. ``crew`` are the workers that make the deletes, None where this process does. ``place`` says where the run file goes and makes what it needs; ``again`` words the
    command that goes on with it. ``asks`` is whether somebody has to say yes.
    """

    kind: Literal["purge", "delete", "plan", "resume", "job"]
    providers: tuple[Provider, ...]
    policy: Policy
    call: Call
    place: Callable[[], Path | None]
    again: Callable[[Path], str]
    targets: Mapping[tuple[str, str], int] | None = None
    by_name: bool = True
    from_stdin: bool = False
    asks: bool = True
    yes: bool = False
    dry_run: bool = False
    as_json: bool
    settled: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    quiet: bool
    verbose: bool
    log_json: bool
    ca_file: Any = None
    crew: Crew | None = None

    @property
    def deletes(self) -> bool:
        return not self.dry_run and self.kind != "plan"


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` under uvloop where it is installed (a quarter less CPU for each request), else under asyncio."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def shared(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of an ``Act`` that are options of the same name."""
    names = ("yes", "dry_run", "as_json", "settled", "quiet", "verbose", "log_json", "ca_file")
    return {name: given[name] for name in names if name in given} | {"metrics": given.get("metrics") or Metrics()}


def start(act: Act, world: AppContext) -> int:
    """Do it where somebody confirmed or can be asked, else refuse with nothing sent; returns the exit status."""
    act.metrics.begin([provider.name for provider in act.providers])
    if act.yes or not act.deletes or not act.asks or world.asks():
        return perform(act, world)
    shown = "" if act.kind == "resume" else "; --dry-run shows what would be deleted"
    refused = Report(
        status="refused",
        counts=Counts(),
        reason="not confirmed, and there is no terminal to ask at",
        hint=f"-y (--yes) deletes without asking{shown}",
    )
    return finish(act, Ended(refused), world, Screen(world))


@dataclass(slots=True)
class Ended:
    """What there is to tell at the end."""

    report: Report
    samples: output.Samples = field(default_factory=output.Samples)
    plan: Plan | None = None
    path: Path | None = None


def perform(act: Act, world: AppContext) -> int:
    """Do it, tell it, and return the exit status."""
    screen = Screen(world)
    path = act.place()
    run_files.check_settled(act.settled, path)
    ours = path is not None and not path.exists()
    try:
        with ExitStack() as stack:
            # Everything that can be found wrong is found here, before anything is sent.
            stream = stack.enter_context(output.settled_stream(act.settled, world))
            log = stack.enter_context(
                logs.configure_logging(
                    screen, quiet=act.quiet, verbose=act.verbose, as_json=act.log_json or not screen.terminal
                )
            )
            ended = run_async(lambda: _Running(act, world, screen, log, path).run(stream))
    except ConfigurationError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        # However it ended, what is on disk goes on; a file that was not ours to begin with may be another's.
        if path is not None and (ours or not isinstance(error, RunFileError)) and (again := act.again(path)):
            world.last_words = [WAY_ON, again]
        raise
    return finish(act, ended, world, screen)


WAY_ON = "hint: what is gone stays gone; this goes on with the rest:"
MENDED = "hint: once that is mended, {}:"
"""Behind a hint of the stop's own: a key that is refused is refused again, however often the command is repeated."""


def finish(act: Act, ended: Ended, world: AppContext, screen: Screen) -> int:
    """Write the account where it was wished for, and on stderr the one sentence and the command that goes on."""
    report = ended.report
    status = report.exit_status
    if act.kind == "resume" and report.run:
        ended.samples = output.Samples.recorded(report.run, report.reasons)  # of the earlier sessions, too
    plan = None if act.deletes else ended.plan
    try:
        if act.as_json:
            more = {} if plan is None else {"estimated_s": plan.seconds}
            output.write_json(world, report.as_dict() | more)
        else:
            where = "stderr" if act.settled == "-" else "stdout"
            if where == "stdout" or not act.quiet:
                summary.show(world, report, ended.samples, plan=plan, policy=act.policy, where=where)
    except BrokenPipeError:
        output.silence(world.stdout)
    except OSError as error:
        # What its buffer holds still would fail once more at the exit, with a status of its own.
        output.silence(world.stdout)
        screen.error(f"cannot write the result: {error.strerror or error}")
        status = status or 1
    if status != 0:
        if report.bug:
            screen.error(f"bulkdel ran into a bug: {sanitize(report.bug)}")
        screen.error(_sentence(report), sanitize(report.hint) or _where_to_look(act, report))
    act.metrics.finish(status, screen.warning, report)
    if plan is not None and not act.quiet and (warning := too_long(plan, act.policy)):
        screen.warning(warning)
    for words in _way_on(act, ended, world):
        screen.say(words)
    return status


def _sentence(report: Report) -> str:
    if report.status == "refused":
        return f"refused: {sanitize(report.reason)}" if report.reason else "refused"
    if not report.selected and report.reason:
        return f"{report.status}: nothing was deleted: {sanitize(report.reason)}"
    return sanitize(report.summary(), 2000)


def _where_to_look(act: Act, report: Report) -> str:
    """How to find the right id, where the service does not know a dataset; a job's providers have no command of their own."""
    unknown = "dataset_stopped" in report.reasons
    unknown |= any(dataset.status == "stopped" and not dataset.counts.listed for dataset in report.datasets)
    if report.status != "incomplete" or act.kind not in ("purge", "plan", "delete") or not unknown:
        return ""
    return f"this lists the datasets that the key sees: {shlex.join(['bulkdel', 'datasets', act.providers[0].name])}"


def _way_on(act: Act, ended: Ended, world: AppContext) -> list[str]:
    """The hint and the command that goes on, where something can go on; the command comes last."""
    status, path = ended.report.status, ended.path
    if act.dry_run or (status == "complete" and act.kind != "plan"):
        return []
    if path is not None and not (act.kind == "plan" and status in GOES_ON) and (again := act.again(path)):
        if status == "refused":
            return []
        if act.kind != "plan":
            # Where not even a listing came back the address may be what is wrong, and a run goes on at its own alone.
            at = "" if ended.report.listed else " at the same address"
            return [MENDED.format(f"this goes on{at}") if _to_mend(ended.report) else WAY_ON, again]
        if act.quiet:
            return []  # nothing failed, and there is nothing to go on with before somebody has looked at the plan
        shown = shlex.join(["bulkdel", "report", str(path)])
        return [f"hint: {shown} lists it for review; this carries it out:", again]
    if status not in GOES_ON:
        return _retry(act, ended)
    if act.kind == "resume":
        return ["hint: what is gone stays gone; without its run file begin a new run"]
    if path is not None:
        run_files.discard(path)
    again = "the same command with the same targets goes on" if act.from_stdin else "the same command goes on"
    first = MENDED.format(again) if _to_mend(ended.report) else f"hint: what is gone stays gone; {again}:"
    return [first, go_on(world.argv)]


def _to_mend(report: Report) -> bool:
    """Whether somebody has to do something before going on has any sense: the report's hint says what."""
    return report.status == "stopped" and bool(report.hint)


def _retry(act: Act, ended: Ended) -> list[str]:
    """How to ask again for what was rejected, which nothing does by itself and which helps no invalid id; the command comes last, whole, to be copied."""
    reasons = ended.report.reasons
    if ended.path is None or not act.deletes or ended.report.counts.rejected <= reasons.get("invalid_id", 0):
        return []
    again = shlex.join(["bulkdel", "resume", os.path.realpath(ended.path), "--retry-rejected"])
    # The command deletes no more than was asked for: un-archiving is a choice of its own.
    archived = "archived" in reasons and not act.policy.unarchive
    choice = ["hint: archived documents stay; to un-archive and delete them, add: --unarchive"] if archived else []
    return [*choice, "hint: this asks again for what was rejected:", again]


def go_on(argv: Sequence[str]) -> str:
    """The command that goes on: the same, without ``--expect``, whose number the part that is done has changed, and
    without ``--retry-rejected``, which was done."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--expect":
            next(words, None)
        elif word != "--retry-rejected" and not word.startswith("--expect="):
            kept.append(word)
    return shlex.join(["bulkdel", *kept])


class _Running:
    """One run while it goes: the client, what listens to it, and how it is stopped."""

    def __init__(self, act: Act, world: AppContext, screen: Screen, log: BoundLogger, path: Path | None) -> None:
        self._act = act
        self._world = world
        self._screen = screen
        self._log = log
        self._path = path
        self._samples = output.Samples()
        self._plan: Plan | None = None
        self._tally = Tally(act.targets)
        self._client: Any = None
        self._work: asyncio.Task[Report] | None = None
        self._in_flight = 0
        self._requests = 0
        self._refusal = ""
        self._asking = False
        self._stopping = asyncio.Event()

    async def run(self, stream: Any) -> Ended:
        act = self._act
        clock = asyncio.get_running_loop().time
        began = clock()
        lines = output.SettledLines(stream, self._world.hide, self._unwritable)
        interrupts = Interrupts(self._gently, self._at_once)
        how = progress.style(self._screen, quiet=act.quiet, log_json=act.log_json)
        tell = logs.listener(self._log)

        def hear(event: Any) -> None:
            self._tally.hear(event)
            act.metrics.on_event(event)
            tell(event)

        async def settled(page: Sequence[Settled]) -> None:
            self._samples.add(page)
            lines.add(page)

        if self._path is not None:
            self._log.info("run file", path=str(self._path), _sentence=f"run file: {self._path}")
        async with AsyncExitStack() as stack:
            # Around the client: when the crew is left, everything that it told is in the run file.
            more = await stack.enter_async_context(act.crew.options()) if act.crew is not None else {}
            client = await stack.enter_async_context(
                self._world.client(*act.providers, ca_file=act.ca_file, state=run_files.state(self._world), **more)
            )
            self._client = client
            with watched(interrupts.hear):
                async with (
                    act.metrics.written(client.progress, self._screen.warning),
                    progress.show_progress(how, self._screen, self._log, client.progress, self._stopping.is_set),
                ):
                    common = {
                        "policy": act.policy,
                        "on_event": hear,
                        "on_plan": self._planned,
                        "confirm": self._confirm(),
                        "dry_run": act.dry_run,
                        "on_settled": settled,
                        "keep": False,
                        "run": self._path,
                    }
                    self._work = asyncio.ensure_future(self._call(client, common))
                    try:
                        report = await self._work
                    except asyncio.CancelledError:
                        if interrupts.signal is None or not interrupts.twice:
                            raise
                        report = self._tally.torn(
                            interrupts.signal,
                            elapsed_s=clock() - began,
                            requests=self._requests,
                            in_flight=self._in_flight,
                            path=self._path,
                        )
        if report.status == "refused":
            report.reason = self._refusal or report.reason
            if interrupts.signal is not None:
                report.status, report.signal = "interrupted", interrupts.signal
        return Ended(report, self._samples, self._plan, self._path)

    async def _call(self, client: Any, common: dict[str, Any]) -> Report:
        if self._stopping.is_set():  # a signal came before there was anything to stop
            return Report(status="refused", counts=Counts(), reason="interrupted before it began")
        return await self._act.call(client, **common)

    def _confirm(self) -> Callable[[Plan], Awaitable[bool]] | None:
        act = self._act
        if act.yes or not act.asks or not act.deletes:
            return None
        return confirmation(self._screen, self._ask, act.policy, by_name=act.by_name, note=self._refused)

    def _planned(self, plan: Plan) -> None:
        self._plan = plan

    async def _ask(self) -> str:
        """The line that is typed, or nothing where a signal comes first."""
        self._asking = True
        typed = asyncio.ensure_future(typed_line(self._world.stdin)())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((typed, stopping), return_when=asyncio.FIRST_COMPLETED)
            return typed.result() if typed.done() else ""
        finally:
            self._asking = False
            for task in (typed, stopping):
                task.cancel()
            await asyncio.gather(typed, stopping, return_exceptions=True)

    def _refused(self, why: str) -> None:
        self._refusal = f"not confirmed: {why}"

    def _gently(self, number: int) -> None:
        flying = self._flying()
        self._client.stop(reason=f"interrupted by {signal.Signals(number).name}", signal=number)
        self._stopping.set()
        if self._asking:
            self._screen.say("")  # the cursor stands behind the question
        lets = f"letting {pluralize(flying, 'request')} in flight end" if flying else "no request is in flight"
        self._screen.say(f"stopping: {lets}; {once_more(number)}")

    def _at_once(self) -> None:
        self._in_flight = self._flying()
        self._requests = sum(p.requests for p in self._client.progress())
        self._screen.say("stopping at once")
        if self._work is not None:
            self._work.cancel()

    def _flying(self) -> int:
        return sum(p.in_flight for p in self._client.progress())

    def _unwritable(self, error: OSError) -> None:
        """The settled lines can no longer be kept, and going on would delete without the evidence that was asked for."""
        gone = isinstance(error, BrokenPipeError)
        why = "whoever read them went away" if gone else str(error.strerror or error)
        self._client.stop(reason=f"cannot write the settled lines: {why}", signal=int(signal.SIGPIPE) if gone else None)
