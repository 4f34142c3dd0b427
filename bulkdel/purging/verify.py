"""A dataset listed again after its deletes: what is still there, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkdel.backoff import ceiling
from bulkdel.engine.channel import Channel
from bulkdel.engine.stop import Stop
from bulkdel.model import FULFILLED, Document, Policy
from bulkdel.purging.ledger import Ledger
from bulkdel.purging.listing import Failed, read_pages
from bulkdel.text import safe

LOOKS = 4
"""Looks at a listing that still shows documents which the service called deleted: after 0, 1, 2 and 4 s."""

NAMED = 20
"""Documents that a report names; it counts them all."""


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


async def verify(
    channel: Channel, dataset: str, ledger: Ledger, stop: Stop, policy: Policy
) -> Verified | Failed | None:
    """List until what is left is only what was refused, skipped or newly came; a few looks, then what is there is said.

    None where a stop came first.
    """
    found = Verified()
    seen: set[str] = set()
    total: int | Failed | None = -1
    for look in range(LOOKS):
        if look and not await stop.sleep(ceiling(look, 1.0, 4.0)):
            return None
        seen = set()
        found = Verified()

        async def take(documents: Sequence[Document], found: Verified = found, seen: set[str] = seen) -> None:
            fresh = [document for document in documents if document.id not in seen]
            seen.update(document.id for document in fresh)
            found.remaining += len(fresh)
            ids = [document.id for document in fresh]
            states = await ledger.states(channel.provider.name, dataset, ids)
            for document, state in zip(fresh, states, strict=True):
                words = f"{safe(document.id)} {safe(document.name)}".strip()
                if state is None:
                    found.new_count += 1
                    if len(found.new) < NAMED:
                        found.new.append(words)
                elif state == "skipped":
                    found.skipped += 1
                elif state in FULFILLED:
                    found.still_there_count += 1
                    if len(found.still_there) < NAMED:
                        found.still_there.append(words)

        total = await read_pages(channel, dataset, stop, policy, take)
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
