"""The engine's single promises, each on a virtual clock with a service in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bulkdel import Policy, Rate, Target, TargetsError, events
from bulkdel.engine.schedule import WINDOW
from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Reply, Request
from tests import virtual
from tests.engine.world import DATASET, JSON, Sent, Service, client, error, provider, targets


def test_a_duplicate_is_asked_once_and_settles_each_time() -> None:
    """S4: two occurrences of a target make one request and two endings."""

    async def main() -> None:
        service = Service()
        ids = service.fill(3)
        async with client(service, policy=Policy(indexing="delete")) as c:
            report = await c.delete(targets([ids[0], ids[1], ids[0], ids[2], ids[0]]))
        assert len(service.sent) == 3
        assert report.deleted == 5
        assert len(report.settled) == 5

    virtual.run(main())


def test_a_lost_answer_then_not_found_is_deleted() -> None:
    """S2: a document that is gone after an attempt in doubt was deleted by it, and the reason says so."""

    async def main() -> None:
        service = Service()
        one, two = service.fill(2)
        service.script(one, ["lost done"])
        service.script(two, ["404 document"])
        async with client(service) as c:
            report = await c.delete(targets([one, two]))
        first, second = report.settled
        assert (first.outcome, first.attempts) == ("deleted", 2)
        assert "answer lost" in first.reason
        assert (second.outcome, second.attempts) == ("already_gone", 1)

    virtual.run(main())


def test_attempts_are_bounded_and_the_last_look_tells_the_truth() -> None:
    """A document that keeps failing costs exactly `attempts` DELETEs; one that is gone all the same is deleted."""

    async def main() -> None:
        service = Service()
        stays, goes = service.fill(2)
        service.script(stays, ["500"] * 10)
        service.script(goes, ["500", "500", "500 done"] + ["500"] * 10)
        async with client(service, policy=Policy(attempts=3)) as c:
            report = await c.delete(targets([stays, goes]))
        first, second = report.settled
        assert (first.outcome, first.attempts) == ("gave_up", 3)
        assert (second.outcome, second.attempts) == ("deleted", 3)
        assert service.deletes[stays] == service.deletes[goes] == 3

    virtual.run(main())


def test_pauses_cost_no_attempt_and_strike_once() -> None:
    """S7, S8: eight workers told 429 at once are one pause; nothing leaves before its end; no document pays for it."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(40)
        for document in ids[:8]:
            service.script(document, ["429 long"])
        loop = asyncio.get_running_loop()
        began = loop.time()
        heard: list[events.Event] = []
        async with client(
            service, policy=Policy(attempts=1, indexing="delete"), providers=[provider(concurrency=8)]
        ) as c:
            report = await c.delete(targets(ids), on_event=heard.append)
        assert report.ok
        assert report.pauses == 1
        assert [type(e).__name__ for e in heard if isinstance(e, events.Paused | events.Resumed)] == [
            "Paused",
            "Resumed",
        ]
        assert report.requeued["rate_limit"] == 8
        early = [sent for sent in service.sent if sent.at < began + 3600]
        assert len(early) == 8

    virtual.run(main())


def test_a_refusal_after_good_answers_is_the_first_one_again() -> None:
    """S8: the service's own two seconds are obeyed each time, and grow only where refusals follow one another."""

    async def main() -> None:
        service = Service(latency=0.01)
        ids = service.fill(60)
        for document in ids[::5]:
            service.script(document, ["429"])
        heard: list[events.Event] = []
        async with client(service, providers=[provider(concurrency=1)]) as c:
            report = await c.delete(targets(ids), on_event=heard.append)
        assert (report.deleted, report.pauses) == (60, 12)
        pauses = [event.seconds for event in heard if isinstance(event, events.Paused)]
        assert all(2.0 <= seconds <= 2.2 for seconds in pauses), pauses

    virtual.run(main())


def test_troubles_with_good_answers_between_them_open_no_breaker() -> None:
    """S8: one 500 in five is the document's trouble and not the service's: nothing pauses, whatever they add up to."""

    async def main() -> None:
        service = Service(latency=0.01)
        ids = service.fill(100)
        for document in ids[::5]:
            service.script(document, ["500"])
        async with client(service, providers=[provider(concurrency=1)]) as c:
            report = await c.delete(targets(ids))
        assert (report.deleted, report.requeued["server_error"], report.pauses) == (100, 20, 0)

    virtual.run(main())


def test_a_pause_is_cut_at_the_users_maximum() -> None:
    """S7: a service that asks for an hour gets `max_pause` seconds."""

    async def main() -> None:
        service = Service()
        ids = service.fill(1)
        service.script(ids[0], ["429 long"])
        async with client(service, policy=Policy(max_pause=30.0, indexing="delete")) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert 30.0 <= report.elapsed_s <= 36.0

    virtual.run(main())


def test_one_documents_wait_is_cut_at_the_users_maximum() -> None:
    """S7: a 503 that says to come back in a day costs its document `max_pause` seconds, and no other document any."""

    async def main() -> None:
        service = Service()
        ids = service.fill(20)
        service.script(ids[0], ["503 day"])
        async with client(service, policy=Policy(max_pause=30.0)) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert 30.0 <= report.elapsed_s <= 36.0
        assert service.sent[-2].at < service.sent[-1].at - 29.0

    virtual.run(main())


def test_a_wait_for_indexing_holds_no_worker_and_no_attempt() -> None:
    """S2, S5: with one worker, a document that waits lets the others go first, and its waits cost nothing."""

    async def main() -> None:
        service = Service()
        ids = service.fill(20)
        service.script(ids[0], ["indexing"] * 8)
        async with client(
            service, policy=Policy(attempts=1, indexing="delete"), providers=[provider(concurrency=1)]
        ) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert report.settled[0].attempts == 9
        assert report.requeued == {"document_indexing": 8}
        assert service.sent[-1].document == ids[0]
        assert [sent.document for sent in service.sent].index(ids[1]) == 1

    virtual.run(main())


def test_indexing_ends_at_its_own_budget_with_a_last_look() -> None:
    """A document that stays in indexing is `stuck_indexing` when its time is over, neither sooner nor later."""

    async def main() -> None:
        service = Service()
        ids = service.fill(1)
        service.script(ids[0], ["indexing"] * 1000)
        async with client(service, policy=Policy(indexing_timeout=100.0)) as c:
            report = await c.delete(targets(ids))
        assert report.settled[0].outcome == "stuck_indexing"
        assert 100.0 <= report.elapsed_s < 101.0
        assert service.sent[-1].at - service.sent[0].at >= 100.0

    virtual.run(main())


def test_due_retries_go_before_fresh_targets() -> None:
    """A requeued target is asked as soon as it is due, not behind thousands of fresh ones."""

    async def main() -> None:
        service = Service(latency=0.1)
        ids = service.fill(300)
        service.script(ids[0], ["500"])
        policy = Policy(backoff=1.0, indexing="delete")
        async with client(service, policy=policy, providers=[provider(concurrency=1)]) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        places = [place for place, sent in enumerate(service.sent) if sent.document == ids[0]]
        assert places[1] <= 12

    virtual.run(main())


@pytest.mark.parametrize("kind", ["list", "generator"])
def test_a_paused_provider_never_slows_another(kind: str) -> None:
    """One provider asks for an hour; the other is done in seconds, from one list or one generator."""

    async def main() -> None:
        slow, fast = Service(name="slow"), Service(name="fast")
        slow_ids, fast_ids = slow.fill(500), fast.fill(500)
        slow.script(slow_ids[0], ["429 long"])
        mixed = [t for pair in zip(targets(slow_ids, "slow"), targets(fast_ids, "fast"), strict=True) for t in pair]
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with client(slow, fast) as c:
            report = await c.delete(mixed if kind == "list" else iter(mixed))
        assert report.ok
        assert max(sent.at for sent in fast.sent) - began < 5.0
        assert max(sent.at for sent in slow.sent) - began >= 3600.0

    virtual.run(main())


def test_a_vanished_dataset_is_confirmed_once_and_stops_alone() -> None:
    """S12: a dataset's 404 is never "already gone"; other datasets of the provider go on."""

    async def main() -> None:
        service = Service()
        ids = service.fill(200)
        service.script(ids[50], ["404 dataset"])
        other = Service(name="other")
        other_ids = other.fill(10)
        async with client(service, other) as c:
            report = await c.delete([*targets(ids), *targets(other_ids, "other")])
        assert report.status == "incomplete"
        assert report.counts.already_gone == 0
        assert report.reasons["dataset_stopped"] > 140
        by_provider = {d.provider: d.status for d in report.datasets}
        assert by_provider == {"dify": "stopped", "other": "complete"}
        assert len(service.sent) < 70

    virtual.run(main())


def test_an_outage_of_minutes_is_survived_and_charged_to_nobody() -> None:
    """A service that is down for five minutes costs no document its attempts and is asked one question at a time."""

    async def main() -> None:
        service = Service(latency=0.02)
        ids = service.fill(400)
        loop = asyncio.get_running_loop()

        def set_down(down: bool) -> None:
            service.down = down

        loop.call_later(1.0, set_down, True)
        loop.call_later(301.0, set_down, False)
        async with client(service, policy=Policy(attempts=2)) as c:
            report = await c.delete(targets(ids))
        assert report.ok
        assert report.deleted == 400
        assert report.elapsed_s < 345
        # 300 s of questions at up to 30 s each, not 300 s of four workers
        assert len(service.sent) < 400 + 60

    virtual.run(main())


class Limited(Service):
    """Refuses what comes sooner than a second after the last twenty, which is answered sooner than the others."""

    passed: list[float]

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        now = asyncio.get_running_loop().time()
        if request.method == "DELETE" and len(self.passed) >= 20 and self.passed[-20] > now - 1.0:
            self.sent.append(Sent(now, "refused", request.path, ""))
            await asyncio.sleep(self.latency / 2)
            return error(429, "too_many_requests", "slow down", retry_after="2")
        self.passed.append(now)
        return await super().send(request, timeout=timeout, connect_timeout=connect_timeout)


@pytest.mark.parametrize("rate", [None, Rate(50)])
def test_behind_a_refusal_one_request_leaves_until_one_passes(rate: Rate | None) -> None:
    """Not those that wait for a permit meanwhile, nor if answers come of requests that left before the refusal."""

    async def main() -> None:
        service = Limited(latency=0.05)
        service.passed = []
        ids = service.fill(200)
        async with client(service, providers=[provider(rate=rate, concurrency=8)]) as c:
            report = await c.delete(targets(ids), policy=Policy(indexing="delete"))
        assert report.ok
        behind = [k for k in range(1, len(service.sent)) if service.sent[k].at - service.sent[k - 1].at > 1.5]
        assert len(behind) >= 2
        for k in behind:
            assert service.sent[k + 1].at - service.sent[k].at >= 0.05 - 1e-6

    virtual.run(main())


def test_all_workers_go_on_after_an_outage() -> None:
    """S8: documents go one at a time until one of them is answered well, and not a document longer."""

    async def main() -> None:
        service = Service(latency=0.02)
        ids = service.fill(400)

        def down() -> None:
            service.down = True
            asyncio.get_running_loop().call_later(30.0, up)

        def up() -> None:
            service.down, service.most_in_flight = False, 0
            before.append(len(service.sent))

        before: list[int] = []
        service.when[40] = down
        async with client(service) as c:
            report = await c.delete(targets(ids))
        assert report.deleted == 400
        assert service.most_in_flight == 4
        first = service.sent[before[0]].at
        assert service.sent[-1].at - first < 400 * 0.02 / 4 + 35, "the pause that was on, and then all four workers"

    virtual.run(main())


def test_a_service_never_reached_is_given_up_within_seconds() -> None:
    """An unreachable host stops the provider in seconds, with what is left not attempted."""

    async def main() -> None:
        service = Service(down=True)
        ids = service.fill(50)
        async with client(service) as c:
            report = await c.delete(targets(ids))
        assert report.status == "stopped"
        assert report.exit_status == 4
        assert report.not_attempted == 50
        assert report.elapsed_s < 20
        assert "could not be reached" in report.reason

    virtual.run(main())


def test_a_provider_that_raises_is_a_bug_and_not_a_lost_target() -> None:
    """S1: a reader that throws ends the run in order, with exit status 70 and every target settled."""

    class Broken(Service):
        def delete(self, document: str) -> Reply:
            if document == self.bad:
                return None  # type: ignore[return-value]
            return super().delete(document)

        bad = ""

    async def main() -> None:
        service = Broken()
        ids = service.fill(30)
        service.bad = ids[7]
        async with client(service, providers=[provider(concurrency=2)]) as c:
            report = await c.delete(targets(ids))
        assert report.exit_status == 70
        assert report.bug
        assert len(report.settled) == 30
        assert report.settled[7].outcome == "gave_up"

    virtual.run(main())


def test_a_listener_that_throws_harms_nothing() -> None:
    """S13: `on_event` and `on_settled` that raise change no ending."""

    async def main() -> None:
        service = Service()
        ids = service.fill(30)
        heard: list[str] = []

        def on_event(event: events.Event) -> None:
            heard.append(type(event).__name__)
            raise RuntimeError("mine")

        async def on_settled(page: object) -> None:
            raise RuntimeError("mine too")

        async with client(service) as c:
            report = await c.delete(targets(ids), on_event=on_event, on_settled=on_settled)
        assert report.ok
        assert heard.count("Settled") == 30

    virtual.run(main())


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_an_iterable_that_raises_gives_its_error_and_a_report(kind: str) -> None:
    """S1: what was read settles, the rest is never asked, and the caller gets the cause and the account."""

    async def main() -> None:
        service = Service()
        ids = service.fill(50)

        def broken() -> object:
            yield from targets(ids[:10])
            raise KeyError("mine")

        async def broken_async() -> AsyncIterator[Target]:
            for target in targets(ids[:10]):
                yield target
            raise KeyError("mine")

        async with client(service) as c:
            with pytest.raises(TargetsError) as caught:
                await c.delete(broken() if kind == "generator" else broken_async())  # type: ignore[arg-type]
        assert isinstance(caught.value.__cause__, KeyError)
        report = caught.value.report
        assert len(report.settled) == 10  # type: ignore[attr-defined]

    virtual.run(main())


def test_an_endless_async_iterable_is_left_at_a_stop() -> None:
    """S11: an abort never hangs on a producer that says nothing."""

    async def main() -> None:
        service = Service()
        ids = service.fill(5)
        closed: list[bool] = []

        async def producer() -> AsyncIterator[Target]:
            try:
                for target in targets(ids):
                    yield target
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        async with client(service) as c:
            asyncio.get_running_loop().call_later(10.0, c.stop)
            report = await c.delete(producer())
        assert report.deleted == 5
        assert closed == [True]
        assert report.elapsed_s < 11

    virtual.run(main())


def test_wrong_targets_are_refused_before_anything_is_sent() -> None:
    """A list with a wrong item is refused by its place, and nothing leaves."""

    async def main() -> None:
        service = Service()
        ids = service.fill(3)
        async with client(service) as c:
            with pytest.raises(
                ConfigurationError, match="target number 2 names a provider that was not given: 'nobody'"
            ):
                await c.delete([*targets(ids[:1]), Target("nobody", DATASET, ids[1])])
            with pytest.raises(ConfigurationError, match="target number 1 is no Target"):
                await c.delete([("dify", DATASET, 3)])  # type: ignore[list-item]
            report = await c.delete([Target("dify", DATASET, "../../x"), Target("dify", "nonsense", ids[0])])
        assert not service.sent
        assert [settled.outcome for settled in report.settled] == ["invalid_id", "invalid_id"]

    virtual.run(main())


def test_the_window_bounds_what_is_held() -> None:
    """S18: a generator of any length is read no further than the windows reach ahead of the work."""

    async def main() -> None:
        service = Service(latency=1.0)
        ids = service.fill(3 * WINDOW)
        read = 0

        def produce() -> object:
            nonlocal read
            for target in targets(ids):
                read += 1
                yield target

        async with client(service, providers=[provider(rate=Rate(1))]) as c:
            asyncio.get_running_loop().call_later(50.0, c.stop)
            task = asyncio.ensure_future(c.delete(produce(), keep=False))  # type: ignore[arg-type]
            await asyncio.sleep(40.0)
            assert len(service.sent) <= 41
            assert read <= WINDOW + 2_000
            report = await task
        assert read == len(ids) == report.selected  # after the stop it is read to its end: every target settles

    virtual.run(main())


def test_two_calls_of_one_client_share_its_limits() -> None:
    """Two calls at once keep the one rate and the one concurrency between them."""

    async def main() -> None:
        service = Service(latency=0.5)
        ids = service.fill(60)
        async with client(service, providers=[provider(rate=Rate(10), concurrency=3)]) as c:
            reports = await asyncio.gather(c.delete(targets(ids[:30])), c.delete(targets(ids[30:])))
        assert all(report.ok for report in reports)
        assert [report.requests for report in reports]
        times = [sent.at for sent in service.sent]
        assert all(last - first >= 1.0 - 1e-6 for first, last in zip(times, times[10:], strict=False))
        assert service.most_in_flight <= 3

    virtual.run(main())


def test_one_call_stopped_by_its_deadline_leaves_the_other_alone() -> None:
    """A deadline belongs to its call."""

    async def main() -> None:
        service = Service(latency=0.5)
        ids = service.fill(60)
        async with client(service) as c:
            first, second = await asyncio.gather(
                c.delete(targets(ids[:30]), policy=Policy(deadline=1.2)), c.delete(targets(ids[30:]))
            )
        assert first.status == "deadline"
        assert first.exit_status == 5
        assert second.ok

    virtual.run(main())


def test_a_client_can_be_used_again_after_a_stop() -> None:
    """A provider that was stopped in one call is asked afresh by the next."""

    async def main() -> None:
        service = Service()
        ids = service.fill(10)
        service.script(ids[0], ["401"])
        async with client(service, providers=[provider(concurrency=1)]) as c:
            first = await c.delete(targets(ids))
            second = await c.delete(targets(ids))
        assert first.status == "stopped"
        assert second.ok

    virtual.run(main())


def test_success_in_any_words_is_success() -> None:
    """204, 200 with a result and 200 with the number 204 all settle as deleted."""

    class Wordy(Service):
        def delete(self, document: str) -> Reply:
            super().delete(document)
            return [Answer(204, JSON), Answer(200, JSON, b'{"result":"success"}'), Answer(200, JSON, b"204\n")][
                len(self.sent) % 3
            ]

        async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
            return await super().send(request, timeout=timeout, connect_timeout=connect_timeout)

    async def main() -> None:
        service = Wordy()
        async with client(service) as c:
            report = await c.delete(targets(service.fill(9)))
        assert report.deleted == 9

    virtual.run(main())


def test_each_dataset_has_its_own_account() -> None:
    """S21: targets of several datasets in any order, on one page, are counted to the dataset that each is in."""
    other = "22222222-2222-4222-8222-222222222222"

    async def main() -> None:
        service = Service()
        ids = service.fill(9)
        for document in ids[2::3]:
            service.script(document, ["400"])
        asked = [Target("dify", other if place % 3 else DATASET, document) for place, document in enumerate(ids)]
        async with client(service) as c:
            report = await c.delete(asked)
        counts = {of.dataset: of.counts for of in report.datasets}
        assert (counts[DATASET].selected, counts[DATASET].deleted, counts[DATASET].rejected) == (3, 3, 0)
        assert (counts[other].selected, counts[other].deleted, counts[other].rejected) == (6, 3, 3)

    virtual.run(main())


def test_one_ending_alone_is_reported_at_once() -> None:
    """Who listens hears of a settled target within a moment, though it is the only one for a long time."""

    async def main() -> None:
        service = Service()
        first, later = service.fill(2)
        service.script(later, ["503 day"])
        heard: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        began = loop.time()

        def listen(event: events.Event) -> None:
            if isinstance(event, events.Settled):
                heard[event.settled.target.document] = loop.time() - began

        async with client(service, policy=Policy(max_pause=60.0)) as c:
            assert (await c.delete(targets([first, later]), on_event=listen)).ok
        assert heard[first] < 1.0
        assert heard[later] >= 60.0

    virtual.run(main())
