"""A provider that is not bulkdel's own keeps every promise: two requests for a delete, pages by cursor, over real HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import bulkdel
from bulkdel import Client, Policy, Target
from tests.plugin.simulator import KEY, VectorStoreSimulator
from tests.plugin.vectorstores.bulkdel_openai import VectorStores

STORE, OTHER = "vs_manuals", "vs_letters"
QUICK = Policy(backoff=0.01, backoff_cap=0.02, indexing_backoff=0.02, indexing_backoff_cap=0.04, indexing_timeout=20)


def beside(work: Callable[[VectorStoreSimulator, VectorStores], Awaitable[None]]) -> None:
    """Run ``work`` beside a simulated OpenAI."""

    async def main() -> None:
        async with VectorStoreSimulator() as openai:
            await work(openai, VectorStores(KEY, openai.base_url))

    asyncio.run(main())


def steps(openai: VectorStoreSimulator) -> Counter[str]:
    """How many DELETEs came for each of the two steps."""
    return Counter("delete" if "/vector_stores/" in path else "file" for path in openai.sent("DELETE"))


def test_a_store_of_several_pages_is_emptied() -> None:
    """Listed whole by cursors before the first delete, then each file is taken out and deleted, once."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 250)
        kept = openai.fill(OTHER, 3, first=900)
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert (report.listed, report.deleted, report.remaining) == (250, 250, 0)
        assert sorted(settled.target.document for settled in report.settled) == ids
        assert not openai.stores[STORE]
        assert openai.files == set(kept) == set(openai.stores[OTHER])
        assert steps(openai) == {"delete": 250, "file": 250}
        first_delete = [method for method, _ in openai.seen].index("DELETE")
        cursors = [path.partition("&after=")[2] for _, path in openai.seen[:first_delete] if "/files?" in path]
        assert cursors == ["", ids[99], ids[199]]
        assert report.requests == len(openai.seen)

    beside(work)


def test_a_file_in_progress_is_waited_for() -> None:
    """No DELETE is sent for it before the service shows it completed, and the others do not wait for it."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 250)
        slow = [ids[n] for n in (0, 99, 100, 199, 249)]  # the cursors among them, and more of them than pages
        openai.mark(STORE, slow, "in_progress")

        def taken_out(_file: str) -> None:
            if len(openai.stores[STORE]) == len(slow):
                openai.mark(STORE, slow, "completed")

        openai.after_delete = taken_out
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert (report.deleted, report.remaining) == (250, 0)
        assert not openai.early
        assert report.requeued == {"document_indexing": 5}

    beside(work)


def test_a_lock_timeout_is_asked_again_at_the_step_it_met() -> None:
    """409 is retried with backoff; a file that is out of its store already is not taken out again."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 30)
        openai.scripts[ids[3], "delete"].extend(["409", "409"])
        openai.scripts[ids[7], "file"].extend(["409", "409", "409"])
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert (report.deleted, report.pauses) == (30, 0)
        assert not openai.files
        assert steps(openai) == {"delete": 32, "file": 33}
        assert report.requeued == {"unclear": 5}

    beside(work)


def test_a_lost_answer_is_asked_again_and_counts_as_deleted() -> None:
    """Whichever of the two answers was lost, and whether or not it was done: the file is gone, and nothing is left over."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 40)
        for place, (step, act) in enumerate(
            [("delete", "lost"), ("delete", "lost done"), ("file", "lost"), ("file", "lost done"), ("file", "500")]
        ):
            openai.scripts[ids[8 * place], step].append(act)
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert (report.deleted, report.already_gone) == (40, 0)
        assert not openai.stores[STORE]
        assert not openai.files
        assert report.requeued == {"lost_answer": 4, "server_error": 1}

    beside(work)


def test_leaving_the_listing_is_half_of_a_delete() -> None:
    """Every first answer is lost though it was done: the files are in no store any more, and each is deleted all the same."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        for id in openai.fill(STORE, 40):
            openai.scripts[id, "delete"].append("lost done")
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert report.deleted + report.already_gone == 40
        assert not openai.files

    beside(work)


def test_a_file_that_cannot_be_deleted_is_given_up_and_named() -> None:
    """Out of its store and still there: rejected with the service's words, after so many attempts and one last look."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 20)
        openai.scripts[ids[5], "file"].extend(["409"] * 100)
        openai.scripts[ids[9], "delete"].extend(["not deleted"] * 100)
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.exit_status == 1
        assert (report.deleted, report.reasons) == (18, {"gave_up": 2})
        locked, kept = sorted(report.rejected, key=lambda settled: settled.target.document)
        assert (locked.target.document, kept.target.document) == (ids[5], ids[9])
        assert "lock" in locked.reason
        assert "does not say that it is deleted" in kept.reason
        assert openai.files == {ids[5], ids[9]}
        assert list(openai.stores[STORE]) == [ids[9]]
        assert report.remaining == 1

    beside(work)


def test_a_file_in_two_stores_is_deleted_once() -> None:
    """The service takes a deleted file out of every store: the other purge finds it gone, which is no failure."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 60)
        openai.fill(OTHER, 60)
        report = await bulkdel.purge(provider, STORE, OTHER, policy=QUICK)
        assert report.ok
        assert (report.listed, report.deleted + report.already_gone, report.remaining) == (120, 120, 0)
        assert report.deleted >= len(ids)
        assert not openai.files

    beside(work)


def test_a_target_that_is_not_in_its_store_is_left_where_it_is() -> None:
    """A file named with the wrong store is already gone from there, and is not deleted from the right one."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        openai.fill(STORE, 1)
        (file,) = openai.fill(OTHER, 1, first=7)
        targets = [
            Target("openai", STORE, file),
            Target("openai", "vs_nowhere", file),
            Target("openai", STORE, "../vs"),
        ]
        report = await bulkdel.delete(targets, provider, policy=QUICK)
        assert [settled.outcome for settled in report.settled] == ["already_gone", "dataset_stopped", "invalid_id"]
        assert file in openai.files
        assert file in openai.stores[OTHER]
        assert steps(openai) == {"delete": 1}  # the store that is not there was looked at before

    beside(work)


def test_a_store_that_is_not_there_stops_alone() -> None:
    """S12: it is named in the service's words, and the other one is purged."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        openai.fill(STORE, 5)
        report = await bulkdel.purge(provider, "vs_nowhere", STORE, policy=QUICK)
        assert report.exit_status == 1
        lost, emptied = report.datasets
        assert (lost.status, lost.reason) == ("stopped", "Vector store with id 'vs_nowhere' not found.")
        assert (emptied.status, emptied.name, emptied.counts.deleted) == ("complete", f"Store {STORE}", 5)

    beside(work)


def test_a_rate_limit_pauses_for_as_long_as_the_service_says() -> None:
    """x-ratelimit-reset-requests is obeyed, and the pause costs the file nothing."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 20)
        openai.scripts[ids[4], "file"].append("429")
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert report.ok
        assert (report.deleted, report.requeued) == (20, {"rate_limit": 1})
        assert report.pauses >= 1

    beside(work)


def test_an_exhausted_account_stops_everything() -> None:
    """429 with insufficient_quota is no rate limit: exit 4, and the rest is not attempted."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        ids = openai.fill(STORE, 200)
        openai.scripts[ids[10], "delete"].append("quota")
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        assert (report.status, report.exit_status) == ("stopped", 4)
        assert "quota" in report.reason
        assert "credit" in report.hint
        assert report.not_attempted == 200 - report.deleted >= 180

    beside(work)


def test_a_run_stopped_between_two_steps_is_carried_on(tmp_path: Path) -> None:
    """A file that is out of its store is in no listing any more: the run file knows it, and resume deletes it."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        openai.fill(STORE, 50)
        async with Client(provider, policy=QUICK) as client:
            openai.after_delete = lambda file: client.stop()
            report = await client.purge("openai", STORE, run=tmp_path / "run.db")
        assert report.status == "interrupted"
        halfway = openai.files - set(openai.stores[STORE])
        assert halfway
        openai.after_delete = lambda file: None
        report = await bulkdel.resume(tmp_path / "run.db", provider, policy=QUICK)
        assert report.ok
        assert (report.listed, report.deleted, report.remaining) == (50, 50, 0)
        assert not openai.files

    beside(work)


def test_attempts_are_the_deletes_that_were_sent() -> None:
    """Both steps count: two for a file that goes smoothly, and one more each time that either is asked again."""

    async def work(openai: VectorStoreSimulator, provider: VectorStores) -> None:
        smooth, again, locked = openai.fill(STORE, 3)
        openai.scripts[again, "delete"].append("409")
        openai.scripts[again, "file"].extend(["409", "lost done"])
        openai.scripts[locked, "file"].extend(["409"] * 100)
        report = await bulkdel.purge(provider, STORE, policy=QUICK)
        settled = {one.target.document: one for one in report.settled}
        assert {file: one.attempts for file, one in settled.items()} == {smooth: 2, again: 5, locked: 7}
        assert settled[locked].reason.startswith("gave up after 7 attempts: ")
        assert sum(one.attempts for one in report.settled) == len(openai.sent("DELETE"))

    beside(work)
