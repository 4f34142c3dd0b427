"""Many rows in one step of SQL: Python gives its lock away and takes it back three times around every step.

The event loop takes it meanwhile, and each then waits for the other: with a step for each row 2.8 times a document, which costs
more than the SQL does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

MOST = 512
"""Rows in one statement: to prepare it takes 3 ms with 512 rows of 7 values and 6.7 ms with 1,024, which a run of 1,000
documents does not earn back."""


def insert(connection: sqlite3.Connection, statement: str, width: int, values: Sequence[Any]) -> int:
    """Run ``statement``, where ``{rows}`` stands for the list of its rows, for ``values``, ``width`` of them a row.

    Returns how many rows were written. Statements come in a few sizes, so that each is prepared once, and what is left of
    one is filled with rows of nulls: the statement must pass over a row whose first value is null. It begins with INSERT: of
    one that begins with WITH, Python counts none.
    """
    # SQLite before 3.32 takes 999 values in one statement, later ones 32,766.
    most = min(MOST, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // width)
    written = 0
    for place in range(0, len(values), most * width):
        part = values[place : place + most * width]
        rows = len(part) // width
        block = min(most, 1 << (rows - 1).bit_length())
        nothing = (None,) * (block - rows) * width
        written += connection.execute(_with_rows(statement, block, width), (*part, *nothing)).rowcount
    return written


@cache
def _with_rows(statement: str, rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(rows=", ".join([row] * rows))
