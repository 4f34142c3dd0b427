"""Whatever is planned, claimed, settled, killed and opened again: endings never change, nothing is lost or asked twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulkdel.errors import BrokenPromise
from bulkdel.model import FULFILLED, Document, Outcome, Target
from bulkdel.store import ClaimedRow, ListedRow, Run, RunFile
from tests.store.helpers import crashed_copy, endings, header

outcomes = st.sampled_from(sorted(set(get_args(Outcome)) - {"not_attempted"}))
ids = st.integers(0, 30).map(lambda number: f"doc-{number}")


class Machine(RuleBasedStateMachine):
    """A run file against a model of it: what was asked for, how it ended, what may have been in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.crashes = 0
        self.runner = asyncio.Runner()
        self.path = self.folder / "a.run"
        self.places: list[str] = []  # selected, in input order
        self.skipped: set[str] = set()
        self.waiting: set[str] = set()
        self.ended: dict[str, tuple[Outcome, str]] = {}
        self.doubt: set[str] = set()
        self.listed: set[str] = set()  # datasets
        self.claimed: dict[str, ClaimedRow] = {}  # in this session

    @initialize(lines=st.lists(ids, max_size=12))
    def create(self, lines: list[str]) -> None:
        """Explicit targets come first, repeated ones among them."""

        async def main() -> None:
            self.run = await RunFile.create(self.path, header("job"))
            for first in range(0, len(lines), 5):
                await self.run.add_targets([Target("dify", "named", id) for id in lines[first : first + 5]])
            await self.run.end_targets(complete=True)

        self.runner.run(main())
        self.places += lines

    @rule(rows=st.lists(st.tuples(ids, st.booleans(), st.booleans()), max_size=12), split=st.integers(0, 12))
    def list_dataset(self, rows: list[tuple[str, bool, bool]], split: int) -> None:
        """A dataset's listing in two pages: a row that was shown before is ignored."""
        dataset = f"ds-{len(self.listed)}"
        self.listed.add(dataset)

        async def main() -> None:
            await self.run.begin_listing("dify", dataset)
            for page in (rows[:split], rows[split:]):
                listed = [
                    ListedRow(Document(f"{dataset} {id}", indexing=waiting), "not wanted" if skip else "")
                    for id, waiting, skip in page
                ]
                new = await self.run.add_listed("dify", dataset, listed)
                known = {*self.places, *self.skipped}
                assert {row.document.id for row in new} == {row.document.id for row in listed} - known
                for row in new:
                    if row.skipped:
                        self.skipped.add(row.document.id)
                        continue
                    self.places.append(row.document.id)
                    self.waiting |= {row.document.id} if row.document.indexing else set()
            await self.run.end_listing("dify", dataset, complete=True)

        self.runner.run(main())

    @rule(size=st.integers(1, 6), pages=st.integers(1, 4))
    def claim(self, size: int, pages: int) -> None:
        """A few pages: only what is open, each once a session, with doubt if there is some."""

        async def main() -> list[list[ClaimedRow]]:
            found = []
            async for page in self.run.pages("dify", size):
                found.append(page)
                if len(found) == pages:
                    break
            return found

        for page in self.runner.run(main()):
            assert 1 <= len(page) <= size
            assert len({row.target.document in self.waiting for row in page}) == 1
            for row in page:
                id = row.target.document
                assert id not in self.ended
                assert id not in self.skipped
                assert id not in self.claimed
                assert 1 + len(row.others) == self.places.count(id)
                assert row.in_doubt == (id in self.doubt)
                self.claimed[id] = row

    def in_flight(self) -> list[str]:
        return [id for id in self.claimed if id not in self.ended]

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Some of what is in flight ends."""
        chosen = data.draw(st.lists(st.tuples(st.sampled_from(self.in_flight()), outcomes), min_size=1, unique_by=lambda c: c[0]))  # fmt: skip
        batch = [e for id, outcome in chosen for e in endings(self.claimed[id], outcome, f"{outcome} of {id}")]
        self.runner.run(self.run.settled(batch))
        self.ended |= {id: (outcome, f"{outcome} of {id}") for id, outcome in chosen}

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data(), attempts=st.integers(0, 3))
    def not_attempted(self, data: st.DataObject, attempts: int) -> None:
        """What is not attempted any more stays open; where it was asked for, it is in doubt from then on."""
        id = data.draw(st.sampled_from(self.in_flight()))
        self.runner.run(self.run.settled(endings(self.claimed[id], "not_attempted", "stopped", attempts)))
        if attempts:
            self.doubt.add(id)

    @precondition(lambda self: any(id in self.ended for id in self.claimed))
    @rule(data=st.data(), outcome=outcomes)
    def settle_again(self, data: st.DataObject, outcome: Outcome) -> None:
        """The same ending is ignored, another one is refused."""
        id = data.draw(st.sampled_from([id for id in self.claimed if id in self.ended]))
        again = self.run.settled(endings(self.claimed[id], outcome, "again"))
        if outcome == self.ended[id][0]:
            self.runner.run(again)
        else:
            with pytest.raises(BrokenPromise):
                self.runner.run(again)

    @rule(retry=st.booleans())
    def close_and_resume(self, retry: bool) -> None:
        """A clean end, and another session."""
        self.runner.run(self.run.close("interrupted", 130))
        self.claimed.clear()
        self.resume(retry)

    @rule(retry=st.booleans())
    def crash_and_resume(self, retry: bool) -> None:
        """The process is gone between two writes: the next one finds what lies on the disk."""
        self.crashes += 1
        path = crashed_copy(self.path, self.folder / f"after crash {self.crashes}")
        self.runner.run(self.run.close(None, None, clean=False))
        self.path = path
        with Run.open(path) as run:
            assert run.state == "crashed"
        self.doubt |= set(self.in_flight())
        self.claimed.clear()
        self.resume(retry)

    def resume(self, retry: bool) -> None:
        self.run = self.runner.run(RunFile.open(self.path))
        if retry:
            rejected = {id: outcome for id, (outcome, _) in self.ended.items() if outcome not in FULFILLED}
            assert self.runner.run(self.run.retry_rejected()) == len(rejected)
            for id, outcome in rejected.items():
                del self.ended[id]
                # An answer settled it since, unless it was given up without one.
                self.doubt = self.doubt | {id} if outcome == "gave_up" else self.doubt - {id}

    @invariant()
    def the_file_says_what_happened(self) -> None:
        """Counts, endings and their order, as a reader sees them now."""
        if not hasattr(self, "run"):
            return
        with Run.open(self.path) as run:
            counts = run.counts()
            assert (counts.selected, counts.skipped) == (len(self.places), len(self.skipped))
            assert [(s.target.document, (s.outcome, s.reason)) for s in run.settled()] == [
                (id, self.ended[id]) for id in self.places if id in self.ended
            ]
            assert [s.target.document for s in run.not_attempted()] == [
                id for id in self.places if id not in self.ended
            ]

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.runner.run(self.run.close(None, None, clean=False))
        self.runner.close()
        shutil.rmtree(self.folder)


TestRunFile = Machine.TestCase
TestRunFile.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
