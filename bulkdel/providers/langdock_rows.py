"""Langdock's JSON objects read into values: folders and files; any optional key may be missing."""

from __future__ import annotations

from typing import Final

from bulkdel.model import Dataset, Document
from bulkdel.providers import words

_IN_FLIGHT: Final = frozenset({"UPLOADING", "UPLOADED", "EXTRACTING", "EMBEDDING"})

_NOT_EDITOR: Final = "the key is only a User of this knowledge folder: make it an Editor"


def folder_rows(value: object) -> tuple[list[object], str]:
    """The rows of ``GET /knowledge`` and the cursor of the next page, empty where this was the last.

    The pages name the fields of a row and ``nextCursor``, and not what holds them: any of the usual envelopes is taken.

    :raises words.Unreadable: where there is no list of rows
    """
    if isinstance(value, list):
        return value, ""
    if isinstance(value, dict) and value.get("status") in (None, "success"):
        inner = value.get("result", value.get("data"))
        for holder in (value, inner):
            if not isinstance(holder, dict):
                continue
            for key in ("result", "data", "folders", "knowledgeFolders", "knowledgeBases", "items"):
                rows = holder.get(key)
                if isinstance(rows, list):
                    return rows, words.text(holder, "nextCursor") or words.text(value, "nextCursor")
    raise words.Unreadable("it holds no list of folders")


def file_rows(value: object) -> list[object]:
    """:raises words.Unreadable: where there is no list of files"""
    if not isinstance(value, dict) or not isinstance(value.get("result"), list):
        raise words.Unreadable("it has no result")
    if value.get("status") not in (None, "success"):
        raise words.Unreadable("its status is not success")
    rows: list[object] = value["result"]
    return rows


def the_file(value: object, wanted: str) -> dict[str, object] | None:
    """The file asked for, bare or as the ``result``."""
    if isinstance(value, dict):
        for holder in (value.get("result"), value):
            if isinstance(holder, dict) and words.text(holder, "id") == wanted:
                return holder
    return None


def document_of(row: dict[str, object]) -> Document:
    status = words.text(row, "syncStatus")
    return Document(
        words.text(row, "id"),
        words.text(row, "name"),
        words.moment(row, "createdAt"),
        status,
        indexing=status.upper() in _IN_FLIGHT,
        ready=status.upper() in ("", "SYNCED"),
        synced=bool(row.get("externalId") or row.get("syncParams")),
    )


def dataset_of(row: dict[str, object]) -> Dataset:
    refusal = _NOT_EDITOR if words.text(row, "role").upper() == "USER" else ""
    return Dataset(words.text(row, "id"), words.text(row, "name"), words.whole(row, "fileCount"), refusal)
