"""Every provider's gate, opened and closed together, and the calls that go through them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.gate import Gate
from bulkdel.engine.progress import Progress
from bulkdel.engine.session import Workers
from bulkdel.engine.sink import Consumer, Journal
from bulkdel.engine.stop import StopReason
from bulkdel.errors import ConfigurationError
from bulkdel.limits import MakeLimiter
from bulkdel.model import Policy
from bulkdel.providers.protocol import Provider, Wire
from bulkdel.report import Account

Connect = Callable[[Provider], AbstractAsyncContextManager[Wire]]


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
        await self._stack.__aenter__()
        try:
            for name, provider in self.providers.items():
                wire = await self._stack.enter_async_context(self._connect(provider))
                gate = self._gates[name] = self._make(provider, wire)
                self._stack.push_async_callback(gate.aclose)
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
    def call(
        self,
        providers: Iterable[str],
        policy: Policy,
        *,
        on_event: events.OnEvent | None = None,
        journal: Journal | None = None,
        consumer: Consumer | None = None,
        account: Account | None = None,
    ) -> Iterator[Call]:
        """A call of these providers; while it runs, ``stop`` and ``progress`` speak of it, too."""
        self.check_open()
        call = Call(
            {name: self._gates[name] for name in providers},
            policy,
            on_event=on_event,
            journal=journal,
            consumer=consumer,
            workers=self._workers,
            account=account,
        )
        with call:
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
