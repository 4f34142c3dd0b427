"""Signals, and the account of a run that was torn away."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import events
from bulkdel.cli.signals import Interrupts, handled
from bulkdel.cli.tally import Tally
from bulkdel.model import Outcome, Settled, Target
from tests.cli.service import until


def test_the_first_signal_is_gentle_and_the_second_is_not() -> None:
    """The first one's number is kept, whatever the second is, and each is told once."""

    async def main() -> None:
        told: list[object] = []
        second = asyncio.Event()

        def at_once() -> None:
            told.append("at once")
            second.set()

        interrupts = Interrupts(told.append, at_once)
        before = signal.getsignal(signal.SIGTERM)
        with handled(interrupts.on_signal):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: told)
            assert (interrupts.signal, interrupts.twice) == (signal.SIGTERM, False)
            os.kill(os.getpid(), signal.SIGINT)
            await second.wait()
        assert told == [15, "at once"]
        assert (interrupts.signal, interrupts.twice) == (signal.SIGTERM, True)
        assert signal.getsignal(signal.SIGTERM) == before

    asyncio.run(main())


@pytest.mark.parametrize(
    ("signals", "twice"),
    [
        ([(2, 0.0)], False), ([(2, 0.0), (2, 0.0)], False), ([(2, 0.0), (2, 0.09)], False), ([(2, 0.0), (2, 0.11)], True),
        ([(2, 0.0), (2, 0.001), (2, 0.5)], True), ([(2, 0.0), (15, 0.0)], True), ([(15, 5.0), (15, 5.05)], False),
    ],
)  # fmt: skip
def test_a_signal_that_is_passed_on_twice_is_one(signals: list[tuple[int, float]], twice: bool) -> None:
    """``timeout -s INT`` sends it to the process and to its group: that is no second Ctrl-C."""
    told: list[object] = []
    now = 0.0

    async def main() -> None:
        nonlocal now
        interrupts = Interrupts(told.append, lambda: told.append("at once"), clock=lambda: now)
        for number, at in signals:
            now = at
            interrupts.on_signal(number)
        assert interrupts.twice == twice

    asyncio.run(main())
    assert told == [signals[0][0], "at once"][: 1 + twice]


outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    ["deleted", "already_gone", "archived", "stuck_indexing", "invalid_id", "refused", "gave_up", "not_attempted"]
)


@given(st.lists(outcomes, max_size=30), st.integers(0, 30), st.integers(0, 10), st.integers(0, 8))
def test_a_torn_run_still_adds_up(ends: list[Outcome], unsettled: int, skipped: int, in_flight: int) -> None:
    """Whenever the second signal comes, the counts conserve and nothing that did not settle counts as a success."""
    tally = Tally()
    selected = len(ends) + unsettled
    tally.hear(events.Listed("dify", "ds", "Manuals", selected + skipped, selected))
    for n, outcome in enumerate(ends):
        tally.hear(events.Settled(Settled(Target("dify", "ds", f"d{n}"), outcome, "", 1, "", 0.0)))
    report = tally.torn(2, elapsed_s=1.0, requests=5, in_flight=in_flight)
    report.counts.check("the torn run")
    assert report.exit_status == 130
    assert report.deleted == ends.count("deleted")
    assert report.not_attempted == ends.count("not_attempted") + unsettled
    assert sum(report.reasons.values()) == report.counts.rejected + report.not_attempted
    assert (f"{in_flight} request" in report.reason) == (in_flight > 0)


def test_a_torn_run_of_explicit_targets_counts_them_all() -> None:
    """What was given is what was selected, though nothing was listed."""
    targets = [Target("dify", "a", "1"), Target("dify", "b", "2"), Target("dify", "b", "3")]
    tally = Tally({("dify", "a"): 1, ("dify", "b"): 2})
    tally.hear(events.Settled(Settled(targets[0], "deleted", "", 1, "", 0.0)))
    tally.hear(events.Stopped("dify", "b", "no such dataset"))
    report = tally.torn(15, elapsed_s=1.0, requests=5, in_flight=1)
    assert (report.exit_status, report.selected, report.deleted, report.not_attempted) == (143, 3, 1, 2)
    assert [(d.dataset, d.status) for d in report.datasets] == [("a", "interrupted"), ("b", "stopped")]
