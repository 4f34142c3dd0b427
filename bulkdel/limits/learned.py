"""What was learned about a key's rate, kept from one run to the next: a small file for each key's fingerprint, never a key."""

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
from typing import Any

from bulkdel.model import Rate

FOLDER = "learned"
TRUSTED_S = 7 * 86_400.0
"""Seconds for which a learned rate is believed. Plans change by the month; asking again every week costs a refusal or two."""
KEPT_S = 90 * 86_400.0
"""Seconds after which it is forgotten. In between a run begins with it, and raises it as if no refusal had shown it."""
NEWS = 0.05
"""Share by which a rate must have changed to be written again during a run; the end of a run writes what there is."""

_FINGERPRINT = re.compile(r"[0-9a-f]{8,64}")  # it becomes a file's name, and a plug-in might say anything
_log = logging.getLogger("bulkdel")


@dataclass(frozen=True, slots=True)
class Learned:
    """A rate, whether a refusal showed it (``found``), and how many seconds ago it was learned."""

    rate: Rate
    found: bool
    ago_s: float


class Memory:
    """What is remembered of one key in ``folder``; a folder that cannot be read or written remembers nothing.

    Times are Unix seconds, because they outlast the process.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._path = folder / FOLDER / f"{fingerprint}.json" if _FINGERPRINT.fullmatch(fingerprint) else None
        self._written: Rate | None = None

    def recall(self, now: float) -> Learned | None:
        """What an earlier run learned; not ``found`` where that is too long ago to be believed. None where there is nothing."""
        if self._path is None:
            return None
        try:
            learned = from_text(self._path.read_text("utf-8"), now)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.debug("what was learned of the rate cannot be read (%s): %s", _words(error), self._path)
            return None
        self._written = None if learned is None else learned.rate
        return learned

    def note(self, rate: Rate, found: bool, now: float) -> None:
        """The rate changed during a run: written where it is news."""
        if self._written is None or not math.isclose(rate.per_second, self._written.per_second, rel_tol=NEWS):
            self.remember(rate, found, now)

    def remember(self, rate: Rate, found: bool, now: float) -> None:
        """Written now, whole or not at all, for the user alone."""
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    file.write(to_text(rate, found, now))
                os.replace(beside, self._path)
            except BaseException:
                with suppress(OSError):
                    beside.unlink()
                raise
        except OSError as error:
            _log.debug("what was learned of the rate cannot be kept (%s): %s", _words(error), self._path)
            return
        self._written = rate


def to_text(rate: Rate, found: bool, now: float) -> str:
    """JSON; ``from_text`` reads it."""
    return json.dumps({"version": 1, "n": rate.n, "per": rate.per, "found": found, "at": now}) + "\n"


def from_text(text: str, now: float) -> Learned | None:
    """What was written, as it is to be taken at ``now``; None where it is too old. What comes from the future is of now.

    :raises ValueError: where it is not what ``to_text`` writes
    """
    raw: Any = json.loads(text)
    try:
        if raw["version"] != 1:
            raise ValueError(f"it is of another version of bulkdel: {raw['version']!r}")
        rate, found, at = Rate(raw["n"], raw["per"]), raw["found"] is True, raw["at"]
        ago = now - at
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"this is no learned rate: {type(error).__name__}") from error
    if not ago <= KEPT_S:  # a NaN is not, either
        return None
    return Learned(rate, found and ago <= TRUSTED_S, max(0.0, ago))


def _words(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
