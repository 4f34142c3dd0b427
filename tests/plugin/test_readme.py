"""README's section on writing a provider is this plug-in, word for word, and its commands work."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

from tests.plugin.installed import PACKAGE, Run, beside
from tests.plugin.simulator import VectorStoreSimulator

README = Path(__file__).parents[2] / "README.md"


def blocks() -> dict[str, str]:
    """The section's code blocks by their language; a heading of its rank ends it."""
    section = re.search(r"^## Write a provider\n(.*?)(?=^## |\Z)", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert section is not None, "README.md has no section 'Write a provider'"
    found = re.findall(r"^```(\w+)\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert sorted(language for language, _ in found) == ["python", "sh", "toml"]
    return dict(found)


def test_the_example_is_the_tested_provider() -> None:
    """Its module and its pyproject.toml, whole: what a reader copies is what these tests run."""
    assert blocks()["python"] == (PACKAGE / "bulkdel_openai.py").read_text("utf-8")
    assert blocks()["toml"] == (PACKAGE / "pyproject.toml").read_text("utf-8")


def test_the_examples_commands_work(site: Path) -> None:
    """$ bulkdel datasets openai; bulkdel purge openai vs_abc123 --dry-run"""

    async def work(openai: VectorStoreSimulator, run: Run) -> None:
        openai.fill("vs_abc123", 3)
        lines = [shlex.split(line) for line in blocks()["sh"].splitlines()]
        commands = [argv[1:] for argv in lines if argv[0] == "bulkdel"]
        assert len(commands) == 2
        for ended in await asyncio.gather(*(run(*argv) for argv in commands)):
            assert ended.status == 0, ended.stderr
        assert len(openai.stores["vs_abc123"]) == 3

    beside(site, work)
