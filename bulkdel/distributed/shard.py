"""A shard: some documents of a plan as one message to a worker, never a key; what comes home of it; and how many it holds. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from bulkdel.credentials import KeyPlace
from bulkdel.engine.job import Job
from bulkdel.events import Event, Paused, Requeued, Stopped
from bulkdel.model import Limits, Policy, Rate, Settled, Target
from bulkdel.providers.protocol import Provider

VERSION = 3
"""Of the message: a worker that does not know it says so, and asks the service for nothing."""

MAX_OUT = 4
"""Shards of one provider that are queued or at work at most: more would leave a few workers with most of what may be in flight
unused."""

MAX_DOCUMENTS = 1_000
"""Documents in a shard at most: a message of about 70 KB, and what a killed worker makes another ask again."""


def shard_size(total: int | None, per_second: float | None, out: int, box_s: float) -> int:
    """How many documents to put into a shard, so that it ends within its time box and a small job has a shard for each worker.

    :param total: documents of the provider in all, None if that is not known
    :param per_second: the provider's rate, None if none is known
    :param out: shards that share that rate
    :param box_s: seconds that a shard may take
    """
    most = MAX_DOCUMENTS
    if per_second is not None:
        most = min(most, max(1, math.floor(per_second * box_s / out)))
    if total is not None:
        # A shard costs a worker about 50 ms beside its requests: 100 documents at least, and 4 s of a fast rate.
        most = min(most, max(100, math.ceil((per_second or 0.0) * 4.0), math.ceil(total / out)))
    return most


def shards_out(provider: Provider, per_second: float | None) -> int:
    """How many shards of a provider are worth being out: enough for its rate, and one more to begin at once."""
    most, each = split_concurrency(provider)
    # A shard keeps up 2.5 requests a second for each that may be in flight, even if an answer takes 0.4 s.
    return most if per_second is None else min(most, 1 + math.ceil(per_second / (2.5 * each)))


def split_concurrency(provider: Provider) -> tuple[int, int]:
    """How many shards of a provider may be out, and how many requests of each may be in flight.

    What is in flight at most is the sum over all workers: the service has its other users, however many workers there are.
    """
    out = min(provider.max_concurrency, MAX_OUT)
    return out, provider.max_concurrency // out


@dataclass(frozen=True, slots=True)
class Service:
    """A provider without its secrets: each worker reads them where ``key`` says.

    :param limits: the user's, None if nothing was said of its rate
    :param concurrency: requests in flight of each shard, None for the provider's own
    """

    name: str
    kind: str
    base_url: str
    key: KeyPlace
    limits: Limits | None = None
    concurrency: int | None = None

    @classmethod
    def of(cls, provider: Provider, key: KeyPlace) -> Service:
        _, each = split_concurrency(provider)
        # A provider may adapt a rate of its own choice, but not one that was given.
        limits = None if provider.rate_is_default else Limits(provider.limits.rate, each)
        return cls(provider.name, provider.kind, provider.base_url, key, limits, each)


class Item(NamedTuple):
    """A document in a message: what of its ``Job`` matters on another machine.

    :param attempts: DELETEs that were sent for it before
    :param waited_s: seconds that it has waited for the service to finish indexing
    """

    key: int
    document: str
    step: str = "delete"
    awaiting_indexing: bool = False
    doubt: bool = False
    listed: bool = False
    attempts: int = 0
    waited_s: float = 0.0

    @classmethod
    def of(cls, job: Job, now: float) -> Item:
        waited_s = 0.0 if job.waiting_since is None else now - job.waiting_since
        return cls(
            job.key, job.target.document, job.step, job.awaiting_indexing, job.doubt, job.listed, job.attempts, waited_s
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """What one message asks of a worker: the documents by their dataset's id, to be carried out within ``box_s`` seconds."""

    service: Service
    policy: Policy
    box_s: float
    items: Mapping[str, Sequence[Item]] = field(repr=False)

    def as_message(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Shard:
        """:raises ValueError, KeyError, TypeError: if another bulkdel made the message, in words that this one does not know"""
        if message.get("version") != VERSION:
            raise ValueError(f"the shard is of another version of bulkdel: {message.get('version')!r}")
        service = message["service"]
        limits = service["limits"]
        if limits is not None:
            rate = limits["rate"]
            limits = Limits(None if rate is None else Rate(**rate), limits["concurrency"])
        return cls(
            Service(**{**service, "key": KeyPlace(**service["key"]), "limits": limits}),
            Policy(**message["policy"]),
            float(message["box_s"]),
            {dataset: [Item(*values) for values in items] for dataset, items in message["items"].items()},
        )

    def jobs(self, *, now: float, doubt: bool) -> list[Job]:
        """What the worker's engine carries out; ``now`` is its loop's time, ``doubt`` whether all of the shard is in doubt."""
        return [
            Job(
                item.key,
                Target(self.service.name, dataset, item.document),
                step=item.step,
                awaiting_indexing=item.awaiting_indexing,
                doubt=item.doubt or doubt,
                listed=item.listed,
                attempts=item.attempts,
                spent=item.attempts,
                waiting_since=now - item.waited_s if item.awaiting_indexing else None,
            )
            for dataset, items in self.items.items()
            for item in items
        ]


@dataclass(slots=True)
class ShardResult:
    """What comes home of a shard.

    :param endings: key, outcome, reason and attempts of each document that has settled
    :param left: key and attempts of each one that has not: it is carried out anew, in doubt if it was attempted
    :param events: what happened, for the submitter's account and listeners: ``["requeued", dataset, document, cause, reason,
        seconds]``, ``["paused", reason, seconds]`` and ``["stopped", dataset, reason]``
    :param stopped: why nothing more can be done at the provider, empty if that is not so; ``hint`` says what to do
    :param trouble: what failed last, if the service or the network did
    :param bug: what raised that never should
    """

    endings: list[tuple[int, str, str, int]] = field(default_factory=list)
    left: list[tuple[int, int]] = field(default_factory=list)
    requests: int = 0
    events: list[list[Any]] = field(default_factory=list)
    stopped: str = ""
    hint: str = ""
    trouble: str = ""
    bug: str = ""

    @classmethod
    def not_begun(cls, shard: Shard, stopped: str = "", hint: str = "") -> ShardResult:
        """Of a shard of which nothing was asked for."""
        left = [(item.key, item.attempts) for items in shard.items.values() for item in items]
        return cls(left=left, stopped=stopped, hint=hint)

    @classmethod
    def given_up(cls, shard: Shard, losses: int) -> ShardResult:
        """Of a shard that takes one worker after the other with it."""
        why = f"{losses} workers were lost while they worked on the shard (batch of documents) with this one"
        items = [item for items in shard.items.values() for item in items]
        return cls(endings=[(item.key, "gave_up", why, item.attempts) for item in items])

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Take what the worker's call has settled, as its journal."""
        for key, settled in batch:
            if settled.outcome == "not_attempted":
                self.left.append((key, settled.attempts))
            else:
                self.endings.append((key, settled.outcome, settled.reason, settled.attempts))

    def on_event(self, event: Event) -> None:
        match event:
            case Requeued(target, cause, reason, wait):
                self.events.append(["requeued", target.dataset, target.document, cause, reason, wait])
                if cause in ("server_error", "unreachable", "lost_answer"):
                    self.trouble = reason
            case Paused(_, reason, wait):
                self.events.append(["paused", reason, wait])
            case Stopped(_, dataset, reason) if dataset:
                self.events.append(["stopped", dataset, reason])
            case _:
                pass
