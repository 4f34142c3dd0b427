"""What is said is what is so: plans in numbers that come true, errors that name whose they are, hints that help."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from pathlib import Path

import pytest

from bulkdel.limits import Known, RateMemory
from bulkdel.model import Policy, PurgeRequest
from bulkdel.planning import refusal
from bulkdel.providers.dify import Dify
from bulkdel.providers.protocol import Answer, Request
from bulkdel.render.data import PLANNED
from bulkdel.render.wording import ADVICE
from bulkdel.report import RunEnd
from bulkdel.store import Run
from tests.cli.inside import ENVIRON, URL, command, last, purge
from tests.engine.world import DATASET, KEY, Service, client, document_id

# ------------------------------------------------------------------ plans


@pytest.mark.parametrize(
    ("options", "would"),
    [
        ((), "40 of 45 documents selected: 30 to delete, 10 archived (will be rejected)"),
        (("--unarchive",), "40 of 45 documents selected: 40 to delete"),
    ],
)
def test_what_will_be_rejected_is_not_counted_as_what_would_go(
    tmp_path: Path, options: tuple[str, ...], would: str
) -> None:
    """A dry run, a plan and the plan's report have one headline, and it is what the run will do."""
    service = Service()
    service.fill(30)
    service.fill(10, archived=True)
    service.fill(5, created_at=1_900_000_000)
    chosen = ("dify", DATASET, "--created-before", "2026-01-01", *options)
    run = str(tmp_path / "a.run")
    dry = command(service, "purge", *chosen, "--dry-run").stdout.splitlines()
    plan = command(service, "plan", *chosen, "-o", run).stdout.splitlines()
    report = command(service, "report", run).stdout.splitlines()
    assert dry[0] == f"Dry run, nothing was deleted: {would}"
    assert plan[0] == f"Planned, nothing was deleted: {would}"
    assert plan[0] in report
    assert f" {would.partition(': ')[2].split()[0]} deleted" in command(service, "resume", run, "-y").stdout


@pytest.mark.parametrize("rate", ["20/s", "none"])
def test_a_plans_report_has_the_time_that_the_plan_said(tmp_path: Path, rate: str) -> None:
    """The estimate is kept with the plan, and is none where there was none; once the plan is carried out it is gone."""
    service = Service()
    service.fill(30)
    run = str(tmp_path / "a.run")
    plan = command(service, "plan", "dify", DATASET, "-o", run, "--rate", rate).stdout.splitlines()
    (needed,) = [line for line in plan if "time needed" in line]
    assert ("unknown" in needed) == (rate == "none")
    assert needed in command(service, "report", run).stdout.splitlines()
    assert command(service, "resume", run, "-y", "--rate", "none").status == 0
    with Run.open(run) as there:
        assert there.plan().seconds is None


def test_a_dry_run_names_the_first_documents(tmp_path: Path) -> None:
    """Ten of each dataset under a heading of their own, of how many they are, and what lists them all; a plan's report does."""
    service = Service()
    ids = service.fill(12)
    seen = command(service, "purge", "dify", DATASET, "--dry-run").stdout.splitlines()
    named = [line.strip() for line in seen if line.startswith("      ")]
    newest = [f"{one} (doc-{n}.md)" for n, one in enumerate(ids)][::-1]  # the order in which the service lists them
    assert named == newest[:10]
    assert "    the first 10 of 12 to delete:" in seen
    assert "  every document: bulkdel plan (or bulkdel job --plan), then bulkdel report" in seen
    run = str(tmp_path / "a.run")
    assert ids[0] not in command(service, "plan", "dify", DATASET, "-o", run).stdout
    report = command(service, "report", run).stdout
    assert all(f"{one} (doc-{n}.md)" in report for n, one in enumerate(ids))


def test_a_dry_run_of_few_names_each() -> None:
    """Where all are named nothing is said of more; what is left alone is not named, and what is named is made safe."""
    service = Service()
    ids = service.fill(2, name="a\x1b[2Jb.md")
    service.fill(3, created_at=1_900_000_000)
    seen = command(service, "purge", "dify", DATASET, "--dry-run", "--created-before", "2026-01-01").stdout
    assert all(f"      {one} (ab.md)\n" in seen for one in ids)
    assert ("more" in seen, "every document" in seen, "doc-" in seen) == (False, False, False)


def test_a_plans_report_says_where_its_rate_is_from(tmp_path: Path) -> None:
    """The time that a plan needs counts with the learned rate, so a later reader of the plan sees it; not once it has begun."""
    service = Service()
    ids = service.fill(6)
    dify = Dify(api_key=KEY, base_url=URL)
    RateMemory(tmp_path, dify.fingerprint).remember(Known(100.0, 110.0, 1.0), time.time() - 7200)
    run = tmp_path / "a.run"
    said = "  dify: pacing at 100/s, learned 2 h ago (110/s was refused); --rate overrides (in a job file: rate)"

    async def plan() -> None:
        async with client(service, providers=[dify], state=tmp_path) as c:
            await c.carry_out([PurgeRequest("dify", DATASET)], act="plan", dry_run=True, run=run)

    asyncio.run(plan())
    assert said in command(service, "report", str(run)).stdout.splitlines()
    service.script(ids[3], ["401"])
    assert command(service, "resume", str(run), "-y", "--concurrency", "1").status == 4
    assert "learned" not in command(service, "report", str(run)).stdout
    with Run.open(run) as begun:
        assert begun.plan().learned == {}


def test_what_is_planned_has_not_failed(tmp_path: Path) -> None:
    """CSV and JSONL of a plan: status and reason say that it is only planned; once it is carried out they are those of any run."""
    service = Service()
    service.fill(3)
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run)
    lines = [json.loads(line) for line in command(service, "report", run, "--format", "jsonl").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(command(service, "report", run, "--format", "csv").stdout, newline="")))
    shown = [(line["status"], line["outcome"], line["reason"], line["attempts"]) for line in lines]
    assert shown == [("planned", "not_attempted", PLANNED, 0)] * 3
    assert [(row["status"], row["reason"]) for row in rows] == [("planned", PLANNED)] * 3
    assert command(service, "resume", run, "-y").status == 0
    done = command(service, "report", run, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["status"] for line in done] == ["fulfilled"] * 3


@pytest.mark.parametrize(("deadline", "warned"), [("5s", True), ("1h", False), (None, False)])
@pytest.mark.parametrize("act", ["plan", "purge"])
def test_a_deadline_that_is_too_short_is_said_beforehand(
    tmp_path: Path, act: str, deadline: str | None, warned: bool
) -> None:
    """$ bulkdel plan … --deadline 5s, or a dry run: the estimate is longer, and a warning says so; -q says nothing."""
    service = Service()
    service.fill(300)
    how = ("-o", str(tmp_path / "a.run")) if act == "plan" else ("--dry-run",)
    options = ("--deadline", deadline) if deadline is not None else ()
    seen = command(service, act, "dify", DATASET, "--rate", "20/s", *how, *options)
    warning = "warning: at the current limits this takes about 15 s, longer than the deadline: 5 s\n"
    assert (seen.status, warning in seen.stderr) == (0, warned), seen.stderr
    assert ("longer than the deadline" in seen.stderr) == warned
    quiet = command(service, "purge", "dify", DATASET, "--rate", "20/s", "--dry-run", *options, "-q")
    assert quiet.stderr == ""


def test_a_quiet_plan_says_nothing(tmp_path: Path) -> None:
    """$ bulkdel plan … -q: nothing is on stderr where nothing is wrong."""
    service = Service()
    service.fill(3)
    seen = command(service, "plan", "dify", DATASET, "-o", str(tmp_path / "a.run"), "-q")
    assert (seen.status, seen.stderr) == (0, "")


# ------------------------------------------------------------------ hints


@pytest.mark.parametrize("kept", [True, False])
def test_what_must_be_fixed_first_is_said_first(kept: bool) -> None:
    """A key that is refused is refused again: the hint names what to mend, and the command is for afterwards."""
    service = Service()
    ids = service.fill(5)
    service.script(ids[2], ["401"])
    seen = purge(service, "--concurrency", "1", *(() if kept else ("--no-run",)))
    *_, mend, after, again = seen.stderr.splitlines()
    assert seen.status == 4
    assert mend.startswith("hint: ")
    assert after == f"hint: fix that, then {'resume with' if kept else 'run the same command'}:"
    assert again.startswith("bulkdel resume " if kept else "bulkdel purge ")
    assert "what is gone stays gone" not in seen.stderr
    assert command(service, *last(seen)).status == 0


def test_a_wrong_address_needs_a_new_run() -> None:
    """A run goes on at its own address: if nothing was listed yet the hint says so."""

    class LoginPage(Service):
        def read(self, request: Request, document: str) -> Answer:
            return Answer(302, {"location": "/login"})

    seen = purge(LoginPage())
    _, mend, after, again = seen.stderr.splitlines()[-4:]
    assert seen.status == 4
    assert mend.startswith("hint: check the base URL")
    assert after == "hint: fix that, then resume with (a wrong address needs a new run):"
    assert again.startswith("bulkdel resume ")


def test_a_deadline_needs_no_fix() -> None:
    """Where going on is all that there is to do, that is said."""
    service = Service(latency=0.03)
    service.fill(60)
    seen = purge(service, "--deadline", "150ms")
    assert (seen.status, "fix that" in seen.stderr) == (5, False)
    assert "hint: what is gone stays gone; this goes on with the rest, with the same deadline again" in seen.stderr


def test_a_run_that_a_guard_refused_is_not_offered(tmp_path: Path, state: Path) -> None:
    """$ bulkdel runs: it would be refused again; its row stays with why, nothing of it is to go, and a report says so, too."""
    service = Service()
    service.fill(5)
    assert purge(service, "--max-delete", "4").status == 3
    seen = command(service, "runs")
    _, row, why = seen.stdout.splitlines()
    assert (row.split()[1], row.split()[-1]) == ("refused", "-")
    assert why == "  nothing was deleted: the selection has 5 documents, more than max_delete allows: 4"
    (shown,) = json.loads(command(service, "runs", "--json").stdout)
    assert (shown["status"], shown["command"]) == ("refused", None)
    report = command(service, "report", shown["name"]).stdout
    assert "bulkdel resume" not in report
    assert "5 not attempted, for the run was refused:" in report


def test_a_refusal_takes_no_run_away_that_was_begun(state: Path) -> None:
    """$ bulkdel resume RUN --max-delete N: refused, but what was deleted before is gone, and the rest can still be done."""
    service = Service(latency=0.02)
    ids = service.fill(30)
    service.script(ids[20], ["401"])
    assert purge(service, "--concurrency", "1").status == 4
    (run,) = state.glob("*.run")
    gone = 30 - len(service.held)
    seen = command(service, "resume", str(run), "-y", "--max-delete", "3")
    said = "Refused, nothing more was deleted: the selection has 30 documents, more than max_delete allows: 3"
    assert (seen.status, seen.stdout.splitlines()[0]) == (3, said)
    _, row, again = command(service, "runs").stdout.splitlines()
    assert (row.split()[1], row.split()[-1]) == ("refused", str(30 - gone))
    assert again == f"  bulkdel resume {run.name.removesuffix('.run')}"
    report = command(service, "report", str(run)).stdout
    assert said in report.splitlines()
    assert f"{30 - gone} not attempted, so they are still to go:" in report
    assert command(service, "resume", str(run), "-y").status == 0


def test_a_plan_waits_for_whoever_says_yes(tmp_path: Path) -> None:
    """$ bulkdel resume PLAN; no: the plan is as good as before, and is named again."""
    service = Service()
    service.fill(3)
    run = tmp_path / "a.run"
    command(service, "plan", "dify", DATASET, "-o", str(run))
    assert command(service, "resume", str(run), terminal=True, typed="no\n").status == 3
    assert "This goes on with the rest: bulkdel resume RUN" in command(service, "report", str(run)).stdout


# ------------------------------------------------------------------ endings


@pytest.mark.parametrize("kept", [True, False])
def test_the_rejected_documents_that_are_not_shown_are_counted(kept: bool, state: Path) -> None:
    """Three of ten are shown; a line says how many more there are, and what shows them where something does."""
    service = Service()
    service.fill(10, archived=True)
    seen = purge(service, *(() if kept else ("--no-run",)))
    lines = seen.stdout.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("10 archived: "))
    more = lines[place + 4]
    if not kept:
        assert more == "  and 7 more"
        return
    words, _, report = more.partition(": bulkdel ")
    assert words == "  and 7 more"
    assert command(service, *report.split()).stdout.count("un-archiving was not asked for") == 10


def test_what_can_be_asked_again_is_not_called_final() -> None:
    """The advice for refused documents does not contradict the hint that asks for them again."""
    assert "for good" not in ADVICE["refused"]


def test_documents_that_were_not_selected_are_no_surprise() -> None:
    """A selective purge that is complete has no warning: what is left was never to be deleted, and the line says so."""
    service = Service()
    service.fill(4)
    service.fill(3, created_at=1_900_000_000)
    seen = command(service, "purge", "dify", DATASET, "-y", "--created-before", "2026-01-01", environ=ENVIRON)
    assert seen.status == 0
    (again,) = [event for line in seen.stderr.splitlines() if (event := json.loads(line))["event"] == "listed again"]
    assert (again["level"], again["remaining"], again["skipped"]) == ("info", 3, 3)


@pytest.mark.parametrize("options", [(), ("--no-run",)])
def test_a_delete_that_no_answer_confirmed_is_said_to_be_one(options: tuple[str, ...], state: Path) -> None:
    """The account counts it as deleted, for the service was asked to and has it no more; the words say what was seen of it."""
    service = Service()
    ids = service.fill(5)
    for lost in (ids[1], ids[3]):
        service.script(lost, ["lost done"])
    lines = "".join(f"{DATASET},{document}\n" for document in (*ids, ids[3]))  # one of them is named twice
    given = f"dataset,document\n{lines}".encode()
    seen = command(service, "delete", "dify", "-y", "--backoff", "10ms", *options, stdin=given)
    said = "3 of the deleted: their answers were lost, and they were found gone afterwards"
    assert (seen.status, seen.stdout.splitlines()[0]) == (0, "Complete: 6 deleted of 6 targets, 5 documents")
    assert said in seen.stdout.splitlines()
    for run in state.glob("*.run"):
        assert said in command(service, "report", str(run)).stdout.splitlines()
        assert said in command(service, "resume", str(run), "-y").stdout.splitlines()
    quiet = Service()
    quiet.fill(1)
    assert "of the deleted" not in purge(quiet).stdout


# ------------------------------------------------------------------ what a newcomer stumbled over


def test_invalid_ids_are_named_and_not_asked_for_again(tmp_path: Path) -> None:
    """$ bulkdel delete dify FILE --dry-run: an id that is never sent does not count as about to go; nor is --retry-rejected named for it."""
    service = Service()
    service.fill(1)
    targets = tmp_path / "targets.csv"
    targets.write_text(f"dataset,document\n{DATASET},{document_id(0)}\n{DATASET},../datasets\n{DATASET},x\n")
    dry = command(service, "delete", "dify", str(targets), "--dry-run").stdout
    split = "3 of 3 documents selected: 1 to delete, 2 with an invalid id (will be rejected)"
    first = (
        "    invalid ids: 2, never sent, the first of them: ../datasets (the document's id is not a UUID with dashes)"
    )
    assert dry.startswith(f"Dry run, nothing was deleted: {split}\n")
    assert first in dry.splitlines()
    done = command(service, "delete", "dify", str(targets), "-y")
    assert (done.status, len(service.held)) == (1, 0)
    assert "--retry-rejected" not in done.stderr


def test_a_plan_of_a_list_counts_invalid_ids_as_what_they_are(tmp_path: Path) -> None:
    """$ bulkdel job JOB --plan, report and resume: the same split as before, twice named ids included, and the question asks for
    as many as will go."""
    service = Service()
    service.fill(1)
    ids = [document_id(0), "../datasets", "x", "../datasets"]
    (tmp_path / "targets.csv").write_text("dataset,document\n" + "".join(f"{DATASET},{id}\n" for id in ids))
    job = tmp_path / "job.toml"
    job.write_text('[[provider]]\nkind = "dify"\n[[delete]]\nprovider = "dify"\nfrom = "targets.csv"\n')
    run = str(tmp_path / "a.run")
    split = "4 of 4 targets selected: 1 to delete, 3 with an invalid id (will be rejected)"
    first = (
        "    invalid ids: 3, never sent, the first of them: ../datasets (the document's id is not a UUID with dashes)"
    )
    planned = command(service, "job", str(job), "--plan", "-o", run).stdout.splitlines()
    report = command(service, "report", run).stdout.splitlines()
    for shown in (planned, report):
        assert f"Planned, nothing was deleted: {split}" in shown
        assert first in shown
    assert report[report.index("To delete:") + 1 :][:6] == [
        f"  {document_id(0)} (doc-0.md), created 2023-11-14",
        "",
        "Never sent, and rejected:",
        *(f"  {id}: the document's id is not a UUID with dashes" for id in ids[1:]),
    ]
    asked = command(service, "resume", run, terminal=True, typed="1\n")
    assert "Type the number of targets to delete for good (1): " in asked.stderr
    assert (asked.status, len(service.held), "1 deleted, 3 rejected of 4" in asked.stdout) == (1, 0, True)
    (tmp_path / "targets.csv").write_text(f"dataset,document\n{DATASET},x\n")
    asked = command(service, "job", str(job), terminal=True, typed="")
    assert (asked.status, "Type the number" in asked.stderr) == (1, False)
    assert "1 invalid id: no id that the service could have, so nothing was sent" in asked.stdout


def test_what_is_skipped_while_indexing_was_not_waited_for() -> None:
    """$ bulkdel delete dify --indexing skip: the advice fits what was not waited for, and names an option that waits."""
    service = Service()
    (id,) = service.fill(1, indexing_status="indexing", display_status="indexing")
    stdin = f"dataset,document\n{DATASET},{id}\n".encode()
    seen = command(service, "delete", "dify", "-y", "--indexing", "skip", stdin=stdin)
    assert (seen.status, len(service.held)) == (1, 1)
    assert (
        "1 stuck indexing: still being indexed, or locked by the service, when the waiting ended, or not waited for with --indexing skip;"
        in seen.stdout
    )
    assert "resume --retry-rejected --indexing wait" in seen.stdout


@pytest.mark.parametrize(("there", "gone"), [(0, 1), (0, 3), (2, 3), (3, 0)])
def test_a_dry_run_says_which_part_is_not_there(there: int, gone: int) -> None:
    """$ bulkdel delete dify --dry-run with ids that never were: how many, as far as the look-up shows it."""
    service = Service()
    ids = [*service.fill(there + 1)[:there], *(document_id(900 + n) for n in range(gone))]
    stdin = "dataset,document\n" + "".join(f"{DATASET},{id}\n" for id in ids)
    seen = command(service, "delete", "dify", "--dry-run", stdin=stdin.encode())
    words = f"    not there now: {gone}; gone already, or an id is wrong"
    assert seen.status == 0
    assert (words in seen.stdout.splitlines()) == (gone > 0)
    assert ("not there now" in seen.stdout) == (gone > 0)
    assert len(service.held) == there + 1


def test_a_guard_uses_the_name_of_the_option() -> None:
    """An option, a key of a job file and a field of Policy have one name but for the dashes, and a job has no such option."""
    assert refusal(51, Policy(max_delete=50)) == RunEnd(
        "refused",
        "the selection has 51 documents, more than max_delete allows: 50",
        "raise max_delete or select fewer",
    )
    assert refusal(51, Policy(expect=50)) == RunEnd(
        "refused",
        "the selection has 51 documents, but expect says: 50",
        "a dry run shows the selection",
    )


@pytest.mark.parametrize("act", ["purge", "plan"])
def test_an_unknown_dataset_is_answered_with_where_to_look(act: str) -> None:
    """$ bulkdel purge dify WRONG: the hint is the command that lists the right ones."""
    more = ("-y",) if act == "purge" else ()
    seen = command(Service(), act, "dify", "99999999-9999-4999-8999-999999999999", *more)
    assert seen.status == 1
    assert "hint: this lists the datasets that the key sees: bulkdel datasets dify" in seen.stderr


@pytest.mark.parametrize(
    ("command_name", "words"),
    [
        ("job", 'variable of the provider\'s kind, whatever its name: DIFY_API_KEY for kind = "dify"'),
        ("simulate", "from the simulator's start on"),
    ],
)
def test_help_says_what_is_so(capsys: pytest.CaptureFixture[str], command_name: str, words: str) -> None:
    """$ bulkdel COMMAND --help: which variable, which package and which beginning are meant."""
    assert command(Service(), command_name, "--help").status == 0
    assert words in " ".join(capsys.readouterr().out.split())
