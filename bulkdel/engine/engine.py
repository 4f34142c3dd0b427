"""One call: a lane and a watch per provider, feeds that fill them, and results that end when all has settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from bulkdel.engine.channel import Channel
from bulkdel.engine.lane import Lane
from bulkdel.engine.results import Results
from bulkdel.engine.stop import Stop, StopReason
from bulkdel.engine.watch import watch
from bulkdel.errors import RunFileError
from bulkdel.model import Policy

Feed = Callable[["Engine"], Awaitable[None]]
"""Offers items to the engine's lanes, page by page, and returns when there are no more."""

LaneOf = Callable[[Channel, Stop, Policy, Results], Lane]
"""Makes the lane of one provider; its targets may be worked off elsewhere, but they settle here."""


class Engine:
    """Settles everything that its feeds offer. Used once; belongs to one event loop."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        policy: Policy,
        results: Results,
        stops: Mapping[str, Stop],
        lanes: LaneOf = Lane,
    ) -> None:
        self.results = results
        self.stops = stops
        self.lanes = {name: lanes(channel, stops[name], policy, results) for name, channel in channels.items()}
        self.halt = all_of(stops)

    async def run(self, feeds: Sequence[Feed]) -> None:
        """Run the feeds and the lanes to their end; then every target has settled and was handed on.

        :raises Exception: what a feed raised, after everything that it had offered was settled
        """
        failed: list[Exception] = []

        async def feed_all(feed: Feed) -> None:
            try:
                await feed(self)
            except RunFileError as error:
                self.results.lose_journal(error)
            except Exception as error:
                failed.append(error)
                self.stop(StopReason("incomplete", f"the targets could not be read to the end: {type(error).__name__}"))

        async def feeding() -> None:
            async with anyio.create_task_group() as group:
                for feed in feeds:
                    group.start_soon(feed_all, feed)
            for lane in self.lanes.values():
                lane.fed()

        async def working() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(feeding)
                for lane in self.lanes.values():
                    group.start_soon(_lane_to_its_end, lane)
            self.results.close()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.results.deliver)
                group.start_soon(working)
        except ExceptionGroup as raised:
            raise _first(raised) from raised  # callers catch the error, not how tasks are grouped here
        self.results.check()
        if failed:
            raise failed[0]

    def stop(self, reason: StopReason) -> None:
        """Stop every lane gracefully."""
        for stop in self.stops.values():
            stop.set(reason)


def all_of(stops: Mapping[str, Stop]) -> Stop:
    """A stop that is set when every one of ``stops`` is: nobody waits for more targets then."""
    halt = Stop()

    def one_stopped() -> None:
        reasons = [stop.reason for stop in stops.values()]
        if reasons[0] is not None and None not in reasons:
            halt.set(reasons[0])

    for stop in stops.values():
        stop.listen(one_stopped)
    return halt


async def _lane_to_its_end(lane: Lane) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, lane)
        group.start_soon(lane.run)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _watch(lane: Lane) -> None:
    try:
        await watch(lane)
    except Exception as error:
        lane.bug(error)  # the lane settles what is left
