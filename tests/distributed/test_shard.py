"""Shards: how many documents, and what of them a message holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import Dify, Limits, Policy, Rate, Target
from bulkdel.distributed.shard import FEWEST, MOST, OUT, SHARD_S, Item, KeyPlace, Service, Shard, size, spread, worth

KEY = "dataset-NeverShowThisKey0123"


@pytest.mark.parametrize(
    ("total", "per_second", "out", "expected"),
    [
        (None, None, 32, 1000),  # nothing is known: as many as a message may hold
        (100_000, None, 32, 1000),
        (8_000, None, 32, 250),  # something for each
        (300, None, 32, 100),  # but not crumbs
        (2_000, 200.0, 20, 800),  # nor what a limit lets through in a moment
        (100_000, 200.0, 32, 750),  # 32 of them share 200/s: 120 s
        (100_000, 8 / 60, 32, 1),  # Dify Cloud's smallest plan: 16 documents in 120 s
        (100_000, 45 / 60, 4, 22),
        (10, 1000.0, 32, 1000),
    ],
)
def test_the_size_of_a_shard(total: int | None, per_second: float | None, out: int, expected: int) -> None:
    """By the rate, so that none lasts long; by the total, so that all have something; by what a message may hold."""
    assert size(total, per_second, out) == expected


@given(
    st.none() | st.integers(0, 10**9),
    st.none() | st.floats(1e-6, 1e6, allow_nan=False),
    st.integers(1, 100),
)
def test_no_shard_lasts_long(total: int | None, per_second: float | None, out: int) -> None:
    """At the provider's rate, shared by all that are out, in at most two minutes, unless it is a single document."""
    n = size(total, per_second, out)
    assert 1 <= n <= MOST
    if per_second is not None and n > 1:
        assert n / (per_second / out) <= SHARD_S * 1.000001
    if total is not None and per_second is None:
        assert n == min(MOST, max(FEWEST, math.ceil(total / out)))


items = st.builds(
    Item,
    key=st.integers(1, 2**62),
    target=st.builds(Target, st.just("prod"), st.sampled_from(["a", "b", "ü"]), st.text(max_size=5)),
    step=st.sampled_from(["delete", "unarchive"]),
    held=st.booleans(),
    doubt=st.booleans(),
    listed=st.booleans(),
)


@given(
    st.lists(items, max_size=20), st.integers(0, 5), st.sampled_from([None, Limits(Rate(45, 60), 2), Limits(None, 1)])
)
def test_a_message_brings_everything(items: list[Item], begun: int, limits: Limits | None) -> None:
    """Out of plain JSON comes the shard that went in, ids that are no Unicode included."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"), limits)
    shard = Shard("job", "s-1", service, Policy(indexing="wait", deadline=3.0), tuple(items), begun)
    message = json.loads(json.dumps(shard.as_message()))
    assert Shard.from_message(message) == shard


def test_another_version_is_not_guessed_at() -> None:
    """A worker of another bulkdel says so and touches nothing."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"))
    message = Shard("job", "s-1", service, Policy(), ()).as_message()
    with pytest.raises(ValueError, match="another version"):
        Shard.from_message(message | {"version": 2})


@given(st.lists(items, max_size=20, unique_by=lambda item: item.key), st.data())
def test_what_is_left_of_a_shard(items: list[Item], data: st.DataObject) -> None:
    """Everything without an ending, once; in doubt where a delivery that this message does not know of had it."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"))
    shard = Shard("job", "s-1", service, Policy(), tuple(items), begun=1)
    done = set(data.draw(st.lists(st.sampled_from([item.key for item in items])))) if items else set()
    assert shard.rest(done, 1) == tuple(item for item in items if item.key not in done)
    later = shard.rest(done, 2)
    assert [item.key for item in later] == [item.key for item in items if item.key not in done]
    assert all(item.doubt for item in later)


@pytest.mark.parametrize(
    ("per_second", "most", "expected"),
    [
        (None, 32, 32),
        (None, 4, 4),
        (8 / 60, 32, 2),
        (45 / 60, 32, 2),
        (45 / 60, 1, 1),
        (100.0, 32, 11),
        (200.0, 4, 4),
        (2000.0, 32, 32),
    ],
)
def test_how_many_shards_are_worth_being_out(per_second: float | None, most: int, expected: int) -> None:
    """A slow key leaves the workers to others; a fast one has all that may be out."""
    assert worth(per_second, most) == expected


def test_a_given_concurrency_is_the_sum() -> None:
    """It is split among the shards that may be out; where none is given each worker finds its own."""
    for n in (1, 2, 4, 7, 8, 9, 20, 100):
        provider = Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(concurrency=n))
        out, each = spread(provider)
        assert each is not None
        assert 1 <= out * each <= n
        service = Service.of(provider, KeyPlace(env="K"))
        assert (service.limits, service.concurrency) == (None, each)
    assert spread(Dify(KEY, "http://127.0.0.1:9/v1")) == (OUT, None)
    assert spread(Dify(KEY, "http://127.0.0.1:9/v1").with_concurrency(1)) == (1, 1)
    free = Service.of(Dify(KEY, "http://127.0.0.1:9/v1"), KeyPlace(env="K"))
    assert (free.limits, free.concurrency) == (None, None)
    paced = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(Rate(5), 4)), KeyPlace(env="K"))
    assert paced.limits == Limits(Rate(5), 1)
    unsaid = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(Rate(5))), KeyPlace(env="K"))
    assert unsaid.limits == Limits(Rate(5))
    free = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits()), KeyPlace(env="K"))
    assert free.limits == Limits()


def test_the_key_is_not_in_it() -> None:
    """A message says where a worker finds the key, and nothing from which it could be read."""
    service = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", name="prod"), KeyPlace(env="PROD_KEY"))
    shard = Shard("job", "s-1", service, Policy(), (Item(1, Target("prod", "a", "b")),))
    told = json.dumps(shard.as_message()) + repr(shard) + repr(replace(shard, begun=2))
    assert KEY not in told
    assert KEY[10:] not in told
