"""A run whose deletes are made by workers on other machines: the option, and what the client needs for it."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import Options, usage_error
from bulkdel.cli.providers import places_of_run
from bulkdel.credentials import KeyPlace
from bulkdel.errors import ConfigurationError
from bulkdel.store import RunHeader

HEADER = "distributed"
"""What a run's header calls its broker and its job's name."""

Workers = Callable[[], AbstractAsyncContextManager[dict[str, Any]]]
"""Opens the way to the workers: while it is open, these are the client's options so that they make its deletes."""


@asynccontextmanager
async def _submitting(
    url: str, job: str, places: Mapping[str, KeyPlace], retries: bool
) -> AsyncIterator[dict[str, Any]]:
    """:raises ConfigurationError: if the broker cannot be reached, or another process submits the job"""
    from bulkdel.distributed.app import redis_url, seconds
    from bulkdel.distributed.submit import PATIENCE_S, RemoteWorkers
    from bulkdel.limits.redis_store import redis_limiter

    patience_s = seconds("BULKDEL_PATIENCE_S", PATIENCE_S)
    async with RemoteWorkers(url, job, places, patience_s=patience_s, retries=retries) as submitter:
        yield {"workers": submitter, "limiter": redis_limiter(redis_url(url), patience=patience_s)}


def begin(
    options: Options, places: Mapping[str, KeyPlace], app: AppContext
) -> tuple[Workers | None, dict[str, dict[str, str]]]:
    """The workers of a new job, None if it is done here, and what of them its header keeps: no password.

    :raises ConfigurationError: if the address is wrong, or the extra is not installed
    """
    url = options.broker
    if url is None or url == "none":
        return None, {}
    if options.no_run and not options.dry_run:
        usage_error("--broker needs a run file, where the workers' results are kept, and --no-run keeps none")
    job = uuid.uuid4().hex
    return partial(_submitting, url, job, places, False), {HEADER: {"broker": checked(url, app), "job": job}}


def again(header: RunHeader, options: Options, app: AppContext) -> Workers | None:
    """The workers of a run that goes on: behind the broker that was given, or the one that the run was begun with.

    :raises ConfigurationError: as ``begin``
    """
    kept = header.more.get(HEADER, {})
    url = options.broker or kept.get("broker")
    if url is None or url == "none":
        return None
    checked(url, app)
    # A run that was begun without a broker gets a name that is the same at each resume.
    words = [repr(header.created_at), header.act, *(f"{p.name} {p.fingerprint}" for p in header.providers)]
    job = kept.get("job") or hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
    return partial(_submitting, url, str(job), places_of_run(header, options), options.retry_rejected)


def checked(url: str, app: AppContext) -> str:
    """The address without its password, which is hidden from now on.

    :raises ConfigurationError: if it is none of a Redis, or the extra is not installed
    """
    for name in ("celery", "kombu", "redis"):
        if name not in sys.modules and find_spec(name) is None:  # what is loaded may have no spec
            raise ConfigurationError(
                f"work on several machines needs packages that are not installed: {name}",
                hint="in bulkdel's checkout: pip install '.[celery]'",
            )
    from urllib.parse import unquote, urlsplit

    from bulkdel.distributed.app import redis_url, without_password

    secret = urlsplit(redis_url(url, app.environ)).password or ""
    for form in (secret, unquote(secret)):
        app.hide_from_now_on(form)
    return without_password(url)
