"""S1–S9, S11–S14, S21 over generated schedules: two providers, several calls on one client, whatever happens meanwhile.

Targets × providers × latencies × fault scripts × outages × stops × cancellations at any step × slow readers × listeners that
throw × rate changes, through the real engine, pacing and readers, on a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel import Policy, Rate, Target, events
from bulkdel.engine.call import Call
from bulkdel.engine.feeds import from_iterable, from_sequence
from bulkdel.engine.gate import Gate
from bulkdel.engine.stop import StopReason
from bulkdel.model import Settled
from bulkdel.providers.protocol import Provider
from tests import virtual
from tests.engine.world import ACTS, DATASET, ENDS, Service, client, provider, targets
from tests.proof import folder
from tests.proof.folder import FOLDER, Folder, langdock

POLICY = Policy(attempts=3, indexing_timeout=60.0, backoff=0.5, timeout=30.0)
SPENDS = {"500": 1, "500 done": 1, "503": 1, "lost": 1, "lost done": 1}
FREE = {"ok", "unreachable", "429", "404 document", "500 not found"}
RATES = (None, Rate(3), Rate(20), Rate(40, per=60.0))


@dataclass(frozen=True)
class Side:
    """One provider of a schedule."""

    scripts: list[list[str]]
    latency: float
    rate: Rate | None
    concurrency: int


@dataclass(frozen=True)
class Happening:
    """What comes from outside at a time: which provider or call it meets is ``which``, modulo how many there are."""

    at: float
    what: str
    which: int


@dataclass
class One:
    """One call of a schedule, and what became of it."""

    asked: list[Target]
    slow: float
    throws: int
    lazy: bool
    got: list[tuple[int, Settled]] = field(default_factory=list)
    heard: list[Settled] = field(default_factory=list)
    stopped_at: float = float("inf")
    cancelled: bool = False
    call: Call | None = None


def side(acts: Sequence[str]) -> st.SearchStrategy[Side]:
    return st.builds(
        Side,
        scripts=st.lists(st.lists(st.sampled_from(acts), max_size=4), max_size=8),
        latency=st.sampled_from([0.0, 0.01, 0.3, 4.0]),
        rate=st.sampled_from(RATES),
        concurrency=st.integers(1, 5),
    )


HAPPENINGS = ("rate", "slots", "down", "up", "stop", "deadline", "cancel", "end")
happenings = st.lists(
    st.builds(Happening, st.floats(0.001, 30.0), st.sampled_from(HAPPENINGS), st.integers(0, 5)), max_size=4
)
calls = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 20.0]), st.integers(0, 3), st.booleans()), min_size=1, max_size=3)


def deal(ids: list[str], names: tuple[str, str], n: int) -> list[list[Target]]:
    """Each call its own targets, some of them twice."""
    hands: list[list[Target]] = [[] for _ in range(n)]
    for place, document in enumerate(ids):
        hands[place % n] += targets([document] * (2 if place % 4 == 1 else 1), *names)
    return hands


@settings(max_examples=60, deadline=None)
@given(side(ACTS), side(folder.ACTS), calls, happenings, st.integers(0, 60))
@example(Side([["lost done"], []], 0.3, None, 1), Side([["429"]], 0.0, Rate(3), 1), [(0.5, 1, True)], [], 0)
@example(
    Side([["429", "500"], [], [], []], 4.0, Rate(20), 5), Side([[]] * 8, 0.0, Rate(3), 2), [(0.0, 0, False)] * 3,
    [Happening(1.0, "cancel", 1), Happening(2.0, "rate", 0), Happening(3.0, "stop", 2)], 7,
)  # fmt: skip
@example(
    Side([], 0.0, None, 1), Side([["unreachable"] * 3], 4.0, None, 1), [(0.0, 0, False)], [], 0,
)  # fmt: skip
def test_whatever_happens_every_promise_holds(
    one: Side, two: Side, shape: list[tuple[float, int, bool]], scheduled: list[Happening], steps: int
) -> None:
    """After every run, however it went: one ending each, a true account, no send after a stop, nothing leaked."""
    virtual.run(lambda: run(one, two, shape, scheduled, steps))


async def run(
    one: Side, two: Side, shape: list[tuple[float, int, bool]], scheduled: list[Happening], steps: int
) -> None:
    loop = asyncio.get_running_loop()
    services: dict[str, Service] = {"dify": Service(), "langdock": Folder()}
    values: dict[str, Provider] = {
        "dify": provider(rate=one.rate, concurrency=one.concurrency),
        "langdock": langdock(rate=two.rate, concurrency=two.concurrency),
    }
    scripts: dict[str, list[str]] = {}
    hands: list[list[Target]] = [[] for _ in shape]
    for name, planned, dataset in (("dify", one, DATASET), ("langdock", two, FOLDER)):
        service = services[name]
        service.latency = planned.latency
        ids = service.fill(len(planned.scripts))
        for document, acts in zip(ids, planned.scripts, strict=True):
            service.script(document, acts)
            scripts[name + document] = acts
        for hand, more in zip(hands, deal(ids, (name, dataset), len(shape)), strict=True):
            hand += more
    gates = {name: Gate(value, services[name]) for name, value in values.items()}
    ones = [One(hand, slow, throws, lazy) for hand, (slow, throws, lazy) in zip(hands, shape, strict=True)]
    tasks = [loop.create_task(work(one, gates), name=f"call {n}") for n, one in enumerate(ones)]
    coming = [loop.call_later(happening.at, happen, happening, services, gates, ones, tasks) for happening in scheduled]
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps % 3 == 2:  # at any await, not only where time passes
        cancel(ones[0], tasks[0])
    await asyncio.wait(tasks)

    disturbed = bool(scheduled) or any(one.cancelled for one in ones)
    for one_call, task in zip(ones, tasks, strict=True):
        check(one_call, task, services, scripts, disturbed=disturbed, stopped=gates)
    for name, gate in gates.items():
        service = services[name]
        assert not service.doubled  # S4
        assert gate.slots.borrowed_tokens == gate.in_flight == gate.limiter.waiting == 0, name
        assert not +service.in_flight
        if not any(happening.what in ("rate", "slots") for happening in scheduled):
            assert service.most_in_flight <= values[name].limits.concurrency  # type: ignore[operator]  # S5
            in_any_window(service, values[name].pace)
    for handle in coming:  # what would have happened later is none of the further call's
        handle.cancel()
    await usable_again(services, gates)


async def work(one: One, gates: dict[str, Gate]) -> None:
    """One call, from its first request to its account."""

    async def consume(batch: list[tuple[int, Settled]]) -> None:
        one.got += batch
        await asyncio.sleep(one.slow)

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Settled):
            one.heard.append(event.settled)
        if one.throws and len(one.heard) % one.throws == 0:
            raise RuntimeError("a listener's own mistake")

    with Call(gates, POLICY, on_event=hear, consumer=consume) as call:
        one.call = call
        await call.settle([from_iterable(iter(one.asked))] if one.lazy else from_sequence(one.asked))


def cancel(one: One, task: asyncio.Task[None]) -> None:
    if not task.done():
        one.cancelled = True
        one.stopped_at = min(one.stopped_at, asyncio.get_running_loop().time())
        task.cancel()


def happen(
    what: Happening,
    services: dict[str, Service],
    gates: dict[str, Gate],
    ones: list[One],
    tasks: list[asyncio.Task[None]],
) -> None:
    name = ("dify", "langdock")[what.which % 2]
    one, task = ones[what.which % len(ones)], tasks[what.which % len(ones)]
    match what.what:
        case "rate":
            gates[name].limiter.set_rate((Rate(2), Rate(50), None)[what.which % 3])
        case "slots":
            gates[name].slots.total_tokens = 1 + what.which
        case "down" | "up":
            services[name].down = what.what == "down"
        case "stop" | "deadline" if one.call is not None and not task.done():
            one.stopped_at = min(one.stopped_at, asyncio.get_running_loop().time())
            one.call.stop(StopReason("interrupted" if what.what == "stop" else "deadline", what.what))
        case "cancel":
            cancel(one, task)
        case "end":
            service = services["dify"]  # a Dify that refuses the key, vanishes or was never one
            for document in service.held:
                service.scripts.setdefault(document, type(service.scripts.get(document, []))()).clear()  # type: ignore[call-overload]
                service.script(document, [ENDS[what.which % len(ENDS)]])


def check(
    one: One,
    task: asyncio.Task[None],
    services: dict[str, Service],
    scripts: dict[str, list[str]],
    *,
    disturbed: bool,
    stopped: dict[str, Gate],
) -> None:
    """What must hold of one call's endings."""
    assert task.done()
    keys = Counter(key for key, _ in one.got)
    assert all(n == 1 for n in keys.values())  # S1, S9: never twice
    assert [settled for _, settled in one.got][: len(one.heard)] == one.heard[: len(one.got)]  # S13: none went unheard
    if one.cancelled:
        assert task.cancelled() or task.exception() is None
    else:
        assert task.exception() is None, task.exception()
        assert sorted(keys) == list(range(len(one.asked)))  # S1: all of them
        assert one.call is not None
        assert not one.call.sink.bugs
        totals = Counter(settled.outcome for _, settled in one.got)
        counted: Counter[str] = Counter()
        for counts in (dataset.counts for dataset in one.call.account.datasets.values()):
            assert (
                counts.selected == counts.deleted + counts.already_gone + counts.rejected + counts.not_attempted
            )  # S21
            counted += Counter(
                deleted=counts.deleted, already_gone=counts.already_gone, not_attempted=counts.not_attempted
            )
        assert +counted == +Counter({k: totals[k] for k in ("deleted", "already_gone", "not_attempted")})
    for key, settled in one.got:
        assert one.asked[key] == settled.target  # S3
        service, document = services[settled.target.provider], settled.target.document
        acts = scripts[settled.target.provider + document]
        if settled.status == "fulfilled":
            assert document not in service.held, settled  # S12, S14
        if settled.outcome == "already_gone" and not disturbed:
            assert {"404 document", "500 not found"} & set(acts), (
                settled
            )  # never our own delete, never the dataset's 404
        if not one.cancelled:
            assert settled.attempts == service.deletes[document], settled
        assert service.lost[document] <= POLICY.attempts  # S2
        if not disturbed and stopped[settled.target.provider].stopped is None:
            may_fail = sum(SPENDS.get(act, 0) for act in acts) >= POLICY.attempts or set(acts) - FREE - set(SPENDS)
            given_up = ("no request has succeeded", "no delete has succeeded", "could not be reached, not even once")
            refused = settled.outcome == "not_attempted" and any(words in settled.reason for words in given_up)
            assert settled.status == "fulfilled" or may_fail or refused, (settled, acts)  # S2, S8
    mine = {target.document for target in one.asked}
    for service in services.values():
        late = [sent for sent in service.sent if sent.document in mine and sent.at > one.stopped_at + 1e-6]
        assert not late  # S11


def in_any_window(service: Service, rate: Rate | None) -> None:
    """S6: in no window of the service's own length do more requests leave than it allows."""
    if rate is None:
        return
    times = [sent.at for sent in service.sent]
    for first, last in zip(times, times[int(rate.n) :], strict=False):
        assert last - first >= rate.per - 1e-6


async def usable_again(services: dict[str, Service], gates: dict[str, Gate]) -> None:
    """No slot, permit or wait was leaked: a further call over the same gates does what it should."""
    asked: list[Target] = []
    for name, dataset in (("dify", DATASET), ("langdock", FOLDER)):
        services[name].down = services[name].dataset_gone = False
        asked += targets(services[name].fill(2), name, dataset)
    last = One(asked, 0.0, 0, False)
    await work(last, gates)
    assert [settled.outcome for _, settled in last.got] == ["deleted"] * 4


def test_a_reader_that_stands_still_holds_the_workers_back() -> None:
    """S18: while the outcomes are not read, only so many are made as the buffers hold."""

    async def main() -> None:
        service = Service(latency=0.001)
        ids = service.fill(12_000)
        async with client(service, policy=POLICY) as c, c.settle(targets(ids)) as outcomes:
            await anext(outcomes)
            await asyncio.sleep(1_000.0)
            assert sum(service.deletes.values()) < 6_000
            n = 1
            async for _ in outcomes:
                n += 1
            assert n == 12_000

    virtual.run(main())
