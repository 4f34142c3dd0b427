"""Dify's public page of the delete route, as it was handed to this project, and its OpenAPI block read into plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dify-delete-document.txt")


def openapi() -> Any:
    """The page's OpenAPI block."""
    text = FILE.read_text(encoding="utf-8")
    block = text.partition("````yaml")[2].partition("\n````")[0]
    return read(block.partition("\n")[2])


def read(text: str) -> Any:
    """The part of YAML that such a page uses: mappings, lists of mappings, plain and quoted words, folded blocks."""
    lines = [line for line in text.splitlines() if line.strip()]
    value, rest = _block(lines, 0)
    if rest != len(lines):
        raise ValueError(f"not understood: {lines[rest]!r}")
    return value


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str], at: int) -> tuple[Any, int]:
    """The mapping or list that begins at line ``at``, and the line behind it."""
    depth = _indent(lines[at])
    if lines[at].lstrip().startswith("- "):
        items: list[Any] = []
        while at < len(lines) and _indent(lines[at]) == depth and lines[at].lstrip().startswith("- "):
            # The item's first line stands two further in than its dash.
            lines[at] = lines[at].replace("- ", "  ", 1)
            if ":" in lines[at]:
                item, at = _block(lines, at)
            else:
                item, at = _word(lines[at].strip()), at + 1
            items.append(item)
        return items, at
    mapping: dict[str, Any] = {}
    while at < len(lines) and _indent(lines[at]) == depth:
        key, _, word = lines[at].strip().partition(":")
        key, word = str(_word(key)), word.strip()
        at += 1
        if word in (">-", "|-"):
            folded = []
            while at < len(lines) and _indent(lines[at]) > depth:
                folded.append(lines[at].strip())
                at += 1
            mapping[key] = " ".join(folded)
        elif word:
            mapping[key] = _word(word)
        else:
            deeper = at < len(lines) and (_indent(lines[at]) > depth or lines[at].lstrip().startswith("- "))
            if deeper and _indent(lines[at]) >= depth:
                mapping[key], at = _block(lines, at)
            else:
                mapping[key] = None
    return mapping, at


def _word(word: str) -> Any:
    if word[:1] in "'\"" and word[-1:] == word[:1]:
        return word[1:-1]
    if word == "[]":
        return []
    if word in ("true", "false"):
        return word == "true"
    return int(word) if word.isdigit() else word
