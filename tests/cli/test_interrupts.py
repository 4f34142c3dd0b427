"""Signals, and the account of a run that was cut off."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdel import Report, Run
from bulkdel.cli.runner import Interrupts, handled
from bulkdel.store.recorded import recorded_report
from tests import virtual
from tests.cli.service import until
from tests.engine.world import DATASET, Service, client, provider, targets


def test_the_first_signal_is_gentle_and_the_second_is_not() -> None:
    """The first one's number is kept, whatever the second is, and each is reported once."""

    async def main() -> None:
        shown: list[object] = []
        second = asyncio.Event()

        def at_once() -> None:
            shown.append("at once")
            second.set()

        interrupts = Interrupts(shown.append, at_once)
        before = signal.getsignal(signal.SIGTERM)
        with handled(interrupts.on_signal):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: shown)
            assert (interrupts.signal, interrupts.twice) == (signal.SIGTERM, False)
            os.kill(os.getpid(), signal.SIGINT)
            await second.wait()
        assert shown == [15, "at once"]
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
    shown: list[object] = []
    now = 0.0

    async def main() -> None:
        nonlocal now
        interrupts = Interrupts(shown.append, lambda: shown.append("at once"), clock=lambda: now)
        for number, at in signals:
            now = at
            interrupts.on_signal(number)
        assert interrupts.twice == twice

    asyncio.run(main())
    assert shown == [signals[0][0], "at once"][: 1 + twice]


@pytest.mark.parametrize("kept", [True, False])
@given(cut=st.integers(2, 14))
@settings(max_examples=12, deadline=None)
def test_a_run_that_was_cut_off_still_adds_up(kept: bool, cut: int) -> None:
    """Whenever the second signal comes, nothing that did not settle counts as a success; a run file holds the same."""

    async def main(run: Path | None) -> Report:
        service = Service(latency=0.3)
        service.fill(9)
        service.fill(1, archived=True)
        async with client(service, providers=[provider(concurrency=2)]) as c:
            task = asyncio.ensure_future(c.purge("dify", DATASET, run=run))
            service.when[cut] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
            with suppress(asyncio.CancelledError):
                await task
            return c.interrupted_report("stopped at once", 2, run)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.run") if kept else None
        report = virtual.run(lambda: main(path))
        assert (report.exit_status, report.status) == (130, "interrupted")
        report.counts.check("the run")
        assert report.requests >= report.deleted
        assert sum(report.reasons.values()) == report.counts.rejected + report.not_attempted
        if path is not None:
            with Run.open(path) as there:
                held = recorded_report(there).counts
            # Of a listing that was cut off the file may know more.
            assert (held.deleted, held.already_gone, held.rejected) == (
                report.deleted,
                report.already_gone,
                report.counts.rejected,
            )


def test_explicit_targets_that_were_cut_off_are_all_counted() -> None:
    """What was given is what was selected, though nothing was listed."""

    async def main() -> Report:
        service = Service(latency=0.3)
        ids = service.fill(6)
        async with client(service, providers=[provider(concurrency=1)]) as c:
            task = asyncio.ensure_future(c.delete(targets(ids)))
            service.when[3] = lambda: asyncio.get_running_loop().call_soon(task.cancel)
            with suppress(asyncio.CancelledError):
                await task
            return c.interrupted_report("stopped at once", 15)

    report = virtual.run(main)
    assert (report.exit_status, report.selected, report.deleted + report.not_attempted) == (143, 6, 6)
    assert report.deleted < 6
    assert [d.status for d in report.datasets] == ["interrupted"]
