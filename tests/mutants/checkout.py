"""Copies of the checkout in temporary folders, to be broken and thrown away; the checkout itself is never touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("bulkdel", "tests", "benchmarks", "examples", "pyproject.toml", "README.md", "LICENSE")
"""What the tests need of it."""


def copy_to(folder: Path) -> Path:
    """A copy of the checkout inside ``folder``, with ``shared`` beside it where there is one; its path."""
    copy = folder / "checkout"
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        elif source.exists():
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / part)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (folder / "shared").symlink_to(shared)
    return copy


def environment(copy: Path) -> dict[str, str]:
    """This process's environment, with the copy's modules before the installed ones in every process."""
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
