"""Answers recorded from unmodified Dify servers, one JSON object a line (README.md here says how), as test data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent

# What the recording tool wrote behind a body; it is not the service's.
_TIMING = re.compile(r"\n\[[0-9]{3} in [0-9.]+s\]\Z")


class Row(NamedTuple):
    """One recorded exchange: ``path`` is without the base URL, ``body`` without the recording tool's own words."""

    file: str
    case: str
    method: str
    path: str
    sent: str
    status: int
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.file}-{self.case}"


def _row(file: str, line: dict[str, Any]) -> Row:
    request = line["request"]
    return Row(
        file,
        line["case"],
        request["method"],
        request["path"].removeprefix("/v1"),
        request.get("body", ""),
        line["status"],
        {name.lower(): value for name, value in line["headers"].items()},
        _TIMING.sub("", line["body"]).encode(),
    )


def rows() -> list[Row]:
    """Every recorded row, in order."""
    files = sorted(FOLDER.glob("*.jsonl"))
    return [_row(file.stem, json.loads(line)) for file in files for line in file.read_text().splitlines() if line]
