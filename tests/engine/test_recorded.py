"""S9, S10: a run is a file. Planned, carried out, cut anywhere and resumed, it asks for nothing twice that is confirmed."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel import Dify, Policy, Run, RunFileError
from bulkdel.errors import ConfigurationError
from bulkdel.model import PurgeRequest, Settled
from bulkdel.plan import Plan
from bulkdel.store import RunFile, lock
from tests import virtual
from tests.engine.world import ACTS, DATASET, Service, client, provider, targets

# Beside a writer thread the virtual clock gives real time to every look of the timeline: an hour's pause would take one
# minute.
SHORT = [act for act in ACTS if act != "429 long"]
POLICY = Policy(attempts=3, indexing_timeout=60.0, backoff=0.5, timeout=30.0)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


async def cancelled(service: Service, requests: int, coming: Coroutine[object, object, object]) -> None:
    """Run ``coming`` and cancel it while its request number ``requests`` is in flight."""
    task = asyncio.ensure_future(coming)
    service.when[requests] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(SHORT), max_size=3), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 20), st.floats(0.0, 0.4), st.booleans()), max_size=3),
    st.booleans(),
)
def test_a_run_cut_anywhere_asks_for_nothing_twice(
    script: list[list[str]], cuts: list[tuple[int, float, bool]], explicit: bool
) -> None:
    """S10: whatever is on disk as settled is never asked for again; at the end nothing selected is left unsettled."""

    async def main(path: Path) -> None:
        service = Service(latency=0.3)
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        begun = False
        for cut in [*cuts, None]:
            settled_before = set()
            if begun:
                with Run.open(path) as run:
                    settled_before = {s.target.document for s in run.settled()}
                    if not run.resumable:
                        break
            asked_before = len(service.sent)
            async with client(service, policy=POLICY, providers=[provider(concurrency=2)]) as c:
                if begun:
                    coming = c.resume(path)
                else:
                    coming = c.delete(targets(ids), run=path) if explicit else c.purge("dify", DATASET, run=path)
                begun = True
                task = asyncio.ensure_future(coming)
                service.when.clear()
                if cut is not None:
                    requests, after, graceful = cut
                    cutter = c.stop if graceful else task.cancel
                    later = partial(asyncio.get_running_loop().call_later, after, cutter)
                    service.when[asked_before + requests] = later
                with suppress(asyncio.CancelledError):
                    await task
            for sent in service.sent[asked_before:]:
                assert not (sent.method == "DELETE" and sent.document in settled_before)
        with Run.open(path) as run:
            counts = run.counts()
            endings = {s.target.document: s for s in run.settled()}
        assert counts.selected == len(ids) == len(endings)
        assert counts.not_attempted == 0
        for document, settled in endings.items():
            if settled.status == "fulfilled":
                assert document not in service.held, settled
            else:
                assert settled.outcome in ("archived", "refused", "gave_up", "stuck_indexing")

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_plan_deletes_only_what_it_holds() -> None:
    """Documents that came after the plan are named as remaining and left alone; nothing but GET is sent to plan."""

    async def main(path: Path) -> None:
        service = Service()
        planned = service.fill(150)
        asked: list[Plan] = []

        async def confirm(plan: Plan) -> bool:
            asked.append(plan)
            return True

        async with client(service) as c:
            report = await c.plan("dify", DATASET, run=path)
            assert report.exit_status == 0
            assert {sent.method for sent in service.sent} == {"GET"}
            late = service.fill(3)
            report = await c.resume(path, confirm=confirm)
        assert report.ok
        assert asked[0].selected == 150
        assert set(service.held) == set(late)
        assert not set(service.held) & set(planned)
        assert report.remaining == 3
        assert report.datasets[0].new_count == 3
        assert len(report.settled) == 150

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_plan_is_confirmed_once() -> None:
    """A plan asks before its first delete; the same run going on does not ask again."""

    async def main(path: Path) -> None:
        service = Service(latency=0.1)
        service.fill(50)
        asked = 0

        async def confirm(plan: Plan) -> bool:
            nonlocal asked
            asked += 1
            return asked > 1

        async with client(service) as c:
            await c.plan("dify", DATASET, run=path)
            refused = await c.resume(path, confirm=confirm)
            assert (refused.exit_status, len(service.held)) == (3, 50)
            service.when[len(service.sent) + 10] = c.stop
            stopped = await c.resume(path, confirm=confirm)
            assert stopped.exit_status == 130
            done = await c.resume(path, confirm=confirm)
        assert done.ok
        assert asked == 2

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_crash_in_flight_is_deleted_in_doubt() -> None:
    """A document that was in flight when the process died, and is gone now, is deleted; its reason says so."""

    async def main(path: Path) -> None:
        service = Service(latency=1.0)
        ids = service.fill(3)
        async with client(service, providers=[provider(concurrency=1)], policy=Policy(indexing="delete")) as c:
            await cancelled(service, 1, c.delete(targets(ids), run=path))
            del service.held[ids[0]]  # the service went on with what it had been sent
            report = await c.resume(path)
        first = report.settled[0]
        assert report.ok
        assert first.outcome == "deleted"
        assert "answer lost" in first.reason

    with folder() as at:
        virtual.run(main(at / "a.run"))


@pytest.mark.parametrize("act", ["resume", "verify"])
def test_a_run_is_read_once_it_is_held(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process ends the run before this one holds it: the report counts its endings, and nothing is asked twice."""

    async def another(path: str) -> None:
        async with await RunFile.open(path) as run:
            async for page in run.pages("dify"):
                await run.settled([(row.row, Settled(row.target, "deleted", "", 1, "", 1.0)) for row in page])
            await run.close("interrupted", 130)

    def take_second(path: str) -> object:
        monkeypatch.undo()
        asyncio.run(another(path))
        return lock.take(path)

    async def main(path: Path) -> None:
        service = Service(latency=0.1)
        service.fill(6)
        async with client(service, providers=[provider(concurrency=1)]) as c:
            service.when[4] = c.stop
            before = await c.purge("dify", DATASET, run=path)
            assert 0 < before.deleted < 6
            service.held.clear()
            sent = len(service.sent)
            monkeypatch.setattr(lock, "take", take_second)
            report = await (c.resume(path) if act == "resume" else c.verify(path))
        assert (report.deleted, report.not_attempted, report.remaining, report.exit_status) == (6, 0, 0, 0)
        assert len(report.settled) == 6
        assert report.elapsed_s > before.elapsed_s
        assert {one.method for one in service.sent[sent:]} == {"GET"}

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_resume_that_is_refused_leaves_no_session() -> None:
    """What is missing or damaged is said before a session begins: the run stays what it was."""

    def change(path: Path, listed: int) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("UPDATE dataset SET listed = ?", (listed,))

    async def main(path: Path) -> None:
        service, other = Service(), Service(name="other")
        service.fill(3)
        async with client(service) as c:
            await c.plan("dify", DATASET, run=path)
            with pytest.raises(RunFileError, match="nothing was deleted in this run"):
                await c.verify(path)
            await asyncio.to_thread(change, path, 4)
            with pytest.raises(RunFileError, match="4 documents were listed, and 3 are there"):
                await c.resume(path)
            await asyncio.to_thread(change, path, 3)
        async with client(other) as c:
            with pytest.raises(ConfigurationError, match="needs a provider that was not given"):
                await c.resume(path, retry_rejected=True)
        with Run.open(path) as run:
            assert run.state == "planned"
            assert [session.act for session in run.sessions()] == ["plan"]

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_settled_targets_of_a_run_file_are_a_sequence() -> None:
    """They are counted, found by place from both ends, sliced, and missed as in a list."""

    async def main(path: Path) -> None:
        service = Service()
        ids = service.fill(7)
        service.script(ids[2], ["400"])
        async with client(service) as c:
            report = await c.delete(targets(ids), run=path)
        settled = report.settled
        assert len(settled) == 7
        assert [one.target.document for one in settled] == ids
        assert [settled[place].target.document for place in (0, 3, 6, -1, -7)] == [ids[k] for k in (0, 3, 6, 6, 0)]
        assert [one.target.document for one in settled[2:4]] == ids[2:4]
        for place in (7, -8):
            with pytest.raises(IndexError):
                settled[place]

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_what_was_rejected_is_asked_again_only_on_request() -> None:
    """S9: a rejection stays; `retry_rejected` is a second ask."""

    async def main(path: Path) -> None:
        service = Service()
        ids = service.fill(5)
        service.script(ids[2], ["400"])
        async with client(service) as c:
            first = await c.purge("dify", DATASET, run=path)
            assert (first.exit_status, first.reasons) == (1, {"refused": 1})
            again = await c.resume(path)
            assert again.exit_status == 1
            assert service.deletes[ids[2]] == 1
            retried = await c.resume(path, retry_rejected=True)
        assert retried.ok
        assert retried.deleted == 5
        assert service.deletes[ids[2]] == 2

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_run_goes_on_at_its_own_address_only() -> None:
    """A fresh key is accepted, another address and a missing provider are refused before anything is sent."""

    async def main(path: Path) -> None:
        service, other = Service(), Service(name="other")
        service.fill(5)
        async with client(service) as c:
            await c.plan("dify", DATASET, run=path)
        sent = len(service.sent)
        elsewhere = Dify(api_key="dataset-another-key-0001", base_url="http://elsewhere.localhost/v1")
        async with client(service, providers=[elsewhere]) as c:
            with pytest.raises(ConfigurationError, match=r"made at http://dify.localhost/v1 .* not at"):
                await c.resume(path)
        async with client(other) as c:
            with pytest.raises(ConfigurationError, match="needs a provider that was not given: 'dify'"):
                await c.resume(path)
        assert len(service.sent) == sent
        fresh = Dify(api_key="dataset-another-key-0001", base_url="http://dify.localhost/v1")
        async with client(service, providers=[fresh]) as c:
            report = await c.resume(path)
        assert report.ok

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_an_interrupted_listing_is_listed_again() -> None:
    """A run that died while it listed holds no plan: it lists again, asks, and only then deletes."""

    async def main(path: Path) -> None:
        service = Service(latency=1.0)
        service.fill(450)
        asked = 0

        async def confirm(plan: Plan) -> bool:
            nonlocal asked
            asked += 1
            assert plan.selected == 450
            return True

        async with client(service) as c:
            await cancelled(service, 4, c.purge("dify", DATASET, run=path, confirm=confirm))
            report = await c.resume(path, confirm=confirm)
        assert report.ok
        assert asked == 1
        assert report.listed == 450

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_run_file_lost_on_the_way_stops_sends_and_says_so() -> None:
    """Sends stop, what was in flight is settled and told, and the report is honest about the file."""

    async def main(path: Path) -> None:
        service = Service(latency=0.2)
        ids = service.fill(200)
        told: list[object] = []

        async def on_settled(page: object) -> None:
            told.extend(page)  # type: ignore[arg-type]

        async with client(service) as c:
            service.when[40] = path.unlink
            report = await c.delete(targets(ids), run=path, on_settled=on_settled)
        assert report.exit_status == 4
        assert "deleted or replaced" in report.reason
        assert report.deleted == 200 - len(service.held)
        assert 0 < report.deleted < 200
        assert len(told) == 200

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_run_file_that_cannot_be_made_is_refused_first() -> None:
    """An existing file is not overwritten, and nothing is sent."""

    async def main(path: Path) -> None:
        service = Service()
        service.fill(5)
        async with client(service) as c:
            with pytest.raises(RunFileError):
                await c.purge("dify", DATASET, run=path)
        assert not service.sent

    with folder() as at:
        (at / "a.run").write_text("mine")
        virtual.run(main(at / "a.run"))
        assert (at / "a.run").read_text() == "mine"


@pytest.mark.parametrize("requests", range(1, 8))
def test_a_guard_holds_over_an_interrupted_listing(requests: int) -> None:
    """A stop at any request of the listing leaves no yes behind: going on asks again, and the guard counts all."""

    async def main(path: Path) -> None:
        service = Service(latency=1.0)
        service.fill(450)
        policy = Policy(max_delete=100)
        asked: list[int] = []

        async def confirm(plan: Plan) -> bool:
            asked.append(plan.selected)
            return True

        async with client(service) as c:
            service.when[requests] = c.stop
            first = await c.purge("dify", DATASET, run=path, policy=policy)
            assert first.status in ("interrupted", "refused")
            second = await c.resume(path, confirm=confirm)
            assert (second.status, second.exit_status) == ("refused", 3)
            assert "450 documents" in second.reason
            assert len(service.held) == 450
            assert not asked
            third = await c.resume(path, policy=Policy(max_delete=450), confirm=confirm)
        assert third.ok
        assert asked == [450]

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_guard_counts_earlier_deletes_and_the_new_listing() -> None:
    """A dataset that could not be listed at first is guarded, and asked about, together with what is gone already."""

    async def main(path: Path) -> None:
        service, other = Service(), Service(name="other")
        service.fill(60)
        other.fill(200)
        other.dataset_gone = True
        both = client(service, other)
        asked: list[int] = []

        async def confirm(plan: Plan) -> bool:
            asked.append(plan.selected)
            return len(asked) > 1

        async with both as c:
            wishes = [PurgeRequest("dify", DATASET), PurgeRequest("other", DATASET)]
            first = await c.carry_out(wishes, policy=Policy(max_delete=100), run=path)
            assert (first.deleted, first.exit_status) == (60, 1)
            other.dataset_gone = False
            unconfirmed = await c.resume(path, policy=Policy(max_delete=260), confirm=confirm)
            assert (unconfirmed.exit_status, unconfirmed.deleted, len(other.held)) == (3, 60, 200)
            refused = await c.resume(path)
            assert (refused.exit_status, len(other.held)) == (3, 200)
            assert "260 documents" in refused.reason
            assert refused.hint == "raise max_delete or select fewer"
            last = await c.resume(path, policy=Policy(max_delete=260), confirm=confirm)
        assert (last.exit_status, last.deleted) == (0, 260)
        assert asked == [200, 200]

    with folder() as at:
        virtual.run(main(at / "a.run"))


def test_a_guard_given_on_resume_counts_the_whole_run() -> None:
    """A lower guard than before refuses the rest, the run's own lets it go on: what is gone already counts in both."""

    async def main(path: Path) -> None:
        service = Service(latency=1.0)
        service.fill(80)
        async with client(service) as c:
            service.when[30] = c.stop
            first = await c.purge("dify", DATASET, run=path, policy=Policy(expect=80))
            assert 0 < first.deleted < 80
            lower = await c.resume(path, policy=Policy(max_delete=79))
            assert (lower.exit_status, lower.deleted) == (3, first.deleted)
            last = await c.resume(path)
        assert last.ok

    with folder() as at:
        virtual.run(main(at / "a.run"))
