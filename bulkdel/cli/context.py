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
    from bulkdel.client import Client  # brings aiohttp along, which --help and a refusal can do without

    return Client(*providers, **options)


def _stdin_bytes() -> BinaryIO:
    return sys.stdin.buffer


@dataclass(slots=True)
class AppContext:
    """The outside of one invocation; tests give another.

    ``argv`` is what the user typed behind ``bulkdel``. ``verbose`` is set once the options are read. ``secrets`` holds
    the keys that were read, so that nothing shown can hold one. ``last_words`` come behind everything else on stderr: how to
    go on after an end that nobody foresaw. ``metrics`` are the numbers that were asked for, told of such an end as well.
    """

    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdin_bytes: Callable[[], BinaryIO] = _stdin_bytes
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    client: Callable[..., Any] = _client
    verbose: bool = False
    secrets: list[str] = field(default_factory=list, repr=False)
    last_words: list[str] = field(default_factory=list)
    metrics: Metrics | None = None

    def asks(self) -> bool:
        """Whether there is a person to ask: one who types (stdin) and one who sees the question (stderr)."""
        return is_terminal(self.stdin) and is_terminal(self.stderr)

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
