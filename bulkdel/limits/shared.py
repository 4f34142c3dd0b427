"""A pacing whose limit and pauses are kept together with the user's other processes that use the same key."""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from bulkdel.limits.joint import (
    LOOK_S,
    Joint,
    JointBucket,
    courtesy,
    elapse,
    grant,
    joint_bucket,
    leave,
    pause,
    take_part,
)
from bulkdel.limits.jointfile import Busy, JointFile, Unusable
from bulkdel.limits.line import Line
from bulkdel.limits.pace import Pacing
from bulkdel.model import Rate
from bulkdel.process import Process, process_space, this_process

Clock = Callable[[], float]

AGAIN_S = 0.002
"""Seconds until the next look at a file that another process is at: that takes it 0.1 ms, and rarely some milliseconds."""
HEARS_S = 0.5
"""Seconds between looks where no limit is in force: how late another process's pause is heard of then."""
PATIENCE = 50
"""Leases in a row that were written too late to be used, after which the file is too slow to keep a limit in."""
BUSY_S = 10.0
"""Seconds for which the file may be another's without a break: a process was stopped in the midst of a write."""

_log = logging.getLogger("bulkdel")


class Shared:
    """Permits to send one request each, like ``Pacing``, from a limit that all processes with this ``fingerprint`` share.

    In a file in ``folder`` stands what is left of the limit; whoever needs permits takes a lease of them there. The slowest
    limit that any of the processes wants is in force for all. A pause is heard of with the next lease, so within the
    ``hold`` of one. Where the file cannot be used, this process keeps the limit on its own and a warning is logged.

    Made for one event loop and not for threads. ``ticks`` is the monotonic clock, the same for all processes of the machine;
    ``wall`` is compared with it, so that no clock that is set grants anything.
    """

    def __init__(
        self,
        rate: Rate | None,
        folder: Path,
        fingerprint: str,
        *,
        ticks: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._asked = rate
        self._fingerprint = fingerprint
        self._ticks, self._wall = ticks, wall
        self._space = process_space()
        self._name = _name_of(this_process(), self._space)
        self._census_at = -math.inf  # when to look next who is dead; ticks
        self._alone: Pacing | None = None
        self._file: JointFile | None = None
        self._rate = rate  # in force at the last look
        self._bucket: JointBucket | None = None if rate is None else joint_bucket(rate)
        self._active = 1
        self._hand = 0  # permits left of the last lease
        self._hand_until = 0.0
        self._look_at = -math.inf  # when there may be more; ticks
        self._losses = 0  # looks in a row that brought nothing
        self._late = 0  # leases in a row that came too late
        self._busy_since: float | None = None
        self._until = -math.inf  # when the pause ends; ticks
        self._pauses = 0
        self._theirs: int | None = None  # pauses by the file's count
        self._untold: float | None = None  # when a pause ends that the file does not know of yet; ticks
        self._untold_new = False
        self._line = Line()
        try:
            self._file = JointFile(folder)
        except Unusable as error:
            self._give_up(str(error), folder)

    # ------------------------------------------------------------------ permits

    def try_acquire(self) -> bool:
        """A permit if there is one now and nobody waits for it; never waits."""
        if self._alone is not None:
            return self._alone.try_acquire()
        return not self._line.waiting and self._step()

    async def acquire(self) -> None:
        """Wait for a permit: for those who asked before, for the pause, and for the rate as it is by then.

        Cancelling loses no permit and holds up nobody.
        """
        if self.try_acquire():
            return
        async with self._line:
            while self._alone is None:
                if self._step():
                    return
                await self._line.rest(self._rest_s())
        await self._alone.acquire()

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return self._line.waiting + (0 if self._alone is None else self._alone.waiting)

    def _step(self) -> bool:
        """A permit, where there is one now."""
        now = self._ticks()
        if now < self._until:
            if now >= self._look_at:
                self._look()
            return False
        if self._hand and now <= self._hand_until:
            self._hand -= 1
            return True
        self._hand = 0
        if now >= self._look_at:
            self._look()
            if self._alone is not None:
                return self._alone.try_acquire()
            # The lease and the pause as they are behind the look; a lease that was long in writing is spent for nothing.
            now = self._ticks()
            if now < self._until:
                return False
            if self._hand and now > self._hand_until:
                self._hand = 0
                self._late += 1
                if self._late >= PATIENCE:
                    self._give_up("writing to it takes too long")
                return False
            if self._hand:
                self._late = 0
                self._hand -= 1
                return True
        return self._bucket is None

    def _rest_s(self) -> float:
        """Seconds until there may be a permit."""
        now = self._ticks()
        return min(max(self._look_at - now, self._until - now if self._bucket is None else 0.0, 0.0), LOOK_S)

    # ------------------------------------------------------------------ the pause

    def pause(self, seconds: float, since: int | None = None) -> bool:
        """Nothing leaves for ``seconds`` from now, from any of the processes; a pause that ends later stays as it is.

        ``since`` is ``pauses`` as it was when the request was sent that is complained about. True where this is a new
        complaint; False where a pause is on already, whoever began it, or one has begun since then.

        :raises ValueError: where ``seconds`` is not a finite number
        """
        if not math.isfinite(seconds):
            raise ValueError(f"a pause must be a finite number of seconds: {seconds!r}")
        self._look(permits=False)  # another process may have been told the same just now
        if (alone := self._alone) is not None:
            return alone.pause(seconds, None if since is None else since - self._pauses)
        known = self.paused_s > 0 or (since is not None and since < self._pauses)
        self._until = max(self._until, self._ticks() + max(0.0, seconds))
        self._untold = self._until
        self._untold_new = self._untold_new or not known
        self._look(permits=False)
        if not known:
            self._pauses += 1
        self._line.wake()
        return not known

    @property
    def paused_s(self) -> float:
        """Seconds of the pause that are left; 0.0 where there is none."""
        return self._alone.paused_s if self._alone is not None else max(0.0, self._until - self._ticks())

    @property
    def pauses(self) -> int:
        """Pauses that have begun so far, those of the other processes that were heard of included."""
        return self._pauses + (0 if self._alone is None else self._alone.pauses)

    # ------------------------------------------------------------------ the rate

    @property
    def rate(self) -> Rate | None:
        """The limit that is in force for all processes together; None for none."""
        return self._rate if self._alone is None else self._alone.rate

    @property
    def rate_is_anothers(self) -> bool:
        """Whether the limit in force is slower than this process asked for, because another one wants that."""
        return self._alone is None and self._rate is not None and self._rate != self._asked

    @property
    def allowed_per_second(self) -> float | None:
        """Permits a second that this process can expect under demand: its share of the limit; None without a rate."""
        if self._alone is not None:
            return self._alone.allowed_per_second
        return None if self._bucket is None else self._bucket.per_second / self._active

    @property
    def processes(self) -> int:
        """How many processes want permits of this limit now, this one included."""
        return self._active if self._alone is None else 1

    def set_rate(self, rate: Rate | None) -> None:
        """Want this limit from now on; in force is the slowest that any of the processes wants."""
        if rate == self._asked:
            return
        self._asked = rate
        if self._alone is not None:
            self._alone.set_rate(rate)
            return
        self._look(permits=False)
        self._look_at = min(self._look_at, self._ticks())
        self._line.wake()

    # ------------------------------------------------------------------ the file

    def _look(self, *, permits: bool = True) -> None:
        """Tell the file what is new here, hear what is new there, and take a lease where ``permits`` are wanted."""
        if self._file is None:
            return
        granted, wait = 0, HEARS_S
        told, told_new = self._untold, self._untold_new
        try:
            with self._file.locked(self._fingerprint) as change:
                now = self._ticks()
                wall = self._wall()
                joint = elapse(change.before or Joint(now, wall), now, wall)
                theirs = joint.pauses
                if now >= self._census_at:
                    self._census_at = now + LOOK_S
                    for name, _ in joint.members:
                        if _is_dead(name, self._space):
                            joint = leave(joint, name)
                joint = take_part(joint, self._name, self._asked)
                if told is not None:
                    joint = pause(joint, max(0.0, told - now), new=told_new)
                if permits and joint.rate is not None:
                    joint, granted, wait = grant(joint)
                elif joint.paused_s > 0:
                    wait = min(wait, joint.paused_s)
                change.after = joint
        except Busy:
            self._busy()
            return
        except Unusable as error:
            self._give_up(str(error))
            return
        self._busy_since = None
        self._untold, self._untold_new = None, False
        if self._theirs is not None and theirs > self._theirs:
            self._pauses += theirs - self._theirs
        self._theirs = joint.pauses
        if joint.paused_s > 0:
            self._until = max(self._until, now + joint.paused_s)
        self._active = joint.active
        if joint.rate != self._rate or (self._bucket is None) != (joint.rate is None):
            self._rate, self._bucket = joint.rate, joint.bucket()
            self._hand = 0
        if not permits:
            return
        if granted:
            self._hand, self._losses = granted, 0
            assert self._bucket is not None
            self._hand_until = now + self._bucket.hold
        elif joint.rate is not None and joint.paused_s <= 0:
            self._losses += 1
        if self._bucket is not None and joint.paused_s <= 0:
            wait += courtesy(self._bucket, self._losses)
        self._look_at = now + min(wait, LOOK_S)

    def _busy(self) -> None:
        now = self._ticks()
        if self._busy_since is None:
            self._busy_since = now
        if now - self._busy_since > BUSY_S:
            self._give_up("another process has it locked")
        self._look_at = now + AGAIN_S

    def _give_up(self, why: str, folder: Path | None = None) -> None:
        """Go on alone, with an empty bucket: what the others and we took from the file does not come twice."""
        where = folder if self._file is None else self._file.path
        _log.warning(
            "the limit is not shared with other processes of bulkdel: the file for it cannot be used (%s): %s",
            why,
            where,
        )
        begun = self._file is not None
        self.close()
        self._alone = Pacing(self._asked)
        if begun and self._asked is not None:
            while self._alone.try_acquire():
                pass
        left = self._until - self._ticks()
        if left > 0:
            self._alone.pause(left)
            self._pauses -= 1  # that pause was counted when it began
        self._line.wake()

    def close(self) -> None:
        """Leave the limit to the others and let go of the file; may be done twice."""
        if self._file is None:
            return
        try:
            with self._file.locked(self._fingerprint) as change:
                if change.before is not None:
                    change.after = leave(change.before, self._name)
        except (Busy, Unusable):
            pass  # then silence tells it, see ABSENT_S
        self._file.close()
        self._file = None

    @property
    def trouble(self) -> str:
        """Why there are no permits although there should be; where the file is gone this process goes on alone."""
        return ""

    async def aclose(self) -> None:
        """``close``."""
        self.close()


def _name_of(process: Process, space: str) -> str:
    """What one limit is known by in the file: by chance, and by what tells others whether its process still runs."""
    return json.dumps([secrets.token_hex(4), process.pid, process.born, process.host, space])


def _is_dead(name: str, space: str) -> bool:
    """Whether the process of that ``name`` is known to have ended: what it wants lapses at once, not after ``ABSENT_S``.

    Of another machine, of another ``space`` of process numbers or of a name that says nothing it is not known.
    """
    try:
        _, pid, born, host, its = json.loads(name)
        return bool(its == space) and not Process(int(pid), str(host), str(born)).alive()
    except (ValueError, TypeError):
        return False
