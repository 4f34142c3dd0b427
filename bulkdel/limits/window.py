"""What a stretch of answers says of a service: how much it does a second, how well that is known, and what hangs."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal, NamedTuple

Kind = Literal["ok", "overload", "neutral"]
"""``ok``: the service did the work. ``overload``: a 5xx, or no answer. ``neutral``: it answered, and it says nothing."""

NOISE, LEAST_ROUNDS, LEAST_SAMPLES, LEAST_S, MOST_SAMPLES, MOST_S = 0.03, 5, 20, 0.5, 400, 10.0
"""A window ends when the scatter of its rounds says that the throughput is known to 3 %, between these bounds. 400 answers
tell a service with exponential times to 5 %; more would be slow to follow."""
HUNG, HUNG_ROUNDS = 0.05, 20
"""Requests hang that were not answered while as many slots were answered twenty times; fewer than the share say nothing."""


class Sample(NamedTuple):
    """One request that ended: when it was sent and ended (any monotonic clock, seconds), how many were in flight when it was
    sent, itself included, what its end says, and how many that were sent before it had not ended when it did."""

    sent_at: float
    ended_at: float
    in_flight: int
    kind: Kind
    overtook: int = 0


@dataclass(slots=True)
class Window:
    """What came in since a level settled."""

    opened_at: float
    tolerance: float  # how well the throughput must be known
    round_at: float
    in_round: int = 0
    ended: int = 0
    ok: int = 0
    neutral: int = 0
    failed: int = 0
    idle: int = 0  # sent while slots were free: the service was not what limited
    hung: int = 1_000_000  # requests that every other overtook
    rounds: int = 0
    total: float = 0.0  # of the rounds' durations, and of their squares
    squares: float = 0.0

    def add(self, sample: Sample, limit: int) -> None:
        self.ended += 1
        self.ok += sample.kind == "ok"
        self.neutral += sample.kind == "neutral"
        self.failed += sample.kind == "overload"
        self.idle += sample.sent_at >= self.opened_at and sample.in_flight < limit
        if sample.sent_at >= self.opened_at:
            self.hung = min(self.hung, sample.overtook)
        self.in_round += 1
        if self.in_round >= limit:
            took = sample.ended_at - self.round_at
            self.rounds, self.total, self.squares = self.rounds + 1, self.total + took, self.squares + took * took
            self.round_at, self.in_round = sample.ended_at, 0

    def lasted(self, now: float) -> float:
        return now - self.opened_at

    def closed(self, now: float, limit: int, stuck: int) -> bool:
        """Whether it says enough."""
        if self.rounds < LEAST_ROUNDS or self.ended < LEAST_SAMPLES or self.lasted(now) < LEAST_S:
            return False
        if self.rounds < HUNG_ROUNDS and self.hung - stuck > HUNG * limit:
            return False
        if self.ended >= MOST_SAMPLES or self.lasted(now) >= MOST_S:
            return True
        return self.error() <= self.tolerance

    def error(self) -> float:
        """The standard error of the throughput, as a share of it, from the scatter of the rounds."""
        mean = self.total / self.rounds
        scatter = max(0.0, self.squares / self.rounds - mean * mean) / (self.rounds - 1)
        return sqrt(scatter) / mean if mean > 0 else 0.0


class Measure(NamedTuple):
    """A window's result: answers a second, its standard error as a share of it, and which share of them was neutral."""

    per_second: float
    error: float
    neutral: float
