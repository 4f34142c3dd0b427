"""A run whose deletes go through workers on other machines: the option, and what act makes of it."""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bulkdel.cli import keys
from bulkdel.cli.context import AppContext
from bulkdel.cli.opening import KEYS
from bulkdel.errors import ConfigurationError

if TYPE_CHECKING:
    from bulkdel.store import RunHeader

F = TypeVar("F", bound=Callable[..., Any])

NAME = "distributed"
"""What a run's header calls its broker and its job's name."""

NONE = "none"
"""The option's value that means: here, in this process."""

broker_option = click.option(
    "--broker", "--on", "broker", metavar="URL",
    help="Have the deletes made by the workers of this broker (redis://HOST:6379/0), which bulkdel worker starts.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers behind a broker, for one job."""

    url: str
    job: str
    places: Mapping[str, Any]
    retries: bool = False

    @asynccontextmanager
    async def options(self) -> AsyncIterator[dict[str, Any]]:
        """What the client needs so that its deletes are made by the workers and its requests count with theirs.

        :raises ConfigurationError: where the broker cannot be reached, or another process submits the job
        """
        from bulkdel.distributed.app import LEASE_S, redis_url, seconds
        from bulkdel.distributed.shard import KeyPlace
        from bulkdel.distributed.submit import PATIENCE_S, Submitter
        from bulkdel.limits.redis_store import redis_limiter

        places = {name: KeyPlace(place.get("env", ""), place.get("file", "")) for name, place in self.places.items()}
        patience_s = seconds("BULKDEL_PATIENCE_S", PATIENCE_S)
        async with Submitter(
            self.url,
            self.job,
            places,
            lease_s=seconds("BULKDEL_LEASE_S", LEASE_S),
            patience_s=patience_s,
            retries=self.retries,
        ) as submitter:
            yield {"lanes": submitter.lane, "limiter": redis_limiter(redis_url(self.url), patience=patience_s)}


def installed() -> None:
    """:raises ConfigurationError: where the extra is not installed"""
    for name in ("celery", "kombu", "redis"):
        if name not in sys.modules and find_spec(name) is None:  # what is loaded may have no spec
            raise ConfigurationError(
                f"work on several machines needs packages that are not installed: {name}",
                hint="in bulkdel's checkout: pip install '.[celery]'",
            )


def begin(given: Mapping[str, Any], world: AppContext, more: dict[str, Any]) -> Crew | None:
    """The crew of a new job, None where it is done here; ``more`` of the run's header remembers it, without a password.

    :raises ConfigurationError: where the address is wrong, or the extra is not installed
    """
    url = given["broker"]
    if url is None or url == NONE:
        return None
    if given.get("no_run") and not given.get("dry_run"):
        raise click.UsageError(
            "--broker needs a run file, where the workers' results are kept, and --no-run keeps none",
            click.get_current_context(silent=True),
        )
    job = uuid.uuid4().hex
    more[NAME] = {"broker": checked(url, world), "job": job}
    return None if given.get("dry_run") or given.get("plan") else Crew(url, job, more[KEYS])


def again(header: RunHeader, given: Mapping[str, Any], world: AppContext) -> Crew | None:
    """The crew of a run that goes on: behind the broker that was given, or the one that the run was begun with.

    :raises ConfigurationError: as ``begin``
    """
    kept = header.more.get(NAME)
    kept = kept if isinstance(kept, dict) else {}
    url = given["broker"] or kept.get("broker")
    if url is None or url == NONE:
        return None
    checked(url, world)
    places = header.more.get(KEYS)
    places = places if isinstance(places, dict) else {}
    if (file := given["api_key_file"]) is not None:
        places = {provider.name: {"file": os.path.abspath(file)} for provider in header.providers}
    own = {provider.name: {"env": keys.variable(provider.kind, "API_KEY")} for provider in header.providers}
    return Crew(url, str(kept.get("job") or _name(header)), own | places, given["retry_rejected"])


def checked(url: str, world: AppContext) -> str:
    """The address without its password, which is hidden from now on.

    :raises ConfigurationError: where it is none of a Redis, or the extra is not installed
    """
    installed()
    from urllib.parse import unquote, urlsplit

    from bulkdel.distributed.app import redis_url, without_password

    whole = redis_url(url, world.environ)
    secret = urlsplit(whole).password or ""
    for form in (secret, unquote(secret)):
        keys.remember(form, world.secrets)
    return without_password(url)


def _name(header: RunHeader) -> str:
    """The job's name of a run that was begun without a broker: the same at each resume."""
    words = [repr(header.created_at), header.act, *(f"{p.name} {p.fingerprint}" for p in header.providers)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
