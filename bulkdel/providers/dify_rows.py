"""Dify's JSON objects read into values: a page's rows, a document, a dataset; any optional key may be missing."""

from __future__ import annotations

from typing import Final

from bulkdel.model import Dataset, Document
from bulkdel.providers import words

_IN_FLIGHT: Final = frozenset({"waiting", "queuing", "parsing", "cleaning", "splitting", "indexing"})
_ENDED: Final = frozenset({"completed", "error", "paused"})
# No status at all is not "not ready": very old releases list none.
_READY: Final = frozenset({"", "completed", "available", "enabled", "disabled", "archived"})


def the_one(value: object, wanted: str) -> dict[str, object] | None:
    """``value`` where it is the object with the id asked for: Dify answers upper-case ids in lower case."""
    if isinstance(value, dict) and words.text(value, "id").casefold() == wanted.casefold():
        return value
    return None


def page_rows(value: object, cursor: str | None) -> tuple[list[object], int | None]:
    """The rows of a page and how many there are in all.

    :raises words.Unreadable: where it is no page, another page than asked for, or one of a listing that does not end
    """
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise words.Unreadable("it has no data")
    wanted, page, total = int(cursor or 1), words.whole(value, "page"), words.whole(value, "total")
    if page is not None and page != wanted:
        raise words.Unreadable(f"page {wanted} was asked for and page {page} came")
    # Every page before the empty one has a row, so there are no more pages than rows, new ones while listing aside.
    if total is not None and wanted > total + 1_000:
        raise words.Unreadable(f"page {wanted} is not empty, and the service counts {total} in all")
    rows: list[object] = value["data"]
    return rows, total


def next_page(cursor: str | None) -> str:
    return str(int(cursor or 1) + 1)


def document_of(row: dict[str, object]) -> Document:
    state, shown = words.text(row, "indexing_status"), words.text(row, "display_status")
    paused = "paused" in (state, shown)  # a paused document keeps the state that it was paused in
    indexing = not paused and state not in _ENDED and (state in _IN_FLIGHT or shown in _IN_FLIGHT)
    return Document(
        words.text(row, "id"),
        words.text(row, "name"),
        words.moment(row, "created_at"),
        shown or state,
        indexing=indexing,
        ready=not indexing and not paused and (state or shown) in _READY,
        archived=row.get("archived") is True,
        enabled=row.get("enabled") is not False,
    )


def dataset_of(row: dict[str, object]) -> Dataset | None:
    """None where the object is no dataset."""
    found = words.text(row, "id")
    if not found:
        return None
    refusal = ""
    if row.get("provider") == "external":
        refusal = "an external knowledge base: its documents are not in Dify"
    elif row.get("enable_api") is False:
        refusal = "Dataset api access is not enabled"
    return Dataset(found, words.text(row, "name"), words.whole(row, "document_count", "total_documents"), refusal)
