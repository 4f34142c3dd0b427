"""Many rows in one step of SQL: Python gives its lock away and takes it back around every step.

With a step for each row, the thread that writes and the event loop pass the lock to and fro 2.8 times a document, which costs
more than the SQL does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

BLOCKS = (128, 32, 8, 1)
"""Rows in one statement: 128 of 7 values are below the 999 variables of SQLite before 3.32; a few sizes, so that each is
prepared once."""


def insert(connection: sqlite3.Connection, statement: str, width: int, values: Sequence[Any]) -> int:
    """Run ``statement``, where ``{rows}`` stands for the list of its rows, for ``values``, ``width`` of them a row.

    Returns how many rows were written. The statement begins with INSERT: of one that begins with WITH, Python counts none.
    """
    written = place = 0
    for block in BLOCKS:
        sql, size = _with_rows(statement, block, width), block * width
        while len(values) - place >= size:
            written += connection.execute(sql, values[place : place + size]).rowcount
            place += size
    return written


@cache
def _with_rows(statement: str, rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(rows=", ".join([row] * rows))
