"""A provider's key and its extra headers: where they are, which is no secret, and what they must look like. No message holds one."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from bulkdel.errors import ConfigurationError
from bulkdel.text import QUOTES, has_outer_quote, sanitize

Warn = Callable[[str, str], None]
"""Takes a warning and what to do about it."""

_FLAWS = (
    (r"(export\s+)?[A-Za-z_-]*(KEY|[Kk]ey|TOKEN|[Tt]oken|SECRET|[Ss]ecret|[Bb]earer)\s*[=:]", "stands behind a name, as in a file of variables"),
    (rf"[{QUOTES}]|.*[{QUOTES}]\Z", "stands in quotes"),
    (r"\$|%\w+%\Z", "is the name of a variable that the shell has not replaced"),
    (r"[{\[(<]|.*[}\])>]\Z", "stands in brackets"),
    (r".*;\Z", "ends in a semicolon"),
    (r".*,\Z", "ends in a comma"),
    (r".*(\.\.\.|…|\*\*)", "is cut short, or a placeholder"),
    (r".*(\\[nrt]|[\\:.%])\Z", "ends in what no key ends in"),
)  # fmt: skip
"""What was copied along with a key, or in its place. No service's keys hold any of it."""


def flaw(key: str) -> str:
    """What was copied along with a key, in a few words; empty if nothing was."""
    return next((words for pattern, words in _FLAWS if re.match(pattern, key, re.DOTALL)), "")


def variable(kind: str, what: str) -> str:
    """The environment variable of a provider: ``variable("my-docs", "API_KEY")`` is ``MY_DOCS_API_KEY``."""
    return f"{re.sub('[^A-Z0-9]', '_', kind.upper())}_{what}"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a provider's secrets are, which is no secret: its key in an environment variable or a file, and the file of its extra
    headers; empty for what there is not."""

    env: str = ""
    file: str = ""
    headers: str = ""

    def as_dict(self) -> dict[str, str]:
        return {name: place for name, place in asdict(self).items() if place}

    def key(self, called: str, environ: Mapping[str, str], *, hint: str = "", warn: Warn | None = None) -> str:
        """The key, without blanks around it, and without the quotes around it if it is in a file.

        :param called: what messages call the provider
        :param hint: for a variable that is not set
        :raises ConfigurationError: if there is none, or what is there cannot be a key
        """
        if self.file:
            lines = _lines(self.file, "key file", warn)
            key = lines[0][1] if lines else ""
            if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
                key = key[1:-1].strip()
            wrong = "is empty" if not key else f"has more than one line (line {lines[1][0]})" if lines[1:] else ""
            if wrong:
                raise ConfigurationError(
                    f"the key file {wrong}: {self.file}", hint="put the key alone into it, on one line"
                )
        else:
            key = environ.get(self.env, "").strip()
            if not key:
                raise ConfigurationError(f"no key for {called}: {shown_place(self.env)} is not set", hint=hint)
        if wrong := flaw(key):
            raise ConfigurationError(f"the key {wrong}: {self.file or self.env}", hint="give the key alone")
        return key

    def extra_headers(self, warn: Warn | None = None) -> dict[str, str]:
        """What the lines ``Name: value`` of the header file say; nothing if there is no such file.

        :raises ConfigurationError: if the file cannot be read, or a line is wrong
        """
        headers: dict[str, str] = {}
        for number, line in _lines(self.headers, "header file", warn) if self.headers else ():
            name, colon, value = (part.strip() for part in line.partition(":"))
            if problem := _header_problem(name, colon, value, headers):
                hint = "write each header as Name: value"
                if name.casefold() == "authorization":
                    given = f"{self.env} or --api-key-file" if self.env else self.file
                    hint = f"leave the line out: the key is given by {given}"
                raise ConfigurationError(f"{self.headers}, line {number}: {problem}", hint=hint)
            headers[name] = value
        if self.headers and not headers:
            raise ConfigurationError(
                f"the header file has no header: {self.headers}", hint="write each header as Name: value"
            )
        return headers


def shown_place(place: str) -> str:
    """The name of a variable or a file, unless it looks like a key or a header that stands there instead."""
    last = os.path.basename(place)
    like_a_key = len(last) >= 20 and re.fullmatch(r"[\w-]+", last) and re.search("[0-9]", last) and not last.isupper()
    if like_a_key or re.search(r"[\w-]:[^/\\]", place):
        return f"what is named there (it is not shown, because it looks like a {'key' if like_a_key else 'header'})"
    return place


def _header_problem(name: str, colon: str, value: str, before: Mapping[str, str]) -> str:
    # A quote may stand in a header's name, but what begins with one is a line copied with its quotes.
    if not colon or name[:1] in ("'", "`") or re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) is None:
        return "not a header"  # what stands there may be a secret
    shown = sanitize(name, 60)
    if name.casefold() in {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding",
    }:  # fmt: skip
        return f"bulkdel sets this header itself: {shown}"
    if not value:
        return f"the value is empty: {shown}"
    if has_outer_quote(value):
        return f"the value stands in quotes: {shown}"
    if re.fullmatch(r"\$\w+|\$\{\w+\}|%\w+%", value):
        return f"the value is the name of a variable, which nothing replaces here: {shown}"
    if re.fullmatch(r"[\x20-\x7e]+", value) is None:
        return f"the value is not one that a header can carry: {shown}"
    return f"a header is there twice: {shown}" if name.casefold() in map(str.casefold, before) else ""


def _lines(file: str, what: str, warn: Warn | None) -> list[tuple[int, str]]:
    """The lines of a file that holds secrets with their numbers, without blanks around them, empty lines and comments (``#``)."""
    # A file with a name like that may be there; what is not there is most likely the key or the header itself.
    if shown_place(file) != file and not os.path.exists(file):
        raise ConfigurationError(f"cannot read the {what}: {shown_place(file)}", hint="give the path of a file")
    # Bytes; a key is below 200.
    raw = read_small_file(file, what, 64 * 1024, "any key" if what == "key file" else "64 KiB")
    mode = os.stat(file).st_mode
    if warn is not None and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"others on this machine can read the {what}: {file}", f"chmod 600 {file}")
    try:
        # What PowerShell writes with > is UTF-16.
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"the {what} is not text: {file}") from None
    lines = enumerate((line.strip() for line in re.split(r"\r\n?|\n", text)), 1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def read_small_file(file: str, what: str, longest: int, longer_than: str) -> bytes:
    """The whole of a file.

    :raises ConfigurationError: if it cannot be read, or has more than ``longest`` bytes, which is ``longer_than`` in words
    """
    try:
        with open(file, "rb") as source:
            raw = source.read(longest + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the {what}: {file}: {error.strerror or error}") from None
    if len(raw) > longest:
        raise ConfigurationError(f"the {what} is longer than {longer_than}: {file}")
    return raw
