"""Slots: how many requests may be in flight."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel.limits import Slots
from tests import virtual


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def test_no_more_than_the_limit() -> None:
    """Slots are given until the limit is reached, and again once one is given back."""
    slots = Slots(2)
    assert [slots.try_take() for _ in range(3)] == [True, True, False]
    slots.release()
    assert slots.try_take()
    assert slots.in_flight == 2


def test_first_come_first_served() -> None:
    """Waiters get slots in the order they asked, and nobody who comes later slips in."""

    async def main() -> list[int]:
        slots, order = Slots(1), list[int]()

        async def ask(i: int) -> None:
            await slots.take()
            order.append(i)

        await slots.take()
        tasks = [asyncio.create_task(ask(i)) for i in range(4)]
        await turns()
        assert slots.waiting == 4
        for _ in tasks:
            slots.release()
            assert not slots.try_take()
            await turns()
        await asyncio.gather(*tasks)
        return order

    assert virtual.run(main()) == [0, 1, 2, 3]


def test_a_slot_given_to_a_cancelled_waiter_goes_to_the_next() -> None:
    """Cancelled in the very moment in which its slot came, a waiter hands it on."""

    async def main() -> None:
        slots = Slots(1)
        await slots.take()
        first, second = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
        await turns()
        slots.release()
        first.cancel()
        await second
        assert first.cancelled()
        assert (slots.in_flight, slots.waiting) == (1, 0)

    virtual.run(main())


def test_the_limit_can_be_raised_and_lowered() -> None:
    """Raising the limit wakes waiters at once; lowering it lets what is in flight end and gives out nothing before."""

    async def main() -> None:
        slots = Slots(1)
        tasks = [asyncio.create_task(slots.take()) for _ in range(4)]
        await turns()
        assert (slots.in_flight, slots.waiting) == (1, 3)
        slots.limit = 3
        await turns()
        assert (slots.in_flight, slots.waiting) == (3, 1)
        slots.limit = 1
        for left in (2, 1):
            slots.release()
            await turns()
            assert (slots.in_flight, slots.waiting) == (left, 1)
        slots.release()
        await asyncio.gather(*tasks)
        assert (slots.in_flight, slots.waiting) == (1, 0)

    virtual.run(main())


def test_mistakes_are_named() -> None:
    """A limit below one and a slot given back twice are errors."""
    with pytest.raises(ValueError, match="at least one request must be able to be in flight: 0"):
        Slots(0)
    slots = Slots(1)
    with pytest.raises(ValueError, match="in flight: -1"):
        slots.limit = -1
    with pytest.raises(RuntimeError, match="nobody had taken"):
        slots.release()


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 3)),
            st.tuples(st.just("cancel"), st.integers(0, 20)),
            st.tuples(st.just("limit"), st.integers(1, 5)),
            st.tuples(st.just("turns"), st.integers(0, 3)),
        ),
        max_size=40,
    ),
)
def test_no_slot_is_lost_or_doubled(limit: int, script: list[tuple[str, int]]) -> None:
    """Whatever is asked, cancelled and changed, everyone not cancelled gets a slot, and all come back."""

    async def main() -> None:
        slots, holding, tasks = Slots(limit), 0, list[asyncio.Task[None]]()
        highest = limit

        async def use(turns_held: int) -> None:
            nonlocal holding
            await slots.take()
            holding += 1
            assert holding <= slots.in_flight <= highest
            try:
                await turns(turns_held)
            finally:
                holding -= 1
                slots.release()

        for what, n in script:
            match what:
                case "ask":
                    tasks.append(asyncio.create_task(use(n)))
                case "cancel" if n < len(tasks):
                    tasks[n].cancel()
                case "limit":
                    slots.limit = n
                    highest = max(highest, n)
                case _:
                    await turns(n)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert (slots.in_flight, slots.waiting, holding) == (0, 0, 0)

    virtual.run(main())
