"""The datasets that a key sees, page by page to the end of the list."""

from __future__ import annotations

from dataclasses import dataclass

from bulkdel.engine.call import Call
from bulkdel.engine.channel import Channel
from bulkdel.engine.questions import GaveUp, ask_datasets
from bulkdel.model import Dataset, RunStatus
from bulkdel.providers.protocol import Page, StopDataset, StopProvider


@dataclass(frozen=True, slots=True)
class DatasetListing:
    """The datasets that a key sees; ``failure`` says why the list is not whole, empty where it is."""

    datasets: tuple[Dataset, ...]
    status: RunStatus = "complete"
    failure: str = ""
    hint: str = ""


async def list_datasets(call: Call, channel: Channel) -> DatasetListing:
    """Read the list to its end, or say why it has none."""
    stop = call.stops[channel.provider.name]
    found: dict[str, Dataset] = {}
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        page = await ask_datasets(channel, cursor, stop, call.policy)
        match page:
            case Page():
                found.update((dataset.id, dataset) for dataset in page.items)
                if page.next is None:
                    return DatasetListing(tuple(found.values()))
                if page.next in seen:
                    why = "the service's list of datasets has no end: it repeats a cursor"
                    return DatasetListing(tuple(found.values()), "incomplete", why)
                seen.add(page.next)
                cursor = page.next
            case StopDataset() | GaveUp():
                return DatasetListing(tuple(found.values()), "incomplete", page.reason)
            case StopProvider() | None:
                end = stop.reason
                if end is None:
                    return DatasetListing(tuple(found.values()), "incomplete", "stopped")
                return DatasetListing(tuple(found.values()), end.status, end.reason, end.hint)
