"""Langdock: what to ask, what an answer means. A knowledge folder is a dataset, an attachment a document.

``README.md`` beside this module has the table of answers and where it comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import quote

from bulkdel.backoff import seconds_to_next_minute
from bulkdel.model import Dataset, Document, Rate, Target
from bulkdel.providers.json_api import JsonApi, get
from bulkdel.providers.parsing import (
    NOT_JSON,
    NoPage,
    ParsedAnswer,
    Row,
    Rows,
    Unreadable,
    integer,
    is_markup,
    plain_text,
    text,
    timestamp,
)
from bulkdel.providers.protocol import (
    Answer,
    Asked,
    Failure,
    Gone,
    Next,
    Page,
    Pause,
    Reply,
    Request,
    Requeue,
    StopDataset,
    Verdict,
)

# These words, dots and slashes reach other routes: ``DELETE /knowledge/{folder}/access`` revokes sharing. A router may
# ignore case and blanks at the ends; control characters and halves of surrogate pairs are in no id.
_ID = re.compile(
    r"(?!\s)(?!(?:access|list|folder|search|upload-async|\.\.?)$)[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}(?<!\s)",
    re.IGNORECASE,
)

_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, init=False)
class Langdock(JsonApi):
    """A Langdock workspace; a dedicated deployment's ``base_url`` is ``<deployment-url>/api/public``.

    Without limits: 45 requests a minute for all folders of the workspace, concurrency 4.

    Steps of a delete: ``delete``, ``check`` and ``listing`` (does the folder's list still hold the document?).
    """

    kind: ClassVar[str] = "langdock"
    title: ClassVar[str] = "Langdock"
    cloud: ClassVar[str] = "https://api.langdock.com"
    # 50 a minute is the last documented limit, per workspace; 45 leaves room for what a proxy repeats.
    cloud_rate: ClassVar[Rate] = Rate(45, per=60)
    other_rate: ClassVar[Rate] = Rate(45, per=60)
    page_size: ClassVar[int] = 1_000  # one call lists the whole folder, which holds at most so many
    dataset_id: ClassVar[re.Pattern[str]] = _ID
    document_id: ClassVar[re.Pattern[str]] = _ID
    dataset_word: ClassVar[str] = "folder"
    document_word: ClassVar[str] = "attachment"
    wrong_id: ClassVar[str] = "would reach another route"
    address_end: ClassVar[str] = "/api/public"
    wrong_address: ClassVar[str] = "check the base URL: a dedicated deployment's ends in /api/public"
    wrong_key: ClassVar[str] = "give an API key of this workspace with the scope KNOWLEDGE_FOLDER_API"
    after_404: ClassVar[str] = "listing"

    # ------------------------------------------------------------------ requests

    def canonical(self, id: str) -> str:
        """Langdock writes UUIDs in small letters; other ids tell capitals apart."""
        return id.lower() if _UUID.fullmatch(id) else id

    def request(self, target: Target, step: str) -> Request:
        return self.listing(target.dataset, None) if step == "listing" else super().request(target, step)

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        return self.datasets(cursor)

    def listing(self, dataset: str, cursor: str | None) -> Request:
        return get(f"/knowledge/{quote(dataset, safe='')}/list")

    def path(self, target: Target) -> str:
        return f"/knowledge/{quote(target.dataset, safe='')}/{quote(target.document, safe='')}"

    def datasets(self, cursor: str | None) -> Request:
        return get(
            "/knowledge?limit=100" if cursor is None else f"/knowledge?limit=100&cursor={quote(cursor, safe='')}"
        )

    # ------------------------------------------------------------------ what an answer means

    def error_words(self, value: object, answer: Answer) -> tuple[str, str]:
        return "", plain_text(answer) if value is NOT_JSON else _message(value)

    def note_on_empty(self, answer: Answer) -> str:
        share = (
            "share the knowledge base with a workspace key in the Library's sharing dialog: a personal key sees none"
        )
        return f"{share}; if it is shared, is {self.base_url} a Langdock? It answered {self.sanitize(plain_text(answer))[:100]}"

    def is_own_error(self, answer: ParsedAnswer) -> bool:
        return not is_markup(answer.answer)

    def is_deleted(self, asked: Asked, answer: ParsedAnswer) -> bool:
        said = answer.fields
        return answer.status == 200 and (said.get("status"), said.get("message")) == ("success", "Attachment deleted")

    def is_gone(self, asked: Asked, answer: ParsedAnswer) -> bool:
        """A 404 is the attachment's only after a good listing of its folder and in words about it.

        A gateway says "Not Found" in JSON for a route that it does not have, which is no document that is gone (S12).
        """
        if answer.status == 404:
            return (asked.listed or asked.dataset_found) and _is_about_attachment(answer)
        # The one server error that is a plain 404.
        if answer.status != 500:
            return False
        if answer.value is NOT_JSON:
            return _is_about_attachment(answer)
        return "attachment not found" in answer.message.casefold()

    def classify_common(self, answer: ParsedAnswer, *, doubt: bool) -> Failure | None:
        if answer.status == 403:
            if self.is_own_error(answer):
                return StopDataset(answer.reason)
            # A page says nothing of the folder. A proxy that blocks three times, with nothing else in between, means it.
            return Pause(f"blocked before Langdock: {answer.reason}", slower=False, stop_after=3)
        if answer.status == 404:
            return None  # the folder's list decides, whatever answered
        return super().classify_common(answer, doubt=doubt)

    def pause_after(self, answer: ParsedAnswer) -> float:
        """What the service asks for, else until the next full minute, when its window is new."""
        after = super().pause_after(answer)
        return seconds_to_next_minute(answer.headers.get("date")) if after is None else after

    def read_own(self, asked: Asked, answer: ParsedAnswer) -> Verdict | None:
        """``listing``: a 404 is confirmed by the folder's own list. Without it, there is no folder."""
        if asked.step != "listing":
            return None
        if answer.status == 404:
            return StopDataset(answer.reason, gone=True)
        found = self.read_listing(asked.target.dataset, None, answer.answer)
        if not isinstance(found, Page):
            return found
        if any(document.id == self.canonical(asked.target.document) for document in found.items):
            return Requeue("unclear", "the service said that it is not there, but lists it", step="delete")
        return Gone("the folder's list does not hold it", listed=True)

    # ------------------------------------------------------------------ pages and rows

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        """There is no question about one folder: the list of folders is read until it shows it."""
        page = self.read_datasets(cursor, reply)
        if not isinstance(page, Page):
            return page
        for found in page.items:
            if found.id == self.canonical(dataset):
                return found
        if page.next is not None:
            return Next(page.next)
        what_to_do = page.note or "share it in the Library's sharing dialog, as Editor"
        return StopDataset(f"no knowledge base (folder) with this id is shared with this key: {what_to_do}")

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        """A 404 that is the service's own says that there is no folder, as at the step ``listing``."""
        found = super().read_listing(dataset, cursor, reply)
        is_404 = isinstance(reply, Answer) and reply.status == 404
        return replace(found, gone=True) if is_404 and isinstance(found, StopDataset) else found

    def rows_of(self, value: object, cursor: str | None) -> Rows:
        """One call is the whole snapshot of a folder."""
        if not isinstance(value, dict) or not value.keys() & {"status", "result"}:
            raise NoPage
        if not isinstance(value.get("result"), list):
            raise Unreadable("it has no result")
        if value.get("status") not in (None, "success"):
            raise Unreadable("its status is not success")
        rows: list[object] = value["result"]
        return rows, None, len(rows)

    def dataset_rows_of(self, value: object, cursor: str | None) -> Rows:
        """Langdock's pages name the fields of a row and ``nextCursor``, and not what holds them: any usual envelope is taken."""
        if isinstance(value, list):
            return value, None, None
        if isinstance(value, dict) and value.get("status") in (None, "success"):
            for holder in (value, value.get("result", value.get("data"))):
                if not isinstance(holder, dict):
                    continue
                for key in ("result", "data", "folders", "knowledgeFolders", "knowledgeBases", "items"):
                    rows = holder.get(key)
                    if isinstance(rows, list):
                        following = text(holder, "nextCursor") or text(value, "nextCursor")
                        return rows, None if following in ("", cursor) else following, None
        raise Unreadable("it holds no list of folders")

    def document_from(self, row: Row) -> Document:
        status = text(row, "syncStatus")
        return Document(
            self.canonical(text(row, "id")),
            text(row, "name"),
            timestamp(row, "createdAt"),
            status,
            indexing=status.upper() in ("UPLOADING", "UPLOADED", "EXTRACTING", "EMBEDDING"),
            ready=status.upper() in ("", "SYNCED"),
            synced=bool(row.get("externalId") or row.get("syncParams")),
        )

    def dataset_from(self, row: Row) -> Dataset:
        is_user = text(row, "role").upper() == "USER"
        refusal = (
            "the key is only a User of this knowledge base (folder): make it an Editor in the Library's sharing dialog"
            if is_user
            else ""
        )
        return Dataset(self.canonical(text(row, "id")), text(row, "name"), integer(row, "fileCount"), refusal)


def _message(value: object) -> str:
    """The forms that error bodies come in, in this order: ``{message}``, ``{error: "…"}``, ``{error: {message}}``,
    ``{errors: […]}``, ``"…"``."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else ""
    errors = value.get("errors")
    for item in (value.get("message"), value.get("error"), *(errors[:3] if isinstance(errors, list) else ())):
        if found := item if isinstance(item, str) else text(item, "message", "type"):
            return found
    return ""


def _is_about_attachment(answer: ParsedAnswer) -> bool:
    """Whether the words are about the attachment alone; "Knowledge folder or attachment not found" may be either.

    Bare text must say nothing else: "File not found." is what a web server without the route says.
    """
    lower = answer.message.casefold()
    if answer.value is NOT_JSON:
        return not answer.answer.cut and lower in ("attachment not found", "attachment not found.")
    return ("attachment" in lower or "file" in lower) and "folder" not in lower
