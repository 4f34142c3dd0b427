"""Planted bugs in what is kept: the run file, its journal, its lock, and a run that goes on."""

from __future__ import annotations

from tests.mutants.planted import Mutant

SETTLING = "bulkdel/runs/settling.py"
PLANNING = "bulkdel/runs/planning.py"
WRITER = "bulkdel/runs/writer.py"
SCHEMA = "bulkdel/runs/schema.py"
INDEX = "bulkdel/runs/index.py"
OPENING = "bulkdel/runs/opening.py"
LOCK = "bulkdel/runs/lock.py"
COUNTING = "bulkdel/runs/counting.py"
RECORDED = "bulkdel/purging/recorded.py"
SESSION = "bulkdel/purging/session.py"

FILE = ("tests/runs/test_file.py",)
FAULTS = ("tests/runs/test_faults.py",)
KILL = ("tests/runs/test_kill.py",)
RESUME = ("tests/engine/test_recorded.py",)

MUTANTS = (
    Mutant(
        "acknowledged-before-commit", "S10", WRITER,
        "            if connection.in_transaction:\n                connection.commit()\n",
        "            _hand_back(done)\n            if connection.in_transaction:\n                connection.commit()\n",
        "a caller is told that a row is on disk before it is",
        ("tests/runs/test_faults.py", "tests/runs/test_kill.py"),
    ),
    Mutant(
        "failed-write-forgotten", "S10", WRITER,
        "            self._failure = trouble(self._path, error)\n            self._failure.__cause__ = error\n",
        "            self._failure = trouble(self._path, error)\n            self._failure.__cause__ = error\n            self._failure, lost = None, self._failure\n            store.forget()\n            return [_Done(job, error=_again(lost)) for job in group]\n",
        "after a write that failed the file goes on as if nothing had happened",
        FAULTS,
    ),
    Mutant(
        "no-sync", "S10", OPENING,
        'connection.execute("PRAGMA synchronous = FULL")',
        'connection.execute("PRAGMA synchronous = OFF")',
        "rows are acknowledged while they lie in the system's cache",
        (*FILE, *KILL),
        "only a power failure shows it: what a killed process has written stays in the system's cache and reaches the disk",
    ),
    Mutant(
        "an-ending-changes", "S9", SETTLING,
        "ON CONFLICT (row) DO UPDATE SET outcome = excluded.outcome WHERE outcome <> excluded.outcome",
        "ON CONFLICT (row) DO NOTHING",
        "a second, other ending of a document is passed over in silence",
        FILE,
    ),
    Mutant(
        "not-attempted-is-final", "S9", SCHEMA,
        "CREATE TRIGGER an_ending_never_changes BEFORE UPDATE ON settled BEGIN\n    SELECT RAISE(ABORT, 'a document that has settled cannot settle again');\nEND;\n",
        "",
        "a document that settled as deleted can settle as refused",
        (*FILE, *FAULTS),
    ),
    Mutant(
        "confirmed-asked-again", "S10", SETTLING,
        "        AND NOT EXISTS (SELECT 1 FROM settled e WHERE e.row = d.row)\n    ORDER BY d.row",
        "    ORDER BY d.row",
        "a resumed run asks again for what is confirmed",
        RESUME,
    ),
    Mutant(
        "crash-leaves-no-doubt", "S2", SETTLING,
        "if crashed and not handed:",
        "if False:",
        "what was in flight when the process died, and is gone, is called already gone",
        (*FILE, *RESUME),
    ),
    Mutant(
        "repeats-hide-a-new-line", "S1", PLANNING,
        "if row not in there:",
        "if row in there:",
        "where one line of a page repeats another, the others of the page are taken for the repeats",
        FILE,
    ),
    Mutant(
        "page-forgets-earlier-asks", "S2", SETTLING,
        "_ASKED_BEFORE if before else _NEVER_ASKED",
        "_NEVER_ASKED",
        "a resumed run takes what an earlier session asked for, and what stands twice, for fresh",
        (*FILE, *RESUME),
    ),
    Mutant(
        "rolled-back-reasons-remembered", "S10", WRITER,
        "            store.connection.execute(undo)\n            store.forget()\n",
        "            store.connection.execute(undo)\n",
        "a reason that was new in a batch which broke a promise has a number that stands for nothing",
        FILE,
    ),
    Mutant(
        "broken-promise-kept", "S9", WRITER,
        "            store.connection.execute(undo)\n            store.forget()\n",
        "            store.forget()\n",
        "what a batch wrote before it broke a promise stays in the file",
        FILE,
    ),
    Mutant(
        "repeated-lines-lost", "S21", INDEX,
        "HAVING COUNT(*) > 1) f",
        "HAVING COUNT(*) > 2) f",
        "of many lines of targets those that name the same document twice are forgotten",
        ("tests/runs/test_index.py",),
    ),
    Mutant(
        "killed-before-the-index", "S4", SETTLING,
        "    store.index()\n    store.handing.add(provider)\n",
        "    store.handing.add(provider)\n",
        "a run that was killed while many lines came in deletes one document twice when it goes on",
        ("tests/runs/test_index.py", "tests/runs/test_stateful.py"),
    ),
    Mutant(
        "listed-rows-without-an-index", "S4", INDEX,
        "WHERE flags & {listed} OR skipped IS NOT NULL\"",
        "WHERE flags < 0\"",
        "the index is left out though a listing's rows are there: one that was left out and then asked for is not asked for",
        ("tests/runs/test_index.py", "tests/runs/test_stateful.py"),
    ),
    Mutant(
        "left-out-settles-in-a-batch", "S21", SETTLING,
        "WHERE d.document = e.document AND d.skipped IS NULL AND",
        "WHERE d.document = e.document AND",
        "a document that was left out of the run can end in it",
        FILE,
    ),
    Mutant(
        "ending-at-any-row", "S21", SETTLING,
        "WHERE d.document = e.document AND d.skipped",
        "WHERE d.skipped",
        "an ending is written to another document's row",
        FILE,
    ),
    Mutant(
        "names-of-endings-dropped", "S21", SETTLING,
        " AND (e.name = '' OR d.flags & {SEEN})",
        "",
        "the name that an answer gave of an explicit target is not kept",
        FILE,
    ),
    Mutant(
        "datasets-in-any-order", "S3", PLANNING,
        "dict.fromkeys(map(_of, targets))",
        "set(map(_of, targets))",
        "the datasets of a page of targets are accounted for in an order of chance",
        FILE,
    ),
    Mutant(
        "rows-not-counted", "S10", SETTLING,
        "INSERT INTO settled WITH ending (row, document, outcome, reason, attempts, settled_at, name) AS (VALUES {{rows}})\nSELECT",
        "WITH ending (row, document, outcome, reason, attempts, settled_at, name) AS (VALUES {{rows}})\nINSERT INTO settled SELECT",
        "no row of a batch of endings is counted, so each is written a second time, one by one",
        FILE,
    ),
    Mutant(
        "page-of-another-dataset", "S1", SETTLING,
        "map(Target, repeat(provider), map(datasets.__getitem__, keys), ids)",
        "map(Target, repeat(provider), repeat(next(iter(datasets.values()))), ids)",
        "a page of documents of several datasets is handed over as one dataset's",
        FILE,
    ),
    Mutant(
        "attempts-and-times-change-places", "S10", SETTLING,
        "    values[4::7] = attempts\n    values[5::7] = map(milliseconds, settled_at)\n",
        "    values[5::7] = attempts\n    values[4::7] = map(milliseconds, settled_at)\n",
        "the columns of an ending are written to one another's places",
        FILE,
    ),
    Mutant(
        "not-attempted-among-endings", "S10", SETTLING,
        '    if "not_attempted" in outcomes:\n        return []\n',
        '    if outcomes[0] == "not_attempted":\n        return []\n',
        "a batch is taken for endings because its first one is",
        (*FILE, "tests/engine/test_recorded.py"),
    ),
    Mutant(
        "page-of-doubts-taken-for-fresh", "S2", SETTLING,
        " and None not in ids and not crashed:",
        " and None not in ids:",
        "what a crashed session may have deleted is no longer in doubt where nothing else is known of it",
        (*FILE, *RESUME),
    ),
    Mutant(
        "odd-ids-read-as-text", "S1", SETTLING,
        "            id = unpack_id(bytes.fromhex(odd))\n",
        "            id = str(odd)\n",
        "an id that is not Unicode comes back as another id",
        FILE,
    ),
    Mutant(
        "time-in-fifteen-digits", "S21", SETTLING,
        "printf('%!.17g', d.created_at)",
        "printf('%.15g', d.created_at)",
        "a document's time comes back from the run file as another one",
        FILE,
    ),
    Mutant(
        "last-page-never-awaited", "S10", RECORDED,
        "        if self._writing is not None:\n            await self._writing\n",
        "",
        "whoever gives targets hears nothing of the last page's write",
        ("tests/engine/test_recorded.py::test_a_page_that_could_not_be_planned_is_told_to_whoever_gave_it",),
    ),
    Mutant(
        "clean-end-leaves-doubt", "S2", SETTLING,
        " AND h.session <> ? AND NOT o.clean)",
        " AND h.session <> ?)",
        "a graceful stop puts everything that it had handed over in doubt",
        FILE,
    ),
    Mutant(
        "incomplete-listing-kept", "S15", PLANNING,
        '    store.connection.execute(f"DELETE FROM document WHERE row IN (SELECT d.row {find})", (key, LISTED))\n    _add(store, key, -selected, -skipped)\n',
        "",
        "documents of a listing that did not come to its end are deleted when the run goes on",
        ("tests/runs/test_stateful.py", *RESUME),
    ),
    Mutant(
        "torn-file-read", "S10", SCHEMA,
        '                found = "its end is missing"\n',
        "                pass\n",
        "a run file whose end is cut off is read as if zeros followed",
        FAULTS,
    ),
    Mutant(
        "missing-rows-unnoticed", "S10", COUNTING,
        "        if (counts.listed, counts.selected, counts.skipped) != (counted, selected, skipped):\n",
        "        if False:\n",
        "a file that lost rows shows smaller numbers as if they were right",
        FAULTS,
    ),
    Mutant(
        "newer-file-read", "S10", SCHEMA,
        "    if version > VERSION:\n",
        "    if version > VERSION + 100:\n",
        "a newer bulkdel's file is read by an older one's rules",
        FAULTS,
    ),
    Mutant(
        "two-processes-write", "S10", LOCK,
        "                if not _try(descriptor):\n                    raise _held(path)\n",
        "                _try(descriptor)\n",
        "two processes carry out the same run at once",
        KILL,
    ),
    Mutant(
        "world-readable-run", "S20", OPENING,
        "                os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite gives its other files the same\n",
        "                os.fchmod(descriptor, 0o644)\n",
        "everybody on the machine reads the names of the documents",
        FILE,
    ),
    Mutant(
        "names-kept-raw", "S20", PLANNING,
        "                safe(document.name),\n                document.created_at,\n                store.word(document.status),\n",
        "                document.name,\n                document.created_at,\n                store.word(document.status),\n",
        "a name's escapes lie in the run file and reach whoever prints it",
        FILE,
    ),
    Mutant(
        "resume-at-any-address", "S12", SESSION,
        "    if provider.kind != asked.kind or address(provider.base_url) != asked.base_url:\n",
        "    if provider.kind != asked.kind:\n",
        "a run goes on at another service than the one that it listed",
        RESUME,
    ),
    Mutant(
        "occurrences-forgotten", "S21", SETTLING,
        "(row,) * further if further else ()",
        "()",
        "of a target that stands twice in a run file one occurrence is not counted",
        (*RESUME, "tests/proof/test_recorded_first.py"),
    ),
    Mutant(
        "closed-streams-left-closed", "S1", "bulkdel/cli/app.py",
        "    streams.opened()\n",
        "",
        "a command without stdin or stdout ends with SIGABRT in the middle of its run",
        ("tests/cli/test_surroundings.py",),
    ),
)  # fmt: skip
