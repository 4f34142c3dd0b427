"""The providers' README: its example is this plug-in, word for word, its commands work, its tables name what the code has."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

from bulkdel.model import Document
from bulkdel.providers import JsonApi, dify
from bulkdel.providers.protocol import Asked, Provider, Requeue, Verdict
from tests.plugin.installed import PACKAGE, Run, beside
from tests.plugin.simulator import VectorStoreSimulator
from tests.providers.test_dify_table import ROWS

README = (Path(__file__).parents[2] / "bulkdel" / "providers" / "README.md").read_text("utf-8")


def blocks() -> dict[str, str]:
    """The page's code blocks by their language."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
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


def tables(section: str) -> list[list[list[str]]]:
    """The cells of each table under a heading, its heading row left out."""
    (text,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]


def test_the_tables_name_the_whole_interface() -> None:
    """No verdict, cause of asking again, method or field of an answer is left out."""
    verdicts, causes, methods, fields = tables("Write a provider")
    named = {name for row in verdicts for name in re.findall(r"`(\w+)\(", row[1])}
    assert named == {verdict.__name__ for verdict in get_args(Verdict)}
    assert {row[0].strip("`") for row in causes} == set(get_args(get_type_hints(Requeue)["cause"]))
    asked = {name for row in methods for name in row[0].replace("`", "").split(", ")}
    assert asked == {name for name, member in vars(Provider).items() if callable(member) and not name.startswith("_")}
    said = " ".join(row[0] for row in fields)
    for name in (*Asked._fields, *Document.__dataclass_fields__):
        assert re.search(rf"\b{name}\b", said), name


def test_the_tables_of_json_api_name_its_members() -> None:
    """What is declared and what is written are members of the class, and nothing that must be written is left out."""
    declared, written, _ = tables("What `JsonApi` brings")
    named = [name for row in (*declared, *written) for name in re.findall(r"`(\w+)`", row[0])]
    members = {
        name for cls in (*JsonApi.__mro__, Provider) for name in (*vars(cls), *getattr(cls, "__annotations__", ()))
    }
    assert set(named) <= members
    assert JsonApi.__abstractmethods__ <= set(named)


def test_every_row_of_difys_table_is_cited_and_tested() -> None:
    """Comments in the code cite rows that the page has, and each row has an answer in the tests."""
    _, rows = tables("Dify")
    numbers = [int(row[0]) for row in rows]
    assert numbers == list(range(1, len(rows) + 1))
    code = Path(dify.__file__).read_text("utf-8")
    comments = re.findall(r"(?:# |\"\"\")(\d[\d, ]*)(?=[:.]|$|\"\"\")", code, re.MULTILINE)
    cited = {int(number) for comment in comments for number in comment.replace(" ", "").split(",") if number}
    assert cited <= set(numbers)
    assert {row[0].partition(":")[0] for row in ROWS} >= {str(number) for number in numbers}
