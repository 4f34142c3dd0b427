"""How a service does, as its answers say: when it is left alone, asked harmlessly, tried one by one, given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from bulkdel.engine.stop import Stop
from bulkdel.limits import Breaker
from bulkdel.providers.protocol import StopProvider


@dataclass(slots=True)
class Health:
    """One provider's health, shared by all calls.

    ``open``: the breaker is open, and a harmless question goes before the next document. ``half_open``: documents go one at a
    time until one of them is answered well. ``rate_refused``: requests go one at a time until one passes, because eight at once
    would be eight refusals. ``answers_lost``: deletes are carried out, as the service showed, and their answers are lost.
    ``giving_up``: nothing has succeeded for too long, and evidence is looked for, once.
    """

    breaker: Breaker = field(default_factory=Breaker)
    open: bool = False
    half_open: bool = False
    rate_refused: bool = False
    answers_lost: bool = False
    giving_up: StopProvider | None = None
    mark_stripped: bool = False  # a proxy takes away the header by which the service's own answers are known
    no_recent_failures: bool = False  # the last answer was a good one: another one changes nothing
    blocks: int = 0  # pauses in a row that stop the provider after a few
    refusals: int = 0  # pauses in a row that the service gave no time for, those for its rate aside
    _probing: bool = False  # the harmless question is being asked
    _recovered: anyio.Event = field(default_factory=anyio.Event)  # set when it was answered; a new one for each opening

    @property
    def doubtful(self) -> bool:
        """Whether answers are being lost, so that a document in doubt is looked at before it is asked for again."""
        return self.half_open or self.answers_lost

    @property
    def one_by_one(self) -> bool:
        """Whether one request at a time leaves, whatever the best concurrency is."""
        return self.half_open or self.rate_refused

    def record_success(self, now: float, *, deletes: bool) -> None:
        """The service answered as one that works does.

        :param deletes: whether it answered a DELETE
        """
        if deletes:
            self.answers_lost = False
        if not self.no_recent_failures:
            self.no_recent_failures = True
            self.blocks = self.refusals = 0
            self.breaker.success(now)
            if self.one_by_one:
                self.close()

    def record_evidence(self, now: float, *, gone: int, still_there: int) -> None:
        """The service showed how many documents are gone whose answers were lost, and how many are still there."""
        if gone:
            self.answers_lost, self.giving_up = still_there == 0, None
            self.breaker.success(now)
            self.close()
        elif still_there:
            self.answers_lost = False
            self.recovered()

    def open_breaker(self) -> None:
        """No document is asked for until a harmless question was answered."""
        self.half_open = True
        if not self.open:
            self.open, self._recovered = True, anyio.Event()

    def recovered(self) -> None:
        """The harmless question was answered: documents may try again, one at a time until one is answered well.

        The breaker's clock goes on: with its Redis down a Dify lists well and fails every DELETE (providers/README.md).
        """
        self.open = False
        self._recovered.set()

    def close(self) -> None:
        """All is well: documents leave side by side."""
        self.half_open = self.rate_refused = False
        self.recovered()

    async def probe_until_healthy(self, probe: Callable[[], Awaitable[bool]], stop: Stop) -> bool:
        """While the breaker is open: one harmless question at a time, charged to no document, until one is answered.

        :param probe: asks the question and has its answer observed; False if a stop came first
        :returns: False if a stop came first
        """
        while self.open:
            if self._probing:
                if not await stop.run_until_stopped(self._recovered.wait):
                    return False
                continue
            self._probing = True
            try:
                if not await probe():
                    return False
            finally:
                self._probing = False
                if self.open:  # those who waited for this answer ask themselves
                    self._recovered.set()
                    self._recovered = anyio.Event()
        return stop.reason is None
