"""What the command touches outside itself, as one value: its streams, its environment and its client."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from bulkdel.cli.metrics import Metrics
    from bulkdel.client import Client
    from bulkdel.providers.protocol import Provider


def _client(*providers: Provider, **options: Any) -> Client:
    from bulkdel.client import Client  # imports aiohttp, which --help and a refusal can do without

    return Client(*providers, **options)


@dataclass(slots=True)
class AppContext:
    """The outside of one invocation; tests give another.

    ``argv`` is what the user typed behind ``bulkdel``. ``quiet`` and ``verbose`` are set once the options are read. ``secrets`` holds the keys
    that were read: nothing shown may hold one. ``last_lines`` end stderr if the run raised: how to go on. ``metrics`` is the
    file that ``--metrics-file`` asks for, which gets the exit status of an invocation that raised, too.
    """

    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdin_bytes: Callable[[], BinaryIO] = lambda: sys.stdin.buffer
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    client: Callable[..., Any] = _client
    quiet: bool = False
    verbose: bool = False
    secrets: list[str] = field(default_factory=list, repr=False)
    last_lines: list[str] = field(default_factory=list)
    metrics: Metrics | None = None

    def warn(self, message: str, hint: str = "") -> None:
        """A warning on stderr, unless quiet was asked for."""
        if not self.quiet:
            from bulkdel.cli.screen import Screen

            Screen(self).warning(message, hint)

    def hide_from_now_on(self, secret: str) -> None:
        """Have ``secret`` hidden in everything that is shown."""
        # A shorter "key" is a word, and hiding it would tear holes into every message.
        if len(secret) >= 8 and secret not in self.secrets:
            self.secrets.append(secret)

    def hide(self, words: str) -> str:
        """``words`` without any key that was read, should a service or a library have repeated one."""
        for secret in self.secrets:
            words = words.replace(secret, "(key)")
        return words


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal; a closed or missing one is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
