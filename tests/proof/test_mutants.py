"""The planted bugs fit the code that they are to break; `python -m tests.mutants` runs them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, misfit

ROOT = Path(__file__).resolve().parents[2]
PROMISES = [f"S{number}" for number in range(1, 22)]


def test_every_planted_bug_fits_the_code() -> None:
    """A patch whose place has moved would be run no more: adapt it in tests/mutants when you change what it breaks."""
    assert not [why for mutant in MUTANTS if (why := misfit(mutant, ROOT))]
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_every_promise_has_a_row_with_tests_and_a_bug() -> None:
    """tests/README.md names for each promise tests that exist, and at least one planted bug that they catch."""
    rows: dict[str, str] = {}
    for line in (ROOT / "tests" / "README.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (S\d+) \|", line):
            rows[found[1]] = line
    assert list(rows) == PROMISES
    names = {mutant.name for mutant in MUTANTS}
    for promise, row in rows.items():
        _, _, _, tests, bugs, _ = row.split(" | ") if row.count(" | ") == 5 else [*row.split("|"), ""][:6]
        files = re.findall(r"`([^`]+)`", tests)
        assert files, promise
        for file in files:
            assert (ROOT / "tests" / file.partition("::")[0]).exists(), (promise, file)
        planted = re.findall(r"`([^`]+)`", bugs)
        assert planted, promise
        assert set(planted) <= names, (promise, set(planted) - names)
