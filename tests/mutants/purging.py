"""Planted bugs in emptying a knowledge base: list whole, select, guard, delete, prove."""

from __future__ import annotations

from tests.mutants.planted import Mutant

LISTING = "bulkdel/purging/listing.py"
FLOW = "bulkdel/purging/flow.py"
VERIFY = "bulkdel/purging/verify.py"
SELECT = "bulkdel/purging/select.py"
LEDGER = "bulkdel/purging/ledger.py"
READ = "bulkdel/runs/read.py"
EXPLICIT = "bulkdel/purging/explicit.py"
MODEL = "bulkdel/model.py"

PURGE = ("tests/engine/test_purge.py",)
PURGES = ("tests/engine/test_purge.py", "tests/proof/test_purges.py")

MUTANTS = (
    Mutant(
        "paging-while-deleting", "S16", FLOW,
        "        found = await snapshot(channel, wish.dataset, stop, policy, kept.add)\n",
        "        async def at_once(documents: Sequence[Document]) -> int:\n"
        "            new = await kept.add(documents)\n"
        "            for document in documents:\n"
        "                target = Target(wish.provider, wish.dataset, document.id)\n"
        '                await channel.ask(channel.provider.request(target, "delete"), stop, policy)\n'
        "            return new\n\n"
        "        found = await snapshot(channel, wish.dataset, stop, policy, at_once)\n",
        "each page is deleted before the next one is read, so that every second page is never seen",
        PURGE,
    ),
    Mutant(
        "one-pass-is-enough", "S15", LISTING,
        "        if whole and ((first and rows == unique) or new == 0):\n",
        "        if True:\n",
        "a document that came twice stands in the place of one that was never seen",
        PURGE,
    ),
    Mutant(
        "count-is-enough", "S15", LISTING,
        "whole = unique >= total",
        "whole = unique >= total - 1",
        "a document that the service counts and never shows is overlooked",
        PURGE,
    ),
    Mutant(
        "failed-listing-is-empty", "S15", LISTING,
        "                return Failed(page.reason)\n",
        "                return 0\n",
        "a listing that failed is taken for one that came to its end",
        PURGE,
    ),
    Mutant(
        "endless-cursor", "S1", LISTING,
        "                if page.next in seen:\n",
        "                if page.next == cursor:\n",
        "a listing whose cursors go round in a circle is read for ever",
        ("tests/proof/test_purges.py",),
    ),
    Mutant(
        "failed-verification-exits-zero", "S15", FLOW,
        '        case Failed():\n            if report.status == "complete":\n                report.status = "incomplete"\n',
        "        case Failed():\n",
        "what could not be listed again is called empty",
        PURGE,
    ),
    Mutant(
        "interrupted-verification-exits-zero", "S15", FLOW,
        '            if report.status == "complete":\n                report.status = stop.status if stop is not None else "incomplete"\n',
        "",
        "a run that was stopped before its verification is complete",
        PURGES,
    ),
    Mutant(
        "verify-believes-the-service", "S16", VERIFY,
        "                elif fate in FULFILLED:\n",
        '                elif fate == "gave_up":\n',
        "a document that was called deleted and is still listed is not noticed",
        PURGE,
    ),
    Mutant(
        "verify-looks-once", "S16", VERIFY,
        "LOOKS = 4\n",
        "LOOKS = 1\n",
        "a listing that is a second behind makes a purge incomplete",
        PURGE,
    ),
    Mutant(
        "verify-half-a-listing", "S15", VERIFY,
        "        if not isinstance(total, int):\n            return total\n",
        "        if not isinstance(total, int):\n            return found\n",
        "a verification that failed on its second page is taken for what it showed",
        PURGES,
    ),
    Mutant(
        "new-documents-unnamed", "S16", VERIFY,
        "                    found.new_count += 1\n",
        "                    pass\n",
        "what came newly is not told",
        PURGE,
    ),
    Mutant(
        "dry-run-deletes", "S17", FLOW,
        "    if why or dry_run or halted:\n",
        "    if why or halted:\n",
        "a dry run deletes",
        PURGE,
    ),
    Mutant(
        "guards-never-asked", "S17", FLOW,
        "refusal(plan.selected + settled_before, call.policy, begun=settled_before > 0)",
        '("", "")',
        "--max-delete and --expect refuse nothing",
        PURGE,
    ),
    Mutant(
        "guard-forgets-what-is-gone", "S17", FLOW,
        "refusal(plan.selected + settled_before,",
        "refusal(plan.selected,",
        "a run that goes on may delete as many again as its guard allows in all",
        ("tests/engine/test_recorded.py",),
    ),
    Mutant(
        "yes-to-what-was-not-listed", "S17", READ,
        'return self._header.act == "plan" or not self._all(unlisted)',
        "return True",
        "a yes to one dataset holds for another that could not be listed then",
        ("tests/engine/test_recorded.py",),
    ),
    Mutant(
        "yes-to-any-number", "S17", READ,
        " AND cause = (SELECT COALESCE(SUM(selected), 0) FROM dataset)",
        "",
        "a yes to sixty documents holds for two hundred that were listed later",
        ("tests/engine/test_recorded.py",),
    ),
    Mutant(
        "guard-off-by-one", "S17", SELECT,
        "selected > policy.max_delete:",
        "selected >= policy.max_delete:",
        "--max-delete N refuses N",
        PURGE,
    ),
    Mutant(
        "expect-at-least", "S17", SELECT,
        "selected != policy.expect:",
        "selected < policy.expect:",
        "--expect N lets more than N through",
        PURGE,
    ),
    Mutant(
        "indexing-deleted-at-once", "S5", SELECT,
        'held=document.indexing and indexing == "wait" and not archived,',
        "held=False,",
        "the default does not wait for documents that are being indexed",
        PURGES,
    ),
    Mutant(
        "skipped-is-deleted", "S21", LEDGER,
        "if entry is None or entry[0].provider != provider or entry[2]:",
        "if entry is None or entry[0].provider != provider:",
        "what the selection left out is deleted too",
        PURGE,
    ),
    Mutant(
        "listed-twice-counted-twice", "S21", LEDGER,
        "            if row.document.id not in keys:\n",
        "            if row.document.id not in keys or len(keys) > 200:\n",
        "a document that a shifting listing shows twice is two documents",
        PURGES,
    ),
    Mutant(
        "half-a-listing-kept", "S15", LEDGER,
        "        for key in self._keys.pop((provider, dataset), {}).values():\n            self._rows[key] = None\n",
        "        pass\n",
        "documents of a listing that failed are deleted all the same",
        PURGE,
        "the feed leaves a dataset alone whose listing failed, whatever the ledger holds: the two hold each other's promise",
    ),
    Mutant(
        "selection-any-for-all", "S21", MODEL,
        "            if document.created_at >= self.created_before:\n",
        "            if document.created_at > self.created_before:\n",
        "--created-before takes what was created in that very second",
        ("tests/test_model.py",),
    ),
    Mutant(
        "unknown-age-is-old", "S21", MODEL,
        '            if document.created_at is None:\n                return "creation time unknown"\n            if',
        "            if document.created_at is not None and",
        "a document whose age nobody knows is deleted by its age",
        ("tests/test_model.py",),
    ),
    Mutant(
        "explicit-remaining", "S16", EXPLICIT,
        "total.listed = total.selected = counts.selected",
        "total.selected = counts.selected",
        "the account of explicit targets does not add up",
        ("tests/engine/test_engine.py",),
    ),
    Mutant(
        "circle-of-datasets-is-whole", "S15", "bulkdel/purging/datasets.py",
        'return DatasetListing(tuple(found.values()), "incomplete", why)',
        "return DatasetListing(tuple(found.values()))",
        "a list of datasets whose cursors go round in a circle passes for a whole one",
        ("tests/engine/test_client.py",),
    ),
)  # fmt: skip
