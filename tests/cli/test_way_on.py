"""The last line on stderr is a command that can help: following it ends, and never with the same command after the same result."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Client, Report
from bulkdel.providers.protocol import Reply, Request
from tests.cli.inside import ENVIRON, command, interrupt, last, purge
from tests.cli.outside import Seen
from tests.engine.world import DATASET, KEY, Service, document_id

QUICK = ("--backoff", "10ms", "--attempts", "2", "--indexing-timeout", "100ms")
INDEXING = {"indexing_status": "indexing", "display_status": "indexing"}


def troubled(reason: str) -> Service:
    """A service with two documents that can be deleted and two that are rejected for ``reason``, whatever is asked."""
    service = Service(latency=0.0)
    service.fill(2)
    more = {"archived": {"archived": True}, "stuck_indexing": INDEXING}.get(reason, {})
    for document in service.fill(2, **more):
        act = {"refused": "400", "gave_up": "500", "dataset_stopped": "404 dataset"}.get(reason)
        service.script(document, [act] * 50 if act else [])
    return service


def first(act: str, service: Service, folder: Path) -> Seen:
    """The run that meets the trouble, in each of the ways to begin one."""
    run = str(folder / "a.run")
    listed = folder / "targets.csv"
    listed.write_text("dataset,document\n" + "".join(f"{DATASET},{document}\n" for document in service.held))
    match act:
        case "purge":
            return purge(service, "--run", run, *QUICK)
        case "delete":
            return command(service, "delete", "dify", str(listed), "-y", "--run", run, *QUICK)
        case "plan":
            command(service, "plan", "dify", DATASET, "-o", run, *QUICK)
            return command(service, "resume", run, "-y")
    job = folder / "job.toml"
    policy = '[policy]\nattempts = 2\nbackoff = "10ms"\nindexing_timeout = "100ms"\n'
    job.write_text(f'{policy}[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = ["{DATASET}"]\n')
    return command(service, "job", str(job), "-y", "--run", run)


def offered(seen: Seen) -> list[str]:
    """The words of the command that stderr ends with; none if it ends with no command."""
    return last(seen) if seen.stderr.splitlines()[-1].startswith("bulkdel ") else []


@pytest.mark.parametrize("act", ["purge", "delete", "plan", "job"])
@pytest.mark.parametrize(
    ("reason", "ways"),
    [
        ("archived", [["--retry-rejected", "--unarchive"]]),
        ("stuck_indexing", [["--retry-rejected"]]), ("refused", [["--retry-rejected"]]), ("gave_up", [["--retry-rejected"]]),
        ("dataset_stopped", []),
    ],
)  # fmt: skip
def test_following_the_advice_comes_to_an_end(reason: str, ways: list[list[str]], act: str, tmp_path: Path) -> None:
    """$ bulkdel …; then the command that it ends with, and so on: exit 1 until nothing that can help is left to offer."""
    service = troubled(reason)
    seen, followed = first(act, service, tmp_path), []
    while words := offered(seen):
        assert seen.status == 1
        followed.append(words[2:])
        assert len(followed) <= len(ways), seen.stderr
        seen = command(service, *words)
    assert followed == ways
    assert seen.status == (0 if reason == "archived" else 1)
    # All that was listed after the dataset was stopped is still there.
    assert len(service.held) == {"archived": 0, "dataset_stopped": 2 if act == "delete" else 4}.get(reason, 2)
    assert ("hint: asking again changed nothing; look at the service" in seen.stderr) == (
        reason in ("stuck_indexing", "refused", "gave_up")
    )
    # What cannot change any more offers nothing the next time, either.
    again = command(service, "resume", str(tmp_path / "a.run"))
    assert (again.status, offered(again)) == (seen.status, [])


@pytest.mark.parametrize(("line", "more"), [("x", ()), (document_id(77), ("--missing", "fail"))])
def test_what_no_retry_can_change_offers_none(line: str, more: tuple[str, ...], tmp_path: Path) -> None:
    """$ bulkdel delete dify FILE -y: an id that is never sent, one that is not there."""
    service = Service()
    service.fill(1)
    stdin = f"dataset,document\n{DATASET},{document_id(0)}\n{DATASET},{line}\n".encode()
    seen = command(service, "delete", "dify", "-y", *more, stdin=stdin)
    assert (seen.status, len(service.held), offered(seen)) == (1, 0, [])


def test_a_retry_that_helped_a_little_is_offered_again(tmp_path: Path) -> None:
    """$ bulkdel resume RUN --retry-rejected: one of two went, so that the next try may get the other."""
    service = troubled("gave_up")
    service.script(document_id(2), ["500"] * 2)
    seen = purge(service, "--run", str(tmp_path / "a.run"), *QUICK)
    assert len(service.held) == 2
    seen = command(service, *offered(seen))
    assert (seen.status, list(service.held)) == (1, [document_id(3)])
    assert "--retry-rejected" in offered(seen)
    seen = command(service, *offered(seen))
    assert (seen.status, offered(seen)) == (1, [])
    service.script(document_id(3), [])
    seen = command(service, "resume", str(tmp_path / "a.run"), "--retry-rejected")
    assert (seen.status, service.held) == (0, {})


def test_a_run_that_had_unarchive_is_not_offered_it(tmp_path: Path) -> None:
    """$ bulkdel purge … --unarchive of a Dify that still calls them archived: no command that has been tried already."""
    service = troubled("refused")
    for document in list(service.held)[2:]:
        service.script(document, ["archived"] * 50)
    seen = purge(service, "--run", str(tmp_path / "a.run"), "--unarchive", *QUICK)
    ways = []
    while words := offered(seen):
        ways.append(words)
        seen = command(service, *words)
    assert (seen.status, len(service.held), "--unarchive" in str(ways), len(ways)) == (1, 2, False, 1)


def test_the_key_file_is_part_of_the_retry(tmp_path: Path) -> None:
    """$ bulkdel purge … --api-key-file FILE; the command it ends with finds the key as it is."""
    service = troubled("refused")
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    environ = {name: value for name, value in ENVIRON.items() if name != "DIFY_API_KEY"}
    seen = purge(service, "--api-key-file", str(key), "--json", *QUICK, environ=environ)
    again = command(service, *offered(seen), "--json", environ=environ)
    assert (again.status, json.loads(again.stdout)["reasons"]) == (1, {"refused": 2})


@pytest.mark.parametrize("guard", [("--expect", "5"), ("--max-delete", "3"), ()])
@pytest.mark.parametrize("act", ["purge", "delete"])
def test_what_was_refused_is_not_offered_again(act: str, guard: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing was deleted, and the same command would be refused again; without its guard it must never be offered."""
    service = Service(latency=0.0)
    service.fill(4)
    listed = tmp_path / "targets.csv"
    listed.write_text("dataset,document\n" + "".join(f"{DATASET},{document}\n" for document in service.held))
    what = [DATASET] if act == "purge" else [str(listed)]
    seen = command(service, act, "dify", *what, "--no-run", *guard, *(["-y"] if guard else []))
    assert (seen.status, len(service.held)) == (3, 4)
    assert offered(seen) == []
    assert "same command" not in seen.stderr


def test_a_guard_counts_targets(tmp_path: Path) -> None:
    """One document on five lines is five targets: that is what the guard counts, and what it says."""
    service = Service(latency=0.0)
    (document,) = service.fill(1)
    listed = tmp_path / "targets.csv"
    listed.write_text("dataset,document\n" + f"{DATASET},{document}\n" * 5)
    seen = command(service, "delete", "dify", str(listed), "-y", "--expect", "1")
    assert (seen.status, len(service.held)) == (3, 1)
    assert "refused: the selection has 5 targets, but expect says: 1" in seen.stderr
    assert command(service, "delete", "dify", str(listed), "-y", "--expect", "5").status == 0


class Meanwhile(Client):
    """Another process changes the run between the look at its file and the moment in which it is held."""

    async def resume(self, run: Any, **keywords: Any) -> Report:
        with closing(sqlite3.connect(run)) as file, file:
            file.execute("UPDATE run SET agreed = agreed - 1")
        return await super().resume(run, **keywords)


def test_what_was_agreed_to_is_read_once_the_run_is_held(tmp_path: Path) -> None:
    """$ bulkdel resume RUN with no terminal: the agreement holds no longer, so exit 3 and nothing more is deleted."""
    base, run = Service(latency=0.0), str(tmp_path / "a.run")
    base.fill(6)
    base.script(document_id(5), ["401"])
    assert purge(base, "--run", run, "--concurrency", "1").status == 4
    left = len(base.held)
    seen = command(base, "resume", run, cls=Meanwhile)
    assert (seen.status, len(base.held)) == (3, left)
    assert "not confirmed, and there is no terminal to ask at" in seen.stderr
    assert "hint: -y (--yes) deletes without asking" in seen.stderr
    assert (command(base, "resume", run, "-y").status, base.held) == (0, {})


class Lags(Service):
    """A listing that shows what was deleted, until it has caught up."""

    caught_up = False

    def __init__(self) -> None:
        super().__init__(latency=0.0)
        self.shown: dict[str, dict[str, object]] = {}

    def read(self, request: Request, document: str) -> Reply:
        held = self.held
        self.shown |= held
        self.held = held if self.caught_up else self.shown
        try:
            return super().read(request, document)
        finally:
            self.held = held


@pytest.mark.parametrize("archived", [0, 2])
def test_an_interrupted_verification_goes_on(archived: int, tmp_path: Path) -> None:
    """$ bulkdel purge …; ^C once all are deleted: exit 130; its last line is a resume, which lists again and deletes nothing."""
    service, run = Lags(), str(tmp_path / "a.run")
    service.fill(3)
    kept = service.fill(archived, archived=True)
    service.when[6] = interrupt(signal.SIGINT)  # preflight, a page, three deletes, and the page afterwards
    seen = purge(service, "--run", run)
    assert (seen.status, list(service.held), last(seen)) == (130, kept, ["resume", run])
    service.caught_up = True
    done = command(service, *last(seen))
    assert (done.status, "listed again: empty" in done.stdout) == ((1, False) if archived else (0, True))
    assert json.loads(command(service, "report", run, "--format", "json").stdout)["remaining"] == archived
    assert [sent.method for sent in service.sent].count("DELETE") == 3
