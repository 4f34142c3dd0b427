"""README.md: every code block in it is run, or read by the program that it is for."""

from __future__ import annotations

import configparser
import fcntl
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from bulkdel.cli.main import bulkdel
from bulkdel.model import FULFILLED, Outcome, Policy
from tests.cli.service import clean
from tests.readme.stage import DONE, ROOT, Stage

README = (ROOT / "README.md").read_text("utf-8")
BENCHMARKS = (ROOT / "benchmarks/README.md").read_text("utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block: the heading above it, its language, its text."""

    section: str
    language: str
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    section = ""
    for found in re.finditer(r"^#{2,3} ([^\n]+)$|^```(\w*)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL):
        if found[1] is not None:
            section = found[1]
        else:
            yield Block(section, found[2], found[3])


BLOCKS = list(blocks(README))
TESTED_HERE = {
    ("Quick start", "sh"), ("From a program", "python"), ("Architecture", ""), ("A job file", "toml"), ("A job file", "sh"),
    ("cron", "crontab"), ("systemd", "ini"), ("GitHub Actions", "yaml"),
    ("A Kubernetes Job", "yaml"), ("Metrics", "sh"), ("Shell completion", "sh"), ("The account", "jsonc"),
}  # fmt: skip
TESTED_ELSEWHERE = {("Several machines", language) for language in ("toml", "sh")} | {
    ("A container", language) for language in ("dockerfile", "sh")
}
"""With a real Redis: tests/distributed/test_readme.py. The image: test_container.py."""


def of(section: str, language: str) -> list[str]:
    found = [block.text for block in BLOCKS if (block.section, block.language) == (section, language)]
    assert found, f"README.md has no {language} block under {section}"
    return found


def test_no_block_is_without_a_test() -> None:
    """A new block needs a test that runs it; this list says which there are."""
    assert {(block.section, block.language) for block in BLOCKS} == TESTED_HERE | TESTED_ELSEWHERE


def test_every_plot_is_there_and_small() -> None:
    """A plot that is linked is in the repository and below 60 kB."""
    for page, folder in ((README, ROOT), (BENCHMARKS, ROOT / "benchmarks")):
        for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page):
            assert 0 < (folder / path).stat().st_size < 60_000, path


def test_every_measured_table_is_in_its_place() -> None:
    """Between its two marks stands a table: what benchmarks.pacing puts there."""
    for name in re.findall(r"^<!-- (Pacing: \w+) -->$", BENCHMARKS, re.MULTILINE):
        (table,) = re.findall(
            rf"^<!-- {name} -->\n\n(.*?)\n\n<!-- end of {name} -->$", BENCHMARKS, re.MULTILINE | re.DOTALL
        )
        assert "| met" in table, name


def test_the_picture_is_the_house() -> None:
    """It has every room of the package, and whatever the import contract puts lower does not stand higher."""
    rows: dict[str, int] = {}
    for number, line in enumerate(of("Architecture", "")[0].splitlines()):
        # What a room is for takes more than one word; names stand alone, between blanks.
        rows |= {
            part.strip("/"): number for part in re.split(r"\s{2,}", line.strip()) if re.fullmatch("[a-z]+/?", part)
        }
    rooms = {path.parent.name for path in (ROOT / "bulkdel").glob("*/__init__.py")}
    assert rooms - set(rows) == set()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    told = [[rows[name] for name in re.findall(r"bulkdel\.(\w+)", layer) if name in rows] for layer in layers]
    heights = [number for layer in told for number in layer]
    assert heights == sorted(heights)


def test_every_command_and_exit_status_is_named() -> None:
    """The table of commands has each one that --help lists."""
    for name in bulkdel.commands:
        assert f"`bulkdel {name}" in README, name


def test_the_quick_start_is_what_is_installed() -> None:
    """Its two one-liners install this folder and run what it installs; the demo itself runs in tests/cli/test_end_to_end.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    install, tests, _ = of("Quick start", "sh")
    assert install.strip().endswith("pip install -q . && .venv/bin/bulkdel demo")
    assert "demo" in bulkdel.commands
    assert "bulkdel" in project["scripts"]
    assert tests.strip().endswith("pip install -q -e '.[test]' && .venv/bin/python -m pytest -q")
    assert any(name.startswith("pytest>") for name in project["optional-dependencies"]["test"])


def test_the_quick_start_purges(stage: Stage) -> None:
    """Key, address, datasets, a dry run and the purge: the dataset is empty but for what is archived."""
    ran = stage.lines(of("Quick start", "sh")[2])
    assert [argv[0] for argv in ran] == ["datasets", "purge", "purge"]
    assert stage.dify.remaining == 3 + 1


def test_the_program_runs(stage: Stage) -> None:
    """The example as it stands, with this stage's addresses: it says what became of each target."""
    (program,) = of("From a program", "python")
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", stage.filled(program)],
        env=clean() | stage.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 deleted" in ended.stdout.splitlines()[0]
    said = ended.stdout.splitlines()
    streamed = sorted(line.split()[:2] for line in said if line.startswith(("fulfilled", "rejected")))
    assert streamed == [["fulfilled", "already_gone"], ["rejected", "archived"]]
    assert "incomplete: 0 deleted, 1 already gone, 1 rejected (1 archived) of 2 listed" in said
    assert said[-2].startswith("dify done 0 ")
    assert said[-1] == "complete: 0 deleted, 1 skipped of 1 listed"


def tables(section: str) -> list[list[list[str]]]:
    """The cells of each table under a heading, its heading row left out."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]


def test_every_outcome_and_policy_field_is_what_the_library_has() -> None:
    """The table of outcomes has each one once, under its status; the table of the policy has the library's defaults."""
    outcomes, policy = tables("From a program")
    assert [row[1].strip("`") for row in outcomes] == list(get_args(Outcome))
    assert {row[1].strip("`") for row in outcomes[:2]} == FULFILLED
    default = Policy()
    for names, given, _ in policy:
        fields, told = names.replace("`", "").split(", "), given.split(", ")
        assert [f"{getattr(default, name)}".removesuffix(".0") for name in fields] == told * (len(fields) // len(told))


def nightly(stage: Stage, folder: Path) -> None:
    """The job file of README, in ``folder``, with its list of targets."""
    (text,) = of("A job file", "toml")
    (folder / "nightly.toml").write_text(stage.filled(text))
    if folder != stage.folder:
        shutil.copy(stage.folder / "targets.csv", folder)


def test_the_account_has_the_keys_of_a_run(stage: Stage) -> None:
    """The annotated object is JSON behind its comments, adds up, and has just the keys that the job's own account has."""
    account = json.loads(re.sub(r" *// .*", "", of("The account", "jsonc")[0]))
    for counts in (account, *account["datasets"]):
        assert counts["listed"] == counts["selected"] + counts["skipped"]
        assert counts["selected"] == sum(
            counts[name] for name in ("deleted", "already_gone", "rejected", "not_attempted")
        )
    nightly(stage, stage.folder)
    made = json.loads(stage.command(["job", "nightly.toml", "--yes", "--json"]).stdout)
    assert list(account) == [key for key in made if key != "reason"]
    assert [list(one) for one in account["datasets"]] == [list(one) for one in made["datasets"]]


def test_every_metric_is_named(stage: Stage) -> None:
    """The table has just the metrics that a run writes, in their order, with their labels."""
    stage.lines(of("Metrics", "sh")[0])
    written: dict[str, tuple[str, ...]] = {}
    for name, labels in re.findall(
        r"^(bulkdel_\w+)(?:\{(.*)\})? ", (stage.folder / "bulkdel.prom").read_text(), re.MULTILINE
    ):
        written[name] = tuple(re.findall(r"(\w+)=", labels))
    assert re.findall(r"^\| `(bulkdel_\w+)` \|.*\| ([a-z, ]*)\|$", README, re.MULTILINE) == [
        (name, ", ".join(labels) + " " * bool(labels)) for name, labels in written.items()
    ]


def test_the_job_is_planned_and_carried_out(stage: Stage) -> None:
    """The job file and the four commands below it: nothing goes before the last."""
    nightly(stage, stage.folder)
    *before, last = of("A job file", "sh")[0].splitlines()
    for line in before:
        stage.line(line)
    assert stage.langdock.remaining == 3
    stage.line(last)
    assert stage.langdock.remaining == 2


def test_the_cron_line_runs(stage: Stage) -> None:
    """Its command under sh, with the keys from their file: one JSON object in the log, and nothing that cron would mail."""
    nightly(stage, stage.folder)
    keys = stage.folder / ".config/bulkdel/keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("".join(f"export {name}={value}\n" for name, value in stage.environ.items() if "_KEY" in name))
    (text,) = of("cron", "crontab")
    path, line = text.splitlines()
    assert re.fullmatch(r"PATH=(/[a-z/]+:?)+", path)
    minute, hour, day, month, weekday, command = line.split(maxsplit=5)
    assert re.fullmatch(r"[\d*,/ -]+", " ".join((minute, hour, day, month, weekday)))
    assert "%" not in command  # cron would make a line end of it
    for name in [name for name in stage.environ if "_KEY" in name]:
        del stage.environ[name]
    ended = stage.sh(command)
    assert (ended.stdout, ended.stderr) == ("", ""), (stage.folder / "nightly.log").read_text()
    assert json.loads((stage.folder / "nightly.jsonl").read_text())["status"] == "complete"
    assert "bulkdel_run_exit_status 0" in (stage.folder / "nightly.prom").read_text()
    with (stage.folder / "nightly.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "exit status 75" in stage.sh(command).stdout
    keys.write_text(re.sub("(?m)^(export LANGDOCK_API_KEY=).*", r"\1not-the-key-0123456789", keys.read_text()))
    assert "exit status 4" in stage.sh(command).stdout


def test_the_systemd_units_are_units(stage: Stage) -> None:
    """What ExecStart names runs; systemd itself reads both where it is installed."""
    nightly(stage, stage.folder)
    service, timer = of("systemd", "ini")
    read = configparser.ConfigParser(interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(service)
    words = read["Service"]["ExecStart"].split()
    assert words[0] == "/usr/local/bin/bulkdel"
    places = {"/etc/bulkdel/": f"{stage.folder}/", "/var/lib/bulkdel/": f"{stage.folder}/"}
    for was, now in places.items():
        words = [word.replace(was, now) for word in words]
    seen = stage.command(words[1:])
    assert seen.status in DONE, seen.stderr
    assert "bulkdel_run_exit_status 0" in (stage.folder / "bulkdel.prom").read_text()
    read.read_string(timer)
    assert read["Install"]["WantedBy"] == "timers.target"
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        units = {"bulkdel.service": service.replace("/usr/local/bin/bulkdel", "/bin/true"), "bulkdel.timer": timer}
        for name, text in units.items():
            (stage.folder / name).write_text(text)
        files = [str(stage.folder / name) for name in units]
        done = subprocess.run([verify, "verify", *files], capture_output=True, text=True, timeout=60)
        assert not [line for line in done.stderr.splitlines() if str(stage.folder) in line], done.stderr


def test_the_workflow_runs(stage: Stage) -> None:
    """Its steps that are bulkdel, in order; the secrets they name are those of the job file."""
    nightly(stage, stage.folder)
    (text,) = of("GitHub Actions", "yaml")
    job = yaml.safe_load(text)["jobs"]["purge"]
    steps = [step for step in job["steps"] if step.get("run", "").startswith("bulkdel ")]
    assert set(steps[0]["env"]) == {"PROD_DIFY_KEY", "LANGDOCK_API_KEY"}
    for step in steps:
        stage.line(step["run"])
    assert (stage.folder / "nightly.csv").read_text().startswith("provider,")
    assert (
        stage.folder / next(step["with"]["path"] for step in job["steps"] if "path" in step.get("with", {}))
    ).exists()


def test_the_kubernetes_job_goes_on(stage: Stage) -> None:
    """The container's script under sh: the first pod begins the run, the second goes on with it; the policy is the table's."""
    (text,) = of("A Kubernetes Job", "yaml")
    job: dict[str, Any] = yaml.safe_load(text)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    codes = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert codes == {"FailJob": [1, 2, 3, 70], "Count": [4, 5, 143]}
    assert {
        rule["onExitCodes"]["containerName"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    } == {container["name"]}
    assert pod["restartPolicy"] == "Never"  # else the API refuses a podFailurePolicy
    assert pod["terminationGracePeriodSeconds"] > 60
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    for mount in mounts:
        (stage.folder / mount.strip("/")).mkdir(exist_ok=True)
    nightly(stage, stage.folder / "job")
    (script,) = container["args"]
    assert container["command"] == ["/bin/sh", "-c"]
    script = re.sub(r'(?<=[ "=])/(?=(state|job)/)', f"{stage.folder}/", script)
    (own,) = container["env"]
    assert own["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/controller-uid']"
    stage.environ[own["name"]] = "6a0f3d1c"
    good = stage.langdock.key
    stage.environ["LANGDOCK_API_KEY"] = "not-the-key-0123456789"
    first = stage.sh(script)
    assert first.returncode == 4, first.stderr
    stage.environ["LANGDOCK_API_KEY"] = good
    second = stage.sh(script)
    assert second.returncode == 0, second.stderr
    assert stage.langdock.remaining == 2
    (run,) = stage.folder.glob("state/nightly-*.run")
    assert json.loads(second.stdout)["run"] == str(run)
    stage.environ[own["name"]] = "b2915e77"
    another = stage.sh(script)  # the Job of the next night: a run of its own, not the old one once more
    assert another.returncode == 0, another.stderr
    assert json.loads(another.stdout)["run"] != str(run)


@pytest.mark.parametrize("section", ["Metrics", "Shell completion"])
def test_the_commands_work(section: str, stage: Stage) -> None:
    """Each line of the section, in order."""
    assert stage.lines(of(section, "sh")[0])
