"""Where the key and the address come from: the environment or a file, never the command line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from bulkdel.errors import ConfigurationError

_MOST = 64 * 1024  # bytes of a key file that are read; a key is below 200
_HIDDEN_FROM = 8  # characters: a shorter "key" is a word, and hiding it would tear holes into every message


def variable(kind: str, what: str) -> str:
    """The environment variable of a provider: ``variable("my-docs", "API_KEY")`` is ``MY_DOCS_API_KEY``."""
    return f"{re.sub('[^A-Z0-9]', '_', kind.upper())}_{what}"


def read(
    kind: str,
    file: Path | None,
    environ: Mapping[str, str],
    warn: Callable[[str, str], None],
    *,
    name: str = "",
    hint: str = "",
) -> str:
    """The key for ``kind``: from ``file`` where one is given, else from the environment, there from ``name`` or the kind's own
    variable. ``hint`` is what to do where there is none.

    ``warn(message, hint)`` is told of a file that others on the machine can read.

    :raises ConfigurationError: where there is no key; the message never holds it. What a key may look like is the provider's to say
    """
    name = name or variable(kind, "API_KEY")
    if file is not None:
        return _from_file(file, warn)
    key = environ.get(name, "").strip()
    if not key:
        raise ConfigurationError(
            f"no key for {kind}: {name} is not set", hint=hint or f"set {name}, or give --api-key-file FILE"
        )
    return key


def remember(key: str, secrets: list[str]) -> None:
    """Have ``key`` hidden from now on in everything that is shown."""
    if len(key) >= _HIDDEN_FROM and key not in secrets:
        secrets.append(key)


def _from_file(file: Path, warn: Callable[[str, str], None]) -> str:
    try:
        with open(file, "rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            raw = source.read(_MOST + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the key file: {file}: {error.strerror or error}") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"others on this machine can read the key file: {file}", f"chmod 600 {file}")
    if len(raw) > _MOST:
        raise ConfigurationError(f"the key file is longer than any key: {file}")
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file is not text: {file}") from None
    if not text:
        raise ConfigurationError(f"the key file is empty: {file}", hint="put the key alone into it, on one line")
    if len(text.splitlines()) > 1:
        raise ConfigurationError(
            f"the key file has more than one line: {file}", hint="put the key alone into it, on one line"
        )
    return text
