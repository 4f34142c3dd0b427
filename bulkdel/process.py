"""Which process is meant, and whether it still runs: its number, its machine and when it was born."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its number, its machine, and when it was born (in the system's own count, empty where unknown)."""

    pid: int
    host: str
    born: str

    def alive(self) -> bool:
        """Whether it still runs; a process of another machine is believed to."""
        if self.host != socket.gethostname():
            return True
        if sys.platform == "win32":  # os.kill(pid, 0) would end it there
            import ctypes

            handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, self.pid)
            if handle:
                ctypes.windll.kernel32.CloseHandle(handle)
            return bool(handle)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # somebody else's process, so there is one
        # In a container every first process is number 1: the birth tells yesterday's from today's.
        return self.born == _born(self.pid)


def this_process() -> Process:
    return Process(os.getpid(), socket.gethostname(), _born(os.getpid()))


def process_space() -> str:
    """Within which numbers mean the same processes: the kernel's name for it (two containers of a pod share a host's name and
    not their numbers), empty where there is one for all."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _born(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # Fields 3, state, and 22, starttime; field 2 is the program's name in brackets and may hold anything.
            found = stat.read().rpartition(b")")[2].split()
            # One that has ended and whose parent has not asked for its status is dead: in a container it stays for ever.
            return "" if found[0] in (b"Z", b"X") else found[19].decode()
    except (OSError, IndexError):
        return ""
