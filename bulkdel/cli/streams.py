"""Standard streams for a command whose parent closed some of them (``<&-``, a careless daemon): nothing in, nobody who reads."""

from __future__ import annotations

import os
import sys


def opened() -> None:
    """Open the null device as each of stdin, stdout and stderr that Python found closed.

    Left closed, their numbers go to whatever is opened next: uvloop aborts the process when it closes a socket of such a
    number (an assertion of libuv's), and what is written to stdout would go to a file or a service.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the lowest number that is free, which is that of the closed one: these go in order.
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
            setattr(sys, name, stream)
