"""The installed command as a process: what it imports, what it prints, and its exit status, with no service beside it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.cli.service import clean, plain

HEAVY = ("aiohttp", "aiolimiter", "anyio", "rich", "structlog", "uvloop", "asyncio", "sqlite3")


@pytest.mark.parametrize(
    "argv",
    [["--version"], ["--help"], *([name, "--help"] for name in ("purge", "delete", "plan", "resume", "runs", "report", "simulate"))],
)  # fmt: skip
def test_what_needs_no_service_imports_nothing_heavy(argv: list[str]) -> None:
    """$ bulkdel --version; bulkdel purge --help: no event loop, no HTTP, no rich."""
    code = (
        "import sys\n"
        "from bulkdel.cli import run\n"
        f"status = run({argv!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.stderr.write(' '.join(heavy))\n"
        "sys.exit(status)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean(), timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_the_version_is_the_packages() -> None:
    """$ bulkdel --version"""
    ended = asyncio.run(plain("--version"))
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"bulkdel {version('bulkdel')}\n", "")


@pytest.mark.parametrize(
    ("argv", "stdin", "status", "words"),
    [
        ([], "", 2, "Usage: bulkdel"),
        (["purge"], "", 2, "error: missing argument 'PROVIDER'"),
        (["purge", "dify", "6f1c2b34-0000-4000-8000-000000000001"], "", 2, "error: no key for dify: DIFY_API_KEY is not set"),
        (["purge", "notion", "x"], "", 2, "error: unknown provider: notion"),
        (["purge", "dify", "x", "--rate", "-1/s"], "", 2, "error: invalid value for '--rate'"),
        (["simulate", "dify", "--port", "99999"], "", 2, "error: invalid value for '--port'"),
    ],
)  # fmt: skip
def test_a_wrong_command_ends_with_a_sentence(argv: list[str], stdin: str, status: int, words: str) -> None:
    """$ bulkdel purge: exit 2, nothing on stdout, no traceback."""
    ended = asyncio.run(plain(*argv, stdin=stdin))
    assert (ended.status, ended.stdout) == (status, "")
    assert ended.stderr.startswith(words)
    assert "Traceback" not in ended.stderr


def test_help_into_a_closed_pipe_is_quiet() -> None:
    """$ bulkdel --help | true"""
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkdel", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        shown = stderr.read().decode()
    process.wait(60)
    assert "Traceback" not in shown
    assert "Exception" not in shown
