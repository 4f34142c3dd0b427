"""The pacing boundary: what the engine asks of whatever says when the next request may leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider


class PacerLost(Exception):
    """Raised by ``acquire`` when there will be no permit any more: what keeps the limit is gone and was waited for long enough.

    ``reason`` is one sentence for people, ``hint`` what to do; neither holds a password or a key.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class Pacer(Protocol):
    """Permits to send one request each; one limit, and one pause, for all that send with one key.

    ``Pacing`` keeps them in this process, ``Shared`` among the processes of one user. Made for one event loop and not for
    threads; nothing here may block it.
    """

    def try_acquire(self) -> bool:
        """A permit if there is one now and nobody waits for it; never waits."""

    async def acquire(self) -> None:
        """Wait for a permit: for those who asked before, for the pause, and for the rate as it is by then.

        Cancelling loses no permit and holds up nobody.

        :raises PacerLost: where there will be none
        """

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""

    def pause(self, seconds: float, since: int | None = None) -> bool:
        """Nothing leaves for ``seconds`` from now; a pause that ends later stays as it is.

        ``since`` is ``pauses`` as it was when the request was sent that is complained about. True where this is a new
        complaint; False where a pause is on already, or one has begun since then.

        :raises ValueError: where ``seconds`` is not a finite number
        """

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left; 0.0 where there is none."""

    @property
    def pauses(self) -> int:
        """Pauses that have begun so far, others' that were heard of included."""

    @property
    def rate(self) -> Rate | None:
        """The limit that is in force; None for none."""

    @property
    def rate_is_anothers(self) -> bool:
        """Whether the limit in force is slower than what was asked for here, because somebody else who shares it wants that."""

    @property
    def allowed_per_second(self) -> float | None:
        """Permits a second that can be expected here under demand; None without a rate."""

    @property
    def processes(self) -> int:
        """How many processes want permits of this limit now, this one included."""

    @property
    def trouble(self) -> str:
        """Why there are no permits although there should be, in words; empty where all is well."""

    def set_rate(self, rate: Rate | None) -> None:
        """Want this limit from now on; in force is the slowest that anyone wants who shares it."""

    async def aclose(self) -> None:
        """Leave the limit to the others; nothing is asked any more. May be done twice, and never raises for what is gone."""


MakePacer = Callable[[Provider, Rate | None], Pacer]
"""Makes the pacer of a provider that begins with a rate; called in the event loop that it will be used in."""
