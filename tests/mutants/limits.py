"""Planted bugs in what is found out and shared: the concurrency, the rate, and one limit among several processes."""

from __future__ import annotations

from tests.mutants.planted import Mutant

CONCURRENCY = "bulkdel/pacing/concurrency.py"
WINDOW = "bulkdel/pacing/window.py"
RATE = "bulkdel/pacing/rate.py"
JOINT = "bulkdel/pacing/joint.py"
SHARED = "bulkdel/pacing/shared.py"
LEARNED = "bulkdel/pacing/learned.py"

SEARCH = ("tests/pacing/test_concurrency.py",)
RATES = ("tests/pacing/test_rate.py",)
JOINTS = ("tests/pacing/test_shared.py",)
MEMORY = ("tests/pacing/test_learned.py",)

MUTANTS = (
    Mutant(
        "search-climbs-for-nothing", "S6", CONCURRENCY,
        "            keep = gain >= max(WORTH, GAIN * (level / before - 1.0) - excused)\n",
        "            keep = gain >= -1.0\n",
        "a step up is kept whatever it brought: the queue at the service grows without end",
        SEARCH,
    ),
    Mutant(
        "search-cut-for-each-failure", "S8", CONCURRENCY,
        "        if at <= 1 or sample.sent_at < self._cut_at:\n",
        "        if at <= 1:\n",
        "what failed together is cut as often as it failed",
        SEARCH,
    ),
    Mutant(
        "search-cut-for-one-document", "S8", CONCURRENCY,
        "            alone = self._failures < 2 + usual + 2 * sqrt(usual)\n",
        "            alone = False\n",
        "one document that always fails makes the whole run slow",
        SEARCH,
    ),
    Mutant(
        "search-remembers-an-outage", "S6", CONCURRENCY,
        "            self._ceiling_until, lasts = now, CEILING_PROVEN_S\n",
        "            pass\n",
        "after an outage of a minute the run crawls for ten more",
        SEARCH,
    ),
    Mutant(
        "search-takes-a-pause-for-load", "S8", CONCURRENCY,
        "        if sample.sent_at >= self._changed_at and 2 * sample.in_flight <= limit and limit > 1:\n",
        "        if False:\n",
        "what was answered around a pause is taken for the service's speed",
        SEARCH,
        survives="a window that was often idle is not judged (`window.idle`): the two hold each other's promise",
    ),
    Mutant(
        "search-counts-the-first-answers", "S6", CONCURRENCY,
        "            if (second and self._settling >= limit) or self._settling >= HUNG_ROUNDS * limit:\n",
        "            if True:\n",
        "the time that setting connections up takes is taken for the level's own",
        SEARCH,
    ),
    Mutant(
        "search-beyond-the-most", "S18", CONCURRENCY,
        "        return min(self._most, self._level + self._stuck)\n",
        "        return self._level + self._stuck\n",
        "slots for requests that hang come on top of the most that was allowed",
        SEARCH,
    ),
    Mutant(
        "search-blind-to-what-hangs", "S6", WINDOW,
        "            self.hung = min(self.hung, sample.overtook)\n",
        "            self.hung = 0\n",
        "requests that hang in a starved pool are found only when they time out",
        SEARCH,
    ),
    Mutant(
        "rate-struck-by-one-complaint-twice", "S8", RATE,
        "        again = self._refused_at is not None and self._last <= self._refused_at\n",
        "        again = False\n",
        "refusals with nothing let through between them lower the rate each time",
        RATES,
    ),
    Mutant(
        "rate-above-the-given", "S6", RATE,
        "            return self._given if rate.per_second + step >= self._given.per_second else _faster(rate, step)\n",
        "            return _faster(rate, step)\n",
        "a rate that comes back after a refusal grows beyond the one that was given",
        RATES,
    ),
    Mutant(
        "rate-rises-unused", "S6", RATE,
        "            if self._in_demand(now):\n",
        "            if True:\n",
        "a rate that nobody used is raised, and then used at once",
        RATES,
    ),
    Mutant(
        "rate-leaves-no-room", "S6", RATE,
        "        return Rate(count * self._share, per=window)\n",
        "        return Rate(count, per=window)\n",
        "all that was let through is used again: the next request is refused",
        RATES,
    ),
    Mutant(
        "rate-over-too-short-a-window", "S6", RATE,
        "        self._widen(after or 0.0)\n",
        "",
        "a minute's quota is spent in a second, since the service's own seconds are not heard",
        RATES,
    ),
    Mutant(
        "joint-sleep-is-time", "S19", JOINT,
        "    passed = max(0.0, min(ticks - joint.ticks, wall - joint.wall))\n",
        "    passed = max(0.0, wall - joint.wall)\n",
        "a wall clock that is set forward fills the bucket that all share",
        JOINTS,
    ),
    Mutant(
        "joint-fastest-in-force", "S6", JOINT,
        "    rate = min(limits, key=",
        "    rate = max(limits, key=",
        "the fastest of the limits that processes want is in force for all",
        JOINTS,
    ),
    Mutant(
        "joint-grants-in-a-pause", "S7", JOINT,
        "    if joint.paused_s > 0:\n",
        "    if False:\n",
        "the pause that one process was told is not the others' pause",
        JOINTS,
    ),
    Mutant(
        "joint-first-limit-full", "S6", JOINT,
        "        return replace(joint, rate=None, tokens=0.0)\n",
        "        return replace(joint, rate=None, tokens=None)\n",
        "a limit where there was none begins with a burst",
        JOINTS,
    ),
    Mutant(
        "shared-lease-never-ends", "S6", SHARED,
        "        if self._hand and now <= self._hand_until:\n",
        "        if self._hand:\n",
        "permits that lie for an hour leave in one burst with those of that hour",
        JOINTS,
    ),
    Mutant(
        "shared-alone-with-a-burst", "S6", SHARED,
        "            while self._alone.try_acquire():\n                pass\n",
        "            pass\n",
        "whoever loses the shared file takes a full bucket beside what was granted from it",
        JOINTS,
    ),
    Mutant(
        "learned-for-ever", "S6", LEARNED,
        "    if not ago <= KEPT_S:  # a NaN is not, either\n",
        "    if ago != ago:\n",
        "last year's plan is this year's rate",
        MEMORY,
    ),
    Mutant(
        "learned-beside-the-folder", "S20", LEARNED,
        " if _FINGERPRINT.fullmatch(fingerprint) else None\n",
        "\n",
        "a plug-in's fingerprint is a path out of the folder",
        MEMORY,
    ),
    Mutant(
        "shared-limit-never-left", "S6", SHARED,
        "                    change.after = leave(change.before, self._name)\n",
        "                    pass\n",
        "a run that has ended holds back the others with its slower limit and its share for a minute",
        JOINTS,
    ),
    Mutant(
        "others-answers-unheard", "S6", "bulkdel/engine/channel.py",
        "self.rates.passed(exchange.sent_at, exchange.ended_at, self.pacing.processes)",
        "self.rates.passed(exchange.sent_at, exchange.ended_at)",
        "one of several processes takes its own share for all that the service let through",
        ("tests/engine/test_pacer.py",),
    ),
)  # fmt: skip
