"""Dify: what to ask, what an answer means. Numbers in comments are rows of its table in ``README.md`` beside this module.

Sources: Dify's service API (releases 0.9 to 1.16) and answers recorded from 1.9.2 and 1.14.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bulkdel.model import Dataset, Document, Rate, Target
from bulkdel.providers.json_api import JsonApi, get
from bulkdel.providers.parsing import ParsedAnswer, Row, Rows, Unreadable, integer, text, timestamp
from bulkdel.providers.protocol import (
    Answer,
    Ask,
    Asked,
    Failure,
    Next,
    Page,
    Pause,
    Reject,
    Reply,
    Request,
    Requeue,
    StopDataset,
    Verdict,
)

# Anything but a dashed UUID never reaches the delete route: Dify's router answers it with an HTML 404.
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, init=False)
class Dify(JsonApi):
    """A Dify workspace: Dify Cloud unless ``base_url`` names a self-hosted one (``http(s)://HOST/v1``).

    Without limits: 8 requests a minute on Dify Cloud, no rate limit elsewhere, concurrency 4 (a self-hosted API serves 10
    connections in all by default). A rate given for Dify Cloud is the plan's own (10, 100 or 1,000 a minute); 80 % of it are
    used, because the workspace's live apps share it and a refused call locks them out too.

    Steps of a delete: ``delete``, ``check``, ``dataset`` (is the dataset there?), ``disable`` and ``un_archive``.
    """

    kind: ClassVar[str] = "dify"
    title: ClassVar[str] = "Dify"
    cloud: ClassVar[str] = "https://api.dify.ai/v1"
    # The smallest plan allows 10 requests a minute, shared with the workspace's own apps: 80 % of it. Larger ones allow more.
    cloud_rate: ClassVar[Rate] = Rate(8, per=60)
    cloud_rate_is_guess: ClassVar[bool] = True
    cloud_share: ClassVar[float] = 0.8
    page_size: ClassVar[int] = 100  # the service's cap; above it ``has_more`` is wrong
    # PostgreSQL orders rows of one second and position by page: sizes without a common factor never cut them alike twice.
    listing_starts: ClassVar[Sequence[str | None]] = (None, "1:97", "1:89", "1:83", "1:79")
    # Of a default self-hosted Dify's 10 connections 8 leave 2 to its own apps, and nothing is gained by more.
    highest_concurrency: ClassVar[int] = 8
    dataset_id: ClassVar[re.Pattern[str]] = _UUID
    document_id: ClassVar[re.Pattern[str]] = _UUID
    wrong_id: ClassVar[str] = "is not a UUID with dashes"
    address_end: ClassVar[str] = "/v1"
    wrong_address: ClassVar[str] = (
        "check the base URL: a self-hosted Dify's ends in /v1, without /console/api, and no login page may stand before it"
    )
    wrong_key: ClassVar[str] = "give a dataset API key of this workspace (dataset-…), from Knowledge > Service API"

    # ------------------------------------------------------------------ requests

    def canonical(self, id: str) -> str:
        """Dify takes a UUID in capitals and answers it in small letters."""
        return id.lower()

    def lacks_mark(self, answer: Answer) -> bool:
        if "x-version" in answer.headers:
            return False
        parsed = self.parse_answer(answer)
        if _is_success(parsed) or _is_404_of(parsed, "Document") or _is_404_of(parsed, "Dataset"):
            return True
        return answer.status == 200 and (bool(text(parsed.value, "id")) or isinstance(parsed.fields.get("data"), list))

    def start(self, document: Document, *, unarchive: bool) -> str:
        """Un-archiving an enabled document starts an embedding that races the delete, so such a one is disabled first."""
        if not unarchive or not document.archived:
            return "delete"
        # Only a completed document can be disabled; one that is not is not embedded again either.
        return "disable" if document.enabled and document.ready else "un_archive"

    def request(self, target: Target, step: str) -> Request:
        return self.preflight(target.dataset, None) if step == "dataset" else super().request(target, step)

    def request_together(self, targets: Sequence[Target], step: str) -> Request | None:
        """A change of status takes many documents of one dataset, all or nothing."""
        if step not in ("disable", "un_archive"):
            return None
        ids = {"document_ids": [target.document for target in targets]}
        return Request("PATCH", f"/datasets/{targets[0].dataset}/documents/status/{step}", json=ids)

    def path(self, target: Target) -> str:
        return f"/datasets/{target.dataset}/documents/{target.document}"

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        return get(f"/datasets/{dataset}") if cursor is None else self.listing(dataset, None)

    def listing(self, dataset: str, cursor: str | None) -> Request:
        page, size = _page_of(cursor)
        return get(f"/datasets/{dataset}/documents?page={page}&limit={size}")

    def pages_ahead(self, cursor: str | None, total: int) -> Iterator[str]:
        page, size = _page_of(cursor)
        empty = -(-total // size) + 1
        return (_cursor(number, size) for number in range(page + 1, empty + 1))

    def datasets(self, cursor: str | None) -> Request:
        """The whole workspace, which a dataset key may touch: other members' private ones included."""
        return get(f"/datasets?page={cursor or 1}&limit=100&include_all=true")

    # ------------------------------------------------------------------ what an answer means

    def is_deleted(self, asked: Asked, answer: ParsedAnswer) -> bool:
        return _is_success(answer)

    def is_gone(self, asked: Asked, answer: ParsedAnswer) -> bool:
        return _is_404_of(answer, "Document")  # 13

    def is_own_error(self, answer: ParsedAnswer) -> bool:
        # Dify's router has a code, too; it says so of an address that is wrong, and of no document (16).
        return bool(answer.code) and not answer.message.startswith("The requested URL was not found")

    def is_dataset_gone(self, answer: ParsedAnswer) -> bool:
        return _is_404_of(answer, "Dataset")

    def classify_common(self, answer: ParsedAnswer, *, doubt: bool) -> Failure | None:
        status, code, message = answer.status, answer.code, answer.message
        if status == 400 and code == "invalid_param":
            if message.startswith(("Dataset does not exist", "Dataset is not exist")):  # 5
                return StopDataset(answer.reason, gone=True)
            if _is_about_other_service(answer):  # 6: asked before anything is deleted
                return Requeue("trouble", answer.reason)
        elif status == 403:
            # 10: a refused call counts against the same window, so nothing is asked before the whole window has passed.
            if code == "forbidden" and "request rate limit" in message:
                return Pause(answer.reason, after=60.0, slower=True)
            if code == "forbidden" and message.startswith("Dataset api access is not enabled"):  # 11
                return StopDataset(answer.reason)
            # 12: not Dify's own. A proxy that blocks three times, with nothing else in between, means it.
            if not isinstance(answer.value, dict) or not _is_marked(answer):
                return Pause(f"blocked before Dify: {answer.reason}", slower=False, stop_after=3)
        return super().classify_common(answer, doubt=doubt)  # 8, 16, 17, 18, 19, 22

    def read_own(self, asked: Asked, answer: ParsedAnswer) -> Verdict | None:
        if asked.step == "dataset":
            return self._read_dataset(asked.target, answer)
        if self.is_dataset_gone(answer):  # 14
            return Ask("dataset", answer.reason)
        if asked.step in ("disable", "un_archive"):
            return self._read_change(asked, answer)
        if asked.step == "delete" and answer.status == 403 and answer.code == "archived_document_immutable":  # 9
            return Ask("disable", answer.reason) if asked.unarchive else Reject("archived", answer.reason)
        if asked.step == "delete" and answer.status == 400 and answer.code == "document_indexing":  # 4
            return Requeue("indexing", answer.reason)
        return None  # 3, 7, 13, 15

    def _read_dataset(self, target: Target, answer: ParsedAnswer) -> Verdict:
        """14: the dataset itself says whether it is there."""
        if _is_about_other_service(answer):  # 6: it was found, or there would be no such question
            return Requeue("unclear", answer.reason, step="delete")
        common = self.classify_common(answer, doubt=False)
        if common is not None:
            return common
        if self.is_dataset_gone(answer) or answer.status == 403:
            return StopDataset(answer.reason, gone=answer.status != 403)
        return self.read_presence(answer, target.dataset, "the service said that the dataset is not there, but it is")

    def _read_change(self, asked: Asked, answer: ParsedAnswer) -> Verdict:
        """Un-archive safely: disable (completed documents only), un_archive until it is accepted, then DELETE."""
        following = Ask("un_archive" if asked.step == "disable" else "delete")
        if _is_success(answer):
            return following
        if answer.status == 404 and not self.is_own_error(answer) and _is_marked(answer):
            # Dify's own router: releases before 1.5 have no such route. The base URL is right.
            return Reject("archived", f"this Dify cannot un-archive: {answer.reason}")
        if answer.status == 400 and "being indexed" in answer.message:
            # Not indexing: a lock that an earlier change of status left, in Redis for 600 s if no worker takes it away.
            reason = f"Dify's lock, 10 min at most: {answer.reason}"
            named = re.match("Document: ?(.*) is being indexed", answer.message, re.DOTALL)
            return Requeue("locked", reason, at_most=600.0, blocked_by=self.sanitize(named[1]) if named else "")
        if answer.status == 400 and asked.step == "disable" and "not completed" in answer.message:
            return following
        return self.classify(asked, answer, doubt=False) or self.read_refusal(answer, "archived")

    # ------------------------------------------------------------------ questions

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        """6: a dataset whose own question fails, though its documents can be deleted, is proved by listing them."""
        if cursor is not None:
            page = self.read_listing(dataset, None, reply)
            return Dataset(dataset, documents=page.total) if isinstance(page, Page) else page
        if isinstance(reply, Answer) and _is_about_other_service(self.parse_answer(reply)):
            return Next("documents")
        return super().read_preflight(dataset, cursor, reply)

    def note_on_empty(self, answer: Answer) -> str:
        if "x-version" in answer.headers:
            return ""
        return f"the answer carries no X-Version, as every Dify's does: is {self.base_url} a Dify?"

    # ------------------------------------------------------------------ rows

    def rows_of(self, value: object, cursor: str | None) -> Rows:
        """The last page is the empty one: ``has_more`` is true on an exactly full last page, and rows shift."""
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise Unreadable("it has no data")
        (wanted, size), page, total = _page_of(cursor), integer(value, "page"), integer(value, "total")
        if page is not None and page != wanted:
            raise Unreadable(f"page {wanted} was asked for and page {page} came")
        # Every page before the empty one has a row, so there are no more pages than rows, new ones while listing aside.
        if total is not None and wanted > total + 1_000:
            raise Unreadable(f"page {wanted} is not empty, and the service counts {total} in all")
        rows: list[object] = value["data"]
        return rows, _cursor(wanted + 1, size) if rows else None, total

    def document_from(self, row: Row) -> Document:
        state, shown = text(row, "indexing_status"), text(row, "display_status")
        paused = "paused" in (state, shown)  # a paused document keeps the state that it was paused in
        in_flight = {"waiting", "queuing", "parsing", "cleaning", "splitting", "indexing"}
        ended = state in ("completed", "error")
        indexing = not paused and not ended and (state in in_flight or shown in in_flight)
        return Document(
            self.canonical(text(row, "id")),
            text(row, "name"),
            timestamp(row, "created_at"),
            shown or state,
            indexing=indexing,
            # No status at all is not "not ready": very old releases list none.
            ready=not indexing
            and not paused
            and (state or shown) in ("", "completed", "available", "enabled", "disabled", "archived"),
            archived=row.get("archived") is True,
            enabled=row.get("enabled") is not False,
        )

    def dataset_from(self, row: Row) -> Dataset:
        refusal = ""
        if row.get("provider") == "external":
            refusal = "an external knowledge base: its documents are not in Dify"
        elif row.get("enable_api") is False:
            refusal = "Dataset api access is not enabled"
        count = integer(row, "document_count", "total_documents")
        return Dataset(self.canonical(text(row, "id")), text(row, "name"), count, refusal)


def _is_success(answer: ParsedAnswer) -> bool:
    """1: nearly every answer. 2: a 200, up to 1.3.0 with an object, from 1.4.0 to 1.12.1 with a number."""
    if answer.status != 200:
        return answer.status == 204
    # Dify answers 200 to what it has done and to nothing else, whatever became of the body on its way.
    if answer.answer.broken and "x-version" in answer.headers:
        return True
    return answer.value == {"result": "success"} or (type(answer.value) is int and answer.value == 204)


def _is_marked(answer: ParsedAnswer) -> bool:
    """Whether Dify itself answered, and not a proxy; a proxy may take the mark away from all answers, too."""
    return "x-version" in answer.headers or answer.answer.mark_stripped


def _is_about_other_service(answer: ParsedAnswer) -> bool:
    """Whether Dify fails to ask its billing or its plugin daemon, which a question about a dataset needs and a delete does not."""
    said = answer.message.casefold()
    asks_other = said.startswith("unable to retrieve billing information") or "plugin daemon" in said
    return bool(answer.code) and asks_other and (answer.status == 400 or answer.status >= 500)


def _is_404_of(answer: ParsedAnswer, what: str) -> bool:
    """Whether Dify itself says that a ``Document`` or ``Dataset`` is not there."""
    # A suffix may follow ("… You have requested this URI … but did you mean …").
    return answer.status == 404 and answer.code == "not_found" and answer.message.startswith(what)


def _page_of(cursor: str | None) -> tuple[int, int]:
    """A page's number, from 1, and its size; ``7`` is the seventh page of 100, ``7:97`` that of 97."""
    page, _, size = (cursor or "1").partition(":")
    return int(page), int(size or 100)


def _cursor(page: int, size: int) -> str:
    return str(page) if size == 100 else f"{page}:{size}"
