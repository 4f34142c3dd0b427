"""README.md: every code block in it is run, or read by the program that it is for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import get_args

from bulkdel.cli.main import bulkdel
from bulkdel.model import FULFILLED, Outcome, Policy
from tests.cli.service import clean
from tests.readme.stage import ROOT, Page, Stage

BENCHMARKS = (ROOT / "benchmarks/README.md").read_text("utf-8")


PAGE = Page("README.md")
of = PAGE.of
TESTED = {
    ("Quick start", "sh"), ("From a program", "python"), ("Architecture", ""),
}  # fmt: skip


def test_no_block_is_without_a_test() -> None:
    """A new block needs a test that runs it; this list says which there are."""
    assert PAGE.kinds == TESTED


def test_every_plot_is_there_and_small() -> None:
    """A plot that is linked is in the repository and below 60 kB."""
    for page, folder in ((PAGE.text, ROOT), (BENCHMARKS, ROOT / "benchmarks")):
        for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page):
            assert 0 < (folder / path).stat().st_size < 60_000, path


def test_every_measured_table_is_in_its_place() -> None:
    """Between its two marks stands a table: what benchmarks.pacing puts there."""
    for name in re.findall(r"^<!-- (Pacing: \w+) -->$", BENCHMARKS, re.MULTILINE):
        (table,) = re.findall(
            rf"^<!-- {name} -->\n\n(.*?)\n\n<!-- end of {name} -->$", BENCHMARKS, re.MULTILINE | re.DOTALL
        )
        assert "| met" in table, name


def test_the_picture_is_the_house() -> None:
    """It has every room of the package, and whatever the import contract puts lower does not stand higher."""
    rows: dict[str, int] = {}
    for number, line in enumerate(of("Architecture", "")[0].splitlines()):
        # What a room is for takes more than one word; names stand alone, between blanks.
        rows |= {
            part.strip("/"): number for part in re.split(r"\s{2,}", line.strip()) if re.fullmatch("[a-z]+/?", part)
        }
    rooms = {path.parent.name for path in (ROOT / "bulkdel").glob("*/__init__.py")}
    assert rooms - set(rows) == set()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    told = [[rows[name] for name in re.findall(r"bulkdel\.(\w+)", layer) if name in rows] for layer in layers]
    heights = [number for layer in told for number in layer]
    assert heights == sorted(heights)


def test_every_command_and_exit_status_is_named() -> None:
    """The table of commands has each one that --help lists."""
    for name in bulkdel.commands:
        assert f"`bulkdel {name}" in PAGE.text, name


def test_the_quick_start_is_what_is_installed() -> None:
    """Its two one-liners install this folder and run what it installs; the demo itself runs in tests/cli/test_end_to_end.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    install, tests, _ = of("Quick start", "sh")
    assert install.strip().endswith("pip install -q . && .venv/bin/bulkdel demo")
    assert "demo" in bulkdel.commands
    assert "bulkdel" in project["scripts"]
    assert tests.strip().endswith("pip install -q -e '.[test]' && .venv/bin/python -m pytest -q")
    assert any(name.startswith("pytest>") for name in project["optional-dependencies"]["test"])


def test_the_quick_start_purges(stage: Stage) -> None:
    """Key, address, datasets, a dry run and the purge: the dataset is empty but for what is archived."""
    ran = stage.lines(of("Quick start", "sh")[2])
    assert [argv[0] for argv in ran] == ["datasets", "purge", "purge"]
    assert stage.dify.remaining == 3 + 1


def test_the_program_runs(stage: Stage) -> None:
    """The example as it stands, with this stage's addresses: it says what became of each target."""
    (program,) = of("From a program", "python")
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", stage.filled(program)],
        env=clean() | stage.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 deleted" in ended.stdout.splitlines()[0]
    said = ended.stdout.splitlines()
    streamed = sorted(line.split()[:2] for line in said if line.startswith(("fulfilled", "rejected")))
    assert streamed == [["fulfilled", "already_gone"], ["rejected", "archived"]]
    assert "incomplete: 0 deleted, 1 already gone, 1 rejected (1 archived) of 2 listed" in said
    assert said[-2].startswith("dify done 0 ")
    assert said[-1] == "complete: 0 deleted, 1 skipped of 1 listed"


def tables(section: str) -> list[list[list[str]]]:
    """The cells of each table under a heading, its heading row left out."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", PAGE.text, re.MULTILINE | re.DOTALL)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]


def test_every_outcome_and_policy_field_is_what_the_library_has() -> None:
    """The table of outcomes has each one once, under its status; the table of the policy has the library's defaults."""
    outcomes, policy = tables("From a program")
    assert [row[1].strip("`") for row in outcomes] == list(get_args(Outcome))
    assert {row[1].strip("`") for row in outcomes[:2]} == FULFILLED
    default = Policy()
    for names, given, _ in policy:
        fields, told = names.replace("`", "").split(", "), given.split(", ")
        assert [f"{getattr(default, name)}".removesuffix(".0") for name in fields] == told * (len(fields) // len(told))
