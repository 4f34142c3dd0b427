"""The board: what the submitter of a job and its workers tell each other in Redis, each change in one step.

    bulkdel:{job}:shard:ID    a hash of a shard that has not ended: its state, who works on it and until when
    bulkdel:{job}:shards      the ids of those
    bulkdel:{job}:done:ID     the keys of its documents that have an ending
    bulkdel:{job}:home        a stream: endings on their way to the submitter
    bulkdel:{job}:stop        providers for which nothing more may leave
    bulkdel:{job}:submitter   who submits the job, and for how long that holds

All of a job's keys have one hash tag, so a cluster keeps them together. All of them expire. The clock is Redis' own: that of
a host may be wrong. No key of a service is ever among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

Gone = RedisError
"""What every method raises where Redis cannot be reached, or does not do what it is asked."""

KEPT_S: Final = 7 * 24 * 3600
"""Seconds after which what nobody touches any more is forgotten: a job that was stopped on Friday can be resumed on Monday."""

_NOW: Final = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "

_BEGIN: Final = f"""
{_NOW}
local state = redis.call('HGET', KEYS[1], 'state')
if not state or redis.call('SISMEMBER', KEYS[2], ARGV[4]) == 1 then return {{'gone', 0, 0}} end
local begun = tonumber(redis.call('HGET', KEYS[1], 'begun'))
local lost = tonumber(redis.call('HGET', KEYS[1], 'lost'))
if state == 'running' then
    if tonumber(redis.call('HGET', KEYS[1], 'until')) > now then return {{'held', begun, lost}} end
    lost = lost + 1
end
redis.call('HSET', KEYS[1], 'state', 'running', 'owner', ARGV[1], 'until', now + ARGV[2], 'begun', begun + 1, 'lost', lost)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {{'go', begun, lost}}
"""

_TELL: Final = f"""
{_NOW}
local mine = redis.call('HGET', KEYS[1], 'owner') == ARGV[1]
local words, ending, mode = ARGV[5], ARGV[6], ARGV[7]
if not mine or mode ~= 'end' then ending = '' end
if words ~= '' or ending ~= '' then
    redis.call('XADD', KEYS[2], '*', 'words', words, 'ending', ending, 'shard', ARGV[8])
    redis.call('EXPIRE', KEYS[2], ARGV[3])
end
if not mine then return 'lost' end
if #ARGV > 8 then
    redis.call('SADD', KEYS[3], unpack(ARGV, 9))
    redis.call('EXPIRE', KEYS[3], ARGV[3])
end
if mode == 'end' then
    redis.call('DEL', KEYS[1], KEYS[3])
    redis.call('SREM', KEYS[4], ARGV[8])
    return 'ok'
end
if mode == 'back' then
    redis.call('HSET', KEYS[1], 'state', 'queued', 'owner', '')
    return 'ok'
end
redis.call('HSET', KEYS[1], 'until', now + ARGV[2])
if redis.call('SISMEMBER', KEYS[5], ARGV[4]) == 1 then return 'stop' end
return 'ok'
"""

_RECALL: Final = """
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
local gone = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local key = ARGV[3] .. id
    local found = redis.call('HMGET', key, 'provider', 'state')
    if not found[2] then
        redis.call('SREM', KEYS[1], id)
    elseif found[1] == ARGV[1] and found[2] == 'queued' then
        redis.call('DEL', key)
        redis.call('SREM', KEYS[1], id)
        gone[#gone + 1] = id
    end
end
return gone
"""

_CLAIM: Final = """
local there = redis.call('GET', KEYS[1])
if there and there ~= ARGV[1] and there ~= ARGV[3] then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''
"""

_LEAVE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

Begun = Literal["go", "held", "gone"]
Told = Literal["ok", "stop", "lost"]


@dataclass(frozen=True, slots=True)
class Row:
    """A document's one ending as a worker saw it."""

    key: int
    outcome: str
    reason: str
    attempts: int


@dataclass(slots=True)
class Words:
    """What a worker has to tell since it told last: endings, events, requests that left, those in flight, and what it waits for."""

    rows: list[Row] = field(default_factory=list)
    events: list[list[Any]] = field(default_factory=list)
    requests: int = 0
    in_flight: int = 0
    waits: tuple[str, str, float | None] | None = None

    def to_json(self) -> str:
        if self == Words():
            return ""
        rows = [(row.key, row.outcome, row.reason, row.attempts) for row in self.rows]
        told = {"rows": rows, "events": self.events, "requests": self.requests, "in_flight": self.in_flight}
        return json.dumps(told | {"waits": self.waits})

    @classmethod
    def from_json(cls, text: str) -> Words:
        if not text:
            return cls()
        told = json.loads(text)
        waits = told["waits"]
        return cls(
            [Row(*row) for row in told["rows"]],
            told["events"],
            told["requests"],
            told["in_flight"],
            None if waits is None else (waits[0], waits[1], waits[2]),
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a shard ended; ``stopped`` says why nothing more can be done at the provider, empty where it can.

    ``tried`` are documents without an ending that were asked for, with how often.
    """

    stopped: str = ""
    hint: str = ""
    bug: str = ""
    tried: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> str:
        return json.dumps({"stopped": self.stopped, "hint": self.hint, "bug": self.bug, "tried": self.tried})

    @classmethod
    def from_json(cls, text: str) -> Ending:
        told = json.loads(text)
        return cls(told["stopped"], told["hint"], told["bug"], tuple((key, n) for key, n in told["tried"]))


@dataclass(frozen=True, slots=True)
class Heard:
    """One entry of the stream."""

    at: str
    shard: str
    words: Words
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class Live:
    """A shard that has not ended, with the keys of the documents that it had at first."""

    id: str
    provider: str
    keys: frozenset[int]


class Board:
    """One job's board. An async context manager; belongs to one event loop."""

    def __init__(self, url: str, job: str, *, lease_s: float) -> None:
        """:param lease_s: seconds for which a worker's or a submitter's word holds"""
        self.lease_s = lease_s
        # A command may take as long as Redis takes to load its file; a wait for news has its own, longer time.
        self._redis: Any = Redis.from_url(url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5)
        self._at = f"bulkdel:{{{job}}}:"
        self._begin = self._redis.register_script(_BEGIN)
        self._tell = self._redis.register_script(_TELL)
        self._recall = self._redis.register_script(_RECALL)
        self._claim = self._redis.register_script(_CLAIM)
        self._leave = self._redis.register_script(_LEAVE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._redis.aclose()

    # ------------------------------------------------------------------ a worker's part

    async def begin(self, shard: str, provider: str, owner: str) -> tuple[Begun, int, int]:
        """Take a shard: whether to go, how often it was begun before, and how many that began it were lost.

        ``held``: another works on it now. ``gone``: it has ended, or was called back.
        """
        found = await self._begin(
            keys=[self._shard(shard), self._at + "stop"], args=[owner, self._lease_ms, KEPT_S, provider]
        )
        word, begun, lost = cast("list[Any]", found)
        return word, int(begun), int(lost)

    async def done(self, shard: str) -> set[int]:
        """The keys of its documents that have an ending."""
        found = await self._redis.smembers(self._at + f"done:{shard}")
        return {int(key) for key in found}

    async def tell(
        self,
        shard: str,
        provider: str,
        owner: str,
        words: Words,
        ending: Ending | None = None,
        *,
        back: bool = False,
    ) -> Told:
        """Send endings home and say that one is alive; with ``ending`` the shard is over, with ``back`` it is queued again.

        ``stop``: send nothing more. ``lost``: another has the shard, or nobody knows of it any more; the endings went home.
        """
        found = await self._tell(
            keys=[self._shard(shard), self._at + "home", self._at + f"done:{shard}", *self._two],
            args=[
                owner,
                self._lease_ms,
                KEPT_S,
                provider,
                words.to_json(),
                "" if ending is None else ending.to_json(),
                "end" if ending is not None else "back" if back else "more",
                shard,
                *(row.key for row in words.rows),
            ],
        )
        return cast("Told", found)

    # ------------------------------------------------------------------ the submitter's part

    async def claim(self, who: str, *, after: str = "") -> str:
        """Be the job's submitter for a while; the words of another who is, else empty. ``after`` is one that is no more."""
        return cast("str", await self._claim(keys=[self._at + "submitter"], args=[who, self._lease_ms, after]))

    async def leave(self, who: str) -> None:
        """Be it no longer."""
        await self._leave(keys=[self._at + "submitter"], args=[who])

    async def go_on(self) -> None:
        """Whatever was stopped may go on."""
        await self._redis.delete(self._at + "stop")

    async def put(self, shard: str, provider: str, keys: Iterable[int], begun: int) -> None:
        """A shard is about to be queued."""
        at = self._shard(shard)
        state: Mapping[Any, Any] = {
            "state": "queued", "owner": "", "until": 0, "begun": begun, "lost": 0, "provider": provider,
            "keys": " ".join(map(str, keys)),
        }  # fmt: skip
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(at, mapping=dict(state))
            pipe.expire(at, KEPT_S)
            pipe.sadd(self._at + "shards", shard)
            pipe.expire(self._at + "shards", KEPT_S)
            await pipe.execute()

    async def live(self) -> list[Live]:
        """Every shard that has not ended."""
        ids = sorted(await self._redis.smembers(self._at + "shards"))
        async with self._redis.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.hmget(self._shard(id), ["provider", "keys"])
            found = await pipe.execute()
        return [
            Live(id, provider, frozenset(map(int, keys.split())))
            for id, (provider, keys) in zip(ids, found, strict=True)
            if provider is not None
        ]

    async def orphans(self, shards: Sequence[str]) -> dict[str, str]:
        """Those of ``shards`` that nobody works on though somebody began, or that nobody knows of.

        With a word that changes each time that another is lost; empty where nobody knows of it.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for id in shards:
                pipe.hmget(self._shard(id), ["state", "until"])
            (seconds, micros), *found = await pipe.execute()
        now = seconds * 1000 + micros // 1000
        return {
            id: "" if state is None else until
            for id, (state, until) in zip(shards, found, strict=True)
            if state is None or (state == "running" and int(until) <= now)
        }

    async def recall(self, provider: str) -> list[str]:
        """Have nothing more leave to a provider; the shards that nobody had begun, which are over now."""
        found = await self._recall(
            keys=[self._at + "shards", self._at + "stop"], args=[provider, KEPT_S, self._at + "shard:"]
        )
        return cast("list[str]", found)

    async def hear(self, after: str, *, wait_s: float) -> list[Heard]:
        """What came home after an entry; waits for news where there are none, with ``wait_s`` above 0."""
        block = max(1, round(wait_s * 1000)) if wait_s > 0 else None
        found = await self._redis.xread({self._at + "home": after}, count=64, block=block)
        if not found:
            return []
        ((_, entries),) = cast("list[Any]", found)
        return [
            Heard(at, told["shard"], Words.from_json(told["words"]), _ending(told["ending"])) for at, told in entries
        ]

    async def forget(self, before: str, *, itself: bool = False) -> None:
        """Drop what came home before an entry; ``itself``: that entry, too."""
        await self._redis.xtrim(self._at + "home", minid=before, approximate=False)
        if itself:
            await self._redis.xdel(self._at + "home", before)

    # ------------------------------------------------------------------ inside

    def _shard(self, id: str) -> str:
        return f"{self._at}shard:{id}"

    @property
    def _two(self) -> tuple[str, str]:
        return self._at + "shards", self._at + "stop"

    @property
    def _lease_ms(self) -> int:
        return round(self.lease_s * 1000)


def _ending(text: str) -> Ending | None:
    return Ending.from_json(text) if text else None
