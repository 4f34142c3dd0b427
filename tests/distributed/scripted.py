"""Processes that look at the script's state on a simulated clock, each leaving as late as it may, and what left when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from redis import Redis

from bulkdel.distributed.script import LUA, Ask, Look, arguments, keys, read
from bulkdel.limits.joint import joint_bucket
from bulkdel.model import Rate
from tests.distributed.direct import EPOCH_US


@dataclass
class World:
    """One scope in a Redis that is told the time; ``skew`` is how far its clock is off, ``time`` is the true one, in seconds."""

    client: Redis
    rate: Rate | None = None
    scope: str = "scope"
    time: float = 1000.0
    skew: float = 0.0
    next: dict[str, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def __post_init__(self) -> None:
        self._script = self.client.register_script(LUA)
        self.client.flushall()

    def ask(self, ask: Ask) -> Look:
        now_us = EPOCH_US + round((self.time + self.skew) * 1e6)
        return read(self._script(keys=keys(self.scope), args=arguments(ask, now_us)))

    def say(self, name: str, rate: Rate | None, **said: object) -> Look:
        """What a process hears that wants no permits."""
        return self.ask(replace(Ask(name, rate, act="tell"), **said))  # type: ignore[arg-type]

    def look(self, name: str, late: float = 0.0) -> Look:
        """A look that wants a lease; its permits leave ``late`` holds after it was granted."""
        look = self.ask(Ask(name, self.rate))
        self.looks += 1
        self.next[name] = self.time + look.wait_s + 1e-6
        if look.granted:
            assert look.rate is not None
            self.times += [self.time + late * joint_bucket(look.rate).hold] * look.granted
            self.by[name] = self.by.get(name, 0) + look.granted
        return look

    def run(self, seconds: float, names: list[str], late: float = 0.0) -> None:
        """Let these processes take what there is, each coming when it was told to."""
        end = self.time + seconds
        while True:
            name = min(names, key=lambda one: self.next.get(one, 0.0))
            due = max(self.time, self.next.get(name, 0.0))
            if due >= end:
                self.time = end
                return
            self.time = due
            self.look(name, late)
