"""What a reader with fresh eyes found: each once went wrong, on a virtual clock with a service in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from bulkdel import Client, Dify, Langdock, Limits, Policy, Settled, Target
from bulkdel.engine.call import Call
from bulkdel.engine.feeds import from_sequence
from bulkdel.engine.gate import Gate
from bulkdel.engine.job import Job
from bulkdel.engine.sink import OutcomeSink
from bulkdel.errors import BrokenPromise, ConfigurationError
from bulkdel.model import PurgeRequest
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.report import Account
from tests import virtual
from tests.engine.world import DATASET, JSON, KEY, Service, client, document_id, error, provider, targets

INDEXING = {"indexing_status": "indexing", "display_status": "indexing"}


def test_a_slot_that_comes_with_a_stop_is_given_back() -> None:
    """A refused key is told to the holder of the only slot while another waits for it; the next call finds it free."""
    service = Service()
    ids = service.fill(20)
    service.script(ids[0], ["401"])

    async def main() -> None:
        async with client(service, providers=[provider(concurrency=1)]) as c:
            await asyncio.gather(c.delete(targets(ids[:1])), c.delete(targets(ids[1:])))
            assert (await c.delete(targets(ids))).ok

    virtual.run(main(), limit=600.0)


# ---------------------------------------------------------------------- the stream of outcomes


def test_outcomes_that_were_not_entered_say_so() -> None:
    """Iterating without ``async with`` is an error, not a wait without end."""
    service = Service()
    ids = service.fill(2)

    async def main() -> None:
        async with client(service) as c:
            with pytest.raises(RuntimeError, match="async with"):
                async for _ in c.settle(targets(ids)):
                    pass

    virtual.run(main())


def test_several_readers_share_a_stream() -> None:
    """Three tasks read one stream: each outcome goes to one of them, and all of them come to the end."""
    service = Service()
    ids = service.fill(50)

    async def main() -> None:
        got: list[Settled] = []
        async with client(service) as c, c.settle(targets(ids)) as outcomes:

            async def read() -> None:
                got.extend([settled async for settled in outcomes])

            await asyncio.gather(read(), read(), read())
        assert sorted(settled.target.document for settled in got) == sorted(ids)

    virtual.run(main())


def test_a_stream_that_was_left_has_nothing_more() -> None:
    """Reading on after the block ends at once, however early the block was left."""
    service = Service()
    ids = service.fill(50)

    async def main() -> None:
        async with client(service) as c:
            async with c.settle(targets(ids)) as outcomes:
                pass
            assert [settled async for settled in outcomes] == []

    virtual.run(main())


def test_a_stream_in_a_cancelled_scope_leaves_nothing_in_flight() -> None:
    """S14: anyio cancels again and again; the block is left only when its requests have ended."""
    service = Service(latency=0.1)
    ids = service.fill(50)

    async def main() -> None:
        async with client(service) as c:
            with anyio.move_on_after(0.25):
                async with c.settle(targets(ids)) as outcomes:
                    async for _ in outcomes:
                        pass
            assert sum(service.in_flight.values()) == 0
            assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


# ---------------------------------------------------------------------- a provider that raises


@pytest.mark.parametrize(
    "method",
    ["invalid", "preflight", "read_preflight", "read_listing", "start", "document", "read_document", "request", "read"],
)
@pytest.mark.parametrize("act", ["purge", "delete"])
def test_a_provider_that_raises_anywhere_ends_in_the_report(method: str, act: str) -> None:
    """S1: whatever method throws, the call returns a report with exit status 70 and counts that conserve."""

    class Broken(Dify):
        pass

    def throws(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    setattr(Broken, method, throws)
    broken = Broken(api_key=KEY, base_url="http://dify.localhost/v1", name="dify", limits=Limits(concurrency=2))
    service = Service()
    ids = [*service.fill(5), *service.fill(1, **INDEXING)]

    async def main() -> None:
        async with client(service, providers=[broken], policy=Policy(indexing="wait")) as c:
            if act == "purge":
                report = await c.purge("dify", DATASET)
            else:
                report = await c.delete(targets(ids))
                assert [settled.target.document for settled in report.settled] == ids
        # Explicit targets have no preflight, and what is not listed begins at the usual step.
        if act == "purge" or method not in ("preflight", "read_preflight", "start"):
            assert report.exit_status == 70
            assert "KeyError" in report.bug

    virtual.run(main())


# ---------------------------------------------------------------------- a run that must not exit 0


def test_targets_that_were_never_read_are_not_complete() -> None:
    """A producer that says nothing until the deadline: what it did not give is not done, so the exit status is 5."""
    service = Service()
    ids = service.fill(2)

    async def producer() -> AsyncIterator[Target]:
        for target in targets(ids):
            yield target
        await asyncio.Event().wait()

    async def main() -> None:
        async with client(service, policy=Policy(deadline=10.0)) as c:
            report = await c.delete(producer())
        assert (report.deleted, report.status, report.exit_status) == (2, "deadline", 5)

    virtual.run(main())


class Short(Service):
    """Counts two documents more than it lists, once something was deleted."""

    def read(self, request: Request, document: str) -> Reply:
        reply = super().read(request, document)
        if self.deletes and "/documents?" in request.path and isinstance(reply, Answer):
            page = json.loads(reply.body)
            return Answer(200, JSON, json.dumps(page | {"total": page["total"] + 2}).encode())
        return reply


def test_a_verification_that_misses_documents_never_exits_zero() -> None:
    """S15, S16: the last listing shows none and counts two: nothing was proved."""
    service = Short()
    service.fill(5)

    async def main() -> None:
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert (report.deleted, report.remaining, report.exit_status) == (5, None, 1)
        assert "not complete" in report.reason

    virtual.run(main())


# ---------------------------------------------------------------------- documents being indexed


def test_skip_leaves_targets_that_are_being_indexed() -> None:
    """``indexing='skip'`` never deletes a document that is being indexed, also where it was named."""
    service = Service()
    ids = [*service.fill(3), *service.fill(1, **INDEXING)]

    async def main() -> None:
        async with client(service, policy=Policy(indexing="skip")) as c:
            report = await c.delete(targets(ids))
        assert set(service.held) == {ids[3]}
        assert [settled.outcome for settled in report.settled] == ["deleted"] * 3 + ["stuck_indexing"]

    virtual.run(main())


def test_a_resumed_run_with_skip_leaves_what_is_being_indexed(tmp_path: Path) -> None:
    """A plan that was made to wait and is carried out with ``skip`` sends no DELETE to it either."""
    service = Service()
    service.fill(2)
    waiting = service.fill(1, **INDEXING)

    async def main() -> None:
        async with client(service) as c:
            await c.plan("dify", DATASET, run=tmp_path / "run")
            await c.resume(tmp_path / "run", policy=Policy(indexing="skip"))
        assert list(service.held) == waiting

    virtual.run(main())


def test_a_waiting_document_that_is_gone_after_a_crash(tmp_path: Path) -> None:
    """It was ready and in flight when the run died; the file still calls it indexing, and now it is gone: deleted."""
    service = Service(latency=0.5)
    ids = service.fill(1, **INDEXING)

    async def first(c: Client) -> None:
        await c.purge("dify", DATASET, run=tmp_path / "run")

    async def main() -> None:
        async with client(service) as c:
            going = asyncio.create_task(first(c))
            while not any(sent.method == "DELETE" for sent in service.sent):
                await asyncio.sleep(0.1)
                if asyncio.get_running_loop().time() > 1004.0:
                    service.held[ids[0]] |= {"indexing_status": "completed", "display_status": "available"}
            going.cancel()
            await asyncio.wait([going])
            service.held.clear()  # it had arrived all the same
            report = await c.resume(tmp_path / "run")
        assert [settled.outcome for settled in report.settled] == ["deleted"]
        assert "answer lost" in report.settled[0].reason

    virtual.run(main())


# ---------------------------------------------------------------------- bounds


def test_steps_are_bounded_at_once_and_not_over_a_life() -> None:
    """A document that needs a second question each time still gets all of its attempts."""
    service = Service()
    ids = service.fill(1)
    plain = service.answer

    def answer(request: Request, document: str) -> Reply:
        return error(404, "not_found", "Something else.") if request.method == "DELETE" else plain(request, document)

    service.answer = answer  # type: ignore[method-assign]

    async def main() -> None:
        async with client(service, policy=Policy(attempts=30)) as c:
            report = await c.delete(targets(ids))
        assert report.settled[0].attempts == 30

    virtual.run(main())


def test_one_dataset_is_emptied_once_and_not_named_beside() -> None:
    """A dataset twice in one call, or emptied and deleted from by name, would be counted twice: refused, none deleted."""
    service = Service()
    ids = service.fill(3)

    async def main() -> None:
        async with client(service) as c:
            wish = PurgeRequest("dify", DATASET)
            with pytest.raises(ConfigurationError, match="twice"):
                await c.carry_out([wish, wish], act="purge")
            with pytest.raises(ConfigurationError, match="target number 1 is in a dataset"):
                await c.carry_out([wish], targets=targets([*ids, document_id(99)]), act="purge")
        assert set(service.held) == set(ids)

    virtual.run(main())


# ---------------------------------------------------------------------- the record


class Slow:
    """A journal with commits of 1,000 rows that take a moment, or one that finds a broken promise."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.rows = 0
        self.breaks = breaks

    async def settled(self, batch: Sequence[tuple[int, Settled]]) -> None:
        if self.breaks:
            raise BrokenPromise("a document ended twice")
        for start in range(0, len(batch), 1_000):
            await asyncio.sleep(0.05)
            self.rows += len(batch[start : start + 1_000])


def test_a_cancellation_between_two_commits_loses_no_ending() -> None:
    """S10: what was settled when the call is cancelled is on record, all of it."""
    journal = Slow()

    async def deliver(sink: OutcomeSink) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(sink.deliver)

    async def main() -> None:
        sink = OutcomeSink(Account(), journal=journal)
        for n in range(3_000):
            job = Job(n, Target("dify", DATASET, str(n)))
            sink.settle(job, "deleted", "")
        going = asyncio.create_task(deliver(sink))
        await asyncio.sleep(0.01)
        going.cancel()
        await asyncio.wait([going])
        assert journal.rows == 3_000

    virtual.run(main())


def test_a_broken_promise_comes_out_as_itself() -> None:
    """What the journal refuses is raised to the caller as it is, not in a group of tasks that he never made."""
    service = Service()
    ids = service.fill(5)

    async def main() -> None:
        call = Call({"dify": Gate(provider(), service)}, Policy(), journal=Slow(breaks=True))
        with call, pytest.raises(BrokenPromise, match="twice"):
            await call.settle(from_sequence(targets(ids)))

    virtual.run(main())


@pytest.mark.parametrize("recorded", [True, False])
def test_a_silent_source_does_not_outlive_a_deadline(tmp_path: Path, recorded: bool) -> None:
    """Targets that are read before anything is sent (run file, guards) are left where they are when the deadline comes."""
    service = Service()
    ids = service.fill(3)

    async def source() -> AsyncIterator[Target]:
        for target in targets(ids):
            yield target
        await asyncio.Event().wait()

    async def main() -> None:
        policy = Policy(deadline=10.0, max_delete=None if recorded else 100)
        async with client(service, policy=policy) as c:
            report = await c.delete(source(), run=tmp_path / "run" if recorded else None)
        assert report.exit_status == 5
        assert report.not_attempted == 3
        assert not service.sent

    virtual.run(main(), limit=3600.0)


def test_repeats_of_one_target_are_bounded_by_the_window() -> None:
    """S18: 100,000 repeats of a target in flight are not all taken in at once, and all of them settle."""
    service = Service(latency=5.0)
    (target,) = targets(service.fill(1))
    read = 0

    def source() -> Iterator[Target]:
        nonlocal read
        for _ in range(100_000):
            read += 1
            yield target

    async def main() -> None:
        seen: list[int] = []
        async with client(service) as c:
            asyncio.get_running_loop().call_later(4.0, lambda: seen.append(read))
            report = await c.delete(source(), keep=False)
        assert report.selected == report.deleted + report.already_gone == 100_000
        assert seen[0] < 20_000

    virtual.run(main(), limit=3600.0)


def test_a_listing_that_repeats_its_page_is_not_read_for_ever() -> None:
    """A service that ignores the page number never shows an empty page: its listing fails, and nothing is deleted."""

    class Stubborn(Service):
        def read(self, request: Request, document: str) -> Reply:
            if "/documents?" in request.path:
                return Answer(200, JSON, json.dumps({"data": list(self.held.values())[:50], "has_more": True}).encode())
            return super().read(request, document)

    async def main() -> None:
        service = Stubborn()
        service.fill(120)
        async with client(service) as c:
            report = await c.purge("dify", DATASET)
        assert report.exit_status == 1
        assert "repeats a page" in report.datasets[0].reason
        assert len(service.held) == 120
        assert len(service.sent) < 10

    virtual.run(main(), limit=3600.0)


def test_a_folder_is_confirmed_once_for_all_of_its_documents() -> None:
    """Langdock's 404 without a listing is confirmed by the folder's list; the next ones know that the folder is there."""

    class Folder(Service):
        async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
            self.deletes[request.method] += 1
            await asyncio.sleep(0.01)
            if request.method == "DELETE":
                return Answer(404, JSON, b'{"message":"Attachment not found"}')
            return Answer(200, JSON, b'{"status":"success","result":[]}')

    async def main() -> None:
        service = Folder(name="langdock")
        langdock = Langdock(api_key="k" * 20, limits=Limits(concurrency=4))
        async with client(service, providers=[langdock]) as c:  # type: ignore[list-item]
            report = await c.delete([Target("langdock", "folder_abc", f"att_{n}") for n in range(50)])
        assert report.already_gone == 50
        assert service.deletes["GET"] <= 4

    virtual.run(main(), limit=3600.0)
