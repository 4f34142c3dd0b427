"""The line of those who wait for a permit."""

from __future__ import annotations

import asyncio

from bulkdel.limits.line import Line
from tests import virtual
from tests.limits.departures import now


async def stand(line: Line, name: str, gone: list[str], seconds: float | None = None) -> None:
    async with line:
        await line.rest(seconds)
        gone.append(name)


def test_first_come_first_served() -> None:
    """Only the first rests; the others follow in the order in which they came, each after its own rest."""

    async def main() -> None:
        line, begun = Line(), now()
        gone: list[str] = []
        all_three = asyncio.gather(*(stand(line, name, gone, 1.0) for name in "abc"))
        await asyncio.sleep(0)
        assert line.waiting == 3
        await stand(line, "d", gone, 1.0)
        await all_three
        assert gone == ["a", "b", "c", "d"]
        assert round(now() - begun, 3) == 4.0
        assert line.waiting == 0

    virtual.run(main())


def test_a_change_ends_the_rest_of_the_first_alone() -> None:
    """``wake`` lets who is first look again at once, whatever its time; nobody else is woken, and it is not remembered."""

    async def main() -> None:
        line, begun = Line(), now()
        gone: list[str] = []
        line.wake()  # nobody is there
        first = asyncio.ensure_future(stand(line, "a", gone, 60.0))
        second = asyncio.ensure_future(stand(line, "b", gone))
        await asyncio.sleep(0)
        line.wake()
        line.wake()
        await first
        assert gone == ["a"]
        assert round(now() - begun, 3) == 0.0
        await asyncio.sleep(120.0)  # a's timer would have come
        assert gone == ["a"]
        line.wake()
        await second
        assert gone == ["a", "b"]

    virtual.run(main())


def test_who_is_cancelled_holds_up_nobody() -> None:
    """The first at its rest, another in the line, and one whose rest ends in that very moment."""

    async def main() -> None:
        line = Line()
        gone: list[str] = []
        a, b, c, d = (asyncio.ensure_future(stand(line, name, gone)) for name in "abcd")
        await asyncio.sleep(0)
        b.cancel()
        a.cancel()
        await asyncio.wait([a, b])
        assert line.waiting == 2
        await asyncio.sleep(0)
        line.wake()
        c.cancel()
        await asyncio.wait([c])
        await asyncio.sleep(0)
        line.wake()
        await d
        assert gone == ["d"]
        assert line.waiting == 0

    virtual.run(main())
