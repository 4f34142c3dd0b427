"""How long it takes to begin: imports, ``bulkdel --version``, the first DELETE: ``python -m benchmarks.start``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import sink
from benchmarks.peers.common import DATASET, KEY, document
from benchmarks.report import Options, Part, main

NEEDED = "bulkdel with all that a delete needs"
PROGRAMS = {
    "import aiohttp": "import aiohttp",
    "import bulkdel": "import bulkdel",
    NEEDED: "from bulkdel import Client, Dify, Policy, Target\nimport bulkdel.wire",
    "bulkdel --version": "import sys; sys.argv[1:] = ['--version']\nfrom bulkdel.cli import main; main()",
}
NOTHING = "nothing (the interpreter)"


def measure(options: Options) -> Part:
    rounds = (7 if options.full else 2) * options.rounds
    took: dict[str, list[float]] = {name: [] for name in (NOTHING, *PROGRAMS)}
    with tempfile.TemporaryDirectory(prefix="bulkdel-start-") as cache:
        for name in took:
            cpu_of(PROGRAMS.get(name, ""), cache)  # compiled once, as installed packages are
        for _ in range(rounds):
            for name in took:
                took[name].append(cpu_of(PROGRAMS.get(name, ""), cache))
    base = median(took[NOTHING])
    part = Part("start", "Start", ("", "CPU ms", "without the interpreter"))
    for name, times in took.items():
        part.rows.append((name, f"{median(times) * 1000:.0f}", f"{(median(times) - base) * 1000:.0f}"))
    needed = (median(took[NEEDED]) - base) / (median(took["import aiohttp"]) - base)
    lazy = median(took["import bulkdel"]) / median(took["import aiohttp"])
    part.want("import bulkdel to import aiohttp", "≤ 1.15 ×", f"{lazy:.2f} ×", lazy <= 1.15)
    part.notes.append(
        f"with everything that a delete without a run file needs, aiohttp included, it is {needed:.2f} × aiohttp alone"
    )
    found = imported(PROGRAMS["bulkdel --version"]) & {"aiohttp", "rich"}
    part.want("`bulkdel --version` imports aiohttp or rich", "no", ", ".join(sorted(found)) or "no", not found)
    first = [first_delete() for _ in range(options.rounds)]
    part.rows.append(("`bulkdel delete`, from its start to the first DELETE (wall)", f"{median(first) * 1000:.0f}", ""))
    part.notes.append(
        f"CPU time of a process, medians of {rounds} interleaved rounds; `import bulkdel` loads its parts when used"
    )
    return part


def cpu_of(program: str, cache: str) -> float:
    """CPU seconds of a process, user and system; ``cache`` is where compiled modules are kept."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def imported(program: str) -> set[str]:
    """The top-level modules that a program imports."""
    asks = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    got = subprocess.run([sys.executable, "-c", asks + program], capture_output=True, text=True)
    return {name.partition(".")[0] for name in got.stderr.split()}


def first_delete() -> float:
    """Seconds from the command's start until the service sees its first DELETE."""
    with tempfile.TemporaryDirectory(prefix="bulkdel-start-") as folder, sink.running() as service:
        lines = "".join(f"{DATASET},{document(k)}\n" for k in range(10))
        (Path(folder) / "targets.csv").write_text("dataset,document\n" + lines)
        command = [
            sys.executable,
            "-m",
            "bulkdel",
            "delete",
            "dify",
            f"{folder}/targets.csv",
            "--yes",
            "--no-run",
            "-q",
        ]
        # Documents are not asked about first: the sink has no answer to that.
        command += ["--indexing", "delete"]
        more = {
            "DIFY_API_KEY": KEY,
            "DIFY_BASE_URL": service.base_url,
            "XDG_STATE_HOME": folder,
            "NO_PROXY": "127.0.0.1",
        }
        began = time.time()
        subprocess.run(command, env={**os.environ, **more}, capture_output=True, check=True)
        return float(service.count()["first_at"]) - began


if __name__ == "__main__":
    main("benchmarks.start", __doc__, {"start": measure})
