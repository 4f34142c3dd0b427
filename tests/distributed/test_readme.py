"""README.md's section on several machines, and the examples of ``bulkdel worker --help``: followed word for word."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulkdel.cli.commands.worker import EPILOG
from tests.cli.service import clean
from tests.distributed.redis_server import REDIS_SERVER_PATH
from tests.readme.stage import ROOT, Page

PAGE = Page("bulkdel/distributed/README.md")
of = PAGE.of

READY = {"simulate": "in another terminal", "redis-server": "Ready to accept connections", "worker": " ready."}
"""What each of them says when it is there."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Terminals:
    """Lines that are typed into a terminal each; 6379 and 8080 may be another's here, so they are other numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"6379": str(free_port()), "8080": str(free_port())}
        programs = folder / "bin"
        programs.mkdir()
        for name in ("bulkdel", "celery"):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
            (programs / name).chmod(0o755)
        own = {"XDG_STATE_HOME": str(folder / "state"), "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        self.environ = clean() | own | {"PATH": f"{programs}:{Path(REDIS_SERVER_PATH).parent}:{os.environ['PATH']}"}

    def filled(self, text: str) -> str:
        for was, now in self.ports.items():
            text = text.replace(was, now)
        return text

    @contextmanager
    def stays(self, line: str) -> Iterator[None]:
        """A line that goes on until a signal ends it."""
        ready = next(words for name, words in READY.items() if name in line)
        process = subprocess.Popen(
            ["sh", "-c", self.filled(line)], env=self.environ, cwd=self.folder, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        hangs = threading.Timer(
            45, os.killpg, (process.pid, signal.SIGKILL)
        )  # then what it said ends, and the test fails
        hangs.start()
        with process:
            try:
                assert process.stdout is not None
                assert any(ready in said for said in process.stdout), line
                hangs.cancel()
                yield
            finally:
                hangs.cancel()
                os.killpg(process.pid, signal.SIGKILL)

    def ends(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line that comes to its end."""
        return subprocess.run(
            ["sh", "-c", self.filled(line)],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def terminals(tmp_path: Path) -> Terminals:
    return Terminals(tmp_path)


def test_no_block_is_without_a_test() -> None:
    """A new block needs a test that runs it."""
    assert PAGE.kinds == {("On one machine", "toml"), ("On one machine", "sh")}


def test_the_section_can_be_followed(terminals: Terminals) -> None:
    """The four lines, each in its terminal: the simulated knowledge base is empty, and the listing shows it."""
    (job,) = of("On one machine", "toml")
    (terminals.folder / "try.toml").write_text(terminals.filled(job))
    lines, celery = of("On one machine", "sh")
    simulate, redis, worker, submit = lines.splitlines()
    with terminals.stays(simulate), terminals.stays(redis):
        with terminals.stays(worker):
            ended = terminals.ends(submit)
            assert ended.returncode == 0, ended.stderr
            assert "3,000 deleted" in ended.stdout or "3000 deleted" in ended.stdout, ended.stdout
        with terminals.stays(celery.strip()):
            pass


def test_the_examples_of_help(terminals: Terminals) -> None:
    """The worker and the job for it, against the section's service."""
    (job,) = of("On one machine", "toml")
    (terminals.folder / "nightly.toml").write_text(terminals.filled(job).replace("PROD_DIFY_KEY", "DIFY_API_KEY"))
    simulate, redis, *_ = of("On one machine", "sh")[0].splitlines()
    key = re.search(r"dataset-\w+", of("On one machine", "sh")[0])
    assert key is not None
    export, worker, submit = re.findall(r"^  ((?:export|bulkdel) .*)$", EPILOG, re.MULTILINE)
    export = export.replace("dataset-...", key[0])
    with (
        terminals.stays(simulate.replace("3000", "30")),
        terminals.stays(redis),
        terminals.stays(f"{export}; {worker}"),
    ):
        ended = terminals.ends(f"{export}; {submit}")
        assert ended.returncode == 0, ended.stderr


def test_the_extra_is_the_projects() -> None:
    """What the section says to install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {name.split("[")[0].split(">")[0] for name in project["optional-dependencies"]["celery"]} == {
        "celery",
        "redis",
    }
