"""Jobs by their due times, and looks at what waits for the service: the order in which they come out."""

from __future__ import annotations

from bulkdel import Target
from bulkdel.engine.job import Job
from bulkdel.engine.looks import DueHeap, Look, Looks
from tests.engine.world import DATASET


def job(place: int, dataset: str = DATASET) -> Job:
    return Job(place, Target("dify", dataset, f"document-{place}"))


def look(*jobs: Job, question: bool = False) -> Look:
    return Look(jobs[0].target.dataset, {job.target: job for job in jobs}, "state" if question else "", 0.0, 0.0)


def test_entries_come_out_when_they_are_due() -> None:
    """The longest due first, those of the same time in their order, none before its time."""
    heap: DueHeap[str] = DueHeap()
    assert heap.due is None
    assert heap.pop_due(1e9) is None
    for entry, due in zip("abcdef", (50.0, 20.0, 40.0, 10.0, 30.0, 20.0), strict=True):
        heap.push(entry, due)
    assert heap.due == 10.0
    assert heap.pop_due(9.9) is None
    assert [heap.pop_due(20.0) for _ in range(4)] == ["d", "b", "f", None]
    assert heap.pop_next(lambda entry: entry != "e") == "c"
    assert len(heap) == 2
    heap.hasten(lambda entry: 25.0)
    assert {heap.pop_due(25.0), heap.pop_due(25.0)} == {"a", "e"}


def test_entries_are_taken_out_by_what_they_are() -> None:
    """The others stay, in their order."""
    heap: DueHeap[int] = DueHeap()
    for entry in range(8):
        heap.push(entry, 10.0 - entry)
    assert heap.take(lambda entry: entry % 2 == 1) == [7, 5, 3, 1]
    assert [heap.pop_due(10.0) for _ in range(5)] == [6, 4, 2, 0, None]


def test_the_next_look_without_a_question_is_found_behind_others() -> None:
    """Good news brings jobs forward that are asked by their own next step, in the order in which they are due."""
    looks = Looks()
    jobs = [job(place) for place in range(4)]
    looks.push(look(jobs[0], question=True), 1.0)
    looks.push(look(jobs[1], question=True), 9.0)  # joins the first: one question for a dataset
    looks.push(look(jobs[2]), 5.0)
    looks.push(look(jobs[3]), 3.0)
    assert looks.waiting == 4
    assert [looks.pop_next(), looks.pop_next(), looks.pop_next()][2] is None
    assert looks.waiting == 2
    together = looks.pop_due(1.0)
    assert together is not None
    assert list(together.jobs.values()) == jobs[:2]
    assert looks.waiting == 2  # they wait, also while they are being asked about
    together.jobs.clear()
    assert looks.waiting == 0


def test_a_dataset_takes_its_waiting_jobs_out() -> None:
    """Those of other datasets stay."""
    looks = Looks()
    here, there = [job(place) for place in range(4)], [job(place, "other") for place in range(4)]
    for place, one in enumerate([*here, *there]):
        looks.push(look(one, question=place % 2 == 0), 10.0 - place)
    assert set(looks.take(lambda job: job.target.dataset == "other")) == set(there)
    assert looks.waiting == 4
    looks.hasten(2.0)
    assert looks.due == 2.0
