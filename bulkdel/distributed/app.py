"""The Celery application: one task, delivered again until it has ended, with settings under which nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote

from celery import Celery
from celery.exceptions import Reject
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutting_down

from bulkdel.distributed.shard import Shard, ShardResult
from bulkdel.errors import ConfigurationError

QUEUE: Final = "bulkdel"
TASK: Final = "bulkdel.purge_shard"

VARIABLE: Final = "BULKDEL_BROKER_URL"
"""The variable with the broker's address, for ``celery -A bulkdel.distributed.worker worker``."""

PASSWORD: Final = "BULKDEL_BROKER_PASSWORD"
"""The variable with its password, for addresses that do not hold it: a command line can be read by others."""

REDELIVER_S: Final = 100.0
"""Seconds after which Redis gives a message that was not acknowledged to another worker: a time box of 30 s, the 60 s that the last
request may take, and 10 s to store the result."""

MAX_WORKER_LOSSES: Final = 3
"""Workers that may be lost over one shard; then what is left of it is rejected, or it would take one after the other."""

SENT, BEGUN, RECALLED, DONE = "SENT", "BEGUN", "RECALLED", "SUCCESS"
"""What the result backend says of a shard. What it does not know is ``PENDING`` to Celery."""


def redeliver_s() -> float:
    """Seconds until a lost worker's message is delivered again: ``BULKDEL_REDELIVER_S``, the same for all of a broker."""
    return seconds("BULKDEL_REDELIVER_S", REDELIVER_S)


def box_s() -> float:
    """Seconds that a shard may take: a third of what a message may stay unacknowledged, 30 s at most."""
    return min(30.0, redeliver_s() / 3)


def seconds(name: str, default: float, environ: Mapping[str, str] | None = None) -> float:
    """A duration from the environment.

    :raises ConfigurationError: if it is no number of seconds above 0
    """
    found = (os.environ if environ is None else environ).get(name, "").strip()
    try:
        value = float(found) if found else default
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} must be a number of seconds: {found!r}")
    return value


def redis_url(broker: str, environ: Mapping[str, str] | None = None) -> str:
    """The address as Redis' client takes it: ``celery://`` is ``redis://``, and a password that it lacks is the environment's.

    :raises ConfigurationError: if it is no address of a Redis; the message does not repeat it, it may hold a password
    """
    scheme, mark, rest = broker.partition("://")
    if scheme == "celery":
        scheme = "redis"
    if not mark or scheme not in ("redis", "rediss") or not rest:
        raise ConfigurationError(
            "the broker must be a Redis, as redis://HOST:6379/0 or rediss://…", hint="celery:// means redis://"
        )
    password = (os.environ if environ is None else environ).get(PASSWORD, "")
    if password and "@" not in rest:
        rest = f":{quote(password, safe='')}@{rest}"
    return f"{scheme}://{rest}"


def without_password(broker: str) -> str:
    """The address as it may be kept and shown."""
    scheme, mark, rest = broker.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def create_app(broker_url: str) -> Celery:
    """The application with its task, for workers and for those who submit.

    :raises ConfigurationError: if ``broker_url`` is no address of a Redis
    """
    url = redis_url(broker_url)
    app = Celery("bulkdel", broker=url, backend=url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_expires=86_400,  # a job that was killed is resumed within a day, or asks again
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": redeliver_s(),
            "unacked_restore_throttle": 1,  # look every 10 s for what a lost worker had, not every 100 s (kombu 5.7)
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
        },
        # Who waits for a Redis that is away is the caller; Celery's own 20 tries would hold up its end.
        result_backend_transport_options={"retry_policy": {"max_retries": 1, "interval_start": 0.2}},
        redis_socket_timeout=30,
        redis_socket_connect_timeout=5,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # its requests in flight cannot be undone
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 1},
    )

    def purge_shard(task: Any, message: dict[str, Any]) -> None:
        """Carry out a shard and store its result. May be delivered any number of times: a result stays as it is."""
        try:
            result = _purge_shard(task, url, message)
        except Exception as error:
            # Celery would acknowledge a task that raised, and its documents would wait for ever.
            result = ShardResult(bug=type(error).__name__)
        if result is None:
            return
        try:  # before the message is acknowledged
            task.update_state(state=DONE, meta=asdict(result))
        except Exception as error:  # Redis cannot be reached: the message is delivered again
            raise Reject(type(error).__name__, requeue=True) from error

    # Not shared: else every application of the process would have it, with this broker.
    app.task(name=TASK, shared=False, bind=True, ignore_result=True)(purge_shard)
    return app


def submit(app: Celery, id: str, shard: Shard) -> None:
    """Queue a shard; what it is known by is stored first, so that a Redis that has forgotten it is noticed."""
    app.backend.store_result(id, {"begun": 0}, SENT)
    app.send_task(
        TASK,
        args=[shard.as_message()],
        task_id=id,
        queue=QUEUE,
        argsrepr=f"({id!r},)",  # logs and monitors need no list of documents
        ignore_result=True,  # the task stores it itself, before the message is acknowledged
    )


def recall(app: Celery, id: str) -> None:
    """Have nothing more leave for a shard, wherever it is.

    It has an entry of its own: Celery reads an entry before it writes it, and the worker's result must not be lost in between.
    The entry stays, for the message may still be in the queue when the shard's own entry is forgotten.
    """
    app.backend.store_result(f"{id}-recalled", {}, RECALLED)


def is_recalled(app: Celery, id: str) -> bool:
    return bool(app.backend.get_task_meta(f"{id}-recalled")["status"] == RECALLED)


def _purge_shard(task: Any, url: str, message: dict[str, Any]) -> ShardResult | None:
    """What comes home of a shard; None if its result has been stored before."""
    from bulkdel.distributed.work import carry_out

    id = task.request.id
    known = task.app.backend.get_task_meta(id)
    if known["status"] == DONE:
        return None
    try:
        shard = Shard.from_message(message)
    except (ValueError, KeyError, TypeError) as error:
        hint = "install the same bulkdel on every machine"
        return ShardResult(stopped=f"a worker does not understand the message: {error}", hint=hint)
    # A message that the backend has forgotten may have been begun any number of times.
    losses = known["result"]["begun"] if known["status"] in (SENT, BEGUN) else 1
    if is_recalled(task.app, id):
        return ShardResult.not_begun(shard)
    if losses >= MAX_WORKER_LOSSES:
        return ShardResult.given_up(shard, losses)
    task.update_state(state=BEGUN, meta={"begun": losses + 1, "beat": 0})

    beats = itertools.count(1)

    def report(now: Mapping[str, object]) -> bool:
        try:
            # In another thread the task does not know its request.
            task.update_state(id, BEGUN, {"begun": losses + 1, "beat": next(beats), **now})
            recalled = is_recalled(task.app, id)
        except Exception:  # a Redis that is away stops the limiter, too, and that stops the sends
            recalled = False
        return recalled or _ending.is_set()

    return asyncio.run(carry_out(shard, url, report, doubt=losses > 0))


def run_worker(broker_url: str, concurrency: int) -> int:
    """Work until a signal ends it; the worker's exit status. What it logs goes to the loggers as they are set up.

    :raises ConfigurationError: if ``broker_url`` is no address of a Redis
    """
    app = create_app(broker_url)
    setup_logging.connect(lambda **_: None, weak=False)  # Celery sets up no logging if a receiver could have done it
    # It warns root of messages that run code as they are read; these are JSON, and nothing else is taken.
    warnings.simplefilter("ignore", SecurityWarning)
    worker = app.Worker(
        concurrency=concurrency, loglevel=logging.INFO, without_gossip=True, without_mingle=True, quiet=True
    )
    began: list[object] = []
    worker_ready.connect(lambda **_: began.append(worker), weak=False)
    worker.start()
    if worker.exitcode and began and not _ending.is_set():
        # Kombu 5.7 cannot give a message back whose connection is gone (Channel.close, AttributeError), and Celery takes that
        # for the end. A broker that comes back finds its workers: begin again in this process' place.
        time.sleep(1.0)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return int(worker.exitcode or 0)


# A worker's children learn from it that the worker ends; made before they are forked.
_ending = multiprocessing.get_context("fork").Event()
worker_init.connect(lambda **_: _ending.clear(), weak=False)
worker_shutting_down.connect(lambda **_: _ending.set(), weak=False)
