"""One deletion from the options to the exit status: what purge and delete have in common."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bulkdel.account import Counts, Report
from bulkdel.account.plan import Plan
from bulkdel.cli import keys, logs, output, progress, summary
from bulkdel.cli.confirm import confirmation, describe, typed_line
from bulkdel.cli.options import limits_from
from bulkdel.cli.screen import Screen
from bulkdel.cli.signals import Interrupts, watched
from bulkdel.cli.tally import Tally
from bulkdel.cli.values import many
from bulkdel.cli.world import World
from bulkdel.model import Policy, RunStatus, Settled, Target
from bulkdel.text import safe

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from bulkdel.providers.base import Provider

T = TypeVar("T")

GOES_ON: frozenset[RunStatus] = frozenset({"stopped", "deadline", "interrupted"})
"""The endings after which the rest can still be done."""


class Call(Protocol):
    """Calls the client with the arguments that every act has in common."""

    def __call__(self, client: Any, **common: Any) -> Awaitable[Report]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is to be done, once every option is read and found good.

    ``targets`` are the explicit ones, None where datasets are listed. ``from_stdin`` is whether they came from there.
    """

    provider: Provider
    policy: Policy
    call: Call
    targets: list[Target] | None = None
    from_stdin: bool = False
    yes: bool
    dry_run: bool
    as_json: bool
    settled: str | None
    quiet: bool
    verbose: bool
    log_json: bool
    ca_file: Any = None


def open_provider(kind: str, given: dict[str, Any], world: World, screen: Screen) -> Provider:
    """The provider that the options, the environment and the key file describe.

    :raises ConfigurationError: for an unknown provider, a missing or impossible key, a wrong address
    """
    from bulkdel.providers import registry

    build = registry.load(kind)
    warn = (lambda message, hint: None) if given.get("quiet") else screen.warning
    key = keys.read(kind, given["api_key_file"], world.environ, warn)
    keys.remember(key, world.secrets)
    named: dict[str, Any] = {"api_key": key}
    base_url = given["base_url"] or world.environ.get(keys.variable(kind, "BASE_URL"), "").strip()
    if base_url:
        named["base_url"] = base_url
    provider: Provider = build(**named)
    careful = getattr(provider, "warning", "")  # not of the protocol: a plug-in need not have one
    if careful:
        warn(careful, "")
    if given.get("rate") is None and given.get("concurrency") is None:
        return provider
    changed: Provider = build(**named, limits=limits_from(given, provider.limits))
    return changed


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
    return {name: given[name] for name in names}


def start(act: Act, world: World) -> int:
    """Do it where somebody confirmed or can be asked, else refuse with nothing sent; returns the exit status."""
    if act.yes or act.dry_run or world.asks():
        return perform(act, world)
    refused = Report(
        status="refused",
        counts=Counts(),
        reason="not confirmed, and there is no terminal to ask at",
        hint="-y (--yes) deletes without asking; --dry-run shows what would be deleted",
    )
    return finish(act, refused, output.Samples(), world, Screen(world))


def perform(act: Act, world: World) -> int:
    """Do it, tell it, and return the exit status."""
    screen = Screen(world)
    samples = output.Samples()
    with ExitStack() as stack:
        # Everything that can be found wrong is found here, before anything is sent.
        stream = stack.enter_context(output.settled_stream(act.settled, world))
        log = stack.enter_context(
            logs.told(screen, quiet=act.quiet, verbose=act.verbose, as_json=act.log_json or not screen.terminal)
        )
        report = run_async(lambda: _Running(act, world, screen, log, samples).run(stream))
    return finish(act, report, samples, world, screen)


def finish(act: Act, report: Report, samples: output.Samples, world: World, screen: Screen) -> int:
    """Write the account where it was wished for, and on stderr the one sentence and the command that goes on."""
    status = report.exit_status
    try:
        if act.as_json:
            output.write_json(world, report.as_dict())
        elif act.settled == "-":
            if not act.quiet:
                summary.show(world, report, samples, dry_run=act.dry_run, where="stderr")
        else:
            summary.show(world, report, samples, dry_run=act.dry_run)
    except BrokenPipeError:
        output.silence(world.stdout)
    except OSError as error:
        screen.error(f"cannot write the result: {error.strerror or error}")
        status = status or 1
    if status == 0:
        return status
    if report.bug:
        screen.error(f"something that should not happen happened, which is a bug: {safe(report.bug)}")
    screen.error(_sentence(report), safe(report.hint))
    if report.status in GOES_ON and not act.dry_run:
        again = "the same command with the same targets goes on" if act.from_stdin else "the same command goes on"
        screen.say(f"hint: what is gone stays gone; {again}:")
        screen.say(go_on(world.argv))
    return status


def _sentence(report: Report) -> str:
    if report.status == "refused":
        return f"refused: {safe(report.reason)}" if report.reason else "refused"
    if not report.selected and report.reason:
        return f"{report.status}: nothing was deleted: {safe(report.reason)}"
    return safe(report.summary(), 2000)


def go_on(argv: Sequence[str]) -> str:
    """The command that goes on: the same, without ``--expect``, whose number the part that is done has changed."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--expect":
            next(words, None)
        elif not word.startswith("--expect="):
            kept.append(word)
    return shlex.join(["bulkdel", *kept])


class _Running:
    """One run while it goes: the client, what listens to it, and how it is stopped."""

    def __init__(self, act: Act, world: World, screen: Screen, log: BoundLogger, samples: output.Samples) -> None:
        self._act = act
        self._world = world
        self._screen = screen
        self._log = log
        self._samples = samples
        self._tally = Tally(act.provider.name, act.targets)
        self._client: Any = None
        self._work: asyncio.Task[Report] | None = None
        self._in_flight = 0
        self._requests = 0
        self._refusal = ""
        self._asking = False
        self._stopping = asyncio.Event()

    async def run(self, stream: Any) -> Report:
        act = self._act
        clock = asyncio.get_running_loop().time
        began = clock()
        lines = output.SettledLines(stream, self._world.hide, self._unwritable)
        interrupts = Interrupts(self._gently, self._at_once)
        how = progress.style(self._screen, quiet=act.quiet, log_json=act.log_json)
        tell = logs.listener(self._log)

        def hear(event: Any) -> None:
            self._tally.hear(event)
            tell(event)

        async def settled(page: Sequence[Settled]) -> None:
            self._samples.take(page)
            lines.take(page)

        async with self._world.client(act.provider, ca_file=act.ca_file) as client:
            self._client = client
            with watched(interrupts.hear):
                async with progress.shown(how, self._screen, self._log, client.progress):
                    common = {
                        "policy": act.policy,
                        "on_event": hear,
                        "confirm": self._confirm(),
                        "dry_run": act.dry_run,
                        "on_settled": settled,
                        "keep": False,
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
                        )
        if report.status == "refused":
            report.reason = self._refusal or report.reason
            if interrupts.signal is not None:
                report.status, report.signal = "interrupted", interrupts.signal
        return report

    async def _call(self, client: Any, common: dict[str, Any]) -> Report:
        if self._stopping.is_set():  # a signal came before there was anything to stop
            return Report(status="refused", counts=Counts(), reason="interrupted before it began")
        return await self._act.call(client, **common)

    def _confirm(self) -> Callable[[Plan], Awaitable[bool]] | None:
        act = self._act
        if act.yes:
            return None
        if act.dry_run:
            return self._show
        return confirmation(self._screen, self._ask, act.policy, by_name=act.targets is None, note=self._refused)

    async def _show(self, plan: Plan) -> bool:
        if not self._act.quiet:
            with self._screen.still():
                self._screen.say("Would delete:")
                for words in describe(plan, self._act.policy):
                    self._screen.say(words)
        return True

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
        lets = f"letting {many(flying, 'request')} in flight end" if flying else "no request is in flight"
        self._screen.say(f"stopping: {lets}; again to stop at once")

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
