"""The documents that a simulated dataset is born with: their names, ages, and which of them are special."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from bulkdel.errors import ConfigurationError
from bulkdel.simulator.faults import Faults
from bulkdel.simulator.names import document_names

HOUR = 3600
TIES = 64
"""Documents that share one sort key: less than a page of 100, so that ties fall across every page's edge."""


def planned(count: int, faults: Faults, *, newest: int, seed: str, failed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Give the arguments of ``add_document`` for each of ``count`` documents, oldest first.

    They are an hour apart, the last an hour before ``newest`` (unix seconds). As many are special as ``faults`` says, at
    places that ``seed`` decides; ``failed`` are the statuses of failed ones, used in turn.

    :raises ConfigurationError: when more are to be special than there are
    """
    marks = ["indexing"] * faults.indexing + ["stuck"] * faults.stuck + ["archived"] * faults.archived
    marks += ["failed"] * faults.failed + ["synced"] * faults.synced
    if len(marks) > count:
        raise ConfigurationError(f"more documents are to be special than there are: {len(marks)} of {count}")
    rng = random.Random(seed)
    marked = dict(zip(rng.sample(range(count), len(marks)), marks, strict=True))
    for number, name in enumerate(document_names(count, nasty=faults.nasty_names)):
        fields: dict[str, Any] = {"name": name, "created_at": newest - HOUR * (count - number)}
        if faults.ties:
            fields["created_at"] = newest - HOUR * (count - number // TIES * TIES)
            fields["position"] = 1
        mark = marked.get(number, "")
        if mark == "indexing":
            fields["indexing_for"] = faults.indexing_for
        elif mark == "stuck":
            fields["indexing_for"] = math.inf
        elif mark == "archived":
            fields["archived"] = True
        elif mark == "failed":
            fields["status"] = failed[number % len(failed)]
        elif mark == "synced":
            fields["external_id"] = f"drive:{rng.getrandbits(48):012x}"
        yield fields
