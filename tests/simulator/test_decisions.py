"""The simulators' pure decisions: the sliding window, what becomes of a delete, which faults make sense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.errors import ConfigurationError
from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator, Mishap
from bulkdel.simulator.documents import NASTY, document_names
from bulkdel.simulator.rates import FixedWindow, LeakyBucket, SlidingWindow
from bulkdel.simulator.troubles import Troubles
from tests import virtual
from tests.simulator.helpers import Client

# Eighths of a second are exact as floats, so the edges of the window are exact too.
gaps = st.lists(st.integers(min_value=0, max_value=40).map(lambda eighths: eighths / 8), max_size=60)


@given(
    gaps=gaps,
    limit=st.integers(min_value=1, max_value=7),
    per=st.integers(min_value=1, max_value=9),
    counted=st.booleans(),
)
def test_the_window_refuses_as_counting_would(gaps: list[float], limit: int, per: int, counted: bool) -> None:
    """A request is refused exactly when more than the limit, itself included, fall in the window that it ends."""
    window = SlidingWindow(limit, per, count_refused=counted)
    seen: list[float] = []
    now = 100.0
    for gap in gaps:
        now += gap
        over = sum(now - per < each for each in seen) + 1 > limit
        assert (window.refuse(now) is not None) == over
        if counted or not over:
            seen.append(now)


@given(
    gaps=gaps,
    limit=st.integers(min_value=1, max_value=7),
    per=st.integers(min_value=1, max_value=9),
    counted=st.booleans(),
)
def test_the_wait_it_names_is_enough_and_no_more(gaps: list[float], limit: int, per: int, counted: bool) -> None:
    """One request alone passes after the named wait, and is refused an eighth of a second before."""
    times = [100.0]
    for gap in gaps:
        times.append(times[-1] + gap)

    def after(extra: float) -> tuple[float | None, float | None]:
        window = SlidingWindow(limit, per, count_refused=counted)
        wait = None
        for now in times:
            wait = window.refuse(now)
        return wait, None if wait is None else window.refuse(times[-1] + wait + extra)

    wait, next_one = after(0)
    assert next_one is None
    if wait:
        assert after(-1 / 8)[1] is not None


@given(gaps=gaps, limit=st.integers(1, 7), per=st.integers(1, 9))
def test_fixed_windows_pass_their_limit_each(gaps: list[float], limit: int, per: int) -> None:
    """In each window from a multiple of its length on, the first so many pass and the others do not."""
    window = FixedWindow(limit, per)
    passed: dict[float, int] = {}
    now = 100.0
    for gap in gaps:
        now += gap
        number = now // per
        wait = window.refuse(now)
        assert (wait is None) == (passed.get(number, 0) < limit)
        passed[number] = passed.get(number, 0) + (wait is None)
        if wait is not None:
            assert (now + wait) // per == number + 1


@given(gaps=gaps, rate=st.integers(1, 7), burst=st.integers(1, 9))
def test_a_bucket_passes_its_burst_and_rate(gaps: list[float], rate: int, burst: int) -> None:
    """Between any two times no more pass than the burst and what leaks meanwhile, and one passes after the wait."""
    bucket = LeakyBucket(rate, burst)
    passed: list[float] = []
    now = 100.0
    for gap in gaps:
        now += gap
        wait = bucket.refuse(now)
        if wait is None:
            passed.append(now)
        else:
            now += wait
            assert bucket.refuse(now) is None
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * rate + 1e-6


@pytest.mark.parametrize(("shape", "at_once", "in_all"), [("sliding", 60, 62), ("fixed", 60, 62), ("bucket", 20, 79)])
def test_shapes_of_a_rate_limit(shape: Any, at_once: int, in_all: int) -> None:
    """Of 60 per 6 s, so many pass at once, and so many in all of two every tenth of a second for 6 s."""

    async def main() -> tuple[int, int]:
        faults = Faults(rate_limit=60, rate_window=6, rate_shape=shape, count_refused=False)
        async with DifySimulator(documents=1, faults=faults) as simulator:
            client = Client(simulator)

            async def ask(count: int) -> int:
                answers = [await client.ask("GET", "/datasets") for _ in range(count)]
                return sum(answer.status == 200 for answer in answers)

            first = await ask(70)
            more = 0
            for _ in range(60):
                await asyncio.sleep(0.1)
                more += await ask(2)
            return first, first + more

    first, both = virtual.run(main)
    assert first == at_once
    assert both == pytest.approx(in_all, abs=2)


def test_asking_on_when_refused_locks_out() -> None:
    """At a tenth above the limit nearly everything is refused if refused requests count, and a tenth if they do not."""

    def passed(*, counted: bool) -> int:
        window = SlidingWindow(100, 60, count_refused=counted)
        return sum(window.refuse(number * 60 / 110) is None for number in range(110 * 10))

    assert passed(counted=True) == 100
    assert passed(counted=False) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(
    ("faults", "deletes", "expected"),
    [
        (Faults(), "a", [None]),
        (Faults(error_500=1.0), "aa", [Mishap.ERROR, Mishap.ERROR]),
        (Faults(mishaps_at={2: Mishap.LOST}), "aba", [None, Mishap.LOST, None]),
        (Faults(mishaps_of={"a": [Mishap.ERROR, None]}), "aba", [Mishap.ERROR, None, None]),
        (Faults(mishaps_of={"a": [Mishap.RESET, None]}, error_500=1.0), "aaa", [Mishap.RESET, None, Mishap.ERROR]),
        (Faults(mishaps_of={"a": [None]}, mishaps_at={1: Mishap.LOST}), "ab", [None, None]),
    ],
)
def test_what_becomes_of_a_delete(faults: Faults, deletes: str, expected: list[Mishap | None]) -> None:
    """The document's own script comes first, then the number, then the shares."""
    troubles = Troubles(faults, seed=1, clock=lambda: 0.0)
    assert [troubles.mishap(document) for document in deletes] == expected


def test_shares_are_met() -> None:
    """Over many draws each mishap has its share."""
    faults = Faults(error_500=0.1, error_500_deleted=0.2, lost=0.05, reset=0.15, billing=0.1)
    troubles = Troubles(faults, seed=1, clock=lambda: 0.0)
    drawn = [troubles.mishap("a") for _ in range(20_000)]
    for mishap, share in faults.shares.items():
        assert drawn.count(mishap) / len(drawn) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"error_500": 1.5}, "error_500 is a share between 0 and 1: 1.5"),
        ({"lost": -0.1}, "lost is a share between 0 and 1: -0.1"),
        ({"lost": 0.6, "reset": 0.6}, "add up to more than 1: 1.2"),
        ({"latency": -1.0}, "latency cannot be negative: -1.0"),
        ({"rate_limit": 0}, "at least 1"),
        ({"vanish_after": 0}, "vanish_after is at least 1"),
        ({"rate_style": "418"}, "rate_style is one of 429, .*: 418"),
        ({"intercept": "coffee"}, "intercept is one of .*: coffee"),
        ({"outage_status": 500}, "outage_status is one of 502, 503, 504: 500"),
        ({"error_shape": "xml"}, "error_shape is one of .*: xml"),
    ],
)
def test_faults_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    """The message names the field and ends in its value."""
    with pytest.raises(ConfigurationError, match=words):
        Faults(**wrong)


def test_simulators_that_make_no_sense_are_refused() -> None:
    """So are a public address, a folder over its size, a rate style that the service does not have, too many special documents."""
    with pytest.raises(ConfigurationError, match=r"loopback only .*: 0\.0\.0\.0"):
        DifySimulator(host="0.0.0.0")
    with pytest.raises(ConfigurationError, match=r"at most 1000 documents: 1001"):
        LangdockSimulator(documents=1001)
    with pytest.raises(ConfigurationError, match=r"403"):
        LangdockSimulator(faults=Faults(rate_style="403"))
    with pytest.raises(ConfigurationError, match=r"special than there are: 6 of 5"):
        DifySimulator(documents=5, faults=Faults(archived=3, stuck=3))
    with pytest.raises(ConfigurationError, match=r"cannot be negative: 1, -5"):
        DifySimulator(documents=-5)
    with pytest.raises(ConfigurationError, match=r"three numbers, such as 1\.14\.2: latest"):
        DifySimulator(version="latest")
    simulator = LangdockSimulator(documents=1000)
    with pytest.raises(ConfigurationError, match=r"at most 1000 documents: 1001"):
        simulator.add_document(simulator.dataset_ids[0])


def test_names_are_plausible_and_nasty_when_asked() -> None:
    """Plain names are unique and harmless; with nasty ones among them all nasty ones are there."""
    plain = list(document_names(1230))
    assert len(set(plain)) == 1230
    assert all(name.isascii() and name.isprintable() for name in plain)
    assert "FAQ-0001.md" in plain
    assert set(NASTY) < set(document_names(100, nasty=True))


def test_the_same_seed_makes_the_same_service() -> None:
    """Ids, key, special documents come from the seed."""

    def make(seed: int) -> tuple[str, list[Any]]:
        simulator = DifySimulator(documents=(30, 20), faults=Faults(archived=5), seed=seed, epoch=1.8e9)
        return simulator.key, [simulator.documents(dataset) for dataset in simulator.dataset_ids]

    assert make(3) == make(3)
    assert make(3) != make(4)
