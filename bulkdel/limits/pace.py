"""One provider's rate: the limiter that keeps it, the search that finds it, and the memory of it from run to run."""

from __future__ import annotations

from pathlib import Path
from time import time as unix_time

from bulkdel.limits.limiter import Limiter, MakeLimiter
from bulkdel.limits.memory_store import MemoryStore
from bulkdel.limits.rate import RateSearch
from bulkdel.limits.remembered import RateMemory, Remembered
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider


class Pace:
    """When the next request may leave, and what answers teach of that.

    :param state: the folder to share the limit in with other processes, and to remember in what was found; None for neither
    :param make: makes the limiter instead; then ``state`` only remembers
    """

    def __init__(self, provider: Provider, state: Path | None = None, make: MakeLimiter | None = None) -> None:
        # A limit that was given is neither overruled nor remembered, and one that is said not to exist neither.
        unknown = provider.rate_is_guess or (provider.pace is None and provider.rate_is_default)
        self._memory = RateMemory(state, provider.fingerprint) if state is not None and unknown else None
        self.learned: Remembered | None = None if self._memory is None else self._memory.recall(unix_time())
        known = None if self.learned is None else self.learned.known
        self._search = RateSearch(provider.pace, guess=provider.rate_is_guess, known=known)
        self._rate = self._search.rate  # what the limiter was given last
        self.limiter = _limiter(provider, self._rate, state, make)

    def passed(self, sent_at: float, now: float) -> None:
        """A request that left at ``sent_at`` was answered and not refused (loop time)."""
        # What other processes let through counts, too; their shares are about ours.
        rate = self._search.passed(sent_at, now, self.limiter.processes)
        if rate is not self._rate:  # hardly ever
            self._rate = rate
            self.limiter.set_rate(rate)
            if self._memory is not None and self._search.found is not None:
                self._memory.remember(self._search.found, unix_time(), only_news=True)

    def refused(self, sent_at: float, now: float, after: float | None, u: float) -> float:
        """A request that left at ``sent_at`` was refused for the rate; until one passes they had better go one at a time.

        :param after: seconds for which the service wants nothing, None if it does not say
        :param u: uniform in [0, 1)
        :returns: seconds in which nothing may leave
        """
        return self._search.refused(sent_at, now, after, u)

    async def aclose(self) -> None:
        """What was found is kept, what holds no more is forgotten, and the limit is left to other processes."""
        if self._memory is not None:
            self._memory.remember(self._search.found, unix_time())
        await self.limiter.aclose()


def _limiter(provider: Provider, rate: Rate | None, state: Path | None, make: MakeLimiter | None) -> Limiter:
    if make is not None:
        return make(provider, rate)
    if state is None:
        return Limiter(MemoryStore(), rate)
    from bulkdel.limits.file_store import FileStore  # brings SQLite along, which few programs need

    return Limiter(FileStore(state, provider.fingerprint), rate)
