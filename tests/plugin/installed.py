"""Lays a package out as an installer would, from its ``pyproject.toml``: without a build backend and without a network."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).parent / "vectorstores"


def install(package: Path, site: Path) -> None:
    """Put the modules of ``package`` and what its ``pyproject.toml`` says of it into ``site``."""
    told = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    project = told["project"]
    for name in told["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        shutil.copy(package / name, site / name)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = {"Metadata-Version": "2.4", "Name": project["name"], "Version": project["version"]}
    (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in metadata.items()), "utf-8")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups), "utf-8")
