"""Standard streams as the command needs them, whatever its parent did: closed some of them, or asked for no buffer."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_closed_streams() -> None:
    """Open the null device as each of stdin, stdout and stderr that Python found closed.

    If they stayed closed, their numbers would go to whatever is opened next: uvloop aborts the process when it closes a socket
    of such a number (an assertion of libuv's), and what is written to stdout would go to a file or a service.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the lowest free number, which is that of the closed one: these go in order.
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
            setattr(sys, name, stream)


def buffered(stream: TextIO) -> TextIO:
    """``stream`` with a buffer under it if it has none (``PYTHONUNBUFFERED``, as in many container images).

    Text over a bare file takes no notice of how much was written: a terminal takes 2,048 bytes when a signal is on its way,
    and the rest of an account was lost. Every line is still written when it ends.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    whole = io.BufferedWriter(raw)
    return io.TextIOWrapper(whole, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
