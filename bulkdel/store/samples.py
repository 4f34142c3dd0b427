"""A run's time as it was measured: the stretches of each session, written when it ends and read for a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from bulkdel.engine.timeline import Sample
from bulkdel.store.schema import Fetch
from bulkdel.store.store import Store

_COLUMNS = "at, span, settled, requests, requeued, p50, p95, in_flight, concurrency, rate, waited"


def add_samples(store: Store, provider: str, samples: Sequence[Sample]) -> None:
    """Write down how one provider's part of this session went.

    :raises ConfigurationError: where the run was not asked for this provider
    """
    number = store.provider(provider)
    store.connection.executemany(
        f"INSERT INTO sample (session, provider, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(store.session, number, s.at, s.span_s, s.settled, s.requests, s.requeued, s.p50_s, s.p95_s),
                *(s.in_flight, s.concurrency, s.rate, json.dumps(dict(s.waited), separators=(",", ":"))),
            )
            for s in samples
        ],
    )


def samples_of(fetch: Fetch) -> Mapping[int, Mapping[str, list[Sample]]]:
    """What ``Run.samples`` gives; ``fetch`` runs a query."""
    found: dict[int, dict[str, list[Sample]]] = {}
    rows = fetch(
        f"SELECT m.session, p.name, {_COLUMNS} FROM sample m JOIN provider p ON p.id = m.provider ORDER BY m.rowid", ()
    )
    for (
        session,
        provider,
        at,
        span,
        settled,
        requests,
        requeued,
        p50,
        p95,
        in_flight,
        concurrency,
        rate,
        waited,
    ) in rows:
        sample = Sample(
            at, span, settled, requests, requeued, p50, p95, in_flight, concurrency, rate, json.loads(waited)
        )
        found.setdefault(session, {}).setdefault(provider, []).append(sample)
    return found


def endings_in(fetch: Fetch, since: float, until: float, most: int) -> tuple[float, Mapping[str, Mapping[int, int]]]:
    """What ``Run.endings_in`` gives; ``fetch`` runs a query."""
    begin, end = int(since * 1000), int(until * 1000)  # milliseconds, as they are stored
    within = "settled_at >= ? AND settled_at < ?"
    last = fetch(f"SELECT COALESCE(MAX(settled_at), ?) FROM settled WHERE {within}", (begin, begin, end))[0][0]
    width = max(1000, -(-(last - begin + 1) // most))
    found: dict[str, dict[int, int]] = {}
    for provider, stretch, n in fetch(
        "SELECT p.name, (e.settled_at - ?) / ? AS stretch, COUNT(*) FROM settled e JOIN document d ON d.row = e.row"
        f" JOIN dataset s ON s.id = d.dataset JOIN provider p ON p.id = s.provider WHERE {within}"
        " GROUP BY p.name, stretch ORDER BY p.name, stretch",
        (begin, width, begin, end),
    ):
        found.setdefault(provider, {})[stretch] = n
    return width / 1000, found
