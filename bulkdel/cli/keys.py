"""Keys and other secrets of a provider: where they are, what they must look like, and that no message ever holds one."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkdel.cli.context import AppContext
from bulkdel.errors import ConfigurationError
from bulkdel.text import sanitize

KEYS = "keys"
"""What a run's header calls the places of its keys, by the provider's name."""


def variable(kind: str, what: str) -> str:
    """The environment variable of a provider: ``variable("my-docs", "API_KEY")`` is ``MY_DOCS_API_KEY``."""
    return f"{re.sub('[^A-Z0-9]', '_', kind.upper())}_{what}"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is, which is no secret: an environment variable, or a file."""

    variable: str = ""
    file: str = ""

    @classmethod
    def usual(cls, kind: str, file: Path | None = None) -> KeyPlace:
        """``file`` if it was given, else the variable of the kind."""
        return cls(file=str(file)) if file is not None else cls(variable(kind, "API_KEY"))

    @classmethod
    def recorded(cls, more: Mapping[str, Any], provider: str) -> KeyPlace | None:
        """As a run's header holds it; None if it does not, or holds something else."""
        places = more.get(KEYS)
        place = places.get(provider) if isinstance(places, dict) else None
        if not isinstance(place, dict):
            return None
        env, file = place.get("env", ""), place.get("file", "")
        return cls(env, file) if isinstance(env, str) and isinstance(file, str) and (env or file) else None

    def as_dict(self) -> dict[str, str]:
        return {"file": self.file} if self.file else {"env": self.variable}

    def read(self, kind: str, app: AppContext, hint: str) -> str:
        """The key, without blanks around it, and without the quotes around it if it is in a file.

        A file that others on the machine can read is warned of. ``hint`` is for a variable that is not set.

        :raises ConfigurationError: if there is none, or what is there cannot be a key; the message never holds it
        """
        if self.file:
            key = _unquoted(_secret_in(Path(self.file), "key file", app).strip())
            wrong = "is empty" if not key else "has more than one line" if len(key.splitlines()) > 1 else ""
            if wrong:
                raise ConfigurationError(
                    f"the key file {wrong}: {self.file}", hint="put the key alone into it, on one line"
                )
        else:
            key = app.environ.get(self.variable, "").strip()
            if not key:
                raise ConfigurationError(f"no key for {kind}: {self.variable} is not set", hint=hint)
        if flaw := _flaw(key):
            raise ConfigurationError(f"the key {flaw}: {self.file or self.variable}", hint="give the key alone")
        return key


def _unquoted(key: str) -> str:
    quoted = len(key) > 1 and key[0] == key[-1] and key[0] in "\"'"
    return key[1:-1].strip() if quoted else key


def _flaw(key: str) -> str:
    """What was copied along with a key, or in its place; empty if nothing was. No service's keys hold any of it."""
    if re.match(r"(export\s+)?[A-Za-z_]*(KEY|key|TOKEN|token|SECRET|secret|Bearer|bearer)\s*[=:]", key):
        return "stands behind a name, as in a file of variables"
    if key[0] in "\"'`“”„‘’«»" or key[-1] in "\"'`“”„‘’«»":
        return "stands in quotes"
    if key[0] == "$" or re.fullmatch(r"%\w+%", key):
        return "is the name of a variable that the shell has not replaced"
    if key[0] in "{[(<" or key[-1] in "}])>":
        return "stands in brackets"
    if key[-1] in ";,":
        return f"ends in a {'semicolon' if key[-1] == ';' else 'comma'}"
    if "..." in key or "…" in key:
        return "is cut short, or a placeholder"
    return ""


def headers_in(file: Path, app: AppContext) -> dict[str, str]:
    """The extra headers in a file of ``Name: value`` lines; blank lines and those that begin with # are ignored.

    Their values are hidden from now on in everything that is shown, as a key is.

    :raises ConfigurationError: if it cannot be read, or a line is wrong; the message never holds a value
    """
    headers: dict[str, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(_secret_in(file, "header file", app).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if problem := _header_problem(name, colon, value, seen):
            raise ConfigurationError(f"{file}, line {number}: {problem}", hint="write each header as Name: value")
        seen.add(name.casefold())
        headers[name] = value
        # Of "Bearer TOKEN" the token alone is as secret as the whole.
        for secret in (value, *value.split()):
            app.hide_from_now_on(secret)
    if not headers:
        raise ConfigurationError(f"the header file has no header: {file}", hint="write each header as Name: value")
    return headers


def _header_problem(name: str, colon: str, value: str, seen: set[str]) -> str:
    if not colon or re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) is None:
        return "not a header"  # what stands there may be a secret
    shown = sanitize(name, 60)
    if name.casefold() in {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding",
    }:  # fmt: skip
        return f"bulkdel sets this header itself: {shown}"
    if not value or re.fullmatch(r"[\t\x20-\x7e\x80-\xff]+", value) is None:
        return f"the value is {'empty' if not value else 'not one that a header can carry'}: {shown}"
    return f"a header is there twice: {shown}" if name.casefold() in seen else ""


def _secret_in(file: Path, what: str, app: AppContext) -> str:
    """The text of a file that holds a secret."""
    longest = 64 * 1024  # bytes; a key is below 200
    try:
        with open(file, "rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            raw = source.read(longest + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the {what}: {file}: {error.strerror or error}") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        app.warn(f"others on this machine can read the {what}: {file}", f"chmod 600 {file}")
    if len(raw) > longest:
        raise ConfigurationError(f"the {what} is longer than {'any key' if what == 'key file' else '64 KiB'}: {file}")
    try:
        # What PowerShell writes with > is UTF-16.
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"the {what} is not text: {file}") from None
