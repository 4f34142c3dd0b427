"""The examples behind ``--help`` of each command: every line that a reader may copy is run."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from bulkdel.cli.main import EPILOG, bulkdel
from tests.cli.service import clean
from tests.readme.stage import Stage

EPILOGS = {"": EPILOG} | {name: command.epilog or "" for name, command in bulkdel.commands.items()}
ELSEWHERE = ("bulkdel demo", "bulkdel simulate")
"""Examples that do not end by themselves or take their time: simulate is run below, demo in tests/cli/test_end_to_end.py, and
worker, with the job that is for it, in tests/distributed/test_readme.py."""


def examples(epilog: str) -> list[str]:
    """The lines that are typed into a shell."""
    found = [line.strip() for line in epilog.splitlines()]
    typed = [line for line in found if re.match(r"(bulkdel |export |eval |grep )", line)]
    # A sentence begins with the program's name, too: "bulkdel runs lists them, ..." has no two blanks before it.
    return [line for line in typed if f"  {line}" in epilog]


def test_every_command_has_an_example() -> None:
    """Of itself."""
    for name, epilog in EPILOGS.items():
        assert any(f"bulkdel {name}" in line for line in examples(epilog)), name


@pytest.mark.parametrize("name", [name for name in EPILOGS if name not in ("demo", "simulate", "worker")])
def test_the_examples_of_help_work(name: str, stage: Stage) -> None:
    """Each line, in order, against the simulated services: exit 0, or 1 for the archived document."""
    if name in ("resume", "report", "verify"):  # of runs that are there already
        runs = {"old.run": "DATASET", "state/bulkdel/20260301-120000-dify-3fa2c1.run": stage.other}
        for run, dataset in runs.items():
            (stage.folder / run).parent.mkdir(parents=True, exist_ok=True)
            stage.lines(f"bulkdel {'purge' if name == 'verify' else 'plan'} dify {dataset} -o {run}")
    if name == "job":
        toml = EPILOGS[name].partition("nightly.toml\n")[2].partition("\n  bulkdel")[0].replace("\\b", "")
        text = "\n".join(line.strip("\b") for line in toml.splitlines())
        # Its [[delete]] is of the same provider in another dataset.
        (stage.folder / "targets.csv").write_text(f"dataset,document\n{stage.other},{stage.others[0]}\n")
        (stage.folder / "nightly.toml").write_text(stage.filled(text))
    if name == "delete":
        targets = EPILOGS[name].partition("more columns are ignored\n")[2].partition("\b")[0]
        (stage.folder / "targets.csv").write_text(
            "\n".join(line.strip() for line in stage.filled(targets).splitlines())
        )
    lines = [line for line in examples(EPILOGS[name]) if not line.startswith(ELSEWHERE)]
    for line in lines:
        stage.line(line)
    if name == "delete":
        settled = (stage.folder / "done.jsonl").read_text().splitlines()
        assert {json.loads(line)["status"] for line in settled} <= {"fulfilled", "rejected"}


def test_the_services_of_help_can_be_started() -> None:
    """$ bulkdel simulate …, each example: it says its address, and ends at a signal."""
    lines = [line for line in examples(EPILOGS["simulate"]) if line.startswith("bulkdel simulate")]
    assert len(lines) == 4
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *line.replace("--port 8080", "--port 0").split()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(),
        )
        for line in lines
    ]  # fmt: skip
    for process in started:
        with process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("base URL: http://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
