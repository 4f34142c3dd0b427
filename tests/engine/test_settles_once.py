"""S1, S2, S3, S4, S5, S11, S14, S21: whatever a service does, each target settles exactly once and the report is true.

Generated fault scripts, stops and cancellations, through the real engine, pacing and Dify reader, on a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel import Policy, Rate, Report, Target
from tests import virtual
from tests.engine.world import ACTS, ENDS, Service, client, provider, targets

POLICY = Policy(attempts=3, indexing_timeout=60.0, backoff=0.5, timeout=30.0)

scripts = st.lists(st.lists(st.sampled_from(ACTS), max_size=5), min_size=1, max_size=12)
limits = st.tuples(st.sampled_from([None, Rate(5), Rate(40, per=60.0)]), st.integers(1, 5))


def check(report: Report, asked: list[Target], service: Service) -> None:
    """Everything that must hold of a report, whatever happened."""
    assert [settled.target for settled in report.settled] == asked  # S1, S3: one per target, in input order
    assert not service.doubled  # S4
    counts = report.counts
    assert (
        counts.selected == counts.deleted + counts.already_gone + counts.rejected + counts.not_attempted == len(asked)
    )
    assert sum(report.reasons.values()) == counts.rejected + counts.not_attempted
    for settled in report.settled:
        document = settled.target.document
        assert settled.attempts == service.deletes[document], settled
        if settled.status == "fulfilled":
            assert document not in service.held, settled
        if settled.outcome in ("archived", "refused"):
            assert document in service.held, settled
        assert service.lost[document] <= POLICY.attempts  # S2


@settings(max_examples=60, deadline=None)
@given(scripts, limits)
@example([["lost done"], ["500 done", "500 done"]], (None, 1))
@example([["500", "unreachable"], ["500 done", "500"], ["500 done", "500"]], (None, 1))
@example([["indexing"] * 5, ["429 long"], []], (Rate(5), 2))
def test_every_target_settles_once_and_the_report_is_true(
    script: list[list[str]], limit: tuple[Rate | None, int]
) -> None:
    """Faults of documents and pauses of the provider never lose a target, settle one twice or lie about one."""

    async def main() -> None:
        service = Service()
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        asked = targets([*ids, *ids[::3]])
        async with client(service, policy=POLICY, providers=[provider(rate=limit[0], concurrency=limit[1])]) as c:
            report = await c.delete(asked)
        check(report, asked, service)
        assert service.most_in_flight <= limit[1]  # S5: what waits holds no worker, and none is made for it
        if counts_of(report)["not_attempted"]:
            # By design: a service that did nothing right in its first 30 s is given up. Jitter decides whether it comes so
            # far, so that this may or may not be seen of the same script.
            assert "not even once" in report.reason
            assert not report.counts.deleted
        if limit[0] is not None:
            times = [sent.at for sent in service.sent]
            for first, last in zip(times, times[int(limit[0].n) :], strict=False):
                assert last - first >= limit[0].per - 1e-6  # S6: requeued ones are charged too

    virtual.run(main())


@settings(max_examples=60, deadline=None)
@given(scripts, st.sampled_from(ENDS), st.integers(0, 11), st.integers(1, 4))
def test_a_stop_by_the_service_settles_the_rest(
    script: list[list[str]], end: str, where: int, concurrency: int
) -> None:
    """A refused key, a vanished dataset or a wrong address ends in the report; nothing is called gone that is there."""

    async def main() -> None:
        service = Service()
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        service.script(ids[where % len(ids)], [end])
        asked = targets(ids)
        async with client(service, policy=POLICY, providers=[provider(concurrency=concurrency)]) as c:
            report = await c.delete(asked)
        check(report, asked, service)
        assert not report.ok
        assert report.status == ("incomplete" if end == "404 dataset" else "stopped")

    virtual.run(main())


@settings(max_examples=60, deadline=None)
@given(scripts, st.floats(0.0, 20.0), st.integers(1, 4), st.booleans())
def test_a_user_stop_lets_requests_end_and_sends_no_more(
    script: list[list[str]], after: float, concurrency: int, deadline: bool
) -> None:
    """S11: after a stop nothing leaves, what is in flight ends and counts, and the rest is not attempted."""

    async def main() -> None:
        service = Service(latency=0.3)
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        asked = targets(ids)
        loop = asyncio.get_running_loop()
        policy = Policy(attempts=3, indexing_timeout=60.0, deadline=after + 1e-3) if deadline else POLICY
        stopped_at = loop.time() + after + 1e-3
        async with client(service, policy=policy, providers=[provider(concurrency=concurrency)]) as c:
            if not deadline:
                loop.call_at(stopped_at, c.stop)
            report = await c.delete(asked)
        check(report, asked, service)
        assert all(sent.at <= stopped_at + 1e-6 for sent in service.sent)
        assert service.finished == len(service.sent)
        if counts_of(report)["not_attempted"]:
            before = loop.time() < stopped_at  # then the service was given up, out of reach from the first request on
            assert report.status == ("stopped" if before else "deadline" if deadline else "interrupted")
        assert loop.time() <= stopped_at + 0.31 or not counts_of(report)["not_attempted"]

    virtual.run(main())


@settings(max_examples=60, deadline=None)
@given(scripts, st.floats(0.0, 20.0), st.integers(1, 4))
def test_an_outer_cancellation_is_obeyed_at_once(script: list[list[str]], after: float, concurrency: int) -> None:
    """S14: a cancelled call ends now, sends nothing more, and calls nothing in flight a success."""

    async def main() -> None:
        service = Service(latency=0.3)
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        heard: Counter[str] = Counter()

        def on_event(event: object) -> None:
            settled = getattr(event, "settled", None)
            if settled is not None:
                heard[settled.target.document] += 1
                if settled.status == "fulfilled":
                    assert settled.target.document not in service.held

        loop = asyncio.get_running_loop()
        end = loop.time() + after + 1e-3
        async with client(service, policy=POLICY, providers=[provider(concurrency=concurrency)]) as c:
            try:
                async with asyncio.timeout_at(end):
                    await c.delete(targets(ids), on_event=on_event)
            except TimeoutError:
                assert loop.time() <= end + 1e-3
        assert all(sent.at <= end + 1e-6 for sent in service.sent)
        assert all(n == 1 for n in heard.values())
        assert not +service.in_flight

    virtual.run(main())


@settings(max_examples=60, deadline=None)
@given(scripts, st.floats(0.0, 2.0), st.integers(0, 12))
def test_a_slow_reader_gets_each_outcome_once(script: list[list[str]], slowness: float, read: int) -> None:
    """A stream gives every outcome exactly once however slowly it is read, and leaving early leaks no request."""

    async def main() -> None:
        service = Service()
        ids = service.fill(len(script))
        for document, acts in zip(ids, script, strict=True):
            service.script(document, acts)
        got: list[Target] = []
        async with client(service, policy=POLICY) as c:
            async with c.settle(iter(targets(ids))) as outcomes:
                async for settled in outcomes:
                    got.append(settled.target)
                    await asyncio.sleep(slowness)
                    if len(got) == read:
                        break
            assert len(set(got)) == len(got)
            if read == 0 or read > len(ids):
                assert sorted(got) == sorted(targets(ids))
                assert outcomes.report is not None
            assert not +service.in_flight

    virtual.run(main())


def counts_of(report: Report) -> dict[str, int]:
    return {name: getattr(report, name) for name in ("deleted", "already_gone", "not_attempted")}


@pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
def test_any_iterable_of_targets_settles_in_input_order(kind: str) -> None:
    """A list, a generator and an async generator give the same report."""

    async def main() -> None:
        service = Service(latency=0.0)
        ids = service.fill(700)
        asked = targets(ids)

        async def stream() -> object:
            for target in asked:
                yield target

        given_targets = {"list": asked, "generator": iter(asked), "async generator": stream()}[kind]
        async with client(service) as c:
            report = await c.delete(given_targets)  # type: ignore[arg-type]
        check(report, asked, service)
        assert report.ok
        assert report.deleted == 700

    virtual.run(main())
