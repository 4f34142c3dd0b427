"""All planted bugs, and whether they still fit the code."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.distributed import MUTANTS as DISTRIBUTED
from tests.mutants.engine import MUTANTS as ENGINE
from tests.mutants.keeping import MUTANTS as KEEPING
from tests.mutants.limits import MUTANTS as LIMITS
from tests.mutants.pacing import MUTANTS as PACING
from tests.mutants.planted import Mutant
from tests.mutants.purging import MUTANTS as PURGING
from tests.mutants.reading import MUTANTS as READING
from tests.mutants.wire import MUTANTS as WIRE
from tests.mutants.workers import MUTANTS as WORKERS

MUTANTS: tuple[Mutant, ...] = (
    *READING,
    *WIRE,
    *PACING,
    *LIMITS,
    *ENGINE,
    *PURGING,
    *KEEPING,
    *DISTRIBUTED,
    *WORKERS,
)


def misfit(mutant: Mutant, root: Path) -> str:
    """Why the patch cannot be applied to the checkout at ``root``, or names a test that is not there; empty where it fits."""
    found = (root / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    if found != 1:
        return f"{mutant.name}: its old text stands {found} times in {mutant.file}"
    for test in mutant.tests:
        path, _, name = test.partition("::")
        if not (root / path).exists():
            return f"{mutant.name}: there is no such test: {test}"
        if name and f"def {name}(" not in (root / path).read_text(encoding="utf-8"):
            return f"{mutant.name}: there is no such test: {test}"
    return ""
