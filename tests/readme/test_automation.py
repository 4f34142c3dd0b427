"""bulkdel/cli/README.md: every code block in it is run, or read by the program that it is for."""

from __future__ import annotations

import configparser
import fcntl
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.readme.stage import DONE, Page, Stage

PAGE = Page("bulkdel/cli/README.md")
of = PAGE.of
TESTED = {
    ("A job file", "toml"), ("A job file", "sh"), ("cron", "crontab"), ("systemd", "ini"), ("GitHub Actions", "yaml"),
    ("A Kubernetes Job", "yaml"), ("Metrics", "sh"), ("Shell completion", "sh"), ("The account", "jsonc"),
    ("A container", "dockerfile"), ("A container", "sh"),  # test_container.py
}  # fmt: skip


def test_no_block_of_the_page_is_without_a_test() -> None:
    """A new block needs a test that runs it; this list says which there are."""
    assert PAGE.kinds == TESTED


def nightly(stage: Stage, folder: Path) -> None:
    """The job file of the page, in ``folder``, with its list of targets."""
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
    """The table has just the metrics that a run writes, with their labels."""
    stage.lines(of("Metrics", "sh")[0])
    written = {
        (name, frozenset(re.findall(r"(\w+)=", labels)))
        for name, labels in re.findall(
            r"^(bulkdel_\w+)(?:\{(.*)\})? ", (stage.folder / "bulkdel.prom").read_text(), re.MULTILINE
        )
    }
    rows = re.findall(r"^\| `(bulkdel_\w+)` \|.*\| ([a-z, ]*)\|$", PAGE.text, re.MULTILINE)
    assert {(name, frozenset(re.findall("[a-z]+", labels))) for name, labels in rows} == written


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
    assert (stage.folder / "nightly.csv").read_text("utf-8-sig").startswith("provider,")
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
