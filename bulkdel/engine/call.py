"""What a client's calls share, its gates; and one call: the providers it uses, what it counts, when it must stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypedDict, Unpack

import anyio

from bulkdel import events
from bulkdel.engine.gate import Gate
from bulkdel.engine.progress import Progress
from bulkdel.engine.session import ProviderSession, Workers
from bulkdel.engine.sink import Consumer, Journal, OutcomeSink
from bulkdel.engine.stop import Stop, StopReason
from bulkdel.engine.timeline import TimeAccount
from bulkdel.engine.worker import LocalWorkers
from bulkdel.errors import BrokenPromise, ConfigurationError, RunFileError
from bulkdel.limits import MakeLimiter
from bulkdel.model import Policy, RunStatus
from bulkdel.providers.protocol import Provider, Wire
from bulkdel.report import Account, Counts, RunEnd

Connect = Callable[[Provider], AbstractAsyncContextManager[Wire]]
"""How to reach a provider."""

Feed = Callable[["Call"], Awaitable[None]]
"""Adds jobs to the call's sessions, page by page, and returns when there are no more."""


class Hooks(TypedDict, total=False):
    """Where a call's events and endings go; ``account`` is what earlier sessions of the run counted, to count on."""

    on_event: events.OnEvent | None
    journal: Journal | None
    consumer: Consumer | None
    account: Account | None


class Call:
    """One call, from its first request to its report. Use as a context manager; belongs to one event loop.

    :param workers: who carries out what is to be deleted; None for this process
    """

    def __init__(
        self, gates: Mapping[str, Gate], policy: Policy, workers: Workers | None = None, **hooks: Unpack[Hooks]
    ) -> None:
        self.policy = policy
        self.account = hooks.get("account") or Account()
        self.sink = OutcomeSink(
            self.account,
            journal=hooks.get("journal"),
            consumer=hooks.get("consumer"),
            on_event=hooks.get("on_event"),
            on_journal_lost=lambda why: self.stop(StopReason("stopped", str(why), why.hint)),
        )
        self.sessions = {name: ProviderSession(gate, policy, self.sink) for name, gate in gates.items()}
        self.time = TimeAccount(self)
        self.phase = "preflight"
        self.signal: int | None = None
        self.total_known = False  # the account holds everything that is to be deleted
        self._workers = workers or LocalWorkers()
        self._deadline: asyncio.TimerHandle | None = None

    def __enter__(self) -> Call:
        for session in self.sessions.values():
            session.gate.attach(session)
        if self.policy.deadline is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self.policy.deadline, self._deadline_came, self.policy.deadline)
        self.time.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.time.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        for session in self.sessions.values():
            session.close()
            session.gate.detach(session)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the user is asked whether to delete: how long that takes is no work, and no provider's speed."""
        self.time.look()
        phase, self.phase = self.phase, "confirming"
        try:
            yield
        finally:
            self.time.look()
            self.phase = phase

    # ------------------------------------------------------------------ settling

    async def settle(self, feeds: Sequence[Feed]) -> None:
        """Settle everything that the feeds add; then every target has settled and was handed on.

        :raises Exception: what a feed raised, after everything that it had added was settled
        :raises BrokenPromise: if something was taken in and did not settle (S1)
        """
        self.phase = "deleting"
        failed: list[Exception] = []

        async def feed_to_its_end(feed: Feed) -> None:
            try:
                await feed(self)
            except RunFileError as error:
                self.sink.lose_journal(error)
            except Exception as error:
                failed.append(error)
                self.stop(StopReason("incomplete", f"the targets could not be read to the end: {type(error).__name__}"))

        try:
            async with anyio.create_task_group() as delivering:
                delivering.start_soon(self.sink.deliver)
                async with anyio.create_task_group() as settling:
                    for session in self.sessions.values():
                        settling.start_soon(session.run, self._workers)
                    async with anyio.create_task_group() as feeding:
                        for feed in feeds:
                            feeding.start_soon(feed_to_its_end, feed)
                    for session in self.sessions.values():
                        session.schedule.close_input()
                self.sink.pages.close()
        except ExceptionGroup as raised:
            raise _first(raised) from raised  # callers catch the error, not how tasks are grouped here
        if left := sum(len(session.schedule.pending) for session in self.sessions.values()):
            raise BrokenPromise(f"{left} targets came in and did not settle")
        if failed:
            raise failed[0]

    # ------------------------------------------------------------------ stopping

    def stop(self, reason: StopReason) -> None:
        """Send nothing more, let what is in flight end; what is left settles as not attempted."""
        for session in self.sessions.values():
            session.stop.set(reason)

    def _deadline_came(self, seconds: float) -> None:
        """Stop, and say what held a lone provider back then: that is what the user asks next."""
        words = f"the deadline of {seconds:g} s came"
        if len(self.sessions) == 1:
            (session,) = self.sessions.values()
            gate = session.gate
            if gate.limiter.paused_s > 0:
                words += f" in a pause: {gate.pause_reason}"
            elif gate.pause_reason and not gate.health.no_recent_failures:
                words += f", and nothing has succeeded since the last pause: {gate.pause_reason}"
        self.stop(StopReason("deadline", words))

    async def run_until_stopped(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Wait until every provider is stopped; return whether the wait came to its end before that."""
        every = Stop()

        def one_stopped() -> None:
            reasons = [session.stop.reason for session in self.sessions.values()]
            if reasons[0] is not None and None not in reasons:
                every.set(reasons[0])

        for session in self.sessions.values():
            session.stop.listen(one_stopped)
        return await every.run_until_stopped(wait)

    def stop_reason(self) -> StopReason | None:
        """The gravest reason why a provider was stopped: interrupted, the deadline, the provider itself.

        Of several providers that stopped for themselves each is named, once.
        """
        reasons = {name: session.stop.reason for name, session in self.sessions.items()}
        order: list[RunStatus] = ["interrupted", "deadline", "stopped", "incomplete"]
        known = [reason for reason in reasons.values() if reason is not None]
        gravest = min(known, key=lambda reason: order.index(reason.status), default=None)
        if gravest is None or len(reasons) == 1:
            return gravest
        names: dict[str, list[str]] = {}
        hints: dict[str, None] = {}
        for name, reason in reasons.items():
            if reason is not None and reason.status == gravest.status:
                own = reason == self.sessions[name].gate.stopped
                names.setdefault(reason.reason, []).extend([name] if own else [])
                hints |= {reason.hint: None} if reason.hint else {}
        words = (f"{', '.join(of)}: {reason}" if of else reason for reason, of in names.items())
        return StopReason(gravest.status, "; ".join(words), "; ".join(hints))

    def close_account(self) -> RunEnd:
        """Count what the call took into the account, for the last time; how the call ended.

        A stop that came when there was nothing left to do changes nothing.
        """
        self.time.look()
        self.time.stop()
        account, bugs = self.account, self.sink.bugs
        account.elapsed_s += self.time.elapsed_s
        bug = f"{type(bugs[0]).__name__} at {_where(bugs[0])}" if bugs else ""
        left = account.input_truncated or any(d.counts.not_attempted for d in account.datasets.values())
        why = self.stop_reason()
        if why is None or not (left or any(d.status == why.status for d in account.datasets.values())):
            return RunEnd(signal=self.signal, bug=bug)
        return RunEnd(why.status, why.reason, why.hint, self.signal, bug)

    def progress(self) -> tuple[Progress, ...]:
        """A look at each provider of this call now."""
        return self.time.progress()


class Gates:
    """What all calls of one client share, by provider name. An async context manager, for one event loop.

    :raises ConfigurationError: if two providers have one name, or there is none
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        connect: Connect | None = None,
        ca_file: str | Path | None = None,
        state: Path | None = None,
        limiter: MakeLimiter | None = None,
        rng: random.Random | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Each argument is the client's, where it is described."""
        self.providers: dict[str, Provider] = {}
        for provider in providers:
            if provider.name in self.providers:
                raise ConfigurationError(
                    f"two providers have one name: {provider.name!r}", hint="give one of them another name, name='…'"
                )
            self.providers[provider.name] = provider
        if not self.providers:
            raise ConfigurationError("no provider was given")
        self._connect = connect or partial(_over_http, ca_file=ca_file)
        self._make = partial(Gate, rng=rng, state=state, limiter=limiter)
        self._workers = workers
        self._gates: dict[str, Gate] = {}
        self._calls: list[Call] = []
        self._last: tuple[Progress, ...] = ()
        self.last_call: Call | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Gates:
        try:
            for name, provider in self.providers.items():
                wire = await self._stack.enter_async_context(self._connect(provider))
                gate = self._gates[name] = self._make(provider, wire)
                # What was learned is kept, and the limit is left to other processes.
                self._stack.push_async_callback(gate.pace.aclose)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gates.clear()
        await self._stack.__aexit__(kind, error, trace)

    def provider(self, name: str) -> Provider:
        """:raises ConfigurationError: if no provider has that name"""
        self.check_open()
        if name not in self.providers:
            raise ConfigurationError(
                f"no provider of this client is named: {name!r}", hint=f"it has: {', '.join(self.providers)}"
            )
        return self.providers[name]

    def check_open(self) -> None:
        """:raises RuntimeError: outside of the context"""
        if not self._gates:
            raise RuntimeError("the client is not open: use 'async with Client(…) as client'")

    @contextmanager
    def call(self, providers: Iterable[str], policy: Policy, **hooks: Unpack[Hooks]) -> Iterator[Call]:
        """A call of these providers; while it runs, ``stop`` and ``progress`` speak of it, too."""
        self.check_open()
        with Call({name: self._gates[name] for name in providers}, policy, self._workers, **hooks) as call:
            self._calls.append(call)
            try:
                yield call
            finally:
                self._calls.remove(call)
                self._last, self.last_call = call.progress(), call

    def stop(self, reason: str, signal: int | None) -> None:
        """Stop every call gracefully."""
        words = "interrupted" if signal is None else f"interrupted by signal {signal}"
        for call in self._calls:
            call.signal = signal
            call.stop(StopReason("interrupted", words if reason == "interrupted" else reason))

    def progress(self) -> tuple[Progress, ...]:
        """A look at every provider of every call that runs; if none does, the last look at the last one."""
        if not self._calls:
            return self._last
        return tuple(progress for call in self._calls for progress in call.progress())


def _over_http(provider: Provider, *, ca_file: str | Path | None) -> AbstractAsyncContextManager[Wire]:
    from bulkdel.wire import HttpWire  # with aiohttp behind it, which a wire of one's own can do without

    # One more than documents in flight: looks at documents being indexed go beside them.
    return HttpWire(provider, connections=provider.max_concurrency + 1, ca_file=ca_file)


def dataset_status(counts: Counts, stop: StopReason | None, stopped: str) -> RunStatus:
    """A dataset's own word: stopped alone, ended by the run's stop, incomplete if something was rejected, or complete."""
    if stopped:
        return "stopped"
    if stop is not None and counts.not_attempted:
        return stop.status
    return "incomplete" if counts.rejected or counts.not_attempted else "complete"


def _where(error: BaseException) -> str:
    """The function and the line that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "an unknown place"


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
