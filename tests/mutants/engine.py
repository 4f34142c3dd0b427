"""Planted bugs between a target's coming in and its one ending: lane, channel, results, feeds, watch, stop."""

from __future__ import annotations

from tests.mutants.planted import Mutant

LANE = "bulkdel/engine/lane.py"
QUEUE = "bulkdel/engine/queue.py"
CHANNEL = "bulkdel/engine/channel.py"
RESULTS = "bulkdel/engine/results.py"
FEEDS = "bulkdel/engine/feeds.py"
WATCH = "bulkdel/engine/watch.py"
REFUSED = "bulkdel/engine/refused.py"
STOP = "bulkdel/engine/stop.py"
CALL = "bulkdel/engine/call.py"
ACCOUNT = "bulkdel/account/model.py"

ENGINE = ("tests/engine/test_engine.py",)
ONCE = ("tests/engine/test_engine.py", "tests/engine/test_settles_once.py")
PURGE = ("tests/engine/test_purge.py",)
LOOKS = ("tests/engine/test_looks.py",)
SCHEDULES = ("tests/proof/test_schedules.py",)
CORNERS = ("tests/proof/test_corners.py",)
RECORDED = ("tests/engine/test_recorded.py",)

MUTANTS = (
    Mutant(
        "retry-counted-twice", "S2", LANE,
        "        job.spent += sent\n",
        "        job.spent += 2 * sent\n",
        "each retry spends two attempts, so that a document is given up after half of them",
        ONCE,
    ),
    Mutant(
        "outcome-lost-on-cancel", "S14", RESULTS,
        "            if self._buffer and self._journal is not None:",
        "            if not self._buffer and self._journal is not None:",
        "a call that is cancelled forgets the endings it had not written down yet",
        (*RECORDED, "tests/proof/test_recorded_first.py"),
    ),
    Mutant(
        "limiter-not-charged-on-retry", "S6", CHANNEL,
        "            at_once = pacing.try_acquire()\n",
        '            known = self.__dict__.setdefault("asked", set())\n'
        "            at_once = request.path in known or pacing.try_acquire()\n"
        "            known.add(request.path)\n",
        "a request that was sent before goes out again past the limiter",
        ONCE,
    ),
    Mutant(
        "pause-costs-an-attempt", "S8", LANE,
        "                channel.pause(verdict, exchange, self.policy)\n                self._requeued",
        "                channel.pause(verdict, exchange, self.policy)\n                job.spent += 1\n                self._requeued",
        "a document that was told to wait pays for it",
        CORNERS,
    ),
    Mutant(
        "indexing-costs-an-attempt", "S2", LANE,
        "        job.looks += 1\n",
        "        job.looks += 1\n        job.spent += 1\n",
        "waiting for indexing spends attempts",
        CORNERS,
    ),
    Mutant(
        "indexing-without-end", "S2", LANE,
        "        if job.indexing_since is None:\n            job.indexing_since = now\n",
        "        job.indexing_since = now\n",
        "the time budget of a document that is being indexed begins anew with every look",
        ENGINE,
    ),
    Mutant(
        "fresh-before-due", "S5", QUEUE,
        "        if due and due[0][0] <= self._loop.time():",
        "        if not self.fresh and due and due[0][0] <= self._loop.time():",
        "what is due waits behind thousands of fresh targets",
        ENGINE,
    ),
    Mutant(
        "duplicates-in-flight-twice",
        "S4",
        LANE,
        '            if known is not job:\n                if known.also is None:',
        '            if known is not job and known in queue.fresh:\n                if known.also is None:',
        "an occurrence that comes while the first one is in flight is a job of its own",
        CORNERS,
    ),
    Mutant(
        "duplicates-far-apart-asked-twice", "S4", FEEDS,
        "    if len(set(targets)) == len(targets):\n        return {}\n",
        "    return {}\n",
        "a duplicate that comes after the first one settled is asked for again",
        CORNERS,
    ),
    Mutant(
        "doubt-forgotten", "S2", LANE,
        "job.doubt = job.doubt or (verdict.doubt and exchange.deletes)",
        "job.doubt = verdict.doubt and deletes",
        "an answer that says something else makes us forget that an earlier one was lost",
        CORNERS,
    ),
    Mutant(
        "doubt-is-already-gone", "S2", LANE,
        '        if job.doubt:\n            self._settle(job, "deleted"',
        '        if False:\n            self._settle(job, "deleted"',
        "what our own lost attempt deleted is called another's delete",
        ENGINE,
    ),
    Mutant(
        "no-last-look", "S14", LANE,
        '            job.checking, job.step = True, "check"\n            job.reason = f"gave up after {many(job.attempts, \'attempt\')}: {verdict.reason}"\n            return False\n',
        '            self._settle(job, "gave_up", verdict.reason)\n            return True\n',
        "a document that is gone in truth is reported as given up",
        ENGINE,
    ),
    Mutant(
        "waiting-dropped-at-stop", "S5", LANE,
        "        for job in list(self._here.values()):\n            self._settle_not_attempted(job)\n",
        "        for job in list(self._fresh):\n            self._settle_not_attempted(job)\n",
        "what waits for its due time at a stop is forgotten (as client-go's queue does)",
        ONCE,
    ),
    Mutant(
        "no-window", "S18", LANE,
        '            await self._room.wait()\n        here, results',
        '            break\n        here, results',
        "an endless generator is read into memory",
        ENGINE,
    ),
    Mutant(
        "sends-after-stop", "S11", STOP,
        "        return self.reason is None\n\n    async def sleep",
        "        return True\n\n    async def sleep",
        "a wait that ends in the moment of a stop sends one more request",
        (*ONCE, "tests/engine/test_purge.py", *SCHEDULES),
    ),
    Mutant(
        "stop-kills-what-is-in-flight", "S11", CHANNEL,
        "                reply = await self.wire.send(request, timeout=policy.timeout, connect_timeout=policy.connect_timeout)\n",
        "                reply = Lost(\"timeout\", sent=True)\n"
        "                async def go() -> None:\n"
        "                    nonlocal reply\n"
        "                    reply = await self.wire.send(\n"
        "                        request, timeout=policy.timeout, connect_timeout=policy.connect_timeout\n"
        "                    )\n"
        "                await stop.unless(go)\n",
        "a stop cuts off what is in flight, whose endings nobody knows then",
        ONCE,
    ),
    Mutant(
        "retry-after-without-maximum", "S7", CHANNEL,
        'told = min(verdict.after, policy.max_pause) +',
        'told = verdict.after +',
        "a service that asks for a day gets it",
        ENGINE,
    ),
    Mutant(
        "halved-for-each-complaint", "S8", CHANNEL,
        "        same_complaint = exchange.pauses != self.pacing.pauses\n",
        "        same_complaint = False\n",
        "each of the requests that were in flight is a complaint of its own",
        CORNERS,
    ),
    Mutant(
        "good-word-after-trouble-lost", "S8", CHANNEL,
        "        self._sample(exchange, \"overload\")\n        self._calm = False\n",
        "        self._sample(exchange, \"overload\")\n",
        "single troubles, hours of good answers between them, add up until the provider is given up",
        ENGINE,
    ),
    Mutant(
        "good-word-after-pause-lost", "S8", CHANNEL,
        "        self._sample(exchange, \"neutral\")\n        self._calm = False\n",
        "        self._sample(exchange, \"neutral\")\n",
        "refusals with good answers between them count as refusals in a row",
        ENGINE,
    ),
    Mutant(
        "old-troubles-count", "S8", CHANNEL,
        "        if exchange.pauses != self.pacing.pauses:\n            return  # it was sent",
        "        if False:\n            return  # it was sent",
        "answers to what was sent before a pause open the breaker again",
        (*ENGINE, *SCHEDULES),
        "a second opening is refused by the breaker itself (`sent_at <= opened_at`): the two hold each other's promise",
    ),
    Mutant(
        "outage-charged-to-documents", "S8", LANE,
        "                if channel.unwell and not await channel.heal(target.dataset, self.stop, self.policy):\n                    return  # a stop came: what is left settles when the pool has ended\n",
        "",
        "an outage costs every document its attempts",
        CORNERS,
    ),
    Mutant(
        "shown-before-recorded", "S10", RESULTS,
        "        await self._record(batch)\n        if self._on_event is not None:\n            for _, settled in batch:\n                self.emit(events.Settled(settled))\n",
        "        if self._on_event is not None:\n            for _, settled in batch:\n                self.emit(events.Settled(settled))\n        await self._record(batch)\n",
        "a listener hears of an ending that is not on disk",
        ("tests/proof/test_recorded_first.py", *RECORDED),
    ),
    Mutant(
        "account-of-another-dataset", "S21", LANE,
        "            if counts is None or target.dataset != dataset:\n",
        "            if counts is None:\n",
        "of a page with several datasets all is counted to the first",
        ENGINE,
    ),
    Mutant(
        "full-for-ever", "S1", RESULTS,
        "        self._ripe = self.full = False\n",
        "        self._ripe = False\n",
        "workers that waited once for a slow reader wait for ever",
        ("tests/proof/test_schedules.py::test_a_reader_that_stands_still_holds_the_workers_back",),
    ),
    Mutant(
        "few-endings-never-ripen", "S1", RESULTS,
        "        elif self._ripens is None:\n            self._ripens = self._loop",
        "        elif self._ripens is None and len(self._buffer) > 1:\n            self._ripens = self._loop",
        "one ending alone waits until the run is over before anybody hears of it",
        ENGINE,
    ),
    Mutant(
        "listener-kills-the-run", "S13", RESULTS,
        "        try:\n            self._on_event(event)\n        except Exception as error:\n",
        "        try:\n            self._on_event(event)\n        except ZeroDivisionError as error:\n",
        "a listener that throws ends the run",
        ENGINE,
    ),
    Mutant(
        "wall-clock-endings", "S19", RESULTS,
        "self._wall_ahead + time.monotonic()",
        "time.time()",
        "a clock that is set back puts endings before their run began",
        ("tests/proof/test_time.py",),
    ),
    Mutant(
        "slow-reader-fills-memory", "S18", RESULTS,
        "        while self.full:\n",
        "        while False:\n",
        "workers go on while nobody reads the outcomes",
        ("tests/proof/test_schedules.py",),
    ),
    Mutant(
        "coalesced-settles-once", "S1", RESULTS,
        '            buffer += [(key, settled) for key in job.also]\n',
        '            pass\n',
        "of a target that stands twice one occurrence never settles",
        ENGINE,
    ),
    Mutant(
        "raising-iterable-unheard", "S1", FEEDS,
        "        if raised is not None:\n            raise raised\n",
        "",
        "an iterable that raised looks like one that ended",
        ENGINE,
    ),
    Mutant(
        "good-news-unheard", "S5", REFUSED,
        "range(min(NEWS, len(self._heap)))",
        "range(0)",
        "a batch that is ready is deleted at the pace of single looks",
        LOOKS,
    ),
    Mutant(
        "good-news-overrules-the-service", "S7", LANE,
        "        if verdict.after is not None:\n            self.push(job, wait)\n        elif ",
        "        if ",
        "a document whose time the service named is asked sooner because another one was ready",
        LOOKS,
    ),
    Mutant(
        "looks-without-bound", "S6", LANE,
        "        return 10 if self._queue.fresh or not self._fed else 4\n",
        "        return 1\n",
        "looks at documents that are not ready take the whole rate from the others",
        LOOKS,
    ),
    Mutant(
        "watch-impatient", "S5", WATCH,
        "return now >= _since(job) + lane.policy.indexing_timeout",
        "return now >= _since(job) + lane.policy.indexing_timeout / 2",
        "a document is called stuck in half of its time",
        PURGE,
    ),
    Mutant(
        "watch-lets-go-early", "S5", WATCH,
        "    if document.indexing:\n        return\n",
        "",
        "a document is deleted while it is being indexed, which orphans its segments",
        PURGE,
    ),
    Mutant(
        "watch-missing-row-gone", "S12", WATCH,
        "    return list(jobs.values())\n",
        '    for job in jobs.values():\n        lane.settle_held(job, "already_gone", "not listed")\n    return []\n',
        "a row that a shifting listing did not show is taken for a document that is gone",
        CORNERS,
    ),
    Mutant(
        "dataset-stop-forgets-the-waiting", "S1", LANE,
        "        waiting += [job for target, job in self.held.items() if target.dataset == dataset]\n",
        "",
        "documents of a vanished dataset that were being indexed wait for ever",
        CORNERS,
    ),
    Mutant(
        "complete-if-any-is", "S15", CALL,
        'if any(dataset.status != "complete" for dataset in datasets):',
        'if datasets and all(dataset.status != "complete" for dataset in datasets):',
        "one dataset that came to its end makes the run complete",
        PURGE,
    ),
    Mutant(
        "rejections-counted-once", "S21", ACCOUNT,
        "                self.rejected += n\n",
        "                self.rejected += 1\n",
        "occurrences that are rejected together count as one",
        ("tests/test_report_counts.py",),
    ),
    Mutant(
        "bug-exits-zero", "S21", ACCOUNT,
        "        if self.bug:\n            return 70\n",
        "",
        "a broken promise inside bulkdel is a success",
        ENGINE,
    ),
    Mutant(
        "order-of-completion", "S3", "bulkdel/outcomes.py",
        "        self._all.sort(key=lambda pair: pair[0])\n",
        "",
        "a returned list is in the order in which the answers came",
        ("tests/engine/test_settles_once.py",),
    ),
    Mutant(
        "lost-pacer-is-a-bug", "S1", CHANNEL,
        "            except PacerLost as lost:\n                self.stop(StopProvider(lost.reason, lost.hint))\n                return None\n",
        "            except PacerLost:\n                raise\n",
        "where the shared limit is lost for good, the run says that it is a bug",
        ("tests/engine/test_pacer.py",),
    ),
)  # fmt: skip
