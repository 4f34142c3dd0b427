"""One call of a client: the providers it uses, what it counts, when it must stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import anyio

from bulkdel import events
from bulkdel.engine.gate import Gate
from bulkdel.engine.progress import Progress
from bulkdel.engine.session import ProviderSession, Workers
from bulkdel.engine.sink import Consumer, Journal, OutcomeSink
from bulkdel.engine.stop import StopReason, all_of
from bulkdel.engine.timeline import TimeAccount
from bulkdel.engine.worker import LocalWorkers
from bulkdel.errors import BrokenPromise, RunFileError
from bulkdel.model import Policy, RunStatus
from bulkdel.report import Account, Counts, RunEnd

Feed = Callable[["Call"], Awaitable[None]]
"""Adds jobs to the call's sessions, page by page, and returns when there are no more."""


class Call:
    """One call, from its first request to its report. Use as a context manager; belongs to one event loop.

    :param workers: who carries out what is to be deleted; None for this process
    :param account: what earlier sessions of the run counted, to count on; None for a new one
    """

    def __init__(
        self,
        gates: Mapping[str, Gate],
        policy: Policy,
        *,
        on_event: events.OnEvent | None = None,
        journal: Journal | None = None,
        consumer: Consumer | None = None,
        workers: Workers | None = None,
        account: Account | None = None,
    ) -> None:
        self.policy = policy
        self.account = Account() if account is None else account
        self.sink = OutcomeSink(
            self.account,
            journal=journal,
            consumer=consumer,
            on_event=on_event,
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

        async def feed_all() -> None:
            async with anyio.create_task_group() as group:
                for feed in feeds:
                    group.start_soon(feed_to_its_end, feed)
            for session in self.sessions.values():
                session.schedule.close_input()

        async def settle_all() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(feed_all)
                for session in self.sessions.values():
                    group.start_soon(session.run, self._workers)
            self.sink.pages.close()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.sink.deliver)
                group.start_soon(settle_all)
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
            if session.gate.limiter.paused_s > 0:
                words += f" in a pause: {session.gate.pause_reason}"
        self.stop(StopReason("deadline", words))

    async def run_until_stopped(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Wait until every provider is stopped; return whether the wait came to its end before that."""
        return await all_of([session.stop for session in self.sessions.values()]).run_until_stopped(wait)

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
        return tuple(self.time.progress(name) for name in self.sessions)


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
