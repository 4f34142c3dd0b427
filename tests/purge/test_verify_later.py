"""A run's datasets are listed again, later: what came back is named, the run file keeps it, and nothing but GET is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bulkdel import Policy, Run, events
from bulkdel.errors import ConfigurationError, RunFileError
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.render.data import account
from bulkdel.render.wording import headline
from bulkdel.report import Report
from bulkdel.verification import Kind, in_words
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets


def verified(service: Service, path: Path, change: Callable[[], object] = lambda: None) -> Report:
    """Verify the run at ``path``, after ``change``; whatever is found, only GET was sent."""

    async def main() -> Report:
        change()
        sent = len(service.sent)
        async with client(service) as c:
            report = await c.verify(path)
        assert {one.method for one in service.sent[sent:]} <= {"GET"}
        return report

    return virtual.run(main)


def purged(service: Service, path: Path, *, explicit: bool = False) -> list[str]:
    """Five documents, emptied or deleted one by one; two more stand beside the latter."""

    async def main() -> list[str]:
        ids = service.fill(5)
        async with client(service) as c:
            if explicit:
                service.fill(2)
                await c.delete(targets(ids), run=path)
            else:
                await c.purge("dify", DATASET, run=path)
        return ids

    return virtual.run(main)


class Away(Service):
    """A service that is away behind a proxy."""

    def answer(self, request: Request, document: str) -> Reply:
        return Answer(503, {"content-type": "text/plain"}, b"away")


def session(path: Path) -> tuple[str | None, int | None]:
    """What the file has of the last verification: its own status and exit status."""
    with Run.open(path) as run:
        last = run.sessions()[-1]
    assert last.act == "verify"
    return last.status, last.exit_status


def recorded(path: Path) -> dict[str, object]:
    with Run.open(path) as run:
        return account(run)


@pytest.mark.parametrize("explicit", [False, True], ids=["emptied", "named one by one"])
def test_what_came_back_is_named(explicit: bool, tmp_path: Path) -> None:
    """A deleted document that is listed again: exit 1, in the report and in the file; once it is gone, exit 0 again."""
    path, service = tmp_path / "a.run", Service()
    ids = purged(service, path, explicit=explicit)
    before = dict(service.held)
    assert verified(service, path).exit_status == 0

    def come_back() -> None:
        row = {"id": ids[2], "name": "back", "created_at": 1.0, "display_status": "available", "enabled": True}
        service.held[ids[2]] = {**row, "archived": False, "indexing_status": "completed"}

    found = verified(service, path, come_back)
    (dataset,) = found.datasets
    assert (found.status, found.exit_status) == ("incomplete", 1)
    assert (dataset.still_there, dataset.still_there_count, dataset.status) == ((f"{ids[2]} back",), 1, "incomplete")
    assert found.reason == "came back after they were deleted: 1 document"
    read = recorded(path)
    assert (read["state"], read["status"], read["exit_status"], read["remaining"]) == ("incomplete", "incomplete", 1, 1)
    service.held.clear()
    service.held.update(before)
    assert verified(service, path).exit_status == 0
    read = recorded(path)
    assert (read["state"], read["status"], read["remaining"]) == ("complete", "complete", 0)
    assert read["deleted"] == 5


def test_what_came_newly_is_named(tmp_path: Path) -> None:
    """Documents that were never in the run are named and make no exit 1: nothing that was deleted is there."""
    path, service = tmp_path / "a.run", Service()
    purged(service, path)
    found = verified(service, path, lambda: service.fill(3))
    assert (found.exit_status, found.remaining, found.datasets[0].new_count) == (0, 3, 3)
    assert recorded(path)["remaining"] == 3


def test_what_cannot_be_listed_is_not_verified(tmp_path: Path) -> None:
    """S15: a dataset that the service does not list makes exit 1, and the reason says so."""
    path, service = tmp_path / "a.run", Service()
    purged(service, path)

    def refuse() -> None:
        service.dataset_gone = True

    found = verified(service, path, refuse)
    assert found.exit_status == 1
    assert found.reason.startswith("could not be verified")
    assert found.verified.startswith("Not verified: ")
    assert session(path) == ("incomplete", 1)
    assert (recorded(path)["state"], recorded(path)["remaining"]) == ("complete", 0)


def test_a_service_that_is_away_verifies_nothing(tmp_path: Path) -> None:
    """Nothing was listed: stopped, with the provider's reason as the one sentence; the run stays what it was."""
    path, service = tmp_path / "a.run", Service()
    purged(service, path)

    before = recorded(path)

    def away() -> None:
        service.down = True

    found = verified(service, path, away)
    assert (found.status, found.exit_status) == ("stopped", 4)
    assert found.verified == f"Not verified: {found.reason}"
    assert "could not be reached" in found.reason
    assert session(path) == ("stopped", 4)
    after = recorded(path)
    cost = {"elapsed_s", "waited_s", "requests", "pauses", "requeued"}
    assert {key for key in after if after[key] != before[key]} <= cost


@pytest.mark.parametrize(
    ("deleted", "shown", "sentence"),
    [
        (1, {}, "Verified: none of 1 deleted document came back"),
        ((20, 3), {}, "Verified: none of the 20 deleted and 3 already gone documents came back"),
        (22, {}, "Verified: none of the 22 deleted documents came back"),
        (3, {"not attempted": 94},
         "Verified: none of the 3 deleted documents came back; 94 of the run's documents are still there (not attempted)"),
        (3, {"rejected": 1, "skipped": 2, "new": 1},
         "Verified: none of the 3 deleted documents came back; 3 of the run's documents are still there"
         " (1 rejected, 2 skipped); 1 document came newly"),
        (5, {"deleted": 1}, "Not everything is gone: 1 of the 5 deleted documents is listed again"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_there(deleted: int | tuple[int, int], shown: dict[Kind, int], sentence: str) -> None:
    gone = (deleted,) if isinstance(deleted, int) else deleted
    assert in_words(Counter(shown), *gone) == sentence


def test_an_outage_is_no_finding(tmp_path: Path) -> None:
    """Every question is answered 503: exit 4, with a hint, and the run stays what it was; the next verification exits 0."""
    path, service = tmp_path / "a.run", Service()
    purged(service, path)

    async def main() -> Report:
        async with client(Away()) as c:
            return await c.verify(path, policy=Policy(attempts=2))

    found = virtual.run(main)
    assert (found.status, found.exit_status, bool(found.hint)) == ("stopped", 4, True)
    assert found.verified == "Not verified: gave up after 2 attempts: HTTP 503: away"
    assert (recorded(path)["state"], recorded(path)["remaining"]) == ("complete", 0)
    assert verified(service, path).exit_status == 0


def test_a_killed_runs_rest_is_named(tmp_path: Path) -> None:
    """A run that was broken off: nothing came back, and what it left is said to be still there, by the report and in words."""
    path, service = tmp_path / "a.run", Service(latency=0.3)
    service.fill(8)

    async def main() -> Report:
        async with client(service, providers=[provider(concurrency=1)]) as c:
            service.when[5] = c.stop
            await c.purge("dify", DATASET, run=path)
            return await c.verify(path)

    found = virtual.run(main)
    left = len(service.held)
    assert (found.exit_status, found.remaining) == (0, left)
    assert found.verified.endswith(f"{left} of the run's documents are still there (not attempted)")
    assert headline(found) == found.summary() == found.as_dict()["verified"] == found.verified


def test_a_run_stays_what_it_was(tmp_path: Path) -> None:
    """An interrupted run is verified as far as it got, and goes on afterwards; a verification that is broken off is no end."""
    path, service = tmp_path / "a.run", Service(latency=0.3)
    service.fill(8)

    async def begin() -> None:
        async with client(service, providers=[provider(concurrency=1)]) as c:
            service.when[5] = c.stop
            assert (await c.purge("dify", DATASET, run=path)).exit_status == 130
            assert (await c.verify(path)).status == "complete"
            task = asyncio.ensure_future(c.verify(path))
            service.when[len(service.sent) + 1] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
            with suppress(asyncio.CancelledError):
                await task

    async def go_on() -> Report:
        async with client(service) as c:
            return await c.resume(path)

    virtual.run(begin)
    broken_off = recorded(path)
    assert (broken_off["state"], broken_off["status"]) == ("interrupted", "interrupted")
    assert virtual.run(go_on).deleted == 8
    assert recorded(path)["state"] == "complete"


def test_a_rejection_is_not_the_verifications(tmp_path: Path) -> None:
    """A run in which a document was refused stays incomplete; what it deleted is still gone, so the verification exits 0."""
    path, service = tmp_path / "a.run", Service()

    async def main() -> None:
        service.script(service.fill(4)[1], ["400"])
        async with client(service) as c:
            assert (await c.purge("dify", DATASET, run=path)).exit_status == 1

    virtual.run(main())
    assert verified(service, path).exit_status == 0
    assert session(path) == ("complete", 0)
    assert (recorded(path)["state"], recorded(path)["exit_status"]) == ("incomplete", 1)


def test_there_is_nothing_to_verify(tmp_path: Path) -> None:
    """A plan has deleted nothing; a run is verified at its own address alone."""
    path, service, other = tmp_path / "a.run", Service(), Service(name="other")
    service.fill(3)

    async def main() -> None:
        async with client(service) as c:
            await c.plan("dify", DATASET, run=path)
            with pytest.raises(RunFileError, match="nothing was deleted in this run"):
                await c.verify(path)
        async with client(other) as c:
            with pytest.raises(ConfigurationError, match="needs a provider that was not given"):
                await c.verify(path)

    virtual.run(main())


def test_a_run_at_work_is_not_verified(tmp_path: Path) -> None:
    """Its file is held: the one that works on it is named, and goes on as if nothing had been asked."""
    path, service = tmp_path / "a.run", Service(latency=0.3)
    service.fill(8)

    async def main() -> Report:
        async with client(service, providers=[provider(concurrency=1)]) as c:
            on_record = asyncio.Event()

            def on_event(event: object) -> None:
                if isinstance(event, events.Settled):
                    on_record.set()

            going = asyncio.ensure_future(c.purge("dify", DATASET, run=path, on_event=on_event))
            await on_record.wait()
            with pytest.raises(RunFileError, match="is being used by"):
                await c.verify(path)
            return await going

    report = virtual.run(main)
    assert (report.exit_status, report.deleted) == (0, 8)
    assert recorded(path)["state"] == "complete"


def test_targets_are_not_called_documents(tmp_path: Path) -> None:
    """Three targets that are two documents: what was deleted are targets, what is listed again are documents."""
    path, service = tmp_path / "a.run", Service()
    ids = service.fill(2)
    before = dict(service.held)

    async def main() -> None:
        async with client(service) as c:
            assert (await c.delete(targets([ids[0], ids[0].upper(), ids[1]]), run=path)).ok

    virtual.run(main())
    assert verified(service, path).verified == "Verified: none of the 3 deleted targets came back"
    found = verified(service, path, lambda: service.held.update(before)).verified
    assert found == "Not everything is gone: 2 documents of the 3 deleted targets are listed again"
