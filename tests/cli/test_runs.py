"""Runs that are files, from the command line: planned, carried out, broken off, resumed, listed and reported."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Client, Report
from bulkdel.errors import BrokenPromise
from bulkdel.store import Run, RunFile
from tests.cli.inside import ENVIRON, URL, command, connected, interrupt, last, purge
from tests.cli.outside import Terminal, invoke
from tests.engine.world import DATASET, Service, document_id


def kept(state: Path) -> list[Path]:
    """The run files in the state folder."""
    return sorted(state.glob("*.run")) if state.exists() else []


def gets_only(service: Service) -> bool:
    return {sent.method for sent in service.sent} <= {"GET"}


# ------------------------------------------------------------------ plan, and carry it out


def test_a_plan_says_what_would_go_and_the_command_that_does_it(tmp_path: Path) -> None:
    """$ bulkdel plan dify ID -o RUN --rate 10/s: GET only, counts, what is skipped and why, the time, exit 0."""
    service = Service()
    service.fill(30)
    service.fill(10, archived=True)
    service.fill(5, created_at=1_900_000_000)
    run = tmp_path / "a plan.run"
    seen = command(service, "plan", "dify", DATASET, "-o", str(run), "--rate", "10/s", "--created-before", "2026-01-01")
    assert (seen.status, gets_only(service), len(service.held)) == (0, True, 45)
    assert seen.stdout.splitlines()[:6] == [
        "Planned, nothing was deleted: 40 of 45 documents selected: 30 to delete, 10 archived (will be rejected)",
        f"  dify / Support ({DATASET})",
        "    40 of 45 documents selected: 30 to delete, 10 archived (will be rejected)",
        "    created: 2023-11-14",
        "    5 skipped: created too late",
        "  archived documents are deleted only with --unarchive",
    ]
    assert re.search(r"^  time needed at the current limits: about \d s$", seen.stdout, re.MULTILINE)
    assert last(seen) == ["resume", str(run)]
    assert stat.S_IMODE(run.stat().st_mode) == 0o600


def test_a_plan_as_json_is_the_usual_object(state: Path) -> None:
    """$ bulkdel plan dify ID --json: everything selected is not attempted yet; the run file is in the state folder."""
    service = Service()
    service.fill(3)
    seen = command(service, "plan", "dify", DATASET, "--json", "--rate", "1/s")
    shown = json.loads(seen.stdout)
    (run,) = kept(state)
    assert (shown["status"], shown["run"], shown["selected"], shown["not_attempted"]) == ("complete", str(run), 3, 3)
    assert shown["estimated_s"] == pytest.approx(3.0, rel=0.1)
    assert [(d["status"], d["selected"]) for d in shown["datasets"]] == [("complete", 3)]


def test_resume_deletes_the_planned_and_names_what_came_later(tmp_path: Path) -> None:
    """$ bulkdel plan …; documents come; $ bulkdel resume RUN -y: only the planned are gone, the late ones are named."""
    service = Service()
    service.fill(120)
    run = str(tmp_path / "a.run")
    planned = command(service, "plan", "dify", DATASET, "-o", run)
    late = service.fill(2)
    seen = command(service, *last(planned), "-y")
    assert seen.status == 0
    assert sorted(service.held) == sorted(late)
    assert "    2 that came during the run and were left alone:" in seen.stdout
    assert all(f"      {document} doc-" in seen.stdout for document in late)


def test_a_plan_is_confirmed_before_its_first_delete(tmp_path: Path) -> None:
    """$ bulkdel resume RUN: without -y and a terminal exit 3 and no request; at a terminal the name is asked for."""
    service = Service()
    service.fill(4)
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run)
    before = len(service.sent)
    seen = command(service, "resume", run)
    assert (seen.status, len(service.sent)) == (3, before)
    assert command(service, "resume", run, terminal=True, typed="no\n").status == 3
    assert len(service.held) == 4
    seen = command(service, "resume", run, terminal=True, typed="Support\n")
    assert (seen.status, len(service.held)) == (0, 0)
    assert "Type the dataset's name to delete for good (Support): " in seen.stderr


def test_guards_hold_for_a_plan_and_for_its_resume(tmp_path: Path) -> None:
    """--max-delete and --expect: exit 3, nothing is gone; resume takes others."""
    service = Service()
    service.fill(4)
    run = str(tmp_path / "a.run")
    assert command(service, "plan", "dify", DATASET, "-o", run, "--max-delete", "3").status == 3
    assert command(service, "resume", run, "-y").status == 3
    assert command(service, "resume", run, "-y", "--max-delete", "4", "--expect", "5").status == 3
    assert len(service.held) == 4
    assert command(service, "resume", run, "-y", "--max-delete", "4").status == 0
    assert not service.held


def test_a_plan_that_was_interrupted_is_no_plan(state: Path) -> None:
    """$ bulkdel plan dify ID; ^C while it lists: exit 130, no file is left, and the same command plans."""
    service = Service(latency=0.05)
    service.fill(2000)  # more pages than are asked for side by side
    service.when[3] = interrupt(signal.SIGINT)
    seen = command(service, "plan", "dify", DATASET)
    assert (seen.status, kept(state)) == (130, [])
    again = command(service, *last(seen))
    assert (again.status, len(service.held)) == (0, 2000)
    assert len(kept(state)) == 1


def test_a_plan_of_what_cannot_be_listed_holds_nothing(tmp_path: Path) -> None:
    """A dataset that does not exist: exit 1, named; resume has nothing to carry out, exit 2."""
    service = Service(dataset_gone=True)
    run = str(tmp_path / "a.run")
    seen = command(service, "plan", "dify", DATASET, "-o", run)
    assert seen.status == 1
    assert "nothing can be deleted here: Dataset not found." in seen.stdout
    assert "bulkdel resume" not in seen.stderr
    seen = command(service, "resume", run, "-y")
    assert (seen.status, gets_only(service)) == (2, True)
    assert "error: the plan did not come to its end, so there is nothing to carry out" in seen.stderr


# ------------------------------------------------------------------ each ending, and how it goes on


class Breaks(Client):
    """A client with a bug that shows when everything is listed."""

    async def carry_out(self, purges: Any, **common: Any) -> Report:
        def on_plan(plan: Any) -> None:
            raise BrokenPromise("as it is")

        return await super().carry_out(purges, **(common | {"on_plan": on_plan}))


ENDINGS = [
    (4, ("--concurrency", "1"), Client),
    (5, ("--deadline", "150ms"), Client),
    (70, (), Breaks),
    (70, ("--concurrency", "2"), Client),
    (130, (), Client),
    (143, (), Client),
]


@pytest.mark.parametrize("act", ["purge", "delete"])
@pytest.mark.parametrize(("status", "options", "cls"), ENDINGS)
def test_what_did_not_finish_ends_with_the_resume_command(
    act: str, status: int, options: tuple[str, ...], cls: type[Client], state: Path
) -> None:
    """Whatever the ending, the last line is `bulkdel resume PATH`; pasted, it does the rest and asks for nothing twice."""
    service = Service(latency=0.03)
    ids = service.fill(60)
    match status:
        case 4:
            service.script(ids[30], ["401"])
        case 70 if cls is Client:
            service.when[30] = _raise
        case 130 | 143:
            service.when[30] = interrupt(signal.Signals(status - 128))
    if act == "purge":
        seen = purge(service, *options, cls=cls)
    else:
        lines = "".join(f"{DATASET},{document}\n" for document in ids)
        stdin = f"dataset,document\n{lines}".encode()
        seen = command(service, "delete", "dify", "-y", *options, cls=cls, stdin=stdin)
    (run,) = kept(state)
    assert (seen.status, last(seen)[:2]) == (status, ["resume", str(run)])
    assert 0 < len(service.held) <= 60
    gone = [document for document in ids if document not in service.held]
    deletes = dict(service.deletes)
    again = command(service, *last(seen), "--deadline", "1h", "--retry-rejected", "--json")
    shown = json.loads(again.stdout)
    assert (again.status, shown["status"], shown["selected"], shown["deleted"]) == (0, "complete", 60, 60)
    assert not service.held
    assert all(service.deletes[document] == deletes[document] for document in gone)


def _raise() -> None:
    raise KeyError("a bug")


def test_a_key_file_and_a_yes_that_was_not_used_are_in_the_line(tmp_path: Path) -> None:
    """What the run file does not hold and going on needs: where the key is, and -y where nothing was begun."""
    service = Service(latency=0.03)
    service.fill(150)
    key = tmp_path / "the key"
    key.write_text(ENVIRON["DIFY_API_KEY"])
    key.chmod(0o600)
    environ = {"DIFY_BASE_URL": URL}
    service.when[1] = interrupt(signal.SIGTERM)
    seen = purge(service, "--api-key-file", str(key), environ=environ)
    assert seen.status == 143
    assert last(seen)[2:] == ["--yes", "--api-key-file", str(key)]
    service.when[len(service.sent) + 30] = interrupt(signal.SIGTERM)
    seen = command(service, *last(seen), "--retry-rejected", "--rate", "none", environ=environ)
    assert seen.status == 143
    assert 0 < len(service.held) < 150
    assert last(seen)[2:] == ["--api-key-file", str(key), "--rate", "none"]
    assert command(service, *last(seen), environ=environ).status == 0


def test_a_second_signal_leaves_a_file_that_goes_on(state: Path) -> None:
    """^C and SIGTERM at once: exit 130, the account is the file's, nothing in flight is called a success."""
    service = Service(latency=0.05)
    service.fill(60)
    service.when[30] = interrupt(signal.SIGINT, signal.SIGTERM)
    seen = purge(service, "--json")
    shown = json.loads(seen.stdout)
    (run,) = kept(state)
    with Run.open(run) as there:
        assert there.counts().deleted == shown["deleted"] < 60
        assert there.state == "crashed"
    assert (seen.status, shown["status"], shown["run"]) == (130, "interrupted", str(run))
    assert shown["deleted"] + shown["not_attempted"] == shown["selected"] == 60
    assert [d["status"] for d in shown["datasets"]] == ["interrupted"]
    assert last(seen) == ["resume", str(run)]
    again = command(service, *last(seen), "--json")
    assert (again.status, json.loads(again.stdout)["deleted"], service.held) == (0, 60, {})


def test_interrupted_before_the_question_it_is_asked_again(state: Path) -> None:
    """$ bulkdel purge dify ID at a terminal; ^C while it lists: there was no yes, so resume asks."""
    service = Service(latency=0.05)
    service.fill(250)
    service.when[3] = interrupt(signal.SIGINT)
    seen = command(service, "purge", "dify", DATASET, terminal=True)
    (run,) = kept(state)
    assert (seen.status, last(seen)) == (130, ["resume", str(run)])
    assert command(service, *last(seen)).status == 3
    assert (gets_only(service), len(service.held)) == (True, 250)
    assert command(service, *last(seen), terminal=True, typed="Support\n").status == 0
    assert not service.held


def test_what_is_complete_offers_nothing_to_go_on_with(state: Path) -> None:
    """A complete run has no last line, and resuming it sends no DELETE and says so again."""
    service = Service()
    service.fill(5)
    seen = purge(service)
    (run,) = kept(state)
    assert (seen.status, "bulkdel resume" in seen.stderr) == (0, False)
    assert f"run file: {run}\n" in seen.stdout
    deletes = sum(service.deletes.values())
    again = command(service, "resume", str(run))
    assert (again.status, sum(service.deletes.values())) == (0, deletes)
    assert again.stdout.startswith("Complete: 5 deleted of 5\n")


# ------------------------------------------------------------------ where the run file goes


def test_a_run_is_kept_by_default_for_its_owner_alone(state: Path) -> None:
    """In the state folder, 0600 in 0700; the log says where at once, so that a killed pod's log says it."""
    service = Service()
    service.fill(2)
    seen = purge(service)
    (run,) = kept(state)
    assert re.fullmatch(r"\d{8}-\d{6}-dify-[0-9a-f]{6}\.run", run.name)
    assert stat.S_IMODE(run.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert seen.stderr.index(str(run)) < seen.stderr.index('"listed"')


@pytest.mark.parametrize("option", ["--no-run", "--dry-run"])
def test_no_run_file_is_no_run_file(option: str, state: Path) -> None:
    """$ bulkdel purge … --no-run, or --dry-run: nothing is left on the disk; "run" is null."""
    service = Service()
    service.fill(2)
    seen = purge(service, option, "--json")
    assert (seen.status, state.exists(), json.loads(seen.stdout)["run"]) == (0, False, None)


def test_without_a_run_file_the_same_command_goes_on(state: Path) -> None:
    """$ bulkdel purge … --no-run; SIGTERM: the last line is the command itself."""
    service = Service(latency=0.02)
    service.fill(60)
    service.when[30] = interrupt(signal.SIGTERM)
    seen = purge(service, "--no-run")
    assert (seen.status, last(seen)) == (143, ["purge", "dify", DATASET, "-y", "--no-run"])
    assert command(service, *last(seen)).status == 0
    assert not service.held


@pytest.mark.parametrize("other", ["--no-run", "--dry-run"])
def test_a_run_file_cannot_be_wished_for_and_not(other: str, tmp_path: Path) -> None:
    """$ bulkdel purge … --run FILE --no-run: exit 2, nothing is sent."""
    service = Service()
    seen = purge(service, "--run", str(tmp_path / "a.run"), other)
    assert (seen.status, service.sent) == (2, [])
    assert f"--run keeps a run file and {other} keeps none" in seen.stderr


def test_a_purge_that_cannot_be_recorded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that cannot be made, a file that cannot be written: exit 2, no request, and what to do."""
    service = Service()
    service.fill(2)
    blocked = tmp_path / "not a folder"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    seen = purge(service)
    assert (seen.status, service.sent) == (2, [])
    assert seen.stderr.endswith("hint: choose a place with --run FILE, or --no-run for none\n")
    for where in (str(blocked / "a.run"), "/proc/a.run", str(tmp_path / "missing" / "a.run")):
        seen = purge(service, "--run", where)
        assert (seen.status, service.sent) == (2, [])
        assert where in seen.stderr
        assert "--no-run" in seen.stderr


def test_a_file_that_is_there_is_not_begun_anew(tmp_path: Path) -> None:
    """$ bulkdel purge … --run FILE twice: exit 2, the first run is as it was, and no line offers to resume it."""
    service = Service()
    service.fill(2)
    run = tmp_path / "a.run"
    command(service, "plan", "dify", DATASET, "-o", str(run))
    before, sent = run.read_bytes(), len(service.sent)
    seen = purge(service, "--run", str(run))
    assert (seen.status, len(service.sent), run.read_bytes()) == (2, sent, before)
    assert seen.stderr.splitlines()[-2].startswith(f"error: there is a file already: {run}")


def test_settled_lines_do_not_go_into_the_run_file(tmp_path: Path) -> None:
    """$ bulkdel purge … --run FILE --settled FILE: exit 2 before anything is made."""
    service = Service()
    run = tmp_path / "a.run"
    seen = purge(service, "--run", str(run), "--settled", f"{tmp_path}/./a.run")
    assert (seen.status, service.sent, run.exists()) == (2, [], False)


# ------------------------------------------------------------------ which run


def test_a_run_is_meant_by_its_name_or_the_beginning_of_it(state: Path) -> None:
    """$ bulkdel resume NAME: whole, with its ending, or begun, as long as only one begins so."""
    service = Service()
    state.mkdir(parents=True)
    for n in range(3):
        service.fill(2)
        command(service, "plan", "dify", DATASET, "-o", str(state / f"2026010{n}-120000-dify-abcdef.run"))
    for words in ("20260100-120000-dify-abcdef", "20260101-120000-dify-abcdef.run", "20260102"):
        assert command(service, "report", words).stdout.startswith(f"Run {words[:8]}-120000-dify-abcdef: planned\n")
    for words, said in (
        (
            "2026010",
            "error: more than one run begins with this: 2026010\nhint: they are: 20260102-120000-dify-abcdef, ",
        ),
        ("2027", "error: there is no such run: 2027\nhint: bulkdel runs lists the runs that there are\n"),
        ("", "error: there is no such run: "),
        ("./2026", "error: there is no such run: ./2026\n"),
    ):
        for name in ("report", "resume"):
            seen = command(service, name, words)
            assert (seen.status, seen.stdout) == (2, "")
            assert seen.stderr.startswith(said)


# ------------------------------------------------------------------ who carries it out


@pytest.mark.parametrize("by", ["option", "environment"])
def test_another_address_is_refused(by: str, tmp_path: Path) -> None:
    """$ bulkdel resume RUN --base-url ELSEWHERE, or DIFY_BASE_URL: exit 2, nothing is sent."""
    service = Service()
    service.fill(3)
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run)
    sent = len(service.sent)
    other = "http://elsewhere.localhost/v1"
    options = ("--base-url", other) if by == "option" else ()
    environ = ENVIRON | ({"DIFY_BASE_URL": other} if by == "environment" else {})
    seen = command(service, "resume", run, "-y", *options, environ=environ)
    assert (seen.status, len(service.sent)) == (2, sent)
    assert seen.stderr.splitlines()[-2] == f"error: the run was made at {URL} (dify), not at: {other} (dify)"


def test_a_fresh_key_is_accepted_the_address_is_kept(tmp_path: Path) -> None:
    """$ DIFY_API_KEY=NEW bulkdel resume RUN -y: the run knows where; without any key exit 2."""
    service = Service()
    service.fill(3)
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run, "--rate", "1000/s")
    seen = command(service, "resume", run, "-y", environ={})
    assert seen.status == 2
    assert "error: no key for dify: DIFY_API_KEY is not set" in seen.stderr
    seen = command(service, "resume", run, "-y", environ={"DIFY_API_KEY": "dataset-another-key-0002"})
    assert (seen.status, service.held) == (0, {})
    assert ENVIRON["DIFY_API_KEY"].encode() not in Path(run).read_bytes()


def test_options_of_the_run_stay_and_can_be_changed(tmp_path: Path) -> None:
    """The limits and the policy are those that the run was begun with, except for what resume is given."""
    limits: list[Any] = []
    policies: list[Any] = []

    class Looks(Client):
        async def resume(self, run: Any, **common: Any) -> Report:
            policies.append(common["policy"])
            return await super().resume(run, **common)

    def resume(*words: str) -> None:
        def make(*providers: Any, **how: Any) -> Any:
            limits.append(providers[0].limits)
            return connected(service, Looks)(*providers, **how)

        invoke("resume", run, "-y", *words, client=make, environ=ENVIRON)

    service = Service()
    service.fill(1)
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run, "--rate", "90/min", "--concurrency", "3", "--attempts", "9")
    changed = ("--rate", "100/s", "--timeout", "5s", "--deadline", "1h", "--indexing", "delete", "--unarchive")
    resume()
    resume(*changed)
    (first, second), (policy, other) = limits, policies
    assert (str(first.rate), first.concurrency, policy.attempts, policy.timeout) == ("90/min", 3, 9, 60.0)
    assert (str(second.rate), second.concurrency, other.attempts, other.timeout) == ("100/s", 3, 9, 5.0)
    assert (other.deadline, other.indexing, other.unarchive) == (3600.0, "delete", True)


@pytest.mark.parametrize(
    ("words", "most", "rate_is_default"),
    [
        ((), 8, True),
        # 4 is what auto begins with, and still no wish for auto.
        (("--concurrency", "4"), 4, True),
        (("--concurrency", "auto:6"), 6, True),
        (("--concurrency", "20"), 20, True),
        # None is what a self-hosted Dify has anyway, and still said: what an earlier run learned does not overrule it.
        (("--rate", "none"), 8, False),
        (("--rate", "90/min"), 8, False),
    ],
)
def test_a_resume_keeps_the_limits_that_were_said(
    words: tuple[str, ...], most: int, rate_is_default: bool, tmp_path: Path
) -> None:
    """It goes as far as the run did, also if what was said is what a provider has by itself."""
    opened: list[Any] = []

    def make(*providers: Any, **how: Any) -> Any:
        opened.extend(providers)
        return connected(service)(*providers, **how)

    service = Service()
    service.fill(1)
    run = str(tmp_path / "a.run")
    invoke("plan", "dify", DATASET, "-o", run, *words, client=make, environ=ENVIRON)
    invoke("resume", run, "-y", client=make, environ=ENVIRON)
    assert [(one.max_concurrency, one.rate_is_default) for one in opened] == [(most, rate_is_default)] * 2
    assert opened[0].limits == opened[1].limits


def test_what_was_rejected_is_asked_again_on_request(state: Path) -> None:
    """$ bulkdel purge …; exit 1 with a hint; the hint's command deletes what was archived, and the account is whole."""
    service = Service()
    service.fill(3)
    service.fill(2, archived=True)
    seen = purge(service)
    (run,) = kept(state)
    assert (seen.status, len(service.held)) == (1, 2)
    hint, shown = seen.stderr.splitlines()[-2:]
    assert hint == "hint: archived documents stay; this un-archives and deletes them:"
    assert shown == f"bulkdel resume {run} --retry-rejected --unarchive"  # without it nothing would change
    plain = command(service, "resume", str(run))
    assert (plain.status, len(service.held)) == (1, 2)
    assert "  2 archived: " not in plain.stderr
    assert f"{document_id(3)} (doc-3.md): archived" in plain.stdout
    # The last session rejected nothing, and the run is incomplete all the same: for the list, the report and the exit status.
    (listed,) = json.loads(command(service, "runs", "--json").stdout)
    account = json.loads(command(service, "report", str(run), "--format", "json").stdout)
    assert (listed["status"], account["status"], account["state"], account["exit_status"]) == (*["incomplete"] * 3, 1)
    assert f"Run {run.stem}: incomplete" in command(service, "report", str(run)).stdout
    again = command(service, *shown.split()[1:], "--json")
    assert (again.status, json.loads(again.stdout)["deleted"], service.held) == (0, 5, {})


def test_of_archived_and_refused_un_archiving_is_a_choice(state: Path) -> None:
    """$ bulkdel purge …: the command that asks again deletes no more than was asked for; --unarchive is named beside it."""
    service = Service()
    (refused,) = service.fill(1)
    service.script(refused, ["400"])
    service.fill(1, archived=True)
    seen = purge(service)
    (run,) = kept(state)
    assert seen.stderr.splitlines()[-3:] == [
        "hint: archived documents stay; to un-archive and delete them, add: --unarchive",
        "hint: this asks again for what was rejected:",
        f"bulkdel resume {run} --retry-rejected",
    ]


def test_settled_lines_of_a_resume_are_those_that_settled_now(tmp_path: Path) -> None:
    """$ bulkdel resume RUN --settled FILE: added behind those of the first part, each document once."""
    service = Service(latency=0.02)
    service.fill(40)
    service.when[20] = interrupt(signal.SIGTERM)
    lines = tmp_path / "settled.jsonl"
    seen = purge(service, "--settled", str(lines))
    command(service, *last(seen), "--settled", str(lines))
    shown = [json.loads(line) for line in lines.read_text().splitlines()]
    deleted = [line["document"] for line in shown if line["outcome"] == "deleted"]
    assert len(deleted) == len(set(deleted)) == 40


# ------------------------------------------------------------------ the runs there are


def test_runs_are_listed_newest_first(state: Path) -> None:
    """$ bulkdel runs: name, status, age, counts, the command that goes on; a broken file is listed with why."""
    service = Service(latency=0.02)
    service.fill(30)
    run = {n: state / f"2026010{n}-120000-dify-abcdef.run" for n in range(1, 5)}
    state.mkdir(parents=True)
    command(service, "plan", "dify", DATASET, "-o", str(run[1]))
    service.when[len(service.sent) + 15] = interrupt(signal.SIGTERM)
    purge(service, "--run", str(run[2]))
    purge(service, "--run", str(run[4]))
    run[3].write_text("no run")
    (state / "notes.txt").write_text("mine")
    seen = command(service, "runs")
    assert seen.status == 0
    head, *rows = seen.stdout.splitlines()
    assert head.split() == ["name", "status", "age", "selected", "gone", "rejected", "to", "go"]
    assert [row.split()[:2] for row in rows if row.startswith("2")] == [
        ["20260104-120000-dify-abcdef", "complete"],
        ["20260103-120000-dify-abcdef", "unreadable"],
        ["20260102-120000-dify-abcdef", "interrupted"],
        ["20260101-120000-dify-abcdef", "planned"],
    ]
    assert [row for row in rows if row.startswith(" ")] == [
        f"  this is not a run file of bulkdel: {run[3]}",
        "  bulkdel resume 20260102-120000-dify-abcdef",
        "  bulkdel resume 20260101-120000-dify-abcdef",
    ]
    shown = json.loads(command(service, "runs", "--json").stdout)
    assert [one["status"] for one in shown] == ["complete", None, "interrupted", "planned"]
    assert shown[2]["deleted"] + shown[2]["not_attempted"] == shown[2]["selected"] == 30
    assert shown[2]["command"] == "bulkdel resume 20260102-120000-dify-abcdef"
    assert (shown[0]["command"], shown[1]["command"]) == (None, None)
    assert shown[3]["age_s"] >= 0
    assert shown[1]["problem"].startswith("this is not a run file")


def test_no_runs_is_said(state: Path) -> None:
    """$ bulkdel runs, before there was one: exit 0, stdout empty; as JSON an empty list."""
    seen = command(Service(), "runs")
    assert (seen.status, seen.stdout, seen.stderr) == (0, "", f"no runs in: {state}\n")
    assert command(Service(), "runs", "--json").stdout == "[]\n"


# ------------------------------------------------------------------ files that cannot be used


def _newer(run: Path) -> None:
    with sqlite3.connect(run) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _narrower(run: Path) -> None:
    with sqlite3.connect(run) as connection:
        connection.execute("""UPDATE run SET asked = json_set(asked, '$.datasets[0].select.tags', json('["x"]'))""")
    connection.close()


def _half(run: Path) -> None:
    content = run.read_bytes()
    run.write_bytes(content[: len(content) // 2])


def _torn(run: Path) -> None:
    content = bytearray(run.read_bytes())
    content[4096 * 3 : 4096 * 8] = b"\xa5" * 4096 * 5
    run.write_bytes(content)


def _foreign(run: Path) -> None:
    run.unlink()
    with sqlite3.connect(run) as connection:
        connection.execute("CREATE TABLE other (n)")
    connection.close()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_newer, "written by a newer bulkdel (its format is 99"),
        (
            _narrower,
            "written by a newer bulkdel, whose selection has what this one does not know (asked.datasets.0.select.tags)",
        ),
        (_half, "is damaged and cannot be used"),
        (_torn, "is damaged and cannot be used"),
        (_foreign, "this is not a run file of bulkdel"),
        (lambda run: run.write_text("notes"), "this is not a run file of bulkdel"),
        (lambda run: run.write_bytes(b""), "the run file is empty"),
    ],
    ids=["newer", "narrower", "half", "torn", "foreign", "text", "empty"],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(harm: Any, said: str, tmp_path: Path) -> None:
    """$ bulkdel resume FILE, $ bulkdel report FILE: exit 2, the file is named, nothing is sent or printed, nothing is changed."""
    service = Service()
    service.fill(300)
    run = tmp_path / "a.run"
    command(service, "plan", "dify", DATASET, "-o", str(run))
    harm(run)
    sent, content = len(service.sent), run.read_bytes()
    for argv in (("resume", str(run), "-y"), ("report", str(run))):
        seen = command(service, *argv)
        assert (seen.status, seen.stdout, len(service.sent)) == (2, "", sent)
        (error,) = [line for line in seen.stderr.splitlines() if line.startswith("error: ")]
        assert said in error
        assert str(run) in error
    assert run.read_bytes() == content


def test_a_run_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    """$ bulkdel resume RUN while it runs: exit 2, the process is named, nothing is sent; a report can be had."""
    import asyncio
    import os

    service = Service()
    service.fill(3)
    run = tmp_path / "a.run"
    command(service, "plan", "dify", DATASET, "-o", str(run))
    sent = len(service.sent)
    with asyncio.Runner() as runner:
        holding = runner.run(RunFile.open(run))
        seen = command(service, "resume", str(run), "-y")
        assert (seen.status, len(service.sent)) == (2, sent)
        assert f"error: the run file is being used by process {os.getpid()} on " in seen.stderr
        assert command(service, "report", str(run)).stdout.startswith("Run a: running\n")
        runner.run(holding.close("interrupted", 130))
    assert command(service, "resume", str(run), "-y").status == 0


# ------------------------------------------------------------------ the report


def test_a_plan_is_reported_for_review(tmp_path: Path) -> None:
    """$ bulkdel report RUN: each document that would go, with what is special, and each that would not, with why."""
    service = Service()
    service.fill(2)
    service.fill(1, archived=True)
    service.fill(1, indexing_status="indexing", display_status="indexing")
    service.fill(1, name="keep.txt")
    run = str(tmp_path / "a.run")
    command(service, "plan", "dify", DATASET, "-o", run, "--name", "*.md")
    seen = command(service, "report", run)
    assert seen.status == 0
    assert "  selected: name like *.md\n" in seen.stdout
    body = seen.stdout[seen.stdout.index("To delete:") :].splitlines()
    assert body[1:] == [
        f"  {document_id(3)} (doc-3.md), created 2023-11-14, still being indexed",
        f"  {document_id(2)} (doc-2.md), created 2023-11-14, archived",
        f"  {document_id(1)} (doc-1.md), created 2023-11-14",
        f"  {document_id(0)} (doc-0.md), created 2023-11-14",
        "",
        "Skipped:",
        f"  {document_id(4)} (keep.txt), created 2023-11-14: name does not match",
        "",
        "This goes on with the rest: bulkdel resume RUN, with this run's name or file",
        "",
        f"digest: sha256:{'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}",
    ]


def test_a_run_is_reported_with_everything_that_is_not_gone(tmp_path: Path) -> None:
    """Summary first, each dataset, every rejected document with its reason, everything that is left, the digest."""
    service = Service(latency=0.01)
    ids = service.fill(40)
    for document in ids[:30:10]:
        service.script(document, ["400"])
    service.when[25] = interrupt(signal.SIGTERM)
    run = tmp_path / "a.run"
    purge(service, "--run", str(run), "--concurrency", "1")
    seen = command(service, "report", str(run))
    with Run.open(run) as there:
        left = [settled.target.document for settled in there.not_attempted()]
        rejected = [settled.target.document for settled in there.rejected()]
        digest = there.digest()
    lines = seen.stdout.splitlines()
    assert lines[0] == "Run a: interrupted"
    assert lines.index("") < lines.index(f"dify / Support ({DATASET})") < len(lines) - 1
    assert [line.split()[0] for line in lines if line.endswith(": no")] == rejected
    at = lines.index(f"{len(left)} not attempted, so they are still to go:")
    assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(left)]] == left
    assert lines[-1] == f"digest: sha256:{digest}"


def test_the_reports_json_is_the_commands_with_a_digest(state: Path) -> None:
    """The same keys and numbers as --json gave at the end, and what matches it to its run."""
    service = Service()
    service.fill(3)
    service.fill(1, archived=True)
    shown = json.loads(purge(service, "--json").stdout)
    (run,) = kept(state)
    reported = json.loads(command(service, "report", str(run), "--format", "json").stdout)
    assert (reported.pop("state"), reported.pop("digest")[:7]) == ("incomplete", "sha256:")
    assert reported == shown | {"elapsed_s": reported["elapsed_s"], "waited_s": reported["waited_s"]}


def test_the_reports_lines_are_the_settled_lines(tmp_path: Path) -> None:
    """$ bulkdel report RUN --format jsonl: what --settled wrote, in the listing's order."""
    service = Service()
    service.fill(30)
    service.fill(2, archived=True)
    run, lines = tmp_path / "a.run", tmp_path / "settled.jsonl"
    purge(service, "--run", str(run), "--settled", str(lines))
    reported = command(service, "report", str(run), "--format", "jsonl").stdout.splitlines()
    assert sorted(reported) == sorted(lines.read_text().splitlines())
    assert [json.loads(line)["name"] for line in reported] == [f"doc-{n}.md" for n in reversed(range(32))]


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_a_report_into_a_file_is_whole_and_private(form: str, tmp_path: Path) -> None:
    """$ bulkdel report RUN -o FILE: what stdout would have had, over an older report, 0600, and nothing beside it."""
    service = Service()
    service.fill(3)
    run, out = tmp_path / "a.run", tmp_path / "report"
    purge(service, "--run", str(run))
    out.write_text("an older one")
    out.chmod(0o644)
    before = {path.name for path in tmp_path.iterdir()}
    seen = command(service, "report", str(run), "--format", form, "-o", str(out))
    assert (seen.status, seen.stdout, seen.stderr) == (0, "", "")
    shown = command(service, "report", str(run), "--format", form, "-o", "-").stdout
    assert out.read_bytes().decode() == ("\ufeff" if form == "csv" else "") + shown
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_report_never_goes_over_a_run_file(tmp_path: Path) -> None:
    """$ bulkdel report RUN -o RUN, or over another run: exit 2, and it is as it was; where none can be written, exit 2."""
    service = Service()
    service.fill(3)
    run, link = tmp_path / "a.run", tmp_path / "link"
    purge(service, "--run", str(run))
    link.symlink_to(run)
    before = run.read_bytes()
    for where in (run, link):
        seen = command(service, "report", str(run), "-o", str(where))
        assert (seen.status, run.read_bytes()) == (2, before)
        assert seen.stderr.startswith(f"error: the report would overwrite a run file: {where}\n")
    seen = command(service, "report", str(run), "-o", str(tmp_path / "missing" / "x"))
    assert (seen.status, seen.stderr.count("\n")) == (2, 1)
    assert seen.stderr.startswith("error: cannot write the report to ")


def test_a_report_to_a_terminal_is_text_without_escapes(tmp_path: Path) -> None:
    """Names that would move the cursor or colour the terminal are data."""
    service = Service()
    service.fill(1, name="\x1b[31mred\x07\u202egnp.md", archived=True)
    run = tmp_path / "a.run"
    purge(service, "--run", str(run))
    out = Terminal()
    command(service, "report", str(run), stdout=out)
    assert "(red gnp.md)" in out.getvalue()
    assert "\x1b" not in out.getvalue()
