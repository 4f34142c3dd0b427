"""A condition of a selection, from end to end: an option, a key of a job file, a line of the report, a reason to be skipped."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from bulkdel.cli.jobfile import read
from bulkdel.cli.options import Options
from bulkdel.model import Document, Selection
from tests.cli.inside import Service, command
from tests.cli.outside import OTHER, FakeClient, invoke
from tests.engine.world import DATASET

CONDITIONS = {
    "names": ("--name", "tmp-*", "name like tmp-*", "name does not match"),
    "created_before": ("--created-before", "2026-01-31", "created before 2026-01-31 00:00:00 UTC", "creation time unknown"),
    "statuses": ("--status", "error", "status error", "status does not match"),
}  # fmt: skip
"""Each field of Selection: its option, a value, what the report says, and why a document without a name, time and status is skipped."""


def test_every_condition_is_tried_here() -> None:
    """A new field of Selection needs a row; the order is the one in which a reason wins."""
    assert list(CONDITIONS) == [field.name for field in fields(Selection)]


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_an_option_a_key_and_a_line(name: str, tmp_path: Path) -> None:
    """The command and the job file make the same selection of it, which skips, and which the report of a plan says."""
    option, value, words, why = CONDITIONS[name]
    fake = FakeClient()
    assert invoke("purge", "dify", DATASET, "-y", option, value, client=fake).status == 0
    select = fake.calls[1][1][0].select
    key = option.removeprefix("--").replace("-", "_")
    head = f'[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = "{DATASET}"\n'
    assert read(f'{head}{key} = "{value}"\n', 0.0).purge[0].selection() == select
    assert [field.name for field in fields(Selection) if getattr(select, field.name)] == [name]
    assert (str(select), select.why_not(Document("a"))) == (words, why)
    run = str(tmp_path / "a.run")
    assert command(Service(), "plan", "dify", DATASET, option, value, "-o", run).status == 0
    assert f"  selected: {words}\n" in command(Service(), "report", run).stdout


def test_a_job_file_has_no_other_word_for_a_condition() -> None:
    """The key is the option's name: the field's own name is no second one."""
    head = '[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = "a"\n'
    for name in ("names", "statuses"):
        with pytest.raises(ValueError, match=rf"^purge\[0\]\.{name}: there is no such key; did you mean"):
            read(f'{head}{name} = "x"', 0.0)


def test_the_first_reason_wins() -> None:
    """In the order of the fields, however many conditions a document does not meet."""
    given = Options(names=("tmp-*",), created_before=(10.0, 5.0), statuses=("error",)).selection()
    assert given == Selection(("tmp-*",), 5.0, ("error",))
    document = Document("a", "keep.md", 7.0, "available")
    assert given.why_not(document) == "name does not match"
    assert Selection((), 5.0, ("error",)).why_not(document) == "created too late"


def test_words_of_a_selection_are_safe() -> None:
    """They come from a run file, which may come from anywhere."""
    assert str(Selection(("a\x1b[31m*", "b*"), None, ("x\n",))) == "name like a* or b*, status x"
    assert (str(Selection()), Selection() == Selection(())) == ("", True)


@pytest.mark.parametrize(
    ("second", "lines"),
    [
        ('name = "b-*"', [f"name like a-* (of {DATASET})", f"name like b-* (of {OTHER})"]),
        ("", [f"name like a-* (of {DATASET})", f"all (of {OTHER})"]),
        ('name = "a-*"', ["name like a-*"]),
    ],
)
def test_a_job_shows_each_selection(second: str, lines: list[str], tmp_path: Path) -> None:
    """$ bulkdel report RUN of several [[purge]]: a line for each selection that differs, with its datasets."""
    service = Service()
    job = tmp_path / "nightly.toml"
    job.write_text(
        f"""[[provider]]
kind = "dify"
base_url = "http://127.0.0.1:9/v1"
[[purge]]
provider = "dify"
datasets = "{DATASET}"
name = "a-*"
[[purge]]
provider = "dify"
datasets = "{OTHER}"
{second}
"""
    )
    run = str(tmp_path / "a.run")
    command(service, "job", str(job), "--plan", "-o", run)
    shown = command(service, "report", run).stdout
    assert re.findall("^  selected: (.*)$", shown, re.MULTILINE) == lines


def test_what_was_skipped_is_counted_and_named(tmp_path: Path) -> None:
    """$ bulkdel purge … --name GLOB: one word in summary, log and JSON; the report of the finished run names each with its reason."""
    service = Service()
    service.fill(3)
    (kept,) = service.fill(1, name="keep.txt")
    run = str(tmp_path / "a.run")
    seen = command(service, "purge", "dify", DATASET, "-y", "--run", run, "--name", "*.md")
    assert (seen.status, list(service.held)) == (0, [kept])
    assert "  1 skipped: name does not match\n" in seen.stdout
    assert '"remaining": 1, "new": 0, "skipped": 1' in seen.stderr
    (dataset,) = json.loads(command(service, "report", run, "--format", "json").stdout)["datasets"]
    assert (dataset["skipped"], dataset["skipped_reasons"]) == (1, {"name does not match": 1})
    text = command(service, "report", run).stdout
    assert f"\nSkipped:\n  {kept} (keep.txt), created 2023-11-14: name does not match\n" in text
    # bulkdel delete reads the CSV file: what was skipped must not be in it.
    assert kept not in command(service, "report", run, "--format", "csv").stdout
