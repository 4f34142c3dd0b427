"""One provider's rate: the limiter that keeps it, the search that finds it, and the memory of it from run to run.

What was found is a small file for each key's fingerprint in the state folder, never a key.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time as unix_time

from bulkdel.limits.limiter import Limiter, MakeLimiter
from bulkdel.limits.memory_store import MemoryStore
from bulkdel.limits.rate import Known, RateSearch, to_rate
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider

FOLDER = "learned"

_log = logging.getLogger("bulkdel")


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an earlier run found, and how many seconds ago."""

    known: Known
    ago_s: float

    @property
    def rate(self) -> Rate:
        """What passed."""
        return to_rate(self.known.passed)

    @property
    def refused(self) -> Rate | None:
        """What was refused, None for nothing."""
        return None if self.known.refused == math.inf else to_rate(self.known.refused)


class RateMemory:
    """What is remembered of one key in ``folder``; a folder that cannot be read or written remembers nothing.

    Times are Unix seconds, because they outlast the process.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        # The fingerprint becomes a file's name, and a plug-in's may be anything.
        named = re.fullmatch(r"[0-9a-f]{8,64}", fingerprint)
        self._path = folder / FOLDER / f"{fingerprint}.json" if named else None
        self._written: Known | None = None

    def recall(self, now: float) -> Remembered | None:
        """What an earlier run found in the last week; plans change by the month, and finding it again costs little."""
        if self._path is None:
            return None
        try:
            remembered = from_text(self._path.read_text("utf-8"), now)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.debug("what was found of the rate cannot be read (%s): %s", error, self._path)
            return None
        if remembered.ago_s > 7 * 86_400:
            return None
        self._written = remembered.known
        return remembered

    def remember(self, known: Known | None, now: float, *, only_news: bool = False) -> None:
        """Write what is known, whole or not at all, for the user alone; None forgets what an earlier run found.

        :param only_news: leave the file as it is if the rate changed by less than a twentieth
        """
        if self._path is None or known == self._written:
            return
        if only_news and known and self._written and math.isclose(known.passed, self._written.passed, rel_tol=0.05):
            return
        try:
            if known is None:
                self._path.unlink(missing_ok=True)
            else:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(self._path, to_text(known, now))
            self._written = known
        except OSError as error:
            _log.debug("what was found of the rate cannot be kept (%s): %s", error, self._path)


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def to_text(known: Known, now: float) -> str:
    """JSON; ``from_text`` reads it."""
    refused = None if known.refused == math.inf else known.refused
    fields = {"version": 2, "passed": known.passed, "refused": refused, "window_s": known.window_s, "at": now}
    return json.dumps(fields) + "\n"


def from_text(text: str, now: float) -> Remembered:
    """What was written, as it is at ``now``; what comes from the future is of now.

    :raises ValueError: if it is not what ``to_text`` writes
    """
    try:
        raw = json.loads(text)
        if raw["version"] != 2:
            raise ValueError(f"it is of another version of bulkdel: {raw['version']!r}")
        refused = math.inf if raw["refused"] is None else float(raw["refused"])
        known, at = Known(float(raw["passed"]), refused, float(raw["window_s"])), float(raw["at"])
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"this is no rate that was found: {type(error).__name__}") from error
    if not (0 < known.passed < known.refused and 0 < known.window_s <= 3600 and math.isfinite(at)):
        raise ValueError("this is no rate that was found: the numbers make no sense")
    return Remembered(known, max(0.0, now - at))


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
        self._found = self._search.found
        self.limiter = _limiter(provider, self._rate, state, make)

    @property
    def rate(self) -> Rate | None:
        """The limit in force, for all processes together: paced evenly, or used up at once in each window; None for none."""
        return self.limiter.rate or self._search.burst

    @property
    def allowed_per_second(self) -> float | None:
        """Requests a second that this process can expect under demand, in the long run; None without a limit."""
        burst = self._search.burst
        return self.limiter.allowed_per_second if burst is None else burst.per_second / self.limiter.processes

    @property
    def at_once(self) -> float:
        """How many requests of this process may leave at once when a window begins; 0 if they are paced evenly."""
        burst = self._search.burst
        return 0.0 if burst is None else burst.n / self.limiter.processes

    def passed(self, sent_at: float, now: float, in_flight: int) -> float:
        """A request that left at ``sent_at`` was answered and not refused (loop time); ``in_flight`` others are under way.

        :returns: seconds in which nothing may leave, because what the service allows in a window is used up
        """
        # What other processes let through counts, too; their shares are about ours.
        processes = self.limiter.processes
        rate = self._search.passed(sent_at, now, processes)
        if rate is not self._rate:  # hardly ever
            self._rate = rate
            self.limiter.set_rate(rate)
        if (found := self._search.found) is not self._found:
            self._found = found
            if self._memory is not None and found is not None:
                self._memory.remember(found, unix_time(), only_news=True)
        return self._search.rest_s(now, in_flight * processes)

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
