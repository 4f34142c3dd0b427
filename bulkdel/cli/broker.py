"""A run whose deletes are made by workers on other machines: the option, and what the client needs for it."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bulkdel.cli.context import AppContext
from bulkdel.cli.keys import KeyPlace
from bulkdel.cli.options import Options, usage_error
from bulkdel.errors import ConfigurationError

if TYPE_CHECKING:
    from bulkdel.store import RunHeader

HEADER = "distributed"
"""What a run's header calls its broker and its job's name."""


@dataclass(frozen=True, slots=True)
class RemoteWorkers:
    """The workers behind a broker, for one job; ``places`` say where they find each provider's key."""

    url: str
    job: str
    places: Mapping[str, Any]
    retries: bool = False

    @asynccontextmanager
    async def options(self) -> AsyncIterator[dict[str, Any]]:
        """What the client needs so that its deletes are made by the workers and its requests count with theirs.

        :raises ConfigurationError: if the broker cannot be reached, or another process submits the job
        """
        from bulkdel.distributed.app import redis_url, seconds
        from bulkdel.distributed.shard import KeyPlace
        from bulkdel.distributed.submit import PATIENCE_S
        from bulkdel.distributed.submit import RemoteWorkers as Submitter
        from bulkdel.limits.redis_store import redis_limiter

        places = {name: KeyPlace(place.get("env", ""), place.get("file", "")) for name, place in self.places.items()}
        patience_s = seconds("BULKDEL_PATIENCE_S", PATIENCE_S)
        async with Submitter(self.url, self.job, places, patience_s=patience_s, retries=self.retries) as submitter:
            yield {"workers": submitter, "limiter": redis_limiter(redis_url(self.url), patience=patience_s)}


def begin(
    options: Options, places: Mapping[str, Any], app: AppContext, *, plan: bool, header_files: bool
) -> tuple[RemoteWorkers | None, dict[str, Any]]:
    """The workers of a new job, None if it is done here, and what of them its header keeps: no password.

    :param header_files: whether a provider has extra headers
    :raises ConfigurationError: if the address is wrong, or the extra is not installed
    """
    url = options.broker
    if url is None or url == "none":
        return None, {}
    _check_headers(header_files)
    if options.no_run and not options.dry_run:
        usage_error("--broker needs a run file, where the workers' results are kept, and --no-run keeps none")
    job = uuid.uuid4().hex
    header = {HEADER: {"broker": checked(url, app), "job": job}}
    return (None if options.dry_run or plan else RemoteWorkers(url, job, places)), header


def again(header: RunHeader, options: Options, app: AppContext) -> RemoteWorkers | None:
    """The workers of a run that goes on: behind the broker that was given, or the one that the run was begun with.

    :raises ConfigurationError: as ``begin``
    """
    kept = header.more.get(HEADER)
    kept = kept if isinstance(kept, dict) else {}
    url = options.broker or kept.get("broker")
    if url is None or url == "none":
        return None
    _check_headers(bool(header.more.get("header_files")) or options.header_file is not None)
    checked(url, app)
    places = {}
    for provider in header.providers:
        place = KeyPlace.recorded(header.more, provider.name) if options.api_key_file is None else None
        file = None if options.api_key_file is None else options.api_key_file.absolute()
        places[provider.name] = (place or KeyPlace.usual(provider.kind, file)).as_dict()
    return RemoteWorkers(url, str(kept.get("job") or _name(header)), places, options.retry_rejected)


def _check_headers(header_files: bool) -> None:
    """:raises ConfigurationError: if there are headers that the workers would not send"""
    if header_files:
        raise ConfigurationError(
            "workers do not send the headers of a header file", hint="make the deletes here: --broker none"
        )


def checked(url: str, app: AppContext) -> str:
    """The address without its password, which is hidden from now on.

    :raises ConfigurationError: if it is none of a Redis, or the extra is not installed
    """
    installed()
    from urllib.parse import unquote, urlsplit

    from bulkdel.distributed.app import redis_url, without_password

    secret = urlsplit(redis_url(url, app.environ)).password or ""
    for form in (secret, unquote(secret)):
        app.hide_from_now_on(form)
    return without_password(url)


def installed() -> None:
    """:raises ConfigurationError: if the extra is not installed"""
    for name in ("celery", "kombu", "redis"):
        if name not in sys.modules and find_spec(name) is None:  # what is loaded may have no spec
            raise ConfigurationError(
                f"work on several machines needs packages that are not installed: {name}",
                hint="in bulkdel's checkout: pip install '.[celery]'",
            )


def _name(header: RunHeader) -> str:
    """The job's name of a run that was begun without a broker: the same at each resume."""
    words = [repr(header.created_at), header.act, *(f"{p.name} {p.fingerprint}" for p in header.providers)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
