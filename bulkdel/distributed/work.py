"""A worker's part: one shard from the message to its result, by the ordinary client under the one limit."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bulkdel.client import Client
from bulkdel.distributed.shard import Service, Shard, ShardResult
from bulkdel.errors import ConfigurationError
from bulkdel.limits.redis_store import redis_limiter
from bulkdel.providers import registry
from bulkdel.providers.protocol import Provider

TIMEOUT_S = 60.0
"""Seconds for one request of a shard at most, whatever the policy says: with the time box, it bounds how long a shard takes."""

CA_FILE = "BULKDEL_CA_FILE"
"""The variable that names certificates to trust beside the usual ones (PEM)."""

Report = Callable[[Mapping[str, object]], bool]
"""Reports, in a thread of its own, what a shard does now; returns whether it is to stop."""


async def carry_out(shard: Shard, url: str, report: Report, *, doubt: bool) -> ShardResult:
    """Settle what the time box allows; the rest is left.

    :param url: the Redis with the one limit
    :param doubt: whether a worker that was lost may have asked for these documents
    """
    try:
        provider = open_provider(shard.service)
    except ConfigurationError as error:
        why = f"the worker on {socket.gethostname()}: {error}"
        return ShardResult.not_begun(
            shard, why, error.hint or "each worker needs the key and the header file, at the same place"
        )
    # Guards and the run's deadline are the submitter's.
    timeout = min(shard.policy.timeout, TIMEOUT_S)
    policy = replace(shard.policy, deadline=shard.box_s, timeout=timeout, max_delete=None, expect=None)
    jobs = shard.jobs(now=asyncio.get_running_loop().time(), doubt=doubt)
    result = ShardResult()
    async with Client(
        provider, policy=policy, ca_file=os.environ.get(CA_FILE) or None, limiter=redis_limiter(url)
    ) as client:
        watching = asyncio.create_task(_watch(client, report))
        try:
            ended = await client.settle_jobs(jobs, result, on_event=result.on_event)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    result.requests, result.bug = ended.requests, ended.bug
    if ended.status == "stopped":
        result.stopped, result.hint = ended.reason, ended.hint
    return result


async def _watch(client: Client, report: Report) -> None:
    """Report what goes on twice a second, and stop if the submitter or the worker wants it."""
    while True:
        await asyncio.sleep(0.5)
        looks = client.progress()
        waits = next(([look.wait, look.why, look.wait_s] for look in looks if look.wait), None)
        now = {"in_flight": sum(look.in_flight for look in looks), "waits_for": waits}
        if await asyncio.to_thread(report, now):
            client.stop("the shard is recalled")


def open_provider(service: Service) -> Provider:
    """The provider with the key and the headers that this worker holds.

    :raises ConfigurationError: if there is no key, or the kind is not known here
    """
    named: dict[str, Any] = {"api_key": service.key.key(service.name, os.environ), "base_url": service.base_url}
    if service.name != service.kind:
        named["name"] = service.name
    if service.limits is not None:
        named["limits"] = service.limits
    provider = registry.load(service.kind)(**named)
    if service.limits is None and service.concurrency is not None:
        provider = provider.with_concurrency(service.concurrency)
    headers = service.key.extra_headers()
    return provider.with_headers(headers) if headers else provider
