"""The plug-in installed beside bulkdel, which knows nothing of it: every command takes its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bulkdel.providers import registry
from tests.plugin.installed import Run, beside
from tests.plugin.simulator import KEY, VectorStoreSimulator

STORE = "vs_manuals"


def test_a_store_is_purged_from_the_command_line(site: Path) -> None:
    """$ bulkdel purge openai vs_manuals --yes --json: exit 0; the service holds neither the store's rows nor the files."""

    async def work(openai: VectorStoreSimulator, run: Run) -> None:
        openai.fill(STORE, 120)
        kept = openai.fill("vs_letters", 2, first=900)
        ended = await run("purge", "openai", STORE, "--yes", "--json")
        assert ended.status == 0, ended.stderr
        said = json.loads(ended.stdout)
        assert (said["status"], said["deleted"], said["remaining"]) == ("complete", 120, 0)
        (dataset,) = said["datasets"]
        assert (dataset["provider"], dataset["dataset"], dataset["name"]) == ("openai", STORE, f"Store {STORE}")
        assert not openai.stores[STORE]
        assert openai.files == set(kept)
        assert KEY not in ended.stdout + ended.stderr

    beside(site, work)


def test_its_stores_are_listed(site: Path) -> None:
    """$ bulkdel datasets openai: ids, counts and names."""

    async def work(openai: VectorStoreSimulator, run: Run) -> None:
        openai.fill(STORE, 3)
        openai.fill("vs_empty", 0)
        ended = await run("datasets", "openai", "--json")
        assert (ended.status, json.loads(ended.stdout)) == (0, [
            {"id": STORE, "name": f"Store {STORE}", "documents": 3},
            {"id": "vs_empty", "name": "Store vs_empty", "documents": 0},
        ]), ended.stderr  # fmt: skip

    beside(site, work)


def test_a_key_that_is_refused_ends_in_a_sentence(site: Path) -> None:
    """$ OPENAI_API_KEY=wrong bulkdel purge openai vs_manuals --yes: exit 4, nothing deleted, no traceback."""

    async def work(openai: VectorStoreSimulator, run: Run) -> None:
        openai.fill(STORE, 3)
        ended = await run("purge", "openai", STORE, "--yes", OPENAI_API_KEY="sk-wrong-0123456789")
        assert ended.status == 4
        assert "Incorrect API key provided" in ended.stderr
        assert "give a key that may write vector stores and files" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not openai.sent("DELETE")

    beside(site, work)


def test_bulkdel_itself_knows_nothing_of_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the name is unknown; with it, and with nothing else changed, it is a provider like our own."""
    assert "openai" not in registry.kinds()
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "bulkdel_openai", raising=False)
    assert "openai" in registry.kinds()
    provider = registry.load("openai")(KEY, name="mine")
    assert (provider.kind, provider.name, provider.base_url) == ("openai", "mine", "https://api.openai.com/v1")
    sys.modules.pop("bulkdel_openai", None)
