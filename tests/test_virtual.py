"""The virtual clock that the other tests stand on."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from aiohttp import web

from tests import virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_day_passes_at_once_and_exactly() -> None:
    """A sleep ends when its time has come, within a microsecond of virtual time."""

    async def main() -> float:
        begun = now()
        await asyncio.sleep(86_400)
        return now() - begun

    assert virtual.run(main()) == pytest.approx(86_400, abs=1e-6)


def test_timers_ring_in_order_of_their_time() -> None:
    """Tasks wake in the order of their due times, whatever the order they were started in."""

    async def main() -> list[float]:
        woken: list[float] = []

        async def sleeper(seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*map(sleeper, (3.0, 0.001, 86_400.0, 2.0, 0.0)))
        return woken

    assert virtual.run(main) == [0.0, 0.001, 2.0, 3.0, 86_400.0]


def test_a_timeout_comes_before_what_it_guards() -> None:
    """asyncio.timeout runs on the same clock."""

    async def main() -> float:
        begun = now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)
        return now() - begun

    assert virtual.run(main()) == pytest.approx(5, abs=1e-6)


def test_waiting_for_what_never_comes_is_named() -> None:
    """A deadlock raises and names the tasks that wait, instead of hanging."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual.Deadlock, match=r"main"):
        virtual.run(main())


def test_waiting_too_long_is_refused() -> None:
    """More virtual time than allowed raises, so that an endless series of timers ends."""

    async def main() -> None:
        for _ in range(1000):
            await asyncio.sleep(3600)

    with pytest.raises(virtual.TooLong, match=r"2\.592e\+06 s"):
        virtual.run(main())
    with pytest.raises(virtual.TooLong, match=r"60 s"):
        virtual.run(main(), limit=60)


def test_real_sockets_answer_before_time_jumps() -> None:
    """A request over loopback to a server in the same loop is answered long before its own 60 s timeout can ring."""

    async def hello(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response(text="hello")

    async def main() -> float:
        app = web.Application()
        app.router.add_get("/", hello)
        server = web.AppRunner(app)
        await server.setup()
        site = web.TCPSite(server, "127.0.0.1", 0)
        await site.start()
        host, port = server.addresses[0][:2]
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
                begun = now()
                for _ in range(20):
                    async with session.get(f"http://{host}:{port}/") as answer:
                        assert await answer.text() == "hello"
                return now() - begun
        finally:
            await server.cleanup()

    assert virtual.run(main()) == pytest.approx(600, abs=1)


def test_time_stands_still_while_a_thread_works() -> None:
    """A job handed to a thread comes back before the clock jumps to a timer."""

    async def main() -> tuple[str, float]:
        begun = now()
        async with asyncio.timeout(60):
            await asyncio.to_thread(time.sleep, 0.05)
        return "back", now() - begun

    what, took = virtual.run(main())
    assert what == "back"
    assert took < 1e-3


def test_what_is_returned_and_raised_comes_through() -> None:
    """run() takes a coroutine or a function that makes one, returns its result and raises its error."""

    async def good() -> int:
        return 7

    async def bad() -> None:
        raise KeyError("x")

    assert virtual.run(good()) == virtual.run(good) == 7
    with pytest.raises(KeyError):
        virtual.run(bad)
