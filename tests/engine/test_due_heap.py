"""Jobs by their due times: the order in which they come out, and those that wait for the service among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bulkdel import Target
from bulkdel.engine.job import Job
from bulkdel.engine.schedule import Schedule
from bulkdel.engine.stop import Stop
from tests import virtual
from tests.engine.world import DATASET


def job(place: int, dataset: str = DATASET) -> Job:
    return Job(place, Target("dify", dataset, f"document-{place}"))


def scheduled(check: Callable[[Schedule, list[Job]], None]) -> None:
    """A schedule that took in four jobs and gave them all out."""

    async def main() -> None:
        schedule = Schedule(Stop(), look_cap=30.0)
        await schedule.add([job(place) for place in range(4)])
        check(schedule, [one for _ in range(4) if (one := schedule.pop()) is not None])

    virtual.run(main())


def test_jobs_come_out_when_they_are_due() -> None:
    """The longest due first, those of the same time in their order, none before its time."""

    def check(schedule: Schedule, jobs: list[Job]) -> None:
        for one, seconds in zip(jobs, (0.0, -2.0, 50.0, -2.0), strict=True):
            schedule.later(one, seconds)
        assert [schedule.pop() for _ in range(4)] == [jobs[1], jobs[3], jobs[0], None]
        assert schedule.take(lambda one: True) == [jobs[2]]
        assert schedule.pop() is None

    scheduled(check)


def test_jobs_of_one_dataset_are_looked_at_together() -> None:
    """Whatever is asked about them in the same way is one look, due when the first of them is."""

    def check(schedule: Schedule, jobs: list[Job]) -> None:
        now = asyncio.get_running_loop().time()
        for place, one in enumerate(jobs):
            schedule.look_later(one, "gone" if place == 3 else "state", now + 100.0 - place)
        assert schedule.pop_look(now=now + 96.0) is None
        doubtful = schedule.pop_look("gone")
        look = schedule.pop_look(now=now + 100.0)
        assert doubtful is not None
        assert look is not None
        assert [*look.jobs.values(), *doubtful.jobs.values()] == jobs
        schedule.put_look(look)
        schedule.look_later(jobs[3], "state", now + 500.0)
        assert schedule.next_due == now + 100.0
        assert schedule.take(lambda one: one is jobs[0]) == [jobs[0]]
        schedule.close_input()
        assert schedule.next_due <= now + 31.0  # there is nothing else to do

    scheduled(check)


def test_good_news_brings_two_others_forward() -> None:
    """In the order in which they are due; what waits for a look stays where it is."""

    def check(schedule: Schedule, jobs: list[Job]) -> None:
        now = asyncio.get_running_loop().time()
        schedule.look_later(jobs[0], "state", now + 1.0)
        for one, due in zip(jobs[1:], (9.0, 5.0, 3.0), strict=True):
            schedule.later(one, due, indexing=True)
        assert schedule.pop() is None
        schedule.good_news()
        assert [schedule.pop(), schedule.pop(), schedule.pop()] == [jobs[3], jobs[2], None]

    scheduled(check)
