"""Shell completion: what is offered behind each word, and that real shells take the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from bulkdel.cli.context import AppContext
from bulkdel.cli.main import bulkdel
from tests.cli.inside import purge
from tests.cli.outside import Seen, invoke
from tests.engine.world import Service


def offered(*words: str) -> list[tuple[str, str]]:
    """What is offered for the last word, as (word, kind)."""
    complete = ShellComplete(bulkdel, {"obj": AppContext()}, "bulkdel", "_BULKDEL_COMPLETE")
    return [(item.value, item.type) for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def two_runs(state: Path) -> Seen:
    """In the state folder a run that is complete and one that can go on."""
    service = Service()
    service.fill(3)
    assert purge(service).status == 0
    service.fill(3)
    service.script(next(iter(service.held)), ["401"])
    stopped = purge(service, "--concurrency", "1")
    assert stopped.status == 4
    return stopped


def test_commands_and_options_are_offered() -> None:
    """The words that --help lists: commands behind bulkdel, options behind a dash, an option's own choices."""
    assert offered("re") == [("resume", "plain"), ("report", "plain")]
    assert ("--metrics-file", "plain") in offered("purge", "--m")
    assert offered("delete", "--indexing", "w") == [("wait", "plain")]
    assert offered("completion", "") == [("bash", "plain"), ("zsh", "plain"), ("fish", "plain")]


@pytest.mark.parametrize("command", ["purge", "delete", "plan", "datasets"])
def test_providers_are_offered(command: str) -> None:
    """The kinds that are installed."""
    assert offered(command, "dif") == [("dify", "plain")]


@pytest.mark.parametrize("words", [("delete", "dify", "t"), ("job", "t"), ("resume", "t"), ("report", "./t"), ("purge", "--run", "t")])  # fmt: skip
def test_files_are_left_to_the_shell(words: tuple[str, ...]) -> None:
    """Where a path is meant, and for a run that no name in the state folder begins like."""
    assert offered(*words) == [(words[-1], "file")]


def test_runs_are_offered_by_name(state: Path, two_runs: Seen) -> None:
    """report is offered every run, newest first; resume those that can go on, each with what became of it."""
    names = sorted((path.name.removesuffix(".run") for path in state.glob("*.run")), reverse=True)
    assert len(names) == 2
    every = [name for name, _ in offered("report", "")]
    assert sorted(every, reverse=True) == names
    (unfinished,) = offered("resume", "")
    assert f"{unfinished[0]}.run" in two_runs.stderr
    assert [name for name, _ in offered("report", unfinished[0][:-1])] == [unfinished[0]]


def test_rejections_are_offered_behind_retry_rejected(two_runs: Seen) -> None:
    """$ bulkdel resume --retry-rejected TAB: a run that is finished has something to do again."""
    service = Service()
    service.fill(1, archived=True)
    assert purge(service).status == 1
    assert len(offered("resume", "")) == 1
    assert len(offered("resume", "--retry-rejected", "")) == 2


def test_a_state_folder_that_cannot_be_read_offers_files(state: Path) -> None:
    """No error can be shown there, so none is raised."""
    state.parent.mkdir()
    state.write_text("in the way")
    assert offered("resume", "") == [("", "file")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(shell: str) -> None:
    """$ bulkdel completion SHELL: the script alone on stdout, exit 0."""
    seen = invoke("completion", shell)
    assert (seen.status, seen.stderr) == (0, "")
    assert f"_BULKDEL_COMPLETE={shell}_complete" in seen.stdout


def test_another_shell_is_refused() -> None:
    """Exit 2, with those that there are."""
    seen = invoke("completion", "csh")
    assert seen.status == 2
    assert "'bash', 'zsh', 'fish'" in seen.stderr


def test_bash_completes(state: Path, two_runs: Seen, tmp_path: Path) -> None:
    """bash itself, with the script: the run that can go on is what TAB puts behind resume."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "bulkdel"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bulkdel "$@"\n')
    program.chmod(0o755)
    (tmp_path / "completion.bash").write_text(invoke("completion", "bash").stdout)
    script = """
source "$1"
COMP_WORDS=(bulkdel resume ""); COMP_CWORD=2
_bulkdel_completion bulkdel
printf '%s\\n' "${COMPREPLY[@]}"
"""
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--norc", "-c", script, "bash", str(tmp_path / "completion.bash")],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    (name,) = done.stdout.split()
    assert f"{name}.run" in two_runs.stderr
