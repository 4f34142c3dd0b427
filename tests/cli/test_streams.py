"""The command's standard streams where a program's parent chose them badly."""

from __future__ import annotations

import io
from typing import Any

from bulkdel.cli.main import buffered


class Short(io.RawIOBase):
    """A file that takes ten bytes at a time, as a terminal takes some of them when a signal is on its way."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, words: Any) -> int:
        some = bytes(words)[:10]
        self.taken += some
        return len(some)


def test_nothing_is_lost_without_a_buffer() -> None:
    """$ PYTHONUNBUFFERED=1 bulkdel …: a line that is taken in parts comes whole, and as soon as it ends."""
    short = Short()
    bare = io.TextIOWrapper(short, encoding="utf-8", write_through=True)  # type: ignore[type-var]
    line = "49 requests in 3 s, 1 pause, and a name with an ä\n"
    stream = buffered(bare)
    stream.write(line)
    assert short.taken.decode() == line
    assert stream.encoding == "utf-8"


def test_a_buffer_that_is_there_stays() -> None:
    """A stream that loses nothing is left alone."""
    plain = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert buffered(plain) is plain
