"""Plant every bug in a copy of the checkout, run the tests that are to notice, and print the score.

python -m tests.mutants                  all planted bugs, two at a time
python -m tests.mutants NAME...          these
python -m tests.mutants --list           what there is
python -m tests.mutants --mutmut [AREA]  mutmut's own, in backoff, readers, pacing, limits and runs (pip install mutmut)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tests.mutants import generated
from tests.mutants.catalogue import MUTANTS, misfit
from tests.mutants.checkout import ROOT, copy_to
from tests.mutants.planted import Mutant
from tests.mutants.trial import Verdict, run_tests, try_one

WANTED = 95.0
"""Percent that must be caught."""


def main() -> int:
    """The exit status: 0 where at least 95 % were caught and every survivor is explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help="names of planted bugs (or of areas, with --mutmut); all where none is given"
    )
    parser.add_argument("--list", action="store_true", help="show what there is and run nothing")
    parser.add_argument("--mutmut", action="store_true", help="let mutmut plant bugs by the thousand instead")
    parser.add_argument("--sample", type=int, help="with --mutmut: try so many of each area's, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    parser.add_argument("--trust", action="store_true", help="do not run the tests on the good code first")
    asked = parser.parse_args()
    if asked.mutmut:
        return generated.main(asked.names, asked.jobs, asked.sample, asked.seed)
    unknown = set(asked.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"there is no planted bug of that name: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not asked.names or mutant.name in asked.names]
    if asked.list:
        for mutant in chosen:
            print(f"{mutant.name:<36} {mutant.promise:<4} {mutant.file:<34} {mutant.why}")
        return 0
    if wrong := [why for mutant in chosen if (why := misfit(mutant, ROOT))]:
        print("\n".join(wrong), file=sys.stderr)
        return 2
    return run(chosen, asked.jobs, trust=asked.trust)


def run(chosen: list[Mutant], jobs: int, *, trust: bool) -> int:
    """Try each, ``jobs`` at a time, each job in a copy of its own; print a line for each, and the score."""
    with ExitStack() as stack:
        copies: SimpleQueue[Path] = SimpleQueue()
        for _ in range(jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkdel-mutants-"))
            copies.put(copy_to(Path(folder)))
        if not trust:
            # A test that fails on good code would catch everything.
            copy = copies.get()
            tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
            end, by = run_tests(tests, copy, "-n", str(jobs), seconds=1800.0)
            copies.put(copy)
            if end != "survived":
                print(f"the tests fail on the good code ({end}): {by}", file=sys.stderr)
                return 2

        def one(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                return try_one(mutant, copy)
            finally:
                copies.put(copy)

        verdicts = []
        with ThreadPoolExecutor(jobs) as pool:
            for verdict in pool.map(one, chosen):
                verdicts.append(verdict)
                mutant = verdict.mutant
                print(
                    f"{verdict.end:<8} {mutant.name:<36} {mutant.promise:<4} {verdict.seconds:5.1f} s  {verdict.by}",
                    flush=True,
                )
    return score(verdicts)


def score(verdicts: list[Verdict]) -> int:
    """Print the survivors with what is known of them, and the score."""
    caught = sum(verdict.caught for verdict in verdicts)
    good = True
    for verdict in verdicts:
        mutant = verdict.mutant
        if not verdict.caught:
            good = good and bool(mutant.survives) and verdict.end == "survived"
            print(f"\n{verdict.end}: {mutant.name} ({mutant.file}): {mutant.why}")
            print(f"    {mutant.survives or 'nobody knows why: write the test'}")
        elif mutant.survives:
            print(f"\ncaught, though it is said to survive: {mutant.name}")
    percent = 100 * caught / len(verdicts)
    print(f"\n{caught} of {len(verdicts)} caught, {percent:.1f} %")
    return 0 if good and percent >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
