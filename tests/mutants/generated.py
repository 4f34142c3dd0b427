"""Bugs that mutmut plants by the thousand, in the modules that are arithmetic, reading or the run file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
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
            "bulkdel/providers/dify.py", "bulkdel/providers/dify_rows.py", "bulkdel/providers/langdock.py",
            "bulkdel/providers/langdock_rows.py", "bulkdel/providers/words.py", "bulkdel/providers/bearer.py",
        ),
        ("tests/providers", "tests/proof/test_readers.py"),
    ),
    "pacing": Area(
        (
            "bulkdel/pacing/bucket.py", "bulkdel/pacing/pace.py", "bulkdel/pacing/slots.py", "bulkdel/pacing/breaker.py",
        ),
        ("tests/pacing",),
    ),
    "runs": Area(
        (
            "bulkdel/runs/settling.py", "bulkdel/runs/planning.py", "bulkdel/runs/store.py", "bulkdel/runs/header.py",
            "bulkdel/runs/evidence.py", "bulkdel/runs/values.py",
        ),
        ("tests/runs/test_file.py", "tests/runs/test_read.py"),
    ),
}  # fmt: skip


def main(names: list[str], processes: int) -> int:
    """Break each area in turn and print its score; the exit status is 1 where one is below 85 %."""
    unknown = [name for name in names if name not in AREAS]
    if unknown:
        print(f"there is no such area: {unknown[0]} (there are: {', '.join(AREAS)})", file=sys.stderr)
        return 2
    low = False
    for name in names or list(AREAS):
        with tempfile.TemporaryDirectory(prefix="bulkdel-mutmut-") as folder:
            copy = copy_to(Path(folder))
            caught, survived, other = _run(AREAS[name], copy, processes)
        total = caught + len(survived)
        score = 100 * caught / total if total else 0.0
        low = low or score < 85
        print(f"{name}: {caught} of {total} caught, {score:.1f} % ({other} not tried: no test reaches them)")
        for key in survived:
            print(f"    survived: {key}")
    return 1 if low else 0


def _run(area: Area, copy: Path, processes: int) -> tuple[int, list[str], int]:
    tests = [test for test in area.tests if (copy / test).exists()]
    lines = ["[mutmut]", "source_paths=bulkdel", "only_mutate="]
    lines += [f"    {file}" for file in area.files]
    lines += ["pytest_add_cli_args=", "    -n", "    0", "pytest_add_cli_args_test_selection="] + [
        f"    {test}" for test in tests
    ]
    lines += ["also_copy=", "    tests", "    pyproject.toml"]
    (copy / "setup.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes)]
    done = subprocess.run(command, cwd=copy, env=environment(copy) | {"PYTHONPATH": ""}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(
            f"mutmut ended with {done.returncode} (is it installed?):\n{(done.stdout + done.stderr)[-2000:]}"
        )
    ends: Counter[str] = Counter()
    survived: list[str] = []
    for meta in sorted((copy / "mutants").rglob("*.meta")):
        for key, code in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            # mutmut's own numbers: 0 survived, 33 and 5 no test reaches it; any other end of its tests is a catch.
            end = "survived" if code == 0 else "not tried" if code in (None, 5, 33, 34) else "caught"
            ends[end] += 1
            if end == "survived":
                survived.append(key)
    return ends["caught"], survived, ends["not tried"]
