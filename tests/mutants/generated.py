"""Bugs that mutmut plants by the thousand, in the modules that are arithmetic, reading or the run file."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.mutants.checkout import copy_to, environment


class Area(NamedTuple):
    """Which files are broken, and which tests are to notice."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "backoff": Area(("bulkdel/backoff.py",), ("tests/test_backoff.py",)),
    "readers": Area(
        (
            "bulkdel/providers/dify.py", "bulkdel/providers/dify_answers.py", "bulkdel/providers/dify_rows.py",
            "bulkdel/providers/langdock.py", "bulkdel/providers/langdock_rows.py", "bulkdel/providers/words.py",
            "bulkdel/providers/bearer.py",
        ),
        ("tests/providers", "tests/proof/test_readers.py"),
    ),
    "pacing": Area(
        (
            "bulkdel/pacing/bucket.py", "bulkdel/pacing/pace.py", "bulkdel/pacing/slots.py", "bulkdel/pacing/breaker.py",
        ),
        ("tests/pacing",),
    ),
    "limits": Area(
        (
            "bulkdel/pacing/concurrency.py", "bulkdel/pacing/window.py", "bulkdel/pacing/rate.py", "bulkdel/pacing/joint.py",
            "bulkdel/pacing/jointfile.py", "bulkdel/pacing/shared.py", "bulkdel/pacing/line.py", "bulkdel/pacing/learned.py",
        ),
        ("tests/pacing",),
    ),
    "runs": Area(
        ("bulkdel/runs/*.py",),
        ("tests/runs/test_file.py", "tests/runs/test_read.py", "tests/runs/test_faults.py", "tests/runs/test_folder.py"),
    ),
}  # fmt: skip


class Score(NamedTuple):
    """How many of an area's ``planted`` bugs were caught, and which survived, each with its change."""

    caught: int
    survived: dict[str, str]
    unreached: int
    planted: int

    @property
    def percent(self) -> float:
        tried = self.caught + len(self.survived)
        return 100 * self.caught / tried if tried else 0.0


def main(names: list[str], processes: int, sample: int | None = None, seed: int = 0) -> int:
    """Break each area in turn and print its score; the exit status is 1 where one is below 85 %.

    With ``sample`` so many of an area's bugs are tried, drawn at random by ``seed``.
    """
    unknown = [name for name in names if name not in AREAS]
    if unknown:
        print(f"there is no such area: {unknown[0]} (there are: {', '.join(AREAS)})", file=sys.stderr)
        return 2
    low = False
    for name in names or list(AREAS):
        with tempfile.TemporaryDirectory(prefix="bulkdel-mutmut-") as folder:
            copy = copy_to(Path(folder))
            score = _run(AREAS[name], copy, processes, sample, seed)
        low = low or score.percent < 85
        drawn = "" if sample is None else f", drawn from {score.planted} with the seed {seed}"
        tried = score.caught + len(score.survived)
        print(
            f"{name}: {score.caught} of {tried} caught, {score.percent:.1f} %{drawn} ({score.unreached} more that no test reaches)"
        )
        for key, change in score.survived.items():
            print(f"\n    survived: {key}\n{change}")
    return 1 if low else 0


def _run(area: Area, copy: Path, processes: int, sample: int | None, seed: int) -> Score:
    tests = [test for test in area.tests if (copy / test).exists()]
    lines = ["[mutmut]", "source_paths=bulkdel", "only_mutate="]
    lines += [f"    {file}" for file in area.files]
    lines += ["pytest_add_cli_args=", "    -n", "    0", "pytest_add_cli_args_test_selection="] + [
        f"    {test}" for test in tests
    ]
    lines += ["also_copy=", "    tests", "    pyproject.toml"]
    (copy / "setup.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
    at_once = ("--max-children", str(processes))
    drawn: list[str] = []
    if sample is not None:
        # mutmut plants all before it finds that none has this name.
        _mutmut(copy, "run", *at_once, "none-of-them")
        planted = sorted(_ends(copy))
        drawn = random.Random(seed).sample(planted, min(sample, len(planted)))
    done = _mutmut(copy, "run", *at_once, *drawn)
    if done.returncode != 0:
        raise SystemExit(
            f"mutmut ended with {done.returncode} (is it installed?):\n{(done.stdout + done.stderr)[-2000:]}"
        )
    ends = _ends(copy)
    # mutmut's own numbers: 0 survived, 33 and 5 no test reaches it; any other end of its tests is a catch.
    tried = {key: end for key, end in ends.items() if end not in (None, 5, 33, 34)}
    survived = {key: _mutmut(copy, "show", key).stdout for key, end in tried.items() if end == 0}
    return Score(len(tried) - len(survived), survived, sum(end in (5, 33) for end in ends.values()), len(ends))


def _mutmut(copy: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mutmut", *argv]
    return subprocess.run(command, cwd=copy, env=environment(copy) | {"PYTHONPATH": ""}, capture_output=True, text=True)


def _ends(copy: Path) -> dict[str, int | None]:
    """Every planted bug with the exit status of its tests, None where they were not run."""
    ends: dict[str, int | None] = {}
    for meta in sorted((copy / "mutants").rglob("*.meta")):
        ends |= json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    return ends
