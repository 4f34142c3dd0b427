"""The board: who may work on a shard, and what is heard of it, in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bulkdel.distributed.board import Board, Ending, Row, Words
from tests.cli.service import until
from tests.distributed.redis_server import RedisServer

Test = Callable[[Board], Awaitable[None]]


def on_a_board(server: RedisServer, work: Test, lease_s: float = 60.0) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), Board(server.url, "job", lease_s=lease_s) as board:
            await work(board)

    asyncio.run(main())


def said(*keys: int) -> Words:
    return Words([Row(key, "deleted", "", 1) for key in keys], requests=len(keys))


def test_a_shard_is_one_workers(redis_server: RedisServer) -> None:
    """Whoever begins first has it; others are told so, until it has ended, and then that it is gone."""

    async def work(board: Board) -> None:
        assert await board.begin("s", "prod", "a") == ("gone", 0, 0)  # nobody queued it
        await board.put("s", "prod", [1, 2], 0)
        assert await board.begin("s", "prod", "a") == ("go", 0, 0)
        assert (await board.begin("s", "prod", "b"))[0] == "held"
        assert await board.tell("s", "prod", "a", said(1)) == "ok"
        assert await board.done("s") == {1}
        assert await board.tell("s", "prod", "a", said(2), Ending()) == "ok"
        assert (await board.begin("s", "prod", "b"))[0] == "gone"
        assert await board.live() == []

    on_a_board(redis_server, work)


def test_a_worker_that_says_nothing_is_lost(redis_server: RedisServer) -> None:
    """After its lease another has the shard and learns that one was lost; what the first says then ends nothing."""

    async def work(board: Board) -> None:
        await board.put("s", "prod", [1, 2], 0)
        await board.begin("s", "prod", "a")
        while not await board.orphans(["s"]):
            pass  # each look asks Redis, whose clock it is
        assert await board.begin("s", "prod", "b") == ("go", 1, 1)
        # It was frozen, and did something before: that is told, and it hears that the shard is another's.
        assert await board.tell("s", "prod", "a", said(1), Ending()) == "lost"
        (heard,) = await board.hear("0-0", wait_s=0)
        assert ([row.key for row in heard.words.rows], heard.ending) == ([1], None)
        assert [live.id for live in await board.live()] == ["s"]

    on_a_board(redis_server, work, lease_s=0.05)


def test_a_shard_that_is_handed_back_was_lost_by_nobody(redis_server: RedisServer) -> None:
    """The next one begins it for the second time, with no worker lost."""

    async def work(board: Board) -> None:
        await board.put("s", "prod", [1, 2], 0)
        await board.begin("s", "prod", "a")
        assert await board.tell("s", "prod", "a", said(1), back=True) == "ok"
        assert await board.orphans(["s"]) == {}
        assert await board.begin("s", "prod", "b") == ("go", 1, 0)
        assert await board.done("s") == {1}

    on_a_board(redis_server, work)


def test_what_is_called_back(redis_server: RedisServer) -> None:
    """Shards of that provider that nobody had begun are over; one at work is told to stop, others' go on."""

    async def work(board: Board) -> None:
        for id, provider in (("queued", "prod"), ("running", "prod"), ("other", "test")):
            await board.put(id, provider, [1], 0)
        await board.begin("running", "prod", "a")
        assert await board.recall("prod") == ["queued"]
        assert (await board.begin("queued", "prod", "b"))[0] == "gone"
        assert (await board.begin("other", "test", "b"))[0] == "go"
        assert await board.tell("running", "prod", "a", Words()) == "stop"
        assert await board.tell("other", "test", "b", Words()) == "ok"
        await board.go_on()
        assert await board.tell("running", "prod", "a", Words()) == "ok"

    on_a_board(redis_server, work)


def test_one_submitter(redis_server: RedisServer) -> None:
    """The second is told of the first, until it leaves or says nothing for a lease."""

    async def work(board: Board) -> None:
        assert await board.claim("first") == ""
        assert await board.claim("second") == "first"
        assert await board.claim("first") == ""  # again and again
        await board.leave("second")
        assert await board.claim("second") == "first"
        assert await board.claim("second", after="another") == "first"
        await board.leave("first")
        assert await board.claim("second") == ""
        assert await board.claim("third", after="second") == ""  # which was seen to be dead
        assert await board.claim("second") == "third"

    on_a_board(redis_server, work)


def test_what_redis_forgot(redis_server: RedisServer) -> None:
    """A shard that nobody knows of is an orphan without a word, and its worker is told that it lost it."""

    async def work(board: Board) -> None:
        await board.put("s", "prod", [1, 2], 0)
        await board.begin("s", "prod", "a")
        await asyncio.to_thread(redis_server.flush)
        assert await board.orphans(["s"]) == {"s": ""}
        assert await board.tell("s", "prod", "a", said(1)) == "lost"
        (heard,) = await board.hear("0-0", wait_s=0)
        assert [row.key for row in heard.words.rows] == [1]

    on_a_board(redis_server, work)


def test_what_is_heard_once_is_not_heard_again(redis_server: RedisServer) -> None:
    """In the order in which it was told; what was taken is forgotten when one says so."""

    async def work(board: Board) -> None:
        await board.put("s", "prod", range(300), 0)
        await board.begin("s", "prod", "a")
        for key in range(150):
            await board.tell("s", "prod", "a", said(key))
        seen: list[int] = []
        last = "0-0"
        while heard := await board.hear(last, wait_s=0):
            last = heard[-1].at
            seen += [row.key for one in heard for row in one.words.rows]
        assert seen == list(range(150))
        await board.forget(last, itself=True)
        assert await board.hear("0-0", wait_s=0) == []

    on_a_board(redis_server, work)


def test_news_wake_who_waits(redis_server: RedisServer) -> None:
    """A word of life without news is no entry; news end the wait."""

    async def work(board: Board) -> None:
        await board.put("s", "prod", [1], 0)
        await board.begin("s", "prod", "a")
        waiting = asyncio.ensure_future(board.hear("0-0", wait_s=20))
        await board.tell("s", "prod", "a", Words())
        await board.tell("s", "prod", "a", said(1))
        await until(waiting.done)
        assert [row.key for one in waiting.result() for row in one.words.rows] == [1]

    on_a_board(redis_server, work)


@pytest.mark.parametrize("text", ["", "\ud800", "(key) \x1b[0m", "x" * 5000])
def test_words_come_as_they_were_told(redis_server: RedisServer, text: str) -> None:
    """Reasons of any characters, events, counts and an ending."""

    async def work(board: Board) -> None:
        words = Words([Row(7, "refused", text, 3)], [["paused", text, 1.5]], 4, 2, ("rate", text, None))
        ending = Ending(text or "stopped", text, text, ((7, 3),))
        await board.put("s", "prod", [7], 0)
        await board.begin("s", "prod", "a")
        await board.tell("s", "prod", "a", words, ending)
        (heard,) = await board.hear("0-0", wait_s=0)
        assert (heard.shard, heard.words, heard.ending) == ("s", words, ending)

    on_a_board(redis_server, work)
