"""``curl --parallel`` with a list of addresses on its standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

from benchmarks.peers.common import KEY, documents, options, url_of


class Peak(threading.Thread):
    """Looks at the most memory that a process has had; its rusage would tell of the program it was started from."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.kib = 0
        self._path = f"/proc/{pid}/status"
        self.start()

    def run(self) -> None:
        with suppress(OSError, StopIteration):
            while True:
                with open(self._path) as status:
                    self.kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
                time.sleep(0.02)


def main() -> None:
    given = options()
    config = "".join(
        f'url = "{url_of(given, document)}"\noutput = "/dev/null"\n' for document in documents(given.documents)
    )
    command = [
        "curl", "--parallel", "--parallel-max", str(given.connections), "-X", "DELETE", "--silent", "--noproxy", "*",
        "--max-time", str(given.timeout), "-H", f"Authorization: Bearer {KEY}",
        "--write-out", "%{http_code}\\n", "--config", "-",
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Its own pipe: curl reads the whole list before it begins, and then writes a line for each answer.
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(config)
    process.stdin.close()
    peak = Peak(process.pid)
    answers = process.stdout.read().split()
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    wall = time.perf_counter() - began
    gone = answers.count("204")
    out = {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "before_kib": 0, "peak_kib": peak.kib}
    print(json.dumps({**out, "gone": gone, "failed": given.documents - gone}))


if __name__ == "__main__":
    sys.exit(main())
