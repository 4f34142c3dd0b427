"""The commands of tests/README.md: each is one that there is, with the options that it has."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.service import clean
from tests.readme.stage import ROOT

RUN, AUDIT = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "tests/README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
LINES = [shlex.split(line, comments=True) for line in RUN.splitlines()]


def words(module: str) -> list[list[str]]:
    """What the lines give to ``module``."""
    return [argv[3:] for argv in LINES if argv[:3] == [".venv/bin/python", "-m", module]]


def test_every_line_is_pytest() -> None:
    """The test below has them all."""
    assert len(words("pytest")) == len(LINES)


@pytest.mark.parametrize("argv", words("pytest"), ids=shlex.join)
def test_pytest_takes_these_options(argv: list[str], tmp_path: Path) -> None:
    """Given one file to collect, it does: run whole, this suite would begin itself."""
    # Its own file for coverage: the run that this test is part of may be measured, too.
    environ = clean() | {"COVERAGE_FILE": str(tmp_path / "coverage"), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *argv, "--collect-only", "tests/test_text.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_audit_by_hand_is_that_of_the_workflow() -> None:
    """The same steps in the same order; pip-audit asks PyPI, so that no test runs it."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    (script,) = [step["run"] for step in workflow["jobs"]["audit"]["steps"] if "run" in step]

    def steps(text: str) -> list[str]:
        typed = [step for line in text.splitlines() for step in line.split(" && ")]
        return [re.sub(r"^python3? |lib/python3\S*?/", "", step) for step in typed]

    assert steps(AUDIT) == steps(script)
