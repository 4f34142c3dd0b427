"""The plug-in as an installer would lay it out, without a build backend or a network, and the command that finds it there."""

from __future__ import annotations

import asyncio
import shutil
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.cli.service import COMMAND, Ended, clean, finish
from tests.plugin.simulator import KEY, VectorStoreSimulator

PACKAGE = Path(__file__).parent / "vectorstores"

Run = Callable[..., Awaitable[Ended]]
"""Runs the command with these words, and more of an environment; brings what the process left behind."""


def install(package: Path, site: Path) -> None:
    """Put the modules of ``package`` and what its ``pyproject.toml`` says of it into ``site``."""
    said = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    project = said["project"]
    for name in said["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
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


def beside(site: Path, work: Callable[[VectorStoreSimulator, Run], Awaitable[None]]) -> None:
    """Run ``work`` beside a simulated OpenAI, with the command as a process that finds the plug-in."""

    async def main() -> None:
        async with VectorStoreSimulator() as openai:

            async def run(*argv: str, **more: str) -> Ended:
                environ = clean() | {
                    "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai.base_url, "NO_PROXY": "127.0.0.1",
                    "PYTHONPATH": str(site), "HOME": str(site.parent), "XDG_STATE_HOME": str(site.parent / "state"),
                }  # fmt: skip
                pipe = asyncio.subprocess.PIPE
                process = await asyncio.create_subprocess_exec(
                    *COMMAND, *argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environ | more
                )
                return await finish(process)

            await work(openai, run)

    asyncio.run(main())
