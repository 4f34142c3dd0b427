"""Jobs through a real Redis to real workers: the same account as a local run, whichever process dies on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

from bulkdel.simulator import Faults
from bulkdel.simulator.faults import Mishap
from tests.cli.service import until
from tests.distributed.crew import KEY_NAME, Crew, account, with_crew
from tests.distributed.redis_server import RedisServer

COUNTS = (
    "status", "exit_status", "listed", "selected", "skipped", "deleted", "already_gone", "rejected", "not_attempted",
    "remaining", "reasons",
)  # fmt: skip
"""Of the account, what a local run and one on several machines must have in common."""


def test_the_account_is_that_of_a_local_run(redis_server: RedisServer, tmp_path: Path) -> None:
    """Two datasets with archived documents and errors: the same counts, reasons and exit status, and each document named."""

    async def both(crew: Crew) -> None:
        crew.job(policy='backoff = "50ms"')
        crew.worker(concurrency=2)
        far = account(await crew.submit("--settled", str(crew.folder / "far.jsonl")).end())
        outcomes.append({key: far[key] for key in COUNTS})
        assert far["requeued"]
        assert far["requests"] == len(crew.simulator.requests)
        assert crew.simulator.remaining == 6
        assert Counter(one.outcome for one in await crew.settled()) == {"deleted": 394, "archived": 6}
        assert len((crew.folder / "far.jsonl").read_text().splitlines()) == 400

    async def alone(crew: Crew) -> None:
        crew.job(policy='backoff = "50ms"')
        near = account(await crew.run("job", str(crew.folder / "job.toml"), "--yes", "--json"))
        outcomes.append({key: near[key] for key in COUNTS})

    outcomes: list[dict[str, object]] = []
    faults = Faults(archived=3, error_500=0.05)
    for n, work in enumerate((both, alone)):
        folder = tmp_path / str(n)
        folder.mkdir()
        with_crew(work, redis_server.url, folder, documents=200, datasets=2, seed=7, faults=faults)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["exit_status"] == 1


def test_workers_send_the_headers_of_a_header_file(redis_server: RedisServer, tmp_path: Path) -> None:
    """$ bulkdel job … --broker with header_file in a provider: each request has them, whichever process sends it; their values are in no
    message, run file or log."""
    secret = "gateway-token-0123456789"

    async def work(crew: Crew) -> None:
        headers = crew.folder / "headers"
        headers.write_text(f"X-Gateway: {secret}\r\n")
        headers.chmod(0o600)
        crew.job(provider='header_file = "headers"')
        job = crew.submit("-v")
        await until(lambda: keys(redis_server, "bulkdel"))
        with redis_server.client() as client:
            assert secret not in str(client.lrange("bulkdel", 0, -1))
        worker = crew.worker()
        ended = await job.end()
        found = account(ended)
        assert (found["exit_status"], found["deleted"]) == (0, 60), ended.stderr
        deletes = [one for one in crew.simulator.requests if one.method == "DELETE"]
        assert len(deletes) == 60
        assert {one.headers["X-Gateway"] for one in crew.simulator.requests} == {secret}
        assert secret not in ended.stderr + ended.stdout + worker.said
        assert secret.encode() not in (crew.folder / "job.run").read_bytes()

    with_crew(work, redis_server.url, tmp_path, documents=60)


def test_a_worker_that_is_killed_loses_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """kill -9 of a worker with its children: its shard alone is asked again, and what it had done counts as deleted."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        victim = crew.worker()
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 70)
        victim.kill()
        crew.worker()  # it looks for what was lost every ten seconds
        found = account(await job.end())
        assert {key: found[key] for key in ("exit_status", "deleted", "already_gone", "remaining")} == {
            "exit_status": 0, "deleted": 400, "already_gone": 0, "remaining": 0,
        }  # fmt: skip
        again = [path for path, n in crew.asked.items() if n > 1]
        assert len(again) <= 100  # a shard
        assert max(crew.asked.values()) <= 2

    # With 6 s, a slow machine's live worker could lose a shard, too: only this test has so few.
    with_crew(work, redis_server.url, tmp_path, {"BULKDEL_REDELIVER_S": "6"}, documents=200, datasets=2)


def test_a_terminated_worker_hands_the_rest_back(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGTERM: what is in flight ends, nothing is asked twice, and another worker has the rest long before a redelivery."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        first = crew.worker()
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 70)
        assert await first.terminate() == 0
        assert len(crew.simulator.deleted) < 400
        crew.worker()
        found = account(await job.end())
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 400, 0)
        assert max(crew.asked.values()) == 1

    with_crew(work, redis_server.url, tmp_path, documents=400)


def test_a_job_that_is_interrupted_goes_on(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGTERM of the job: the workers stop sending, exit 143, nothing is lost; resume goes on through the same broker."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        crew.worker(concurrency=2)
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 40)
        crew.simulator.set_faults(latency=2.0)  # workers that do not learn of it would be at it for half a minute
        job.send(signal.SIGTERM)
        ended = await job.end()
        found = account(ended)
        assert found["deleted"] < 150
        crew.simulator.set_faults(latency=0.02)
        assert (ended.status, found["status"]) == (143, "interrupted")
        assert found["deleted"] == len(crew.simulator.deleted)
        assert found["not_attempted"] == 400 - found["deleted"] > 0
        assert ended.last.startswith("bulkdel resume ")
        asked = sum(crew.asked.values())
        again = await crew.resume().end()  # the run remembers its broker
        found = account(again)
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 400, 0), again.stderr
        assert max(crew.asked.values()) == 1
        assert asked < 400

    with_crew(work, redis_server.url, tmp_path, documents=400)


def test_a_job_that_is_killed_is_found_again(redis_server: RedisServer, tmp_path: Path) -> None:
    """kill -9 of the job: workers go on, resume takes what they did meanwhile and asks only for what was not done."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        crew.worker(concurrency=2)
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 40)
        job.send(signal.SIGKILL)
        assert (await job.end()).status == -9
        at_death = len(crew.simulator.deleted)
        await until(lambda: len(crew.simulator.deleted) >= at_death + 100)  # no job waits for them
        ended = await crew.resume().end()
        found = account(ended)
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 600, 0), ended.stderr
        assert max(crew.asked.values()) == 1

    with_crew(work, redis_server.url, tmp_path, documents=600)


def test_one_submitter_at_a_time(redis_server: RedisServer, tmp_path: Path) -> None:
    """A copy of the run file on another host is refused while the job is submitted, with who submits it."""

    async def work(crew: Crew) -> None:
        crew.job()
        job = crew.submit()  # no worker is there: it waits
        await until(
            lambda: (
                ((crew.folder / "job.run").exists() and keys(redis_server, "unacked*")) or keys(redis_server, "bulkdel")
            )
        )
        (crew.folder / "copy.run").write_bytes((crew.folder / "job.run").read_bytes())
        for suffix in ("-wal", "-shm"):
            if (beside := crew.folder / f"job.run{suffix}").exists():
                (crew.folder / f"copy.run{suffix}").write_bytes(beside.read_bytes())
        second = await crew.run("resume", str(crew.folder / "copy.run"), "--yes", "--json")
        assert second.status == 2
        assert f"another process submits this job: process {job.pid} on " in second.stderr
        crew.worker()
        found = account(await job.end())
        assert (found["exit_status"], found["deleted"]) == (0, 60)
        assert max(crew.asked.values()) == 1

    with_crew(work, redis_server.url, tmp_path, documents=60)


def test_a_bad_document_does_not_hold_up_its_shard(redis_server: RedisServer, tmp_path: Path) -> None:
    """It is rejected with the service's reason; the others of the shard go."""

    async def work(crew: Crew) -> None:
        (dataset,) = crew.simulator.dataset_ids
        bad = crew.simulator.documents(dataset)[10].id
        crew.simulator.set_faults(mishaps_of={bad: [Mishap.ERROR] * 9})
        crew.job(policy='backoff = "10ms"\nattempts = 3')
        crew.worker()
        found = account(await crew.submit().end())
        assert (found["exit_status"], found["deleted"], found["reasons"]) == (1, 59, {"gave_up": 1})

    with_crew(work, redis_server.url, tmp_path, documents=60)


def test_a_shard_that_takes_workers_with_it_is_given_up(redis_server: RedisServer, tmp_path: Path) -> None:
    """After three lost workers what is left of it is rejected with that reason, and the job comes to its end."""

    async def work(crew: Crew) -> None:
        crew.job()
        job = crew.submit()
        await until(lambda: keys(redis_server, "bulkdel"))  # it was listed, and the shard waits for a worker
        crew.simulator.set_faults(latency=600.0)
        worker = crew.worker()
        for n in (1, 2, 3):
            await until(lambda n=n: begun(redis_server) == n)
            worker.kill_children()
        crew.simulator.set_faults(latency=0.0)
        found = account(await job.end())
        assert found["exit_status"] == 1
        assert found["reasons"] == {"gave_up": 50}
        lost = "3 workers were lost while they worked on the shard (batch of documents) with this one"
        assert {one.reason for one in await crew.settled()} == {lost}

    with_crew(work, redis_server.url, tmp_path, documents=50)


def test_a_worker_without_the_key_says_so(redis_server: RedisServer, tmp_path: Path) -> None:
    """Exit 4 with the variable's name and the host; nothing was deleted, and resume goes on once it is set."""

    async def work(crew: Crew) -> None:
        crew.job()
        wrong = crew.worker(**{KEY_NAME: ""})
        ended = await crew.submit().end()
        assert ended.status == 4
        assert f"no key for prod: {KEY_NAME} is not set" in ended.stderr
        assert account(ended)["not_attempted"] == 60
        wrong.kill()
        crew.worker()
        assert account(await crew.resume().end())["deleted"] == 60

    with_crew(work, redis_server.url, tmp_path, documents=60)


def test_the_key_never_reaches_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    """Not in a message, not on the board, not in the limiter's state: everything that was sent to Redis was looked through."""

    async def work(crew: Crew) -> None:
        crew.job(provider='rate = "500/s"')
        with redis_server.client() as client, client.monitor() as monitor:
            seen: list[str] = []
            reader = asyncio.ensure_future(asyncio.to_thread(_listen, monitor, seen))
            crew.worker()
            found = account(await crew.submit().end())
            client.echo("the end")
            await reader
        assert found["deleted"] == 60
        assert any("purge_shard" in line for line in seen)
        secret = crew.simulator.key.removeprefix("dataset-")
        assert not [line for line in seen if secret in line]

    with_crew(work, redis_server.url, tmp_path, documents=60)


def _listen(monitor: object, seen: list[str]) -> None:
    for command in monitor.listen():  # type: ignore[attr-defined]
        seen.append(command["command"])
        if "the end" in command["command"]:
            return


def test_a_flushed_redis_loses_nothing(own_redis: RedisServer, tmp_path: Path) -> None:
    """Messages, board and limit forgotten in mid-job: what has no ending is asked again, and what was done counts as deleted."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        crew.worker(concurrency=2)
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 60)
        own_redis.flush()
        ended = await job.end()
        found = account(ended)
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 400, 0), ended.stderr

    with_crew(work, own_redis.url, tmp_path, documents=400)


def test_a_redis_that_is_restarted_loses_nothing(own_redis: RedisServer, tmp_path: Path) -> None:
    """Killed and started again with nothing on disk: nothing leaves meanwhile, and the job comes to its end."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        crew.worker(concurrency=2, fresh=True)  # it may begin again in its process' place
        job = crew.submit()
        await until(lambda: len(crew.simulator.deleted) >= 60)
        await asyncio.to_thread(own_redis.stop)
        await asyncio.to_thread(own_redis.start)
        ended = await job.end()
        found = account(ended)
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 400, 0), ended.stderr

    with_crew(work, own_redis.url, tmp_path, documents=400)


def test_a_redis_that_is_gone_stops_the_job(own_redis: RedisServer, tmp_path: Path) -> None:
    """Exit 4 after the patience, nothing leaves, and resume goes on when it is back, with nothing lost."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.simulator.set_faults(latency=0.02)
        crew.worker(concurrency=2, fresh=True)
        job = crew.submit(BULKDEL_PATIENCE_S="1")
        await until(lambda: len(crew.simulator.deleted) >= 60)
        await asyncio.to_thread(own_redis.stop)
        ended = await job.end()
        found = account(ended)
        assert (ended.status, found["status"]) == (4, "stopped")
        assert "the broker is away" in ended.stderr or "the limit could not be kept" in ended.stderr
        await asyncio.to_thread(own_redis.start)
        found = account(await crew.resume().end())
        assert (found["exit_status"], found["deleted"], found["already_gone"]) == (0, 400, 0)

    with_crew(work, own_redis.url, tmp_path, documents=400)


def test_no_broker_there(tmp_path: Path) -> None:
    """Exit 2 with the hint, and nothing was sent to the service."""

    async def work(crew: Crew) -> None:
        crew.job()
        ended = await crew.submit().end()
        assert ended.status == 2
        assert "the broker cannot be reached" in ended.stderr
        assert not crew.simulator.requests

    with_crew(work, "redis://127.0.0.1:1/0", tmp_path, documents=5)


def begun(server: RedisServer) -> int:
    """How often the one shard that there is was begun."""
    with server.client() as client:
        metas = [
            json.loads(client.get(key) or "{}") for key in client.keys("celery-task-meta-*") if "submitter" not in key
        ]
    return max((meta["result"].get("begun", 0) for meta in metas if meta), default=0)


def keys(server: RedisServer, pattern: str) -> list[str]:
    with server.client() as client:
        return [str(key) for key in client.keys(pattern)]


def test_documents_that_are_being_indexed(redis_server: RedisServer, tmp_path: Path) -> None:
    """Workers wait for them, the submitter's account counts each wait, and none is deleted before it is ready."""

    async def work(crew: Crew) -> None:
        crew.job(policy='backoff = "50ms"\nindexing = "wait"')
        (dataset,) = crew.simulator.dataset_ids
        late = [crew.simulator.add_document(dataset, status="indexing") for _ in range(10)]
        crew.worker()
        job = crew.submit()
        requests = crew.simulator.requests
        await until(lambda: len(crew.simulator.deleted) == 50 and requests[-1].method == "GET")  # a look at the others
        for document in late:
            crew.simulator.remove_document(dataset, document)
            crew.simulator.add_document(dataset, id=document)
        found = account(await job.end())
        assert (found["exit_status"], found["deleted"]) == (0, 60)
        assert found["requeued"]["document_indexing"] >= 10
        assert crew.simulator.orphans == 0

    with_crew(work, redis_server.url, tmp_path, documents=50)


def test_a_vanished_dataset_is_a_stopped_one(redis_server: RedisServer, tmp_path: Path) -> None:
    """As in a local run: its documents are rejected, with the service's words, and the other dataset is emptied."""

    async def work(crew: Crew) -> None:
        crew.job()
        crew.worker()
        ended = await crew.submit().end()
        found = account(ended)
        assert found["exit_status"] == 1
        assert sorted(one["status"] for one in found["datasets"]) == ["complete", "stopped"]
        assert found["reasons"].keys() == {"dataset_stopped"}
        assert "dataset stopped" in ended.stderr

    with_crew(work, redis_server.url, tmp_path, documents=100, datasets=2, faults=Faults(vanish_after=30))


def test_celerys_own_command_with_a_wrong_clock(redis_server: RedisServer, tmp_path: Path) -> None:
    """$ celery -A bulkdel.distributed.worker worker, on a host whose clock is a day ahead: the same, and its time is shown nowhere."""

    async def work(crew: Crew) -> None:
        (crew.folder / "sitecustomize.py").write_text(
            "import time\n_was = time.time\ntime.time = lambda: _was() + 86400\n"
        )
        crew.job(provider='rate = "400/s"')
        crew.celery(PYTHONPATH=f"{crew.folder}:{os.getcwd()}")
        began = time.time()
        found = account(await crew.submit().end())
        assert (found["exit_status"], found["deleted"]) == (0, 60)
        assert all(began - 1 <= one.settled_at <= time.time() + 1 for one in await crew.settled())

    with_crew(work, redis_server.url, tmp_path, documents=60)
