"""Where examples are run: simulated services in a thread, placeholders filled in, and shell lines understood as far as they go."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkdel.client import Client
from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator
from tests.cli.outside import Seen, invoke
from tests.cli.service import clean

ROOT = Path(__file__).parents[2]

DONE = (0, 1)
"""Exit statuses of an example that did what it says; 1 is an archived document, which the services hold one of."""

ASKS = ("purge", "delete", "resume", "job")
"""Commands that a person at a terminal is asked by; here there is none, so that they get ``--yes``."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the heading above it, its language, its text."""

    section: str
    language: str
    text: str


class Page:
    """The blocks of one README, by the heading that they stand under."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text("utf-8")
        self.blocks: list[Block] = []
        section = ""
        for found in re.finditer(r"^#{2,3} ([^\n]+)$|^```(\w*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            if found[1] is not None:
                section = found[1]
            else:
                self.blocks.append(Block(section, found[2], found[3]))

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """The section and the language of each block: a new one needs a test that runs it."""
        return {(block.section, block.language) for block in self.blocks}

    def of(self, section: str, language: str) -> list[str]:
        found = [block.text for block in self.blocks if (block.section, block.language) == (section, language)]
        assert found, f"{self.path} has no {language} block under {section}"
        return found


class Stage:
    """A Dify and a Langdock on loopback, and the words that stand for them in what is written for people.

    The words replaced are addresses, keys, ids and the rates that would make a test wait; nothing else is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dify = DifySimulator(documents=3, datasets=2, faults=Faults(archived=1))
        self.langdock = LangdockSimulator(documents=3)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.other = ""
        self.others: list[str] = []
        self.environ: dict[str, str] = {}

    def __enter__(self) -> Stage:
        (d_set, self.other), (l_set,) = self.dify.dataset_ids, self.langdock.dataset_ids
        d_docs = [held.id for held in self.dify.documents(d_set)]
        l_docs = [held.id for held in self.langdock.documents(l_set)]
        self.others = [held.id for held in self.dify.documents(self.other)]
        self._thread.start()
        for simulator in (self.dify, self.langdock):
            self._wait(simulator.start())
        self.words = {
            "https://dify.example.com/v1": self.dify.base_url,
            "http://localhost/v1": self.dify.base_url,
            'Langdock(api_key="...",': f'Langdock(api_key="{self.langdock.key}", base_url="{self.langdock.base_url}",',
            "dataset-...": self.dify.key,
            "sk-...": self.langdock.key,
            "0b7c0c2e-6d0b-4c07-9c57-6f2b0a4d9e11": d_set,
            "0b7c0c2e-…": d_set,
            "6f1c2b34-...": d_set,
            "DATASET": d_set,
            "0aa51c9e-...": d_docs[0],
            "77d0e2b1-...": d_docs[1],
            "5a1e…": d_docs[0],
            "folder_abc123": l_set,
            "att_xyz789": l_docs[0],
            '"80/min"': '"none"',
            "Rate(45, per=60)": "Rate(4500, per=60)",
            'kind = "langdock"': 'kind = "langdock"\nrate = "none"',
        }
        self.environ = {
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "DIFY_API_KEY": self.dify.key,
            "DIFY_BASE_URL": self.dify.base_url,
            "PROD_DIFY_KEY": self.dify.key,
            "LANGDOCK_API_KEY": self.langdock.key,
            "LANGDOCK_BASE_URL": self.langdock.base_url,
            "NO_PROXY": "127.0.0.1",
        }
        (self.folder / "targets.csv").write_text(f"dataset,document\n{l_set},{l_docs[1]}\n")
        (self.folder / "targets.jsonl").write_text(
            f'{{"dataset": "{l_set}", "document": "{l_docs[0]}", "age": "old"}}\n'
        )
        return self

    def __exit__(self, *_: object) -> None:
        for simulator in (self.dify, self.langdock):
            self._wait(simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def filled(self, text: str) -> str:
        """``text`` with this stage's addresses, keys and ids in it."""
        for word, meant in self.words.items():
            text = text.replace(word, meant)
        return text

    # ------------------------------------------------------------------ running

    def command(self, argv: list[str], stdin: bytes = b"") -> Seen:
        """``bulkdel`` with ``argv``, in this process, with the real client."""
        yes = ["--yes"] if argv[0] in ASKS and not {"--yes", "-y", "--dry-run", "--plan"} & set(argv) else []
        return invoke(*argv, *yes, client=Client, environ=self.environ, stdin=stdin)

    def line(self, line: str) -> list[list[str]]:
        """Run one line of a shell: exports, pipes and redirections, no more; every ``bulkdel`` in it must do what it says.

        Returns what ``bulkdel`` was given.
        """
        if substituted := re.fullmatch(r'eval "\$\((.*?)\)"\s*(?:#.*)?', line.strip()):
            return self.line(substituted[1])
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        tokens = list(lexer)
        if not tokens:
            return []
        if tokens[0] == "export":
            self.environ |= dict(word.split("=", 1) for word in map(self.filled, tokens[1:]))
            return []
        into: Path | None = None
        if ">" in tokens:
            at = tokens.index(">")
            into = Path(tokens[at + 1].replace("~", str(self.folder)))
            into.parent.mkdir(parents=True, exist_ok=True)
            tokens = tokens[:at]
        ran: list[list[str]] = []
        data = b""
        while tokens:
            at = tokens.index("|") if "|" in tokens else len(tokens)
            argv, tokens = list(map(self.filled, tokens[:at])), tokens[at + 1 :]
            if argv[0] == "bulkdel":
                seen = self.command(argv[1:], data)
                assert seen.status in DONE, f"{shlex.join(argv)}: exit {seen.status}: {seen.stderr}"
                data = seen.stdout.encode()
                ran.append(argv[1:])
            else:
                data = subprocess.run(argv, input=data, capture_output=True, check=True).stdout
        if into is not None:
            assert data
            into.write_bytes(data)
        return ran

    def lines(self, text: str) -> list[list[str]]:
        """Run lines one after the other, as far as they are not comments."""
        return [argv for line in text.splitlines() for argv in self.line(line)]

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script with ``sh`` itself, which finds this ``bulkdel`` in its PATH."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "bulkdel"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bulkdel "$@"\n')
        program.chmod(0o755)
        environ = clean() | self.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        return subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, timeout=60)
