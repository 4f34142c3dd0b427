"""The command as processes of their own that can be killed: forked from one that has imported everything already.

A fresh interpreter takes most of a second to import what a purge needs; these begin within milliseconds, so that a test can
kill twenty of them. They have their own process, descriptors, environment and signals, as a command in a shell has.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.cli.service import Beside, Ended

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "bulkdel.cli.runner", "bulkdel.client", "bulkdel.render.data", "bulkdel.wire", "uvloop", "tests.cli.forked",
        "tests.store.child", "celery.apps.worker", "celery.backends.redis", "celery.concurrency.prefork", "kombu.transport.redis",
    ]
)  # fmt: skip
"""Where processes that are to begin quickly come from; there is one such server for each process that runs tests."""


def _command(
    argv: tuple[str, ...],
    environ: dict[str, str],
    folder: str,
    largest: int | None,
    ordinary: bool,
    group: bool,
    module: str,
) -> None:
    """In the process: become the command. Files it writes may have ``largest`` bytes, as on a disk that is full then."""
    if group:
        os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    for descriptor, path, flags in (
        (0, os.path.join(folder, "stdin"), os.O_RDONLY),
        (1, os.path.join(folder, "stdout"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, os.path.join(folder, "stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags, 0o600), descriptor)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        mode = "r" if descriptor == 0 else "w"
        setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for as long as it lives
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if ordinary:
        _be_ordinary()
    if module:
        os.execv(sys.executable, [sys.executable, "-m", module, *argv])
    from bulkdel.cli import main

    sys.argv = ["bulkdel", *argv]
    main()


def _be_ordinary() -> None:
    """Let permissions count for root, too: a process without capabilities has those of its user alone."""
    if os.geteuid() != 0:
        return
    # Another user may not even read the interpreter's own modules. struct __user_cap_header_struct (version 3, ourselves)
    # and two __user_cap_data_struct of nothing: capset(2).
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


@dataclass
class Running:
    """One command that goes."""

    process: ForkServerProcess
    folder: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What it said so far."""
        return _text(self.folder / "stderr")

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, unless it has ended and was waited for."""
        with suppress(ValueError):  # it is closed
            self.process.kill()

    def kill_group(self) -> None:
        """SIGKILL for it and its children, as when a machine is lost."""
        with suppress(ProcessLookupError, ValueError):
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> Ended:
        """Wait until it has ended; a status below 0 is the signal that killed it."""
        await asyncio.to_thread(self.process.join)
        status = self.process.exitcode
        assert status is not None
        self.process.close()
        return Ended(status, _text(self.folder / "stdout"), self.stderr)


def fork(
    argv: tuple[str, ...],
    environ: dict[str, str],
    folder: Path,
    *,
    stdin: str = "",
    largest: int | None = None,
    ordinary: bool = False,
    group: bool = False,
    module: str = "",
) -> Running:
    """Start the command, ``ordinary`` as a user for whom permissions count, or as the first of a process ``group`` of its own.

    ``folder`` is empty, and takes what the command writes. With ``module`` it is ``python -m MODULE`` in a new interpreter.
    """
    (folder / "stdin").write_text(stdin)
    process = CONTEXT.Process(target=_command, args=(argv, environ, str(folder), largest, ordinary, group, module))
    process.start()
    return Running(process, folder)


@dataclass
class Forked:
    """Starts commands beside a simulated service; what they say goes into folders of ``folder``."""

    beside: Beside
    folder: Path
    count: int = field(default=0, init=False)

    def start(self, *argv: str, largest: int | None = None) -> Running:
        self.count += 1
        said = self.folder / f"said-{self.count}"
        said.mkdir()
        return fork(argv, self.beside.environ, said, largest=largest)

    async def run(self, *argv: str, largest: int | None = None) -> Ended:
        return await self.start(*argv, largest=largest).end()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
