"""A selection that matches nothing is said to be one, and a status that no document has is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.inside import command
from tests.engine.world import DATASET, Service


@pytest.mark.parametrize("act", ["purge", "plan"])
@pytest.mark.parametrize(
    ("given", "unknown"),
    [(("completed",), "completed"), (("Available", "compelted"), "compelted"), (("available",), "")],
)
def test_a_status_that_no_document_has(tmp_path: Path, act: str, given: tuple[str, ...], unknown: str) -> None:
    """$ bulkdel purge dify ID --status completed: a warning names it and the statuses that there are; -q says nothing."""
    service = Service()
    service.fill(3)
    service.fill(1, archived=True)
    options = [word for status in given for word in ("--status", status)]
    act_options = ["-y"] if act == "purge" else ["-o", str(tmp_path / "a.run")]
    seen = command(service, act, "dify", DATASET, *options, *act_options)
    assert (f"warning: no listed document has the status: {unknown}" in seen.stderr) == bool(unknown)
    assert ("hint: the statuses of the documents: available (4)" in seen.stderr) == bool(unknown)
    quiet = command(service, "purge", "dify", DATASET, *options, "--dry-run", "-q")
    assert "no listed document" not in quiet.stderr


@pytest.mark.parametrize(
    "option", [("--status", "completed"), ("--name", "*.nothing"), ("--created-before", "2001-01-01")]
)
def test_nothing_matched_is_said(tmp_path: Path, option: tuple[str, str]) -> None:
    """$ bulkdel purge dify ID -y with a selection that has no document: exit 0, and neither account reads like a deletion."""
    service = Service()
    service.fill(3)
    done = command(service, "purge", "dify", DATASET, "-y", *option)
    assert (done.status, done.stdout.splitlines()[0]) == (0, "Complete: nothing matched, 0 of 3 documents selected")
    dry = command(service, "purge", "dify", DATASET, "--dry-run", *option)
    assert dry.stdout.splitlines()[0] == "Dry run, nothing was deleted: nothing matched, 0 of 3 documents selected"
    assert len(service.held) == 3


def test_an_empty_dataset_has_nothing_to_delete() -> None:
    """$ bulkdel purge dify ID -y of a dataset that is empty already."""
    seen = command(Service(), "purge", "dify", DATASET, "-y")
    assert (seen.status, seen.stdout.splitlines()[0]) == (0, "Complete: nothing to delete")
