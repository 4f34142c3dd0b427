"""What the account says of each kind of trouble, in the summary and in the report of the run file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.inside import command, purge
from tests.engine.world import DATASET, Service, document_id


def test_a_dataset_that_vanishes_is_said_to_be_gone(tmp_path: Path) -> None:
    """$ bulkdel purge dify ID while another user deletes the dataset: exit 1, its name, and why; in the report, too."""
    service = Service()
    ids = service.fill(10)
    service.script(ids[4], ["404 dataset"])
    run = tmp_path / "a.run"
    seen = purge(service, "--concurrency", "1", "--run", str(run))
    said = "  stopped: the dataset no longer exists: Dataset not found."
    assert seen.status == 1
    assert said in seen.stdout.splitlines()
    assert said in command(service, "report", str(run)).stdout.splitlines()


@pytest.mark.parametrize(("missing", "words"), [(1, "1 already gone: it was"), (2, "2 already gone: they were")])
def test_what_was_not_there_is_said(tmp_path: Path, missing: int, words: str) -> None:
    """$ bulkdel delete dify FILE with ids that are not there: exit 0, and the account says so."""
    service = Service()
    ids = [*service.fill(3), *(document_id(900 + n) for n in range(missing))]
    given = "dataset,document\n" + "".join(f"{DATASET},{document}\n" for document in ids)
    run = tmp_path / "a.run"
    seen = command(service, "delete", "dify", "-y", "--run", str(run), stdin=given.encode())
    assert seen.status == 0
    assert f"{words} not there when first asked for" in seen.stdout.splitlines()
    assert f"{words} not there when first asked for" in command(service, "report", str(run)).stdout.splitlines()
