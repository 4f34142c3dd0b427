"""Whatever is planned, handed over, settled, killed and opened again: endings never change, nothing is lost or asked twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulkdel.errors import BrokenPromise
from bulkdel.model import FULFILLED, Document, Outcome, Target
from bulkdel.store import Row, Run, RunFile, index
from bulkdel.store.schema import OUTCOMES
from tests.store.helpers import crashed_copy, ending, header

outcomes = st.sampled_from(sorted(OUTCOMES))
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
        self.doubt: dict[str, int] = {}  # the attempts that are known
        self.handed: dict[str, Row] = {}  # in this session

    @initialize(worth_it=st.sampled_from([0, 5, index.WORTH_IT]))
    def create(self, worth_it: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(index, "WORTH_IT", worth_it)

        async def main() -> None:
            self.run = await RunFile.create(self.path, header("job"))
            self.key = await self.run.add_dataset("dify", "ds")

        self.runner.run(main())

    @rule(rows=st.lists(st.tuples(ids, st.booleans(), st.booleans()), max_size=8))
    def list_documents(self, rows: list[tuple[str, bool, bool]]) -> None:
        """A listing's page: those that it showed before are ignored."""
        new: dict[str, tuple[bool, bool]] = {}
        for id, waiting, skip in rows:
            if f"L{id}" not in {*self.places, *self.skipped, *new}:
                new[f"L{id}"] = (waiting, skip)
        batch = [(Document(f"L{id}", indexing=waiting), "not wanted" if skip else "") for id, waiting, skip in rows]
        added = self.runner.run(self.run.add_documents(self.key, batch))
        assert added.listed == len(new)
        for id, (waiting, skip) in new.items():
            if skip:
                self.skipped.add(id)
            else:
                self.places.append(id)
                self.waiting |= {id} if waiting else set()

    @rule(lines=st.lists(ids, max_size=8))
    def add_targets(self, lines: list[str]) -> None:
        """Lines of targets, repeated ones too; one that has been listed and left out is asked for now."""
        self.runner.run(self.run.add_targets([Target("dify", "ds", id) for id in lines]))
        self.places += lines

    @rule(size=st.integers(1, 6), pages=st.integers(1, 4))
    def hand_over(self, size: int, pages: int) -> None:
        """A few pages: only what is open, each once a session, with doubt where there is some."""

        async def main() -> list[list[Row]]:
            found = []
            given = self.run.pages("dify", size)
            async for page in given:
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
                assert id not in self.handed
                assert 1 + len(row.also) <= self.places.count(id)
                assert (row.handed, row.attempts) == (id in self.doubt, self.doubt.get(id, 0))
                self.handed[id] = row

    def in_flight(self) -> list[str]:
        return [id for id in self.handed if id not in self.ended]

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Some of what is in flight ends."""
        chosen = data.draw(st.lists(st.tuples(st.sampled_from(self.in_flight()), outcomes), min_size=1, unique_by=lambda c: c[0]))  # fmt: skip
        batch = [ending(self.handed[id], outcome, f"{outcome} of {id}") for id, outcome in chosen]
        self.runner.run(self.run.settled(batch))
        self.ended |= {id: (outcome, f"{outcome} of {id}") for id, outcome in chosen}

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data(), attempts=st.integers(0, 3))
    def not_attempted(self, data: st.DataObject, attempts: int) -> None:
        """What is not attempted any more stays open; where it was asked for, it is in doubt from then on."""
        id = data.draw(st.sampled_from(self.in_flight()))
        self.runner.run(self.run.settled([ending(self.handed[id], "not_attempted", "stopped", attempts)]))
        if attempts:
            self.doubt[id] = attempts

    @precondition(lambda self: any(id in self.ended for id in self.handed))
    @rule(data=st.data(), outcome=outcomes)
    def settle_again(self, data: st.DataObject, outcome: Outcome) -> None:
        """The same ending is ignored, another one is refused."""
        id = data.draw(st.sampled_from([id for id in self.handed if id in self.ended]))
        again = self.run.settled([ending(self.handed[id], outcome, "again")])
        if outcome == self.ended[id][0]:
            self.runner.run(again)
        else:
            with pytest.raises(BrokenPromise):
                self.runner.run(again)

    @rule(retry=st.booleans())
    def close_and_resume(self, retry: bool) -> None:
        """A clean end, and another session."""
        self.runner.run(self.run.close("interrupted", 130))
        self.handed.clear()
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
        for id in self.in_flight():
            self.doubt.setdefault(id, 0)
        self.handed.clear()
        self.resume(retry)

    def resume(self, retry: bool) -> None:
        self.run = self.runner.run(RunFile.open(self.path))
        if retry:
            rejected = {id: outcome for id, (outcome, _) in self.ended.items() if outcome not in FULFILLED}
            assert self.runner.run(self.run.retry_rejected()) == len(rejected)
            for id, outcome in rejected.items():
                del self.ended[id]
                if outcome == "gave_up":
                    self.doubt.setdefault(id, 0)
                elif id in self.doubt and not self.doubt[id]:
                    del self.doubt[id]  # it had settled since that crash, so it was not in flight any more

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
            self.patch.undo()
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
