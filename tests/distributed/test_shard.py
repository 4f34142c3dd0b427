"""Shards: how many documents, and what of them a message holds."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel import Dify, Langdock, Limits, Policy, Rate, Target
from bulkdel.credentials import KeyPlace
from bulkdel.distributed.shard import Item, Service, Shard, shard_size, shards_out, split_concurrency
from bulkdel.distributed.work import carry_out

KEY = "dataset-NeverShowThisKey0123"


@pytest.mark.parametrize(
    ("total", "per_second", "out", "expected"),
    [
        (None, None, 32, 1000),  # nothing is known: as many as a message may hold
        (100_000, None, 32, 1000),
        (8_000, None, 32, 250),  # something for each
        (300, None, 32, 100),  # but not crumbs
        (2_000, 200.0, 20, 300),  # 20 of them share 200/s for 30 s
        (100_000, 8 / 60, 2, 2),  # Dify Cloud's smallest plan: 4 documents in 30 s
        (100_000, 45 / 60, 4, 5),
        (10, 1000.0, 32, 937),
    ],
)
def test_the_size_of_a_shard(total: int | None, per_second: float | None, out: int, expected: int) -> None:
    """By the rate, so that none lasts long; by the total, so that all have something; by what a message may hold."""
    assert shard_size(total, per_second, out, 30.0) == expected


@given(st.none() | st.integers(0, 10**9), st.none() | st.floats(1e-6, 1e6, allow_nan=False), st.integers(1, 100))
def test_no_shard_lasts_long(total: int | None, per_second: float | None, out: int) -> None:
    """At the provider's rate, shared by all that are out, it ends within its time box, unless it is a single document."""
    n = shard_size(total, per_second, out, 30.0)
    assert 1 <= n <= 1000
    if per_second is not None and n > 1:
        assert n / (per_second / out) <= 30.0 * 1.000001
    if total is not None and per_second is None:
        assert n == min(1000, max(100, math.ceil(total / out)))


items = st.dictionaries(
    st.sampled_from(["a", "b", "ü"]),
    st.lists(
        st.builds(
            Item,
            key=st.integers(1, 2**62),
            document=st.text(max_size=5),
            step=st.sampled_from(["delete", "unarchive"]),
            awaiting_indexing=st.booleans(),
            doubt=st.booleans(),
            listed=st.booleans(),
            attempts=st.integers(0, 9),
            waited_s=st.floats(0, 900),
        ),
        max_size=9,
    ),
)


@given(items, st.sampled_from([None, Limits(Rate(45, 60), 2), Limits(None, 1)]))
def test_a_message_brings_everything(items: dict[str, list[Item]], limits: Limits | None) -> None:
    """Out of plain JSON comes the shard that went in, ids that are no Unicode included."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"), limits)
    shard = Shard(service, Policy(indexing="wait", deadline=3.0), 30.0, items)
    assert Shard.from_message(json.loads(json.dumps(shard.as_message()))) == shard


@given(items, st.booleans())
def test_jobs_remember_what_was_done_before(items: dict[str, list[Item]], doubt: bool) -> None:
    """Attempts and waits go on where they were; a shard that may have been begun has all its documents in doubt."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"))
    jobs = Shard(service, Policy(), 30.0, items).jobs(now=1_000.0, doubt=doubt)
    sent = [(dataset, item) for dataset, items in items.items() for item in items]
    for job, (dataset, item) in zip(jobs, sent, strict=True):
        assert (job.key, job.target) == (item.key, Target("prod", dataset, item.document))
        assert (job.doubt, job.spent) == (item.doubt or doubt, item.attempts)
        assert job.waiting_since == (1_000.0 - item.waited_s if item.awaiting_indexing else None)


def test_another_version_is_not_guessed_at() -> None:
    """A worker of another bulkdel says so and touches nothing."""
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY"))
    with pytest.raises(ValueError, match="another version"):
        Shard.from_message(Shard(service, Policy(), 30.0, {}).as_message() | {"version": 1})


@pytest.mark.parametrize(("per_second", "expected"), [(None, 4), (8 / 60, 2), (45 / 60, 2), (8.0, 3), (100.0, 4)])
def test_how_many_shards_are_worth_being_out(per_second: float | None, expected: int) -> None:
    """A slow key leaves the workers to others; a fast one has all that may be out."""
    assert shards_out(Dify(KEY, "http://127.0.0.1:9/v1"), per_second) == expected


def test_a_given_concurrency_is_the_sum() -> None:
    """It is split among the shards that may be out."""
    for n in (1, 2, 4, 7, 8, 9, 20, 100):
        provider = Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(concurrency=n))
        out, each = split_concurrency(provider)
        assert 1 <= out * each <= n
        service = Service.of(provider, KeyPlace(env="K"))
        assert (service.limits, service.concurrency) == (None, each)
    assert split_concurrency(Dify(KEY, "http://127.0.0.1:9/v1").with_concurrency(1)) == (1, 1)
    paced = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(Rate(5), 4)), KeyPlace(env="K"))
    assert paced.limits == Limits(Rate(5), 1)
    unsaid = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits(Rate(5))), KeyPlace(env="K"))
    assert unsaid.limits == Limits(Rate(5), 2)
    free = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", limits=Limits()), KeyPlace(env="K"))
    assert free.limits == Limits(concurrency=2)


def test_workers_leave_the_service_to_others() -> None:
    """However many workers there are: at most 8 requests at a time to a self-hosted Dify, 4 to Langdock, N with auto:N."""
    dify, langdock = Dify(KEY, "http://127.0.0.1:9/v1"), Langdock(KEY)
    for provider, most in ((dify, 8), (langdock, 4), (dify.with_concurrency(4, up_to=16), 16)):
        out, _ = split_concurrency(provider)
        service = Service.of(provider, KeyPlace(env="K"))
        assert service.concurrency is not None
        assert shards_out(provider, None) * service.concurrency == out * service.concurrency == most


def test_a_worker_without_the_header_file_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is read on each machine, as the key is: the hint is about both."""
    monkeypatch.setenv("PROD_KEY", KEY)
    service = Service("prod", "dify", "http://127.0.0.1:9/v1", KeyPlace(env="PROD_KEY", headers=str(tmp_path / "none")))
    shard = Shard(service, Policy(), 30.0, {"a": [Item(1, "b")]})
    result = asyncio.run(carry_out(shard, "redis://127.0.0.1:9/0", lambda found: False, doubt=False))
    assert "cannot read the header file" in result.stopped
    assert result.hint == "each worker needs the key and the header file, at the same place"


def test_the_key_is_not_in_it() -> None:
    """A message says where a worker finds the key, and nothing from which it could be read."""
    service = Service.of(Dify(KEY, "http://127.0.0.1:9/v1", name="prod"), KeyPlace(env="PROD_KEY"))
    shard = Shard(service, Policy(), 30.0, {"a": [Item(1, "b")]})
    said = json.dumps(shard.as_message()) + repr(shard)
    assert KEY not in said
    assert KEY[10:] not in said
