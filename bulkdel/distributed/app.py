"""The Celery application: one task, redelivered until it has ended, with settings under which nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_shutting_down

from bulkdel.distributed.shard import Shard
from bulkdel.errors import ConfigurationError

QUEUE: Final = "bulkdel"
TASK: Final = "bulkdel.purge_shard"

VARIABLE: Final = "BULKDEL_BROKER_URL"
"""The variable with the broker's address, for ``celery -A bulkdel.distributed.worker worker``."""

PASSWORD: Final = "BULKDEL_BROKER_PASSWORD"
"""The variable with its password, for addresses that do not hold it: a command line can be read by others."""

REDELIVER_S: Final = 3600
"""Seconds after which Redis gives a message that nobody acknowledged to another worker: longer than the longest shard. The
submitter sees a lost worker after a lease; this is for shards whose submitter is away, too."""

LEASE_S: Final = 15.0
"""Seconds for which a worker's word holds that it works on a shard: several missed words, and short beside a shard."""


def seconds(name: str, default: float, environ: Mapping[str, str] | None = None) -> float:
    """A duration from the environment.

    :raises ConfigurationError: where it is no number of seconds above 0
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

    :raises ConfigurationError: where it is no address of a Redis; the message does not repeat it, it may hold a password
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

    :raises ConfigurationError: where ``broker_url`` is no address of a Redis
    """
    url = redis_url(broker_url)
    app = Celery("bulkdel", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,  # endings come home through the board
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": seconds("BULKDEL_REDELIVER_S", REDELIVER_S),
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the board notices; work in flight is not undone
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 1},
    )

    def purge_shard(message: dict[str, Any]) -> str:
        """Delete what a shard holds, and send each ending home. May run any number of times: what has an ending stays."""
        return _purge_shard(url, message, lambda again: submit(app, again))

    app.task(name=TASK, shared=False)(purge_shard)  # else every app of the process would have it, with this broker
    return app


def run_worker(broker_url: str, concurrency: int) -> int:
    """Work until told to end; the worker's exit status. What it logs goes to the loggers as they are set up.

    :raises ConfigurationError: where ``broker_url`` is no address of a Redis
    """
    app = create_app(broker_url)
    setup_logging.connect(_as_it_is)
    # It warns root of messages that run code as they are read; these are JSON, and nothing else is taken.
    warnings.simplefilter("ignore", SecurityWarning)
    worker = app.Worker(
        concurrency=concurrency, loglevel=logging.INFO, without_gossip=True, without_mingle=True, quiet=True
    )
    worker.start()
    return int(worker.exitcode or 0)


def _as_it_is(**_: Any) -> None:
    """Celery sets up no logging where somebody listens who could have done it."""


def submit(app: Celery, shard: Shard) -> None:
    """Queue a shard."""
    app.send_task(
        TASK,
        args=[shard.as_message()],
        queue=QUEUE,
        argsrepr=f"({shard.id!r},)",  # logs and monitors need no list of documents
        ignore_result=True,
    )


def _purge_shard(url: str, message: dict[str, Any], send: Callable[[Shard], None]) -> str:
    from bulkdel.distributed.delivery import refuse, work

    lease_s = seconds("BULKDEL_LEASE_S", LEASE_S)
    try:
        shard = Shard.from_message(message)
    except (ValueError, KeyError, TypeError) as error:
        asyncio.run(refuse(message, str(error), url, lease_s=lease_s))
        return "gone"
    result = asyncio.run(work(shard, url, lease_s=lease_s, told_to_end=_ending.is_set))
    if result.again is not None:
        send(result.again)
    return result.became


# A worker's children learn from it that the worker ends; made before they are forked.
_ending = multiprocessing.get_context("fork").Event()


def _begins(**_: Any) -> None:
    _ending.clear()


def _ends(**_: Any) -> None:
    _ending.set()


worker_init.connect(_begins)
worker_shutting_down.connect(_ends)
