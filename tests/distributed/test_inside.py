"""A job, its submitter and a worker within one process, with a real Redis between them: the library's own way to use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery.contrib.testing.worker import start_worker

from bulkdel import Client, Dify, Limits, Policy, Rate, events
from bulkdel.credentials import KeyPlace
from bulkdel.distributed import redis_limiter
from bulkdel.distributed.app import create_app, recall, submit
from bulkdel.distributed.shard import Item, Service, Shard
from bulkdel.distributed.submit import RemoteWorkers
from bulkdel.errors import ConfigurationError
from bulkdel.model import PurgeRequest
from bulkdel.report import Report
from bulkdel.simulator import DifySimulator, Faults
from tests.cli.service import until
from tests.distributed.redis_server import RedisServer

POLICY = Policy(backoff=0.01, indexing_backoff=0.05)


@contextmanager
def a_worker(server: RedisServer) -> Iterator[None]:
    """A worker in a thread of this process."""
    app = create_app(server.url)
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="warning", shutdown_timeout=30):
        yield
    app.close()


async def purge(
    simulator: DifySimulator,
    server: RedisServer,
    run: Path,
    limits: Limits | None = None,
    heard: list[events.Event] | None = None,
) -> Report:
    """Empty all datasets of the service through the broker."""
    dify = Dify(simulator.key, simulator.base_url, name="prod", limits=limits)
    places = {"prod": KeyPlace(env="PROD_KEY")}
    async with (
        RemoteWorkers(server.url, "inside", places) as submitter,
        Client(dify, policy=POLICY, workers=submitter, limiter=redis_limiter(server.url)) as client,
    ):
        wishes = [PurgeRequest("prod", dataset) for dataset in simulator.dataset_ids]
        hear = None if heard is None else heard.append
        return await client.carry_out(wishes, run=run, on_event=hear)


def test_a_job_with_all_that_can_happen(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archived, failing and still indexed documents under a limit: the account, the events and the service agree."""

    async def main() -> None:
        faults = Faults(archived=2, error_500=0.05, lost=0.02, indexing=3, indexing_for=0.5)
        async with DifySimulator(documents=150, datasets=2, faults=faults) as simulator:
            monkeypatch.setenv("PROD_KEY", simulator.key)
            heard: list[events.Event] = []
            report = await purge(simulator, redis_server, tmp_path / "a.run", Limits(Rate(400), 4), heard)
            assert (report.exit_status, report.deleted, report.rejected) == (1, 296, report.rejected)
            assert report.reasons == {"archived": 4}
            assert report.requests == len(simulator.requests)
            assert report.requeued
            assert sum(isinstance(event, events.Settled) for event in heard) == 300
            assert any(isinstance(event, events.Requeued) for event in heard)
            assert simulator.remaining == 4

    with a_worker(redis_server):
        asyncio.run(main())


def test_a_service_that_pauses_and_then_refuses_the_key(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's pause is reported here; a key that is refused stops the job, with the service's words, to be resumed."""

    async def main() -> None:
        faults = Faults(rate_limit=60, rate_window=0.5, rate_style="429-retry-after", revoke_after=90)
        async with DifySimulator(documents=150, faults=faults) as simulator:
            monkeypatch.setenv("PROD_KEY", simulator.key)
            heard: list[events.Event] = []
            report = await purge(simulator, redis_server, tmp_path / "a.run", heard=heard)
            assert report.status == "stopped"
            assert report.deleted == len(simulator.deleted) == 90
            assert report.not_attempted == 60
            assert any(isinstance(event, events.Paused) for event in heard)
            assert report.pauses >= 1

    with a_worker(redis_server):
        asyncio.run(main())


def test_a_submitter_that_is_cancelled_is_followed(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mid-job: what its worker did and does is taken up by the next, and no document is asked for twice."""

    async def main() -> None:
        async with DifySimulator(documents=300, faults=Faults(latency=0.01)) as simulator:
            monkeypatch.setenv("PROD_KEY", simulator.key)
            first = asyncio.ensure_future(purge(simulator, redis_server, tmp_path / "a.run"))
            await until(lambda: len(simulator.deleted) >= 20)
            first.cancel()
            await asyncio.wait([first])
            dify = Dify(simulator.key, simulator.base_url, name="prod")
            async with (
                RemoteWorkers(redis_server.url, "inside", {"prod": KeyPlace(env="PROD_KEY")}) as submitter,
                Client(dify, policy=POLICY, workers=submitter, limiter=redis_limiter(redis_server.url)) as client,
            ):
                report = await client.resume(tmp_path / "a.run")
            assert (report.exit_status, report.deleted, report.already_gone) == (0, 300, 0)
            asked = [one.path for one in simulator.requests if one.method == "DELETE"]
            assert len(asked) == len(set(asked)) == 300

    with a_worker(redis_server):
        asyncio.run(main())


def test_a_worker_without_the_key(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and nothing is asked of the service but the listing."""
    monkeypatch.delenv("PROD_KEY", raising=False)

    async def main() -> None:
        async with DifySimulator(documents=10) as simulator:
            report = await purge(simulator, redis_server, tmp_path / "a.run")
            assert (report.exit_status, report.not_attempted) == (4, 10)
            assert "PROD_KEY is not set" in report.reason

    with a_worker(redis_server):
        asyncio.run(main())


def test_a_message_of_another_version(redis_server: RedisServer) -> None:
    """The worker says what is wrong, and asks the service for nothing."""
    with a_worker(redis_server), create_app(redis_server.url) as app:
        app.backend.store_result("s", {"begun": 0}, "SENT")
        app.send_task("bulkdel.purge_shard", [{"version": 99}], task_id="s", queue="bulkdel", ignore_result=True)
        asyncio.run(until(lambda: app.backend.get_task_meta("s")["status"] == "SUCCESS"))
        assert "another version" in app.backend.get_task_meta("s")["result"]["stopped"]


@pytest.mark.parametrize("done", [True, False])
def test_a_shard_that_is_over_is_not_begun(redis_server: RedisServer, done: bool) -> None:
    """A redelivered message finds its result, or that it was recalled, and asks the service for nothing."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"))
    shard = Shard(service, Policy(), 5.0, {"a": [Item(1, "b")]})
    with create_app(redis_server.url) as app, redis_server.client() as client:
        submit(app, "s", shard)
        if done:
            app.backend.store_result("s", {"left": "as it was"}, "SUCCESS")
        else:
            recall(app, "s")
            app.backend.forget("s")  # as a submitter does that takes a shard over which no worker had begun
        with a_worker(redis_server):
            asyncio.run(until(lambda: client.llen("bulkdel") == 0 and not client.hlen("unacked")))
        found = app.backend.get_task_meta("s")["result"]
        assert found["left"] == ("as it was" if done else [[1, 0]])
        assert not found.get("stopped")  # a shard that is begun here ends so: there is no key


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    """Before anything else is done."""

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="the broker cannot be reached"):
            async with RemoteWorkers("redis://127.0.0.1:1/0", "inside", {}):
                raise AssertionError

    asyncio.run(main())
