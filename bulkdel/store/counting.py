"""A run's account, counted from its rows: what became of each dataset's documents, and what that cost."""

from __future__ import annotations

import json
from collections import Counter

from bulkdel.model import ANSWER_LOST, FULFILLED, Outcome
from bulkdel.report import DatasetReport
from bulkdel.store.schema import OUTCOMES, WORDS, Fetch, damaged
from bulkdel.store.values import Counters, unpack_id

_DATASETS = """
SELECT s.id, p.name, s.dataset, s.name, s.status, s.reason, s.remaining, s.new, s.new_count, s.still_there,
    s.still_there_count, s.listed, s.selected, s.skipped
FROM dataset s JOIN provider p ON p.id = s.provider ORDER BY s.id
"""

# Occurrences by dataset, reason to skip and outcome: those that are documents of their own, and the further ones.
# NOT INDEXED: by the index of ids a million documents take 4 s (each is looked up), by row 0.6 s.
_ENDING = """
LEFT JOIN word k ON k.id = d.skipped LEFT JOIN settled e ON e.row = d.row GROUP BY d.dataset, d.skipped, e.outcome
"""
_GROUPED = f"""
SELECT d.dataset, k.word, e.outcome, COUNT(*) FROM document d NOT INDEXED {_ENDING}
UNION ALL
SELECT d.dataset, k.word, e.outcome, COUNT(*) FROM duplicate x CROSS JOIN document d ON d.row = x.document {_ENDING}
"""


def account_of(fetch: Fetch, path: str) -> tuple[list[DatasetReport], dict[Outcome, int]]:
    """What ``Run.account`` gives; ``fetch`` runs a query, and all of them see the file at ``path`` in one state."""
    listed, grouped = fetch(_DATASETS, ()), fetch(_GROUPED, ())
    reports: dict[int, DatasetReport] = {}
    for key, provider, dataset, name, status, reason, remaining, new, news, still, stills, *_ in listed:
        reports[key] = DatasetReport(
            provider=provider,
            dataset=unpack_id(dataset),
            name=name,
            status=status or "incomplete",
            reason=reason,
            remaining=remaining,
            new=tuple(json.loads(new)),
            new_count=news,
            still_there=tuple(json.loads(still)),
            still_there_count=stills,
        )
    reasons: Counter[Outcome] = Counter()
    for key, why_not, number, n in grouped:
        report = reports[key]
        report.counts.listed += n
        if why_not is not None:
            report.counts.skipped += n
            report.skipped_reasons[why_not] = report.skipped_reasons.get(why_not, 0) + n
            continue
        outcome: Outcome = "not_attempted" if number is None else WORDS[number]
        report.counts.selected += n
        report.counts.settle(outcome, n)
        if outcome not in FULFILLED:
            reasons[outcome] += n
    for key, _, dataset, *_, counted, selected, skipped in listed:
        counts = reports[key].counts
        if (counts.listed, counts.selected, counts.skipped) != (counted, selected, skipped):
            raise damaged(path, f"{counted} documents were listed, and {counts.listed} are there")
        counts.check(f"dataset {unpack_id(dataset)}")
        if reports[key].status == "complete" and counts.rejected:
            reports[key].status = "incomplete"  # whichever session rejected it
    return list(reports.values()), dict(reasons.most_common())


def answers_lost(fetch: Fetch) -> int:
    """What ``Run.answers_lost`` gives; ``fetch`` runs a query."""
    begins = f"substr(word, 1, {len(ANSWER_LOST)}) = ?"
    if not fetch(f"SELECT 1 FROM word WHERE {begins} LIMIT 1", (ANSWER_LOST,)):
        return 0
    one = "1 + (SELECT COUNT(*) FROM duplicate x WHERE x.document = e.row)"
    found = f"SELECT COALESCE(SUM({one}), 0) FROM settled e WHERE e.outcome = ? AND e.reason IN (SELECT id FROM word WHERE {begins})"
    return int(fetch(found, (OUTCOMES["deleted"], ANSWER_LOST))[0][0])


def counters_of(fetch: Fetch, provider: str | None) -> Counters:
    """What ``Run.counters`` gives; ``fetch`` runs a query."""
    totals: dict[tuple[str, str], float] = {}
    for name, what, cause, n in fetch(
        "SELECT p.name, c.what, c.cause, c.n FROM counter c JOIN provider p ON p.id = c.provider", ()
    ):
        if provider is None or provider == name:
            totals[what, cause] = totals.get((what, cause), 0) + n

    def sort(kind: str) -> dict[str, float]:
        return {cause: n for (what, cause), n in totals.items() if what == kind}

    return Counters(
        requests=int(sum(sort("requests").values())),
        pauses=int(sum(sort("pauses").values())),
        requeued={cause: int(n) for cause, n in sort("requeued").items()},
        waited_s=sort("waited"),
        other={key: n for key, n in totals.items() if key[0] not in ("requests", "pauses", "requeued", "waited")},
    )
