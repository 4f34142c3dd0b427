"""One planted bug, as data."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A patch that breaks one promise, and the tests that are to notice.

    ``file`` is a path in the checkout in which ``old`` stands exactly once; ``why`` is the mistake in one sentence.
    ``tests`` are pytest's own words (files, folders, node ids), run in this order until one fails. ``survives`` says why no
    test can notice, where none does: such a mutant is kept as a note of what is not held.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    survives: str = ""
