"""A client with a state folder: what one run learned the next one begins with, and nothing else is kept."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bulkdel import events
from bulkdel.client import Client
from bulkdel.limits import Known, RateMemory
from bulkdel.limits.file_store import NAME
from bulkdel.limits.pace import FOLDER
from bulkdel.model import Limits, Rate
from bulkdel.providers.dify import Dify


def _nowhere(_: Any) -> Any:
    """A wire that nothing is sent over."""

    class Nothing:
        async def __aenter__(self) -> Nothing:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def send(self, *_: object, **__: object) -> object:
            raise AssertionError("nothing is sent here")

    return Nothing()


def learned_before(folder: Path, dify: Dify, rate: Rate, ago: float = 0.0) -> Path:
    """What an earlier run left in ``folder``."""
    RateMemory(folder, dify.fingerprint).remember(
        Known(rate.per_second, 1.1 * rate.per_second, 60.0), time.time() - ago
    )
    return folder / FOLDER / f"{dify.fingerprint}.json"


def begin(dify: Dify, state: Path | None) -> list[events.Event]:
    """What a call's listener hears where there is nothing to do."""
    heard: list[events.Event] = []

    async def main() -> None:
        async with Client(dify, state=state, connect=_nowhere, on_event=heard.append) as client:
            assert (await client.delete([])).ok

    asyncio.run(main())
    return heard


@pytest.mark.parametrize("limits", [None, Limits(concurrency=2), Limits(), Limits(rate=Rate(100, 60))])
def test_a_learned_rate_is_said_and_a_given_one_wins(limits: Limits | None, tmp_path: Path) -> None:
    """Where the caller says nothing of the rate the run begins at the learned one and says so; else it is neither used nor changed."""
    dify = Dify("app-0123456789", "http://127.0.0.1:9/v1", limits=limits)
    path = learned_before(tmp_path, dify, Rate(80, 60), ago=7200)
    before = path.read_text()
    heard = begin(dify, tmp_path)
    told = [event for event in heard if isinstance(event, events.RateLearned)]
    if limits is None or limits.concurrency is not None:
        assert [(event.provider, event.rate, event.ago_s // 60) for event in told] == [
            ("dify", Rate(20, per=15.0), 120)
        ]
    else:
        assert told == []
    assert path.read_text() == before
    assert json.loads(before)["passed"] == pytest.approx(80 / 60)


def test_without_a_state_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library keeps nothing anywhere unless it is told where."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    begin(Dify("app-0123456789", "http://127.0.0.1:9/v1"), None)
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_in_no_file(tmp_path: Path) -> None:
    """What is in the state folder is the fingerprint, never the key."""
    dify = Dify("app-0123456789", "http://127.0.0.1:9/v1")
    learned_before(tmp_path, dify, Rate(80, 60))
    begin(dify, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {NAME, f"{dify.fingerprint}.json"}
    assert not any(b"app-0123456789" in path.read_bytes() for path in files)
