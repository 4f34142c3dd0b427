"""Where the time goes: stretches that merge and never lose a second or a count, and a call whose waits add up."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import Policy, Rate, Report, Run
from bulkdel.engine.timeline import MOST, Sample, Timeline, merge, percentiles
from bulkdel.plan import Plan
from bulkdel.providers.protocol import Answer, Reply
from bulkdel.store.recorded import recorded_report
from tests import virtual
from tests.engine.world import DATASET, Service, client, provider, targets

samples = st.lists(
    st.builds(
        lambda span, settled, requests, cause, p50: Sample(
            at=0.0, span_s=span, settled=settled, requests=requests, p50_s=p50, p95_s=p50, waited={cause: span}
        ),
        st.integers(1, 64).map(lambda n: n / 64),  # sums of these are exact
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from(["rate", "pause", "client"]),
        st.one_of(st.none(), st.floats(0, 60)),
    ),
    max_size=60,
)


@given(samples, st.integers(1, 60))
def test_merging_loses_nothing(given_samples: list[Sample], times: int) -> None:
    """However many looks there were, spans, counts and waits add up, and there are never more samples than are kept."""
    timeline = Timeline()
    for _ in range(times):
        for sample in given_samples:
            timeline.add(sample)
    kept = timeline.samples
    assert len(kept) <= MOST + 1
    assert sum(sample.span_s for sample in kept) == times * sum(sample.span_s for sample in given_samples)
    assert sum(sample.settled for sample in kept) == times * sum(sample.settled for sample in given_samples)
    assert sum(sum(sample.waited.values()) for sample in kept) == sum(sample.span_s for sample in kept)


def test_a_merged_stretch_shows_the_slower_latency() -> None:
    """The 95th percentile of two stretches is not averaged away."""
    both = merge(Sample(0, 1, requests=9, p50_s=0.1, p95_s=0.2), Sample(1, 1, requests=1, p50_s=1.1, p95_s=3.0))
    assert both.p95_s == 3.0
    assert both.p50_s == pytest.approx(0.2)


def test_a_stretch_shows_the_most_that_was_in_flight(tmp_path: Path) -> None:
    """Not what is left at its end, which for a run of a second is nothing: so it is measured, merged and kept in the run file."""
    assert merge(Sample(0, 1, in_flight=3), Sample(1, 1, in_flight=1)).in_flight == 3
    service = Service(latency=0.001)  # over before anybody looks
    service.fill(40)
    path = tmp_path / "a.run"

    async def main() -> None:
        async with client(service, providers=[provider(concurrency=4)]) as c:
            await c.purge("dify", DATASET, run=path)

    virtual.run(main())
    with Run.open(path) as run:
        (kept,) = run.samples().values()
    assert max(sample.in_flight for sample in kept["dify"]) == service.most_in_flight == 4
    assert all(sample.in_flight for sample in kept["dify"] if sample.requests)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (None, None)), ([2.0], (2.0, 2.0)), ([float(n) for n in range(101)], (50.0, 95.0))],
)
def test_percentiles(values: list[float], expected: tuple[float | None, float | None]) -> None:
    """The median and the 95th percentile of a stretch's latencies."""
    assert percentiles(values) == expected


def test_every_second_of_a_call_is_accounted_for() -> None:
    """Rate, pause, indexing, service and us add up to the call's time, and each is seen where it is the reason."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(200)
        service.script(ids[50], ["429 long"])
        service.script(ids[60], ["indexing"] * 5)
        async with client(service, providers=[provider(rate=Rate(2), concurrency=2)]) as c:
            report = await c.delete(targets(ids), policy=Policy(max_pause=600.0))
        assert report.ok
        assert sum(report.waited_s.values()) == pytest.approx(report.elapsed_s, abs=0.01)
        assert 595 <= report.waited_s["pause"] <= 610
        assert report.waited_s["rate"] >= 90
        quiet = Service(latency=0.0)
        quiet.fill(3, display_status="indexing", indexing_status="indexing")
        loop = asyncio.get_running_loop()

        def ready() -> None:
            for row in quiet.held.values():
                row["display_status"] = row["indexing_status"] = "completed"

        loop.call_later(100.0, ready)
        async with client(quiet) as c:
            report = await c.purge("dify", DATASET)
        assert report.ok
        assert report.waited_s["indexing"] >= 95
        assert sum(report.waited_s.values()) == pytest.approx(report.elapsed_s, abs=0.01)

    virtual.run(main())


def test_who_is_asked_takes_time_of_their_own() -> None:
    """An hour at the question is no work of bulkdel's and no slowness of the service's: its cause is ``confirm``."""

    async def main() -> None:
        service = Service(latency=0.05)
        service.fill(200)
        seen: list[float] = []

        async with client(service, providers=[provider(concurrency=2)]) as c:

            async def confirm(_: Plan) -> bool:
                for _ in range(60):
                    await asyncio.sleep(60.0)
                    (look,) = c.progress()
                    assert (look.wait, look.per_second) == ("confirm", 0.0)
                return True

            async def watch() -> None:
                while True:
                    await asyncio.sleep(0.5)
                    (look,) = c.progress()
                    if look.phase == "deleting" and look.deleted:
                        seen.append(look.per_second)

            watching = asyncio.create_task(watch())
            report = await c.purge("dify", DATASET, confirm=confirm)
            watching.cancel()
        assert report.ok
        assert report.waited_s["confirm"] == pytest.approx(3600.0, abs=0.01)
        assert report.waited_s["client"] < 5
        assert sum(report.waited_s.values()) == pytest.approx(report.elapsed_s, abs=0.01)
        assert (
            seen[1] > 30
        )  # two at a time, 50 ms each: 40 a second, and not those seconds shared out over the question

    virtual.run(main())


class _Liar(Service):
    """Says that it deleted and keeps everything."""

    def delete(self, document: str) -> Reply:
        return Answer(204)


def test_looking_again_later_is_no_work_of_ours() -> None:
    """A listing that still shows what was deleted is looked at after 1, 2 and 4 s: seven seconds of waiting, and a look says so."""

    async def main() -> None:
        service = _Liar(latency=0.05)
        service.fill(3)
        seen: set[str] = set()
        async with client(service) as c:

            async def watch() -> None:
                while True:
                    await asyncio.sleep(0.5)
                    seen.update(look.wait for look in c.progress() if look.phase == "verifying")

            watching = asyncio.create_task(watch())
            report = await c.purge("dify", DATASET)
            watching.cancel()
        assert report.datasets[0].still_there_count == 3
        assert report.waited_s["backoff"] >= 6.5
        assert report.waited_s.get("client", 0.0) < 0.5
        assert "backoff" in seen
        assert sum(report.waited_s.values()) == pytest.approx(report.elapsed_s, abs=0.01)

    virtual.run(main())


def test_a_provider_that_is_done_is_not_at_work() -> None:
    """Of two providers the fast one is done while the slow one goes on, and that is no time of bulkdel's own; a look says so, too."""

    async def main() -> None:
        fast, slow = Service(latency=0.05), Service(name="slow", latency=0.05)
        ids, others = fast.fill(20), slow.fill(40)
        both = [provider(), provider(name="slow", rate=Rate(1))]
        async with client(fast, slow, providers=both) as c:
            report = await c.delete([*targets(ids), *targets(others, "slow")])
            ended = {look.provider: look.waited_s for look in c.progress()}
        assert report.ok
        assert report.elapsed_s > 30
        assert ended["dify"]["done"] >= 0.9 * report.elapsed_s
        assert "done" not in ended["slow"]
        assert sum(report.waited_s.values()) == pytest.approx(2 * report.elapsed_s, abs=0.01)
        together = {cause: sum(of.get(cause, 0.0) for of in ended.values()) for cause in report.waited_s}
        assert report.waited_s == pytest.approx(together, abs=0.001)

    virtual.run(main())


def test_nothing_ticks_behind_a_call() -> None:
    """A call is looked at while it goes and never again: asking for its account begins no timer of its own."""

    async def main() -> None:
        service = Service()
        ids = service.fill(5)
        async with client(service) as c:
            await c.delete(targets(ids))
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual.Deadlock):  # no timer is set any more, so this waits for ever
        virtual.run(main(), limit=600)


def test_requeues_belong_to_their_own_provider() -> None:
    """Two providers at once: what one of them is asked again is in its own timeline, and in no other."""

    async def main(path: Path) -> None:
        service, other = Service(), Service(name="other")
        ids, others = service.fill(4), other.fill(4)
        service.script(ids[1], ["500", "500"])
        async with client(service, other) as c:
            await c.delete([*targets(ids), *targets(others, "other")], run=path)

    with tempfile.TemporaryDirectory() as folder:
        virtual.run(main(path := Path(folder) / "a.run"))
        with Run.open(path) as run:
            kept = run.samples()[1]
    assert {name: sum(s.requeued for s in samples) for name, samples in kept.items()} == {"dify": 2, "other": 0}


def test_a_recorded_run_knows_where_its_time_went() -> None:
    """The samples and the seconds by cause of every session are in the run file, and the report read back has them."""

    async def main(path: Path) -> tuple[Report, Report]:
        service = Service(latency=0.05)
        service.fill(40)
        async with client(service, providers=[provider(rate=Rate(4), concurrency=2)]) as c:
            service.when[20] = c.stop
            return await c.purge("dify", DATASET, run=path), await c.resume(path)

    with tempfile.TemporaryDirectory() as folder:
        first, done = virtual.run(main(path := Path(folder) / "a.run"))
        with Run.open(path) as run:
            sessions, told = run.samples(), recorded_report(run)
            began = [session.started_at for session in run.sessions()]
            endings = [run.endings_in(0.0, began[1], 1), run.endings_in(began[1], 2 * began[1], 5)]
    assert told.waited_s == done.waited_s
    assert told.waited_s["rate"] > first.waited_s["rate"] > 0
    assert list(sessions) == [1, 2]
    assert sum(s.settled for kept in sessions.values() for s in kept["dify"]) == told.deleted == 40
    waited = sum(seconds for kept in sessions.values() for s in kept["dify"] for seconds in s.waited.values())
    assert waited == pytest.approx(sum(told.waited_s.values()), abs=0.01)
    assert sum(n for _, found in endings for stretches in found.values() for n in stretches.values()) == 40
    assert endings[1][0] == 1.0
    assert list(endings[0][1]["dify"]) == [0]
