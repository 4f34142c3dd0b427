"""A base whose service counts more than it ever lists: what a plan, a purge and a selection of it end with, and what to type next."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdel.providers.protocol import Reply, Request
from tests.cli.inside import command, last, purge
from tests.engine.world import DATASET, error
from tests.purge.test_rounds import Hiding


def service(n: int = 120, *, off: int = 2) -> Hiding:
    """``n`` documents; the listing's total is too high for good, the dataset's own count is right."""
    made = Hiding(latency=0.0)
    made.nth, made.off = 10**6, off
    made.fill(n)
    return made


def job_file(folder: Path) -> str:
    path = folder / "job.toml"
    path.write_text(f'[[provider]]\nkind = "dify"\n[[purge]]\nprovider = "dify"\ndatasets = ["{DATASET}"]\n')
    return str(path)


@pytest.mark.parametrize("act", ["plan", "job"])
def test_the_printed_command_carries_out_the_plan(act: str, tmp_path: Path) -> None:
    """$ bulkdel plan …: exit 1; its last line, with the yes, deletes what was seen, and exits 0."""
    base, run = service(), str(tmp_path / "b.run")
    planning = (
        ("plan", "dify", DATASET, "-o", run) if act == "plan" else ("job", job_file(tmp_path), "--plan", "--run", run)
    )
    seen = command(base, *planning)
    assert (seen.status, len(base.held)) == (1, 120)
    assert "seen: 120 of 122" in seen.stdout
    assert "what was not seen is not in the plan; carrying it out needs --accept-incomplete" in seen.stdout
    assert "error: the plan is incomplete: the listing is not whole: 120 of 122 documents" in seen.stderr
    assert "not attempted" not in seen.stderr
    for form in ("text", "html"):
        assert "bulkdel resume RUN --accept-incomplete" in command(base, "report", run, "--format", form).stdout
    refused = command(base, "resume", run, "--yes")
    assert (refused.status, len(base.held)) == (3, 120)
    assert last(seen) == ["resume", run, "--accept-incomplete"]
    done = command(base, *last(seen), "--yes")
    assert (done.status, base.held) == (0, {})
    assert "complete: the service counts 2 and lists none" in done.stdout


def test_a_plan_that_accepts_it_needs_no_word_again(tmp_path: Path) -> None:
    """$ bulkdel plan … --accept-incomplete: the run file holds it, and the printed command deletes."""
    base, run = service(), str(tmp_path / "b.run")
    seen = command(base, "plan", "dify", DATASET, "-o", run, "--accept-incomplete")
    assert (seen.status, last(seen), "needs --accept-incomplete" in seen.stdout) == (1, ["resume", run], False)
    assert (command(base, *last(seen), "--yes").status, base.held) == (0, {})


def test_a_dry_run_names_the_word_too() -> None:
    """$ bulkdel purge … --name PATTERN --dry-run: how much was seen, and what deleting needs."""
    base = service()
    seen = command(base, "purge", "dify", DATASET, "--name", "*1*", "--dry-run")
    assert (seen.status, len(base.held)) == (1, 120)
    assert "seen: 120 of 122" in seen.stdout
    assert "with a selection, deleting needs --accept-incomplete" in seen.stdout
    assert seen.stderr.splitlines()[-1].startswith(
        "error: the plan is incomplete: the listing is not whole: 120 of 122"
    )


@pytest.mark.parametrize("act", ["purge", "selection", "job", "dry run"])
def test_an_empty_base_with_a_wrong_total_is_empty(act: str, tmp_path: Path) -> None:
    """$ bulkdel purge … twice: every pass is empty, and the dataset's own count is 0. The second ends as the first did."""
    base = service(off=1)
    first = purge(base)
    assert (first.status, base.held) == (0, {})
    assert "complete: the service counts 1 and lists none" in first.stdout
    more = {"selection": ("--name", "*1*"), "dry run": ("--dry-run",)}.get(act, ())
    again = command(base, "job", job_file(tmp_path), "-y") if act == "job" else purge(base, *more)
    assert (again.status, "error" in again.stderr) == (0, False)
    assert ("the service counts 1 and lists none" in again.stdout) == (act != "dry run")


class CutShort(Hiding):
    """The first page is refused after an empty pass."""

    pages = 0

    def read(self, request: Request, document: str) -> Reply:
        self.pages += "/documents?" in request.path
        if "/documents?" in request.path and self.pages > 1:
            return error(400, "invalid_param", "no")
        return super().read(request, document)


@pytest.mark.parametrize("trouble", ["hidden", "refused"])
@pytest.mark.parametrize("accepted", [(), ("--accept-incomplete",)])
def test_a_failed_listing_is_no_empty_one(trouble: str, accepted: tuple[str, ...]) -> None:
    """S15: the listing shows none of three that the dataset counts; a pass over an empty base that does not come to its end."""
    base = Hiding(latency=0.0) if trouble == "hidden" else CutShort(latency=0.0)
    base.nth, base.off = (1, 0) if trouble == "hidden" else (10**6, 1)
    base.fill(3 if trouble == "hidden" else 0)
    seen = purge(base, *accepted)
    assert (seen.status, len(base.held)) == (1, 3 if trouble == "hidden" else 0)
    assert "lists none" not in seen.stdout


def test_what_is_hidden_still_is_no_success(tmp_path: Path) -> None:
    """S15: $ bulkdel purge … --name PATTERN --accept-incomplete: of two that the listing hides nothing is known: exit 1."""
    base, run = service(), str(tmp_path / "a.run")
    seen = purge(base, "--name", "doc-1*", "--accept-incomplete", "--run", run)
    assert (seen.status, len(base.held)) == (1, 120 - 31)
    assert "incomplete: the listing was not whole: 120 of 122 documents" in seen.stdout
    later = command(base, "verify", run)  # what was deleted has not come back: that is what it is asked
    assert (later.status, "89 of 91 documents seen" in later.stdout) == (0, True)
    # The run itself is no better for that.
    assert '"status": "incomplete", "exit_status": 1' in command(base, "report", run, "--format", "json").stdout
    base.off += 1
    assert command(base, "verify", run).status == 1


def test_all_that_was_accepted_is_gone(tmp_path: Path) -> None:
    """$ bulkdel purge … --name "*" --accept-incomplete: none is listed and the dataset's own count is 0: exit 0, also of verify."""
    base, run = service(), str(tmp_path / "a.run")
    seen = purge(base, "--name", "*", "--accept-incomplete", "--run", run)
    assert (seen.status, base.held) == (0, {})
    assert "complete: the service counts 2 and lists none" in seen.stdout
    assert "error" not in seen.stderr
    later = command(base, "verify", run)
    assert (later.status, "the service counts 2 and lists none" in later.stdout) == (0, True)


def test_more_than_was_accepted_is_not_accepted() -> None:
    """S15: the listing hides one more after the deletes than before them: exit 1."""
    base = service()

    def hide_more() -> None:
        base.off += 1

    base.when[60] = hide_more
    seen = purge(base, "--name", "doc-1*", "--accept-incomplete")
    assert (seen.status, len(base.held)) == (1, 89)
    assert "could not be verified" in seen.stderr


def test_a_selected_document_that_shows_later_is_named() -> None:
    """What the listing hid shows after the deletes, and is selected: exit 1, although it was accepted that it was not seen."""
    base = service()
    base.nth, base.off = 10, 0
    seen = purge(base, "--name", "doc-*", "--accept-incomplete")
    assert (seen.status, len(base.held)) == (1, 12)
    assert "108 of 120 documents" in seen.stderr
