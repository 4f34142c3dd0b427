"""The plug-in, installed for one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.installed import PACKAGE, install


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder where Python finds packages, with the plug-in installed in it."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(PACKAGE, folder)
    return folder
