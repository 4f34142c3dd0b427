"""Slots: what ``anyio.CapacityLimiter`` must do for the gate, whatever is cut, raised or cancelled."""

from __future__ import annotations

import asyncio

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import virtual


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(["work", "work", "cancel", "limit"]), st.integers(0, 9)), max_size=40))
def test_no_slot_is_lost_and_none_is_invented(script: list[tuple[str, int]]) -> None:
    """Workers come, end and are cancelled while the limit is cut and raised: never more than the limit begin, all others end."""

    async def main() -> None:
        slots, busy, limits, tasks = anyio.CapacityLimiter(3), [0], [3], list[asyncio.Task[None]]()

        async def work(seconds: float) -> None:
            slot = object()
            try:
                slots.acquire_on_behalf_of_nowait(slot)
            except anyio.WouldBlock:
                await slots.acquire_on_behalf_of(slot)
            try:
                busy[0] += 1
                assert busy[0] <= max(limits[-10:])
                await asyncio.sleep(seconds)
            finally:
                busy[0] -= 1
                slots.release_on_behalf_of(slot)

        for what, x in script:
            match what:
                case "work":
                    tasks.append(asyncio.create_task(work(1 + x)))
                case "cancel" if tasks:
                    tasks[x % len(tasks)].cancel()
                case _:
                    limits.append(1 + x)
                    slots.total_tokens = 1 + x
            await asyncio.sleep(0.3 * (x % 3))
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert (slots.borrowed_tokens, slots.statistics().tasks_waiting) == (0, 0)

    virtual.run(main())


def test_first_come_first_served() -> None:
    """A slot that is given back goes to the longest waiter, and none slips in between."""

    async def main() -> list[int]:
        slots, order = anyio.CapacityLimiter(1), list[int]()

        async def work(number: int) -> None:
            await slots.acquire_on_behalf_of(number)
            order.append(number)
            await asyncio.sleep(1)
            slots.release_on_behalf_of(number)

        await asyncio.gather(*(work(number) for number in range(10)))
        return order

    assert virtual.run(main()) == list(range(10))
