"""Planted bugs on the wire: one request for each send, its own answer, its own deadline."""

from __future__ import annotations

from tests.mutants.planted import Mutant

HTTP = "bulkdel/transport/http.py"
DEADLINES = "bulkdel/transport/deadlines.py"

ONCE = ("tests/wire/test_once.py",)
HELD = ("tests/wire/test_deadlines.py",)

MUTANTS = (
    Mutant(
        "sent-again-unasked", "S2", HTTP,
        "        if task in self.served:\n            raise Dropped\n",
        "",
        "a DELETE whose connection drops leaves a second time, counted once",
        ONCE,
    ),
    Mutant(
        "task-served-for-ever", "S2", HTTP,
        "            pool.served.discard(task)\n",
        "",
        "whoever sent once cannot send again",
        ONCE,
    ),
    Mutant(
        "stray-answer-taken", "S2", HTTP,
        "        if protocol is None or protocol.should_close:\n",
        "        if protocol is None:\n",
        "what came late on an idle connection is read as the answer to the next request",
        ONCE,
    ),
    Mutant(
        "deadline-takes-every-cancellation", "S11", DEADLINES,
        "        return task.uncancel() <= self._cancelled.get(task, 0)\n",
        "        task.uncancel()\n        return True\n",
        "a task that is cancelled as its deadline strikes goes on",
        HELD,
    ),
    Mutant(
        "deadline-unaware-of-cancelled-tasks", "S11", DEADLINES,
        "        if n := task.cancelling():\n            self._cancelled[task] = n\n",
        "",
        "the deadline of a request that a cancelled task makes while it cleans up ends the task",
        HELD,
    ),
    Mutant(
        "deadline-of-the-first-only", "S1", DEADLINES,
        "        if left:\n            self._arm(min(left))\n",
        "",
        "who is not due when the timer rings is never overdue",
        HELD,
    ),
    Mutant(
        "shorter-deadline-unheeded", "S1", DEADLINES,
        "        if due < self._rings_at:\n",
        "        if self._timer is None:\n",
        "a short deadline waits for the end of a long one that began before it",
        HELD,
    ),
)  # fmt: skip
