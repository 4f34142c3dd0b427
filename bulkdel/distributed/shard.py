"""A shard: so many documents of a plan as one message to a worker holds, never a key; and how many that should be; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bulkdel.engine.job import Job
from bulkdel.model import Limits, Policy, Rate, Target
from bulkdel.providers.protocol import Provider

VERSION = 1
"""Of the message: a worker that does not know it says so, and touches nothing."""

MOST = 1_000
"""Documents in a shard at most: a message of about 60 KB, and what a killed worker makes another ask again."""

FEWEST = 100
"""Documents in a shard at least, where the rate does not say fewer: a shard costs a worker about 50 ms beside its requests."""

WORTH_S = 4.0
"""Seconds of the provider's whole rate that a shard holds at least, for the same reason: one worker alone keeps a limit then."""

SHARD_S = 120.0
"""Seconds that a shard should last at most, with all that may be out sharing the provider's rate."""

OUT = 32
"""Shards of one provider that are queued or at work: more workers than that have nothing to add to one key's rate."""

EACH = 10.0
"""Requests a second that one shard keeps up, with four in flight, even where an answer takes 0.4 s: a slow key needs few workers,
and the others are free for other keys."""

SPLIT = 4
"""Shards among which a concurrency that is given is split, at most: more would leave each worker one request at a time, and a few
workers most of it unused."""

_HELD, _DOUBT, _LISTED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Item:
    """A document as a message tells it: the words of ``Job`` that matter elsewhere."""

    key: int
    target: Target
    step: str = "delete"
    held: bool = False
    doubt: bool = False
    listed: bool = False

    def job(self) -> Job:
        """What an engine remembers of it, from here on."""
        return Job(self.key, self.target, "", self.step, self.held, self.doubt, self.listed)


def size(total: int | None, per_second: float | None, out: int = OUT) -> int:
    """How many documents to put into a shard.

    :param total: documents of the provider in all, None where that is not known
    :param per_second: the provider's rate, None where none is known
    :param out: shards that may share that rate
    """
    most = MOST
    if per_second is not None:
        most = min(most, max(1, math.floor(per_second * SHARD_S / out)))
    if total is not None:  # so that a small job has something for each worker
        most = min(most, max(FEWEST, math.ceil((per_second or 0.0) * WORTH_S), math.ceil(total / out)))
    return most


def worth(per_second: float | None, most: int) -> int:
    """How many shards of a provider are worth being out at once: enough for its rate, and one more to begin at once."""
    if per_second is None:
        return most
    return min(most, 1 + math.ceil(per_second / EACH))


def spread(provider: Provider) -> tuple[int, int | None]:
    """How many shards of a provider may be out, and how many requests of each may be in flight (None: as the worker finds).

    A concurrency that is given is the sum over all workers: it is split among the shards.
    """
    if provider.concurrency_is_default:
        return OUT, None
    concurrency = provider.limits.concurrency or 1
    out = min(concurrency, SPLIT)
    return out, concurrency // out


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a worker finds a key: the name of a variable, or a file; one of them is empty."""

    env: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A provider without its key.

    ``limits`` are None where nobody said anything of its rate. ``concurrency`` is each shard's, None for what the worker finds.
    """

    name: str
    kind: str
    base_url: str
    key: KeyPlace
    limits: Limits | None = None
    concurrency: int | None = None

    @classmethod
    def of(cls, provider: Provider, key: KeyPlace) -> Service:
        # A provider may adapt a rate of its own choice, and not one that was given.
        each = spread(provider)[1]
        limits = None if provider.rate_is_default else Limits(provider.limits.rate, each)
        return cls(provider.name, provider.kind, provider.base_url, key, limits, each)


@dataclass(frozen=True, slots=True)
class Shard:
    """What one message asks of a worker.

    ``begun`` is how often this shard was begun when the message was made: where it was begun more often since, a request of
    that delivery may have been carried out, and every document without an ending is in doubt.
    """

    job: str
    id: str
    service: Service
    policy: Policy
    items: tuple[Item, ...] = field(repr=False)
    begun: int = 0

    def as_message(self) -> dict[str, Any]:
        """Plain JSON values; a dataset's id is told once."""
        datasets = list(dict.fromkeys(item.target.dataset for item in self.items))
        places = {dataset: place for place, dataset in enumerate(datasets)}
        return {
            "version": VERSION,
            "job": self.job,
            "id": self.id,
            "service": asdict(self.service),
            "policy": asdict(self.policy),
            "begun": self.begun,
            "datasets": datasets,
            "items": [
                (
                    item.key,
                    places[item.target.dataset],
                    item.target.document,
                    item.step,
                    item.held * _HELD | item.doubt * _DOUBT | item.listed * _LISTED,
                )
                for item in self.items
            ],
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Shard:
        """:raises ValueError: where another bulkdel made the message, in words that this one does not know"""
        if message.get("version") != VERSION:
            raise ValueError(f"the shard is of another version of bulkdel: {message.get('version')!r}")
        service, datasets = message["service"], message["datasets"]
        name = service["name"]
        return cls(
            job=message["job"],
            id=message["id"],
            service=Service(
                name,
                service["kind"],
                service["base_url"],
                KeyPlace(**service["key"]),
                _limits(service["limits"]),
                service["concurrency"],
            ),
            policy=Policy(**{f.name: message["policy"][f.name] for f in fields(Policy) if f.name in message["policy"]}),
            items=tuple(
                Item(
                    key,
                    Target(name, datasets[place], document),
                    step=step,
                    held=bool(flags & _HELD),
                    doubt=bool(flags & _DOUBT),
                    listed=bool(flags & _LISTED),
                )
                for key, place, document, step, flags in message["items"]
            ),
            begun=message["begun"],
        )

    def rest(self, done: Sequence[int] | set[int], begun: int) -> tuple[Item, ...]:
        """What has no ending yet; in doubt where a delivery that this message does not know of may have asked for it."""
        gone = set(done)
        left = [item for item in self.items if item.key not in gone]
        return tuple(replace(item, doubt=True) for item in left) if begun > self.begun else tuple(left)


def _limits(stored: Mapping[str, Any] | None) -> Limits | None:
    if stored is None:
        return None
    rate = stored["rate"]
    return Limits(None if rate is None else Rate(**rate), stored["concurrency"])
