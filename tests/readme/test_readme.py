"""README.md: every code block in it is run, or read by the program that it is for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import get_args

from bulkdel.cli.main import bulkdel
from bulkdel.model import FULFILLED, Outcome
from tests.cli.service import clean
from tests.readme.stage import ROOT, Page, Stage

BENCHMARKS = (ROOT / "benchmarks/README.md").read_text("utf-8")


PAGE = Page("README.md")
of = PAGE.of
TESTED = {
    ("Quick start", "sh"), ("The first real purge", "sh"), ("From a program", "python"), ("Architecture", ""),
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
    """Between its two marks stands a table: what the benchmarks put there."""
    for name in re.findall(r"^<!-- (benchmarks: \w+) -->$", BENCHMARKS, re.MULTILINE):
        (table,) = re.findall(
            rf"^<!-- {name} -->\n\n(.*?)\n\n<!-- end of {name} -->$", BENCHMARKS, re.MULTILINE | re.DOTALL
        )
        assert table.startswith("### "), name
        assert "\n|--" in table, name


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
    levels = [[rows[name] for name in re.findall(r"bulkdel\.(\w+)", layer) if name in rows] for layer in layers]
    heights = [number for layer in levels for number in layer]
    assert heights == sorted(heights)


def test_every_command_and_exit_status_is_named() -> None:
    """The table of commands has each one that --help lists."""
    for name in bulkdel.commands:
        assert f"`bulkdel {name}" in PAGE.text, name


def test_the_quick_start_is_what_is_installed() -> None:
    """Its two one-liners install this folder and run what it installs; the demo itself runs in tests/cli/test_end_to_end.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    install, tests = of("Quick start", "sh")
    assert install.strip().endswith("pip install -q . && .venv/bin/bulkdel demo")
    assert "demo" in bulkdel.commands
    assert "bulkdel" in project["scripts"]
    assert tests.strip().endswith("pip install -q -e '.[test]' && .venv/bin/python -m pytest -q")
    assert any(name.startswith("pytest>") for name in project["optional-dependencies"]["test"])


def test_the_first_real_purge(stage: Stage) -> None:
    """Key, address, datasets, a dry run and the purge: the dataset is empty but for what is archived."""
    ran = stage.lines(of("The first real purge", "sh")[0])
    assert [argv[0] for argv in ran] == ["datasets", "purge", "purge"]
    assert stage.dify.remaining == 3 + 1


def test_the_programs_run(stage: Stage) -> None:
    """The examples as they stand, with this stage's addresses: they say what became of each target."""
    said = []
    for program in of("From a program", "python"):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", stage.filled(program)],
            env=clean() | stage.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, "")
        said.append(ended.stdout.splitlines())
    assert "2 deleted" in said[0][0]
    assert said[1][0].startswith("fulfilled already_gone ") or said[1][0].startswith("rejected archived ")


def tables(section: str) -> list[list[list[str]]]:
    """The cells of each table under a heading, its heading row left out."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", PAGE.text, re.MULTILINE | re.DOTALL)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]


def test_every_outcome_is_what_the_library_has() -> None:
    """The table of outcomes has each one once, under its status."""
    (outcomes,) = tables("From a program")
    assert [row[1].strip("`") for row in outcomes] == list(get_args(Outcome))
    assert {row[1].strip("`") for row in outcomes[:2]} == FULFILLED


def test_it_stays_short() -> None:
    """Depth lives in the packages' own pages, and each page that is named is there."""
    assert len(PAGE.text.splitlines()) <= 300
    for path in re.findall(r"\]\(([^)#]+\.md)\)", PAGE.text):
        assert (ROOT / path).is_file(), path
