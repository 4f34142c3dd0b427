"""One planted bug on trial: patched into a copy, its tests run, the copy mended again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.mutants.checkout import environment
from tests.mutants.planted import Mutant

SECONDS = 180.0
"""A test that a bug keeps from ending has noticed it; the slowest named tests take 40 s on a busy machine."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended: ``by`` is the first test that failed, or the last words of a run that broke."""

    mutant: Mutant
    end: Literal["caught", "hung", "survived", "broken"]
    by: str
    seconds: float

    @property
    def caught(self) -> bool:
        return self.end in ("caught", "hung")


def try_one(mutant: Mutant, copy: Path) -> Verdict:
    """Patch the copy, run the tests that are to notice, and mend it again."""
    file = copy / mutant.file
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace(mutant.old, mutant.new), encoding="utf-8")
    began = time.monotonic()
    try:
        end, by = run_tests(mutant.tests, copy)
    finally:
        file.write_text(good, encoding="utf-8")
    return Verdict(mutant, end, by, time.monotonic() - began)


def run_tests(
    tests: tuple[str, ...], copy: Path, *more: str, seconds: float = SECONDS
) -> tuple[Literal["caught", "hung", "survived", "broken"], str]:
    """Run ``tests`` in the copy until one fails."""
    # The same examples each time, so that a score can be compared with yesterday's.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--hypothesis-seed=0", *more, *tests]
    process = subprocess.Popen(
        command,
        cwd=copy,
        env=environment(copy),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its children too: it is the first of a session of its own
        process.communicate()
        return "hung", f"not ended after {seconds:g} s"
    failed = _FAILED.search(out)
    if process.returncode == 0:
        return "survived", ""
    if process.returncode == 1 and failed is not None:
        return "caught", failed[1]
    return "broken", out.strip()[-600:]
