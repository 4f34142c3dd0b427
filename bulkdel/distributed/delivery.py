"""A worker's part: one shard from the message to its end, endings sent home as they come."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from bulkdel import events
from bulkdel.client import Client
from bulkdel.distributed.board import Begun, Board, Ending, Gone, Row, Told, Words
from bulkdel.distributed.shard import Item, Service, Shard
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.limits.redis_store import redis_limiter
from bulkdel.model import Settled
from bulkdel.providers import registry
from bulkdel.providers.protocol import Provider
from bulkdel.report import Report

T = TypeVar("T")

TELL_S = 0.1
"""Seconds that endings are gathered before they are sent home: ten messages a second and worker, whatever the rate."""

LOOK_S = 0.1
"""Seconds between looks at whether the worker is told to end."""

PATIENCE_S = 60.0
"""Seconds that endings wait for a Redis that is away before the shard is given up; what was not told is asked again."""

AGAIN_S = 0.5
"""Seconds between tries to reach it."""

CA_FILE = "BULKDEL_CA_FILE"
"""The variable that names certificates to trust beside the usual ones (PEM)."""

LIVES = 3
"""Workers that may be lost over one shard; then what is left of it is rejected, or it would take one after the other."""

Became = Literal["done", "back", "gone", "held", "lost"]
"""What became of a delivery: ended, handed back because the worker ends, over already, another's, or another's by now."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a delivery, and the shard that is to be queued in its place, None where none is."""

    became: Became
    again: Shard | None = None


async def work(shard: Shard, url: str, *, lease_s: float, told_to_end: Callable[[], bool]) -> Result:
    """Settle what has no ending yet, and send each ending home.

    :param told_to_end: whether this worker is to end: then what is in flight ends, and the rest is handed back
    :raises redis.RedisError: where Redis was away for longer than ``PATIENCE_S``
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    async with Board(url, shard.job, lease_s=lease_s) as board:
        word, begun, lost = await _begin(board, shard, owner)
        if word != "go":
            # Should the other be lost after all, this message is all that there is: it goes to the end of the queue.
            return Result(word, shard if word == "held" else None)
        items = shard.rest(await _patiently(lambda: board.done(shard.id)), begun)
        home = _Home(board, shard, owner, items)
        if not items:
            await home.end(Words(), Ending())
            return Result("done")
        if lost >= LIVES:
            why = f"{lost} workers were lost while they worked on the shard (batch of documents) with this one"
            await home.end(Words([Row(item.key, "gave_up", why, 0) for item in items]), Ending())
            return Result("done")
        try:
            provider = open_provider(shard.service)
        except ConfigurationError as error:
            stopped = f"the worker on {socket.gethostname()}: {error}"
            await home.end(Words(), Ending(stopped, error.hint or "each worker needs the key, under the same name"))
            return Result("done")
        policy = replace(shard.policy, deadline=None, max_delete=None, expect=None)  # those are the submitter's
        ca_file, limiter = os.environ.get(CA_FILE) or None, redis_limiter(url, patience=PATIENCE_S)
        async with Client(provider, policy=policy, ca_file=ca_file, limiter=limiter) as client:
            home.client = client
            watching = asyncio.ensure_future(_watch(home, client, told_to_end))
            try:
                report = await client.settle_jobs([item.job() for item in items], home, on_event=home.hear)
            finally:
                home.over = True
                while not watching.done():
                    # Redis' client may take a cancellation that comes as an answer does for a lost connection.
                    watching.cancel()
                    await asyncio.wait([watching], timeout=1.0)
            home.flying = 0
        return await _end(home, report, begun, told_to_end())


async def _begin(board: Board, shard: Shard, owner: str) -> tuple[Begun, int, int]:
    """Take the shard; where another works on it, wait for two leases whether that ends. No host's clock is asked."""
    time = asyncio.get_running_loop().time
    until = time() + 2 * board.lease_s
    while True:
        found = await _patiently(lambda: board.begin(shard.id, shard.service.name, owner))
        if found[0] != "held" or time() >= until:
            return found
        await asyncio.sleep(min(1.0, board.lease_s / 4))


async def refuse(message: Mapping[str, Any], why: str, url: str, *, lease_s: float) -> None:
    """End a shard that this bulkdel does not understand: nothing of it is asked for, and its submitter is told."""
    owner = uuid.uuid4().hex
    async with Board(url, message["job"], lease_s=lease_s) as board:
        id, name = message["id"], message["service"]["name"]
        word, _, _ = await _patiently(lambda: board.begin(id, name, owner))
        if word == "go":
            ending = Ending(f"the worker on {socket.gethostname()}: {why}", "install the same bulkdel on every machine")
            await _patiently(lambda: board.tell(id, name, owner, Words(), ending))


async def _end(home: _Home, report: Report, begun: int, ending: bool) -> Result:
    """The shard is over, or is handed back: by a worker that ends, and that nobody told to stop for another reason."""
    shard, items = home.shard, home.items
    if home.gave_up is not None:
        raise home.gave_up
    if home.lost:
        await home.end(home.gathered(), None)
        return Result("lost")
    if ending and home.left and report.status == "interrupted" and not home.recalled:
        left = tuple(
            replace(item, doubt=item.doubt or home.left[item.key] > 0) for item in items if item.key in home.left
        )
        told = await home.end(home.gathered(), None, back=True)
        if told == "lost":
            return Result("lost")
        return Result("back", replace(shard, items=left, begun=begun + 1))
    stopped = report.status == "stopped"
    doubtful = {item.key for item in items if item.doubt}
    tried = tuple((key, max(n, 1)) for key, n in home.left.items() if n or key in doubtful)
    end = Ending(report.reason if stopped else "", report.hint if stopped else "", report.bug, tried)
    return Result("lost" if await home.end(home.gathered(), end) == "lost" else "done")


async def _watch(home: _Home, client: Client, told_to_end: Callable[[], bool]) -> None:
    """Say that one is alive, and stop where one is told to."""
    loop = asyncio.get_running_loop()
    while not home.over:
        await asyncio.sleep(LOOK_S)
        if home.recalled or home.lost:
            client.stop("another worker has the shard" if home.lost else "the job was stopped")
        elif told_to_end():
            client.stop("the worker ends")
        if loop.time() - home.told_at >= home.board.lease_s / 4:
            with suppress(Gone):  # endings that cannot be sent end the shard, a word of life that cannot does not
                await home.tell(Words())


class _Home:
    """The way home of one delivery's endings: the journal of its call."""

    def __init__(self, board: Board, shard: Shard, owner: str, items: Sequence[Item]) -> None:
        self.board = board
        self.shard = shard
        self.items = items
        self.client: Client | None = None
        self.told_at = asyncio.get_running_loop().time()
        self.left: dict[int, int] = {}  # without an ending, with how often it was asked for
        self.over = False
        self.recalled = False
        self.lost = False
        self.gave_up: Gone | None = None
        self.flying: int | None = None
        self._owner = owner
        self._events: list[list[object]] = []
        self._requests = 0
        self._ended = 0
        self._one = asyncio.Lock()  # what is told is told in order

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        """Take endings; returns when they are on their way home.

        :raises RunFileError: where they could not be sent
        """
        wait = self.told_at + TELL_S - asyncio.get_running_loop().time()
        self._ended += len(batch)
        if wait > 0 and len(batch) < 256 and self._ended < len(self.items):
            await asyncio.sleep(wait)
        rows = []
        for key, settled in batch:
            if settled.outcome == "not_attempted":
                self.left[key] = settled.attempts
            else:
                rows.append(Row(key, settled.outcome, settled.reason, settled.attempts))
        if not rows:
            return
        words = self.gathered()
        words.rows = rows
        try:
            await _patiently(lambda: self.tell(words))
        except Gone as error:
            self.gave_up = error
            raise RunFileError(f"Redis was away for {PATIENCE_S:g} s: {type(error).__name__}") from None

    def gathered(self) -> Words:
        """What happened since it was told last."""
        words = Words(events=self._events, in_flight=self._in_flight(), waits=self._waits())
        self._events = []
        requests = self._asked()
        words.requests, self._requests = requests - self._requests, requests
        return words

    async def tell(self, words: Words) -> Told:
        """Tell it once; what is said in return is obeyed.

        :raises redis.RedisError: where Redis is away
        """
        async with self._one:
            if not words.rows:
                words.in_flight, words.waits = self._in_flight(), self._waits()
            told = await self.board.tell(self.shard.id, self.shard.service.name, self._owner, words)
            self.told_at = asyncio.get_running_loop().time()
        self.recalled = self.recalled or told == "stop"
        self.lost = self.lost or told == "lost"
        return told

    async def end(self, words: Words, ending: Ending | None, *, back: bool = False) -> Told:
        """The last words of this delivery."""
        shard = self.shard
        return await _patiently(
            lambda: self.board.tell(shard.id, shard.service.name, self._owner, words, ending, back=back)
        )

    def hear(self, event: events.Event) -> None:
        """Keep what the submitter's listeners are to hear."""
        match event:
            case events.Requeued():
                target = event.target
                self._events.append(
                    ["requeued", target.dataset, target.document, event.cause, event.reason, event.seconds]
                )
            case events.Paused():
                self._events.append(["paused", event.reason, event.seconds])
            case events.Stopped(dataset=dataset) if dataset:
                self._events.append(["stopped", dataset, event.reason])
            case _:
                pass

    def _in_flight(self) -> int:
        if self.flying is not None or self.client is None:
            return self.flying or 0
        return sum(one.in_flight for one in self.client.progress())

    def _waits(self) -> tuple[str, str, float | None] | None:
        looks = self.client.progress() if self.client is not None and self.flying is None else ()
        return next(((one.wait, one.why, one.wait_s) for one in looks if one.wait), None)

    def _asked(self) -> int:
        return sum(one.requests for one in self.client.progress()) if self.client is not None else 0


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until Redis answers.

    :raises redis.RedisError: where it was away for ``PATIENCE_S``
    """
    time = asyncio.get_running_loop().time
    until = time() + PATIENCE_S
    while True:
        try:
            return await ask()
        except Gone:
            if time() >= until:
                raise
            await asyncio.sleep(AGAIN_S)


def open_provider(service: Service) -> Provider:
    """The provider with the key that this worker holds.

    :raises ConfigurationError: where there is none, or nobody here knows the kind
    """
    key = _key(service)
    build = registry.load(service.kind)
    name = service.name if service.name != service.kind else None
    if service.limits is None:
        own = build(api_key=key, base_url=service.base_url, name=name)
        if service.concurrency is None:
            return own
        return own.with_concurrency(service.concurrency)
    return build(api_key=key, base_url=service.base_url, name=name, limits=service.limits)


def _key(service: Service) -> str:
    place = service.key
    if place.file:
        try:
            found = Path(place.file).read_text("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the key file: {place.file}: {type(error).__name__}") from None
        if not found:
            raise ConfigurationError(f"the key file is empty: {place.file}")
        return found
    key = os.environ.get(place.env, "").strip()
    if not key:
        raise ConfigurationError(f"no key for {service.name}: {place.env} is not set")
    return key
