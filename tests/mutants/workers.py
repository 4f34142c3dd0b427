"""Bugs beyond one process: shards, the board, and what comes home."""

from __future__ import annotations

from tests.mutants.planted import Mutant

SHARD = "bulkdel/distributed/shard.py"
BOARD = "bulkdel/distributed/board.py"
DELIVERY = "bulkdel/distributed/delivery.py"
LANE = "bulkdel/distributed/lane.py"
SUBMIT = "bulkdel/distributed/submit.py"

OF_SHARDS = ("tests/distributed/test_shard.py",)
OF_THE_BOARD = ("tests/distributed/test_board.py",)
JOBS = "tests/distributed/test_jobs.py::"

MUTANTS = (
    Mutant(
        "lost-worker-leaves-no-doubt", "S2", SHARD,
        "if begun > self.begun else tuple(left)",
        "if False else tuple(left)",
        "what a killed worker had deleted is reported as gone before",
        OF_SHARDS,
    ),
    Mutant(
        "shards-last-for-ever", "S5", SHARD,
        "        most = min(most, max(1, math.floor(per_second * SHARD_S / out)))\n",
        "        most = min(most, max(1, math.floor(per_second * SHARD_S)))\n",
        "with all shards at work side by side each lasts an hour, and a killed worker's is late by that",
        OF_SHARDS,
    ),
    Mutant(
        "concurrency-for-each-worker", "S6", SHARD,
        "    return out, concurrency // out\n",
        "    return out, concurrency\n",
        "a concurrency that was given is multiplied by the number of workers",
        OF_SHARDS,
    ),
    Mutant(
        "a-shard-for-two", "S4", BOARD,
        "{{'held', begun, lost}} end\n    lost = lost + 1\n",
        "{{'go', begun, lost}} end\n    lost = lost + 1\n",
        "a redelivered message has two workers delete the same documents",
        OF_THE_BOARD,
    ),
    Mutant(
        "anybody-ends-a-shard", "S1", BOARD,
        "if not mine or mode ~= 'end' then ending = '' end",
        "if mode ~= 'end' then ending = '' end",
        "a worker that was given up ends the shard that another has by now",
        OF_THE_BOARD,
    ),
    Mutant(
        "recalled-from-under-a-worker", "S11", BOARD,
        "elseif found[1] == ARGV[1] and found[2] == 'queued' then",
        "elseif found[1] == ARGV[1] then",
        "at a stop what is in flight is forgotten, and its endings with it",
        OF_THE_BOARD,
    ),
    Mutant(
        "forgotten-shards-stay-forgotten", "S5", BOARD,
        "if state is None or (state == \"running\" and int(until) <= now)",
        "if state is not None and (state == \"running\" and int(until) <= now)",
        "after a flush of Redis the job waits for ever",
        OF_THE_BOARD,
    ),
    Mutant(
        "two-submitters", "S10", BOARD,
        "if there and there ~= ARGV[1] and there ~= ARGV[3] then return there end\n",
        "",
        "two hosts carry out copies of one run at once",
        OF_THE_BOARD,
    ),
    Mutant(
        "ended-workers-keep-their-rest", "S5", DELIVERY,
        "    if ending and home.left and report.status",
        "    if False and home.left and report.status",
        "what a worker had left when it was told to end is not queued again at once",
        (JOBS + "test_a_worker_that_is_told_to_end_hands_the_rest_back",),
    ),
    Mutant(
        "workers-deaf-to-a-stop", "S11", DELIVERY,
        "        self.recalled = self.recalled or told == \"stop\"\n",
        "",
        "after Ctrl-C the workers go on deleting",
        (JOBS + "test_a_job_that_is_interrupted_goes_on",),
    ),
    Mutant(
        "poison-goes-round", "S1", DELIVERY,
        "        if lost >= LIVES:\n",
        "        if lost >= 1000:\n",
        "a shard that kills its workers kills all of them, and the job never ends",
        (JOBS + "test_a_shard_that_takes_workers_with_it_is_given_up",),
    ),
    Mutant(
        "late-endings-unread", "S10", SUBMIT,
        "                self._early.update((row.key, row) for row in one.words.rows)\n                if",
        "                if",
        "what workers did while the job was dead is asked again",
        (JOBS + "test_a_job_that_is_killed_is_found_again",),
    ),
)  # fmt: skip
"""Each changes one place; the tests named are the ones that are to notice."""
