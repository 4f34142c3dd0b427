"""The command in this process, with its real client, against a service in memory: every ending within milliseconds."""

from __future__ import annotations

import os
import shlex
import signal
from typing import Any

from bulkdel import Client
from tests.cli.outside import Seen, invoke
from tests.engine.world import DATASET, KEY, Service, client

URL = "http://dify.localhost/v1"
ENVIRON = {"DIFY_API_KEY": KEY, "DIFY_BASE_URL": URL}
FAST = ("--backoff", "10ms")


def connected(service: Service, cls: type[Client] = Client) -> Any:
    """What makes the command's clients: the real ones, wired to ``service``."""

    def make(*providers: Any, **_: Any) -> Client:
        made = client(service, providers=providers)
        made.__class__ = cls
        return made

    return make


def command(service: Service, *argv: str, cls: type[Client] = Client, **how: Any) -> Seen:
    """Run the command; ``how`` is as of ``invoke``."""
    how.setdefault("environ", ENVIRON)
    return invoke(*argv, client=connected(service, cls), **how)


def purge(service: Service, *options: str, **how: Any) -> Seen:
    return command(service, "purge", "dify", DATASET, "-y", *options, **how)


def last(seen: Seen) -> list[str]:
    """The words behind ``bulkdel`` of the last line on stderr, as a shell takes them."""
    program, *words = shlex.split(seen.stderr.splitlines()[-1])
    assert program == "bulkdel"
    return words


def interrupt(*numbers: signal.Signals) -> Any:
    """Something that sends this process signals."""

    def send() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return send
