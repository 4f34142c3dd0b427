"""Hints that help: each names what is there, and each command runs as it is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Client, Report
from bulkdel.providers.protocol import Answer, Reply, Request
from tests.cli.inside import ENVIRON, FAST, URL, command, last, purge
from tests.engine.world import DATASET, JSON, KEY, Service, document_id, error
from tests.purge.test_outages import OUTAGES, Down

OTHER = "22222222-2222-4222-8222-222222222222"
WITHOUT = {name: value for name, value in ENVIRON.items() if name not in ("DIFY_API_KEY", "DIFY_BASE_URL")}


class Two(Service):
    """A second dataset, which is there and holds nothing that is asked for."""

    def answer(self, request: Request, document: str) -> Reply:
        if OTHER in request.path and document:
            return error(404, "not_found", "Document Not Exists.")
        return super().answer(request, document)


class Away(Service):
    """A service that is away behind a proxy."""

    def answer(self, request: Request, document: str) -> Reply:
        return Answer(503, {"content-type": "text/plain"}, b"away")


def lines(*targets: tuple[str, str]) -> bytes:
    return "".join(f"{dataset},{document}\n" for dataset, document in [("dataset", "document"), *targets]).encode()


def key_file(folder: Path) -> str:
    path = folder / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return str(path)


# ------------------------------------------------------------------ what was not there


def test_a_wrong_dataset_beside_a_right_one_is_asked_about() -> None:
    """$ bulkdel delete dify -y < FILE: all of one dataset are there, none of the other."""
    base = Two(latency=0.0)
    (held,) = base.fill(1)
    stdin = lines((DATASET, held), (OTHER, document_id(7)), (OTHER, document_id(8)))
    seen = command(base, "delete", "dify", "-y", *FAST, stdin=stdin)
    assert (seen.status, base.held) == (0, {})
    assert f"2 of 3 documents were not there when first asked for; none was of dify / {OTHER}" in seen.stderr
    assert "hint: is the dataset's id right?" in seen.stderr


def test_lines_of_one_document_are_targets() -> None:
    """$ bulkdel delete dify -y < FILE: five lines of one document that is not there."""
    seen = command(Service(latency=0.0), "delete", "dify", "-y", stdin=lines(*[(DATASET, document_id(7))] * 5))
    assert (seen.status, "none of the 5 targets was there" in seen.stderr) == (0, True)


def test_a_job_that_purges_says_what_was_not_there(tmp_path: Path) -> None:
    """$ bulkdel job JOB.toml -y: of its [[delete]], whatever its [[purge]] empties."""
    base, job = Two(latency=0.0), tmp_path / "job.toml"
    base.fill(3)
    (tmp_path / "targets.csv").write_bytes(lines((OTHER, document_id(7)), (OTHER, document_id(8))))
    job.write_text(
        f'[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = ["{DATASET.upper()}"]\n'
        '[[delete]]\nprovider = "dify"\nfrom = "targets.csv"\n'
    )
    seen = command(base, "job", str(job), "-y")
    assert (seen.status, base.held) == (0, {})
    assert "warning: none of the 2 documents was there when first asked for" in seen.stderr
    assert "bulkdel datasets" not in seen.stderr  # which provider's it would be is not known


@pytest.mark.parametrize("why", ["not there", "dataset gone"])
def test_the_list_of_datasets_is_asked_for_where_the_run_was(why: str, tmp_path: Path) -> None:
    """$ bulkdel delete dify -y --base-url URL --api-key-file FILE < FILE: the command behind the hint has both."""
    base = Service(latency=0.0, dataset_gone=why == "dataset gone")
    place = ("--base-url", URL, "--api-key-file", key_file(tmp_path))
    seen = command(base, "delete", "dify", "-y", *place, stdin=lines((DATASET, document_id(7))), environ=WITHOUT)
    assert f"bulkdel datasets dify {' '.join(place)}" in seen.stderr


# ------------------------------------------------------------------ what is listed still, and what was never listed


def test_nothing_can_be_unarchived_in_a_base_that_is_gone(tmp_path: Path) -> None:
    """$ bulkdel purge …; bulkdel report RUN: the lines of archived documents say what they are, and name no option."""
    base, run = Service(latency=0.0), str(tmp_path / "a.run")
    base.fill(4)
    base.fill(2, archived=True)  # the newest are listed first
    base.script(document_id(0), ["404 dataset"])
    seen = purge(base, "--run", run, "--concurrency", "1")
    assert (seen.status, "\n2 archived: " in seen.stdout) == (1, True)
    shown = [seen, *(command(base, "report", run, "--format", form) for form in ("text", "csv", "jsonl", "html"))]
    assert not any("--unarchive" in one.stdout + one.stderr for one in shown)


class Vanishing(Service):
    """Two datasets; the other one vanishes with the first delete."""

    def answer(self, request: Request, document: str) -> Reply:
        if OTHER in request.path and self.deletes:
            return error(404, "not_found", "Dataset not found.")
        if request.path == f"/datasets/{OTHER}":
            return Answer(
                200, JSON, json.dumps({"id": OTHER, "name": "Other", "document_count": 3, "enable_api": True}).encode()
            )
        return super().answer(request, document)


def test_archived_documents_of_one_base_that_is_gone() -> None:
    """$ bulkdel purge … of two datasets, one of which goes: what is archived there cannot be un-archived, and the line says so."""
    base = Vanishing(latency=0.0)
    base.fill(2)
    base.fill(1, archived=True)
    seen = command(base, "purge", "dify", DATASET, OTHER, "-y", "--concurrency", "1")
    assert (seen.status, "\n2 archived: " in seen.stdout) == (1, True)
    assert "--unarchive un-archives them first, if their dataset was not stopped" in seen.stdout


def test_an_outage_is_no_base_that_is_gone() -> None:
    """$ bulkdel purge …: nothing answers at the verification; what is archived can be un-archived yet, and the run be resumed."""
    base = Down(latency=0.0)
    base.what = "/documents?"
    base.fill(2)
    base.fill(1, archived=True)
    base.when[5] = lambda: setattr(base, "reply", OUTAGES["503"])
    seen = purge(base, "--attempts", "2", "--backoff", "10ms")
    assert (seen.status, last(seen)[0]) == (4, "resume")
    assert "\n1 archived: the service keeps archived documents; --unarchive un-archives them first" in seen.stdout
    assert "nothing to resume" not in seen.stdout


class Lagging(Client):
    """Its verification finds a document that the service called deleted."""

    async def carry_out(self, *args: Any, **keywords: Any) -> Report:
        return self._lagging(await super().carry_out(*args, **keywords))

    async def resume(self, *args: Any, **keywords: Any) -> Report:
        return self._lagging(await super().resume(*args, **keywords))

    @staticmethod
    def _lagging(report: Report) -> Report:
        report.status, report.datasets[0].status, report.datasets[0].still_there_count = "incomplete", "incomplete", 1
        return report


def test_what_is_still_listed_can_be_verified_later(tmp_path: Path) -> None:
    """$ bulkdel purge …: exit 1; the last line lists again, and exits 0 once the listing has caught up."""
    base, key = Service(latency=0.0), key_file(tmp_path)
    base.fill(3)
    run = str(tmp_path / "a.run")
    environ = {name: value for name, value in ENVIRON.items() if name != "DIFY_API_KEY"}
    seen = purge(base, "--run", run, "--api-key-file", key, cls=Lagging, environ=environ)
    assert (seen.status, last(seen)) == (1, ["verify", run, "--api-key-file", key])
    assert command(base, *last(seen), environ=environ).status == 0


@pytest.mark.parametrize("more", [(), ("--attempts", "3", "--indexing", "delete")])
def test_a_resume_names_what_verify_takes(more: tuple[str, ...], tmp_path: Path) -> None:
    """$ bulkdel resume RUN --attempts 3 …: options of deleting are no part of the command that lists again."""
    base, run = Service(latency=0.0), str(tmp_path / "a.run")
    base.fill(3)
    assert command(base, "plan", "dify", DATASET, "-o", run).status == 0
    seen = command(base, "resume", run, "-y", *more, cls=Lagging)
    assert (seen.status, last(seen)) == (1, ["verify", run])
    assert command(base, *last(seen)).status == 0


def test_a_plan_that_holds_nothing_names_no_file(tmp_path: Path) -> None:
    """$ bulkdel plan … -o RUN in an outage: exit 4, no file is left and none is named; the command is the same one."""
    path = tmp_path / "a.run"
    argv = ("plan", "dify", DATASET, "-o", str(path), "--attempts", "2", *FAST)
    seen = command(Away(latency=0.0), *argv)
    assert (seen.status, path.exists(), str(path) in seen.stdout, last(seen)) == (4, False, False, [*argv])
    assert '"run": null' in command(Away(latency=0.0), *argv, "--json").stdout


def test_a_base_that_was_listed_is_not_called_unlisted(tmp_path: Path) -> None:
    """$ bulkdel resume RUN with a key that is refused: its dataset was listed by the session before."""

    class Revoked(Service):
        revoked = False

        def answer(self, request: Request, document: str) -> Reply:
            if self.revoked or self.deletes.total():
                self.revoked = True
                return error(401, "unauthorized", "Access token is invalid")
            return super().answer(request, document)

    base, run = Revoked(latency=0.0), str(tmp_path / "a.run")
    base.fill(6)
    seen = purge(base, "--run", run, "--concurrency", "1")
    assert (seen.status, len(base.held)) == (4, 5)
    again = command(base, *last(seen))
    assert (again.status, "6 listed, 6 selected: 1 deleted, 5 not attempted" in again.stdout) == (4, True)
    assert "not listed" not in again.stdout


def test_what_was_left_for_its_indexing_is_waited_for() -> None:
    """$ bulkdel delete dify -y --indexing skip < FILE; its last line waits, in the place of leaving them once more."""
    base = Service(latency=0.0)
    ids = base.fill(2, display_status="indexing", indexing_status="indexing")
    stdin = lines(*[(DATASET, document) for document in ids])
    seen = command(base, "delete", "dify", "-y", "--indexing", "skip", stdin=stdin)
    assert (seen.status, last(seen)[2:]) == (1, ["--retry-rejected", "--indexing", "wait"])
    for row in base.held.values():
        row |= {"display_status": "available", "indexing_status": "completed"}
    assert (command(base, *last(seen)).status, base.held) == (0, {})


# ------------------------------------------------------------------ what a plan of named documents says


@pytest.mark.parametrize(
    ("indexing", "said"),
    [
        ("wait", "still being indexed: 2, are waited for"),
        ("skip", "5 of 5 documents selected: 2 to delete, 1 archived (will be rejected), 2 still being indexed (will be rejected)"),
    ],
)  # fmt: skip
def test_a_dry_run_says_what_becomes_of_named_documents(indexing: str, said: str) -> None:
    """$ bulkdel delete dify --dry-run --indexing … < FILE: the numbers are those of the run that it stands for."""
    base = Service(latency=0.0)
    ids = [*base.fill(1, archived=True), *base.fill(2, display_status="indexing", indexing_status="indexing")]
    stdin = lines(*[(DATASET, document) for document in [*ids, *base.fill(2)]])
    seen = command(base, "delete", "dify", "--dry-run", "--indexing", indexing, stdin=stdin)
    assert (seen.status, said in seen.stdout) == (0, True)
    if indexing == "skip":
        assert "are waited for" not in seen.stdout
        ended = command(base, "delete", "dify", "-y", "--indexing", indexing, stdin=stdin)
        assert (ended.status, len(base.held)) == (1, 3)
