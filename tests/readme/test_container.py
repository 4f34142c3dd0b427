"""The container of bulkdel/cli/README.md: its file carried out instruction by instruction, without an engine, in a folder that stands for the root."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.readme.stage import ROOT, Stage
from tests.readme.test_automation import of

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def joined(text: str) -> list[str]:
    """Lines, with those that a backslash continues made one."""
    return text.replace("\\\n", "").splitlines()


@dataclass
class Image:
    """What the instructions make: files below ``root``, and what a container begins with."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    user: str = ""
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()

    def at(self, text: str) -> str:
        """``text`` with the absolute paths that the file names put below ``root``."""
        return re.sub(r"(?<![\w./])/(?=(?:src|state)\b)", f"{self.root}/", text)

    def build(self, text: str) -> None:
        """Carry the file out; an instruction that is not known here fails."""
        for line in joined(text):
            word, said = line.split(maxsplit=1)
            getattr(self, f"_{word.lower()}")(said)

    def _from(self, base: str) -> None:
        """An interpreter of its own in place of the image; what it cannot fetch here, it finds where the tests found it."""
        found = re.fullmatch(r"python:(3\.\d+)-slim", base)
        assert found is not None
        assert f"Programming Language :: Python :: {found[1]}" in PROJECT["classifiers"]
        local = self.root / "usr/local"
        venv.create(local, symlinks=True)
        site = sysconfig.get_path("purelib", vars={"base": str(local)})
        # A path named in such a file is only a path: the checkout that is installed there editable does not come along.
        (Path(site) / "offline.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
        programs = self.root / "programs"
        programs.mkdir()
        offline = f'exec {local}/bin/python -m pip "$@" --no-index --no-build-isolation'
        for name, script in {"pip": offline, "chown": f'echo "$@" >> {self.root}/owned'}.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)

    def _copy(self, said: str) -> None:
        """A file goes into a folder, of a folder goes what it holds: as an engine does it."""
        *sources, into = said.split()
        for source in sources:
            # Whatever else lies in a checkout (.git, .venv, keys) would be in a layer for good.
            assert source.split("/")[0] not in ("", ".", ".."), source
            place = Path(self.at(into))
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                assert into.endswith("/")
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)

    def _run(self, said: str) -> None:
        search = f"{self.root}/programs:{self.root}/usr/local/bin:{os.environ['PATH']}"
        environ = {"PATH": search, "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull}
        done = subprocess.run(
            ["sh", "-c", self.at(said)], cwd=self.root, env=environ, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "does not provide the extra" not in done.stderr

    def _user(self, said: str) -> None:
        self.user = said

    def _env(self, said: str) -> None:
        name, value = said.split("=")
        self.environ[name] = self.at(value)

    def _volume(self, said: str) -> None:
        self.volumes += (said,)

    def _entrypoint(self, said: str) -> None:
        self.entrypoint = tuple(json.loads(said))

    def start(self, argv: tuple[str, ...], given: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """A container of it: what the image and its start say, no home, nothing else of this process."""
        environ = {"PATH": f"{self.root}/usr/local/bin", "HOME": f"{self.root}/nobody"} | self.environ | given
        return subprocess.run(argv, cwd=self.root, env=environ, capture_output=True, text=True, timeout=60)


def started(line: str) -> tuple[dict[str, list[str]], str, list[str]]:
    """The options, the image and the words after it of a ``docker run``."""
    words = shlex.split(line)
    assert words[:2] == ["docker", "run"]
    options: dict[str, list[str]] = {}
    rest = words[2:]
    while rest[0].startswith("-"):
        name = rest.pop(0)
        options.setdefault(name, []).append("" if name in ("--rm", "--init", "--read-only") else rest.pop(0))
    return options, rest[0], rest[1:]


def test_the_container_file_makes_a_command_that_purges(stage: Stage) -> None:
    """Built from what it copies alone; a container purges, and the next one finds the run in the volume."""
    image = Image(stage.folder / "root")
    image.build(of("A container", "dockerfile")[0])
    (volume,) = image.volumes
    state = Path(image.at(volume))
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (image.root / "owned").read_text().split() == [image.user, str(state)]
    assert not (image.root / "src").exists()
    where = image.start(("python", "-c", "import bulkdel, uvloop; print(bulkdel.__file__)"), {})
    assert where.stdout.startswith(str(image.root)), where.stderr

    _, *lines = joined(of("A container", "sh")[0])
    (options, _, purge), (_, _, runs) = map(started, lines)
    keys = {name: stage.environ[name] for name in options["-e"]} | {"NO_PROXY": "127.0.0.1"}
    ended = image.start((*image.entrypoint, *map(stage.filled, purge)), keys)
    assert ended.returncode == 1, ended.stderr  # one document is archived
    account = json.loads(ended.stdout)
    assert (account["status"], account["deleted"], account["reasons"]) == ("incomplete", 2, {"archived": 1})
    assert stage.dify.remaining == 3 + 1
    run = Path(account["run"])
    assert run.parent.parent == state
    assert run.exists()
    listed = image.start((*image.entrypoint, *runs), {})
    assert (listed.returncode, listed.stdout.splitlines()[1].split()[:2]) == (0, [run.stem, "incomplete"])


def test_image_commands_and_manifest_agree() -> None:
    """One name and version, one user, one volume, time for what is in flight, and no first process that hears no SIGTERM."""
    lines = joined(of("A container", "dockerfile")[0])
    image = dict(line.split(" ", 1) for line in lines)
    build, *runs = joined(of("A container", "sh")[0])
    assert build.split()[:3] == ["docker", "build", "-t"]
    name = f"{PROJECT['name']}:{PROJECT['version']}"
    assert build.split()[3:] == [name, "."]
    for options, of_image, _ in map(started, runs):
        assert of_image == name
        assert "--init" in options
        assert [volume.partition(":")[2] for volume in options["-v"]] == [image["VOLUME"]]
    purging, _, _ = started(runs[0])
    assert int(purging["--stop-timeout"][0]) > 60
    pod = yaml.safe_load(of("A Kubernetes Job", "yaml")[0])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == name
    assert pod["shareProcessNamespace"] is True
    asked = pod["securityContext"]
    assert image["USER"] == f"{asked['runAsUser']}:{asked['runAsGroup']}" == f"65532:{asked['fsGroup']}"
    assert image["VOLUME"] in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert json.loads(image["ENTRYPOINT"]) == list(PROJECT["scripts"])
