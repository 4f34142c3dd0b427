"""What a run can be recognised by: one number over everything that has settled."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from bulkdel.store.schema import WORDS, Fetch
from bulkdel.store.values import unpack_id

PAGE = 1000  # rows fetched at a time

_DATASETS = (
    "SELECT s.id, p.name, s.dataset FROM dataset s JOIN provider p ON p.id = s.provider ORDER BY p.name, s.dataset"
)
_SETTLED = """
SELECT d.document, d.name, e.outcome, r.word, e.attempts, e.settled_at,
    (SELECT COUNT(*) FROM duplicate x WHERE x.document = d.row)
FROM document d CROSS JOIN settled e ON e.row = d.row CROSS JOIN word r ON r.id = e.reason
WHERE d.dataset = ? AND d.document {beyond} ? ORDER BY d.document LIMIT ?
"""


def digest(fetch: Fetch) -> str:
    """The canonical SHA-256 of ``Run.digest``, where its form is written; ``fetch`` runs a query."""
    sha = hashlib.sha256()
    for key, provider, packed in fetch(_DATASETS, ()):
        dataset = unpack_id(packed)
        after: str | bytes = ""
        beyond = ">="  # the empty id is one too
        while rows := fetch(_SETTLED.format(beyond=beyond), (key, after, PAGE)):
            after, beyond = rows[-1][0], ">"
            for document, name, outcome, reason, attempts, at, further in rows:
                when = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
                for occurrence in range(1, further + 2):
                    sha.update(
                        canonical(
                            provider,
                            dataset,
                            unpack_id(document),
                            occurrence,
                            name,
                            WORDS[outcome],
                            reason,
                            attempts,
                            when,
                        )
                    )
    return sha.hexdigest()


def canonical(*row: str | int) -> bytes:
    """One settled target's line."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"
