"""Dify's public page of the delete route, as it was handed to this project, and its OpenAPI block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("dify-delete-document.txt")


def openapi() -> Any:
    """The page's OpenAPI block, read into plain values."""
    text = FILE.read_text(encoding="utf-8")
    block = text.partition("````yaml")[2].partition("\n````")[0]
    return yaml.safe_load(block.partition("\n")[2])
