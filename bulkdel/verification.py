"""A dataset listed again after its deletes: what is still there, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkdel.backoff import ceiling
from bulkdel.engine.call import Call
from bulkdel.listing import Failed, list_once
from bulkdel.model import FULFILLED, Document
from bulkdel.store import RunFile
from bulkdel.text import sanitize

LOOKS = 4
"""Looks at a listing that still shows documents which the service called deleted: after 0, 1, 2 and 4 s."""


@dataclass(slots=True)
class Verified:
    """What a listing showed after the deletes.

    ``remaining`` counts every document; ``new`` are those that came after the first listing, ``still_there`` those that
    the service had called deleted; both name at most 20. ``skipped`` counts those that were not selected.
    """

    remaining: int = 0
    skipped: int = 0
    new: list[str] = field(default_factory=list)
    new_count: int = 0
    still_there: list[str] = field(default_factory=list)
    still_there_count: int = 0


async def verify(call: Call, provider: str, dataset: str, store: RunFile) -> Verified | Failed | None:
    """List until what is left is only what was refused, skipped or newly came; a few looks, then what is there is said.

    None if a stop came first.
    """
    stop = call.sessions[provider].stop
    found, seen = Verified(), set[str]()
    total: int | Failed | None = -1
    for look in range(LOOKS):
        if look and not await stop.sleep(ceiling(look, 1.0, 4.0)):
            return None
        found, seen = Verified(), set[str]()

        async def take(documents: Sequence[Document], found: Verified = found, seen: set[str] = seen) -> None:
            fresh = [document for document in documents if document.id not in seen]
            seen.update(document.id for document in fresh)
            found.remaining += len(fresh)
            states = await store.states(provider, dataset, [document.id for document in fresh])
            for document, state in zip(fresh, states, strict=True):
                words = f"{sanitize(document.id)} {sanitize(document.name)}".strip()
                if state is None:
                    found.new_count += 1
                    found.new += [words] if found.new_count <= 20 else []
                elif state == "skipped":
                    found.skipped += 1
                elif state in FULFILLED:
                    found.still_there_count += 1
                    found.still_there += [words] if found.still_there_count <= 20 else []

        total = await list_once(call, provider, dataset, take)
        if not isinstance(total, int):
            return total
        if not found.still_there_count and len(seen) >= total:
            return found
    if not found.still_there_count:
        # What is missing from the listing may be anything: an incomplete listing is not an empty one (S15).
        return Failed(
            f"the listing is not complete: {len(seen)} documents seen in {LOOKS} looks, the service counts {total}"
        )
    return found
